"""The replay of one job against a trace of Spot availability, tick by tick, under a policy."""

from collections.abc import Sequence
from dataclasses import dataclass

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.interface import EPSILON_SECONDS, Move, Policy, Terms, View


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a replay went. A cost is in seconds of Spot price; times are seconds from the start."""

    finished_at: float | None
    spot_seconds: float
    on_demand_seconds: float
    starts: int
    reclaims: int
    moves: tuple[Move, ...]
    price_ratio: float
    is_late: bool

    @property
    def cost(self) -> float:
        return self.spot_seconds + self.on_demand_seconds * self.price_ratio


def saving(cost: float, terms: Terms) -> float:
    """The fraction of the on-demand bill for the bare work (without changeovers) that was saved; 0.4 is 40 %."""
    return 1.0 - cost / (terms.work_seconds * terms.price_ratio)


def replay(terms: Terms, policy: Policy, availability: Sequence[bool]) -> Outcome:
    """Run the job to its end, or to the deadline, with one entry of `availability` per tick.

    As in the simulator of "Can't Be Late": availability at a tick holds for the whole tick; a tick on an instance is
    billed even if spent on the changeover, and billing ends with the work. Raises InvalidInput for a short trace, or
    for a policy that requests Spot when there is none.
    """
    if len(availability) < terms.ticks:
        raise InvalidInput(f"a replay of {terms.ticks} ticks needs as many entries of a trace, not {len(availability)}")
    pilot = policy.start(terms)
    elapsed = done = pending = 0.0
    billed = [0.0, 0.0, 0.0]
    starts = reclaims = 0
    instance = Move.WAIT
    moves: list[Move] = []
    work, deadline, tick = terms.work_seconds, terms.deadline_seconds, terms.tick_seconds
    for number in range(terms.ticks):
        is_up = bool(availability[number])
        if instance is Move.SPOT and not is_up:
            instance, pending, reclaims = Move.WAIT, 0.0, reclaims + 1
        move = pilot.decide(View(elapsed, done, instance, pending, is_up))
        if move is Move.SPOT and not is_up:
            raise InvalidInput(f"policy {policy.name} asked for Spot at tick {number}, where there is none")
        if move is not instance:
            instance, pending = move, terms.changeover_seconds if move else 0.0
            starts += 1 if move else 0
        moves.append(move)
        length = min(tick, deadline - elapsed)
        if move:
            used = min(length, pending + work - done)
            billed[move] += used
            progress = max(0.0, used - pending)
            pending = max(0.0, pending - used)
            done += progress
            if work - done <= EPSILON_SECONDS:
                return _outcome(terms, elapsed + used, billed, starts, reclaims, moves)
        elapsed = min((number + 1) * tick, deadline)
    return _outcome(terms, None, billed, starts, reclaims, moves)


def _outcome(
    terms: Terms, finished_at: float | None, billed: list[float], starts: int, reclaims: int, moves: list[Move]
) -> Outcome:
    return Outcome(
        finished_at=finished_at,
        spot_seconds=billed[Move.SPOT],
        on_demand_seconds=billed[Move.ON_DEMAND],
        starts=starts,
        reclaims=reclaims,
        moves=tuple(moves),
        price_ratio=terms.price_ratio,
        is_late=finished_at is None,
    )
