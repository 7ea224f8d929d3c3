"""The replay of one job that may run in any of several pools: what choosing the zone brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.interface import EPSILON_SECONDS, Move, Policy, Terms, View


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolsOutcome:
    """How a replay over several pools went; seconds of Spot price as in `Outcome`."""

    cost: float
    is_late: bool
    reclaims: int
    zones_used: int


def replay_pools(terms: Terms, policy: Policy, availability: Mapping[str, Sequence[bool]]) -> PoolsOutcome:
    """As `replay`, but Spot is there while any pool has it, and a start takes the pool that has been up the longest.

    An instance stays in its pool until it is reclaimed; the policy is told of a reclaim even where another pool is up,
    so that the next start costs its changeover. A pool's age is what was seen since the job began. Raises InvalidInput
    for traces that are too short.
    """
    if not availability or min(map(len, availability.values())) < terms.ticks:
        raise InvalidInput(f"a replay of {terms.ticks} ticks needs traces of as many entries, for one pool at least")
    pilot = policy.start(terms)
    ages = dict.fromkeys(sorted(availability), 0)
    used: set[str] = set()
    elapsed = done = pending = cost = 0.0
    instance, home, reclaims = Move.WAIT, "", 0
    for number in range(terms.ticks):
        ages = {zone: age + 1 if availability[zone][number] else 0 for zone, age in ages.items()}
        if instance is Move.SPOT and not ages[home]:
            instance, pending, reclaims = Move.WAIT, 0.0, reclaims + 1
        move = pilot.decide(View(elapsed, done, instance, pending, any(ages.values())))
        if move is not instance:
            instance, pending = move, terms.changeover_seconds if move else 0.0
            home = max(ages, key=lambda zone: ages[zone]) if move is Move.SPOT else ""
            used |= {home} - {""}
        length = min(terms.tick_seconds, terms.deadline_seconds - elapsed)
        if move:
            billed = min(length, pending + terms.work_seconds - done)
            cost += billed * (terms.price_ratio if move is Move.ON_DEMAND else 1.0)
            done += max(0.0, billed - pending)
            pending = max(0.0, pending - billed)
            if terms.work_seconds - done <= EPSILON_SECONDS:
                return PoolsOutcome(cost=cost, is_late=False, reclaims=reclaims, zones_used=len(used))
        elapsed = min((number + 1) * terms.tick_seconds, terms.deadline_seconds)
    return PoolsOutcome(cost=cost, is_late=True, reclaims=reclaims, zones_used=len(used))
