"""The vocabulary of multi-pool placement: what a job needs, where it may be, what is seen, and the safety net."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, Protocol

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.interface import EPSILON_SECONDS, Move

MOST_POOLS: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class SpotPool:
    """Spot capacity that comes and goes as a unit: a zone, or a region within which AWS chooses the zone."""

    name: str
    region: str
    usd_per_hour: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.usd_per_hour) and self.usd_per_hour > 0):
            raise InvalidInput(f"the price of pool {self.name} must be above 0 USD per hour, not {self.usd_per_hour}")


@dataclass(frozen=True, kw_only=True)
class PlacementTerms:
    """One job, a deadline, and the pools in which it may run. Raises InvalidInput.

    `changeover_seconds` is lost at each start, anywhere. `on_demand_usd_per_hour` is by region, and every pool's
    region has one. A move between two regions costs `checkpoint_gb` times the price per GB between them;
    pairs missing from `egress_usd_per_gb` are free within one region and refused otherwise.
    `is_reclaim_seen_at_once` as in `interface.Terms`.
    """

    work_seconds: float
    deadline_seconds: float
    changeover_seconds: float
    tick_seconds: float
    pools: tuple[SpotPool, ...]
    on_demand_usd_per_hour: Mapping[str, float]
    checkpoint_gb: float = 0.0
    egress_usd_per_gb: Mapping[tuple[str, str], float] = field(default_factory=dict)
    is_reclaim_seen_at_once: bool = False

    def __post_init__(self) -> None:
        for name in ("work_seconds", "deadline_seconds", "tick_seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InvalidInput(f"{name} must be a number above 0, not {getattr(self, name)}")
        for name in ("changeover_seconds", "checkpoint_gb"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InvalidInput(f"{name} must be 0 or more, not {getattr(self, name)}")
        self._check_pools()

    def _check_pools(self) -> None:
        names = [each.name for each in self.pools]
        if not 1 <= len(names) <= MOST_POOLS or len(set(names)) != len(names):
            raise InvalidInput(f"1 to {MOST_POOLS} pools with names of their own are needed, not {names}")
        for region in self.regions:
            usd = self.on_demand_usd_per_hour.get(region)
            if usd is None or not (math.isfinite(usd) and usd > 0):
                raise InvalidInput(f"the on-demand price of region {region} must be above 0 USD per hour, not {usd}")
        for one in self.regions if self.checkpoint_gb else ():
            for other in self.regions:
                if one != other and (one, other) not in self.egress_usd_per_gb:
                    raise InvalidInput(f"the price of a GB from {one} to {other} is not known: give it")

    @property
    def ticks(self) -> int:
        """Decisions until the deadline; the last tick may be partial."""
        return math.ceil(self.deadline_seconds / self.tick_seconds - 1e-9)

    @property
    def slack_seconds(self) -> float:
        return self.deadline_seconds - self.work_seconds

    @property
    def is_feasible(self) -> bool:
        """Whether on-demand from the first second meets the deadline."""
        return self.slack_seconds + EPSILON_SECONDS >= self.changeover_seconds

    @cached_property
    def regions(self) -> tuple[str, ...]:
        return tuple(sorted({each.region for each in self.pools}))

    def egress_usd(self, source: str, target: str) -> float:
        """The cost of moving the checkpoint; 0 if there is none yet (`source` is empty)."""
        if not source or source == target or not self.checkpoint_gb:
            return 0.0
        return self.checkpoint_gb * self.egress_usd_per_gb[source, target]


class Place(NamedTuple):
    """Where the job is: nowhere (WAIT), on Spot in a pool, or on-demand in a region. `region` is its instance's or,
    while it waits, its checkpoint's; it is empty before the first start."""

    move: Move
    region: str = ""
    pool: str = ""


class PlacementView(NamedTuple):
    """What is known when a move is due. If its Spot instance was reclaimed, `place` is a WAIT in the
    region of the checkpoint, and `reclaimed` names its pool. `usd_per_hour` are the current prices by pool."""

    elapsed_seconds: float
    done_seconds: float
    place: Place
    pending_seconds: float
    usd_per_hour: Mapping[str, float]
    reclaimed: str = ""


class Market(Protocol):
    """What a policy may ask of a pool during a decision."""

    def launch(self, pool: str) -> bool:
        """Whether an instance could be started; a failed launch costs nothing. A successful one must be used."""
        ...

    def probe(self, pool: str) -> bool:
        """Whether one could be launched, without keeping it: if so, a minute of its price is paid."""
        ...


class PlacementPilot(Protocol):
    """A policy applied to one job."""

    def decide(self, view: PlacementView, market: Market) -> Place:
        """The place until the next tick. Called once a tick, in order; Spot elsewhere only where `launch` succeeded."""
        ...


class PlacementPolicy(Protocol):
    """A rule for any job: `start` creates the pilot for one."""

    @property
    def name(self) -> str: ...

    def start(self, terms: PlacementTerms) -> PlacementPilot: ...


def is_safe(terms: PlacementTerms, view: PlacementView, place: Place) -> bool:
    """The exact safety net of `interface.is_safe`, for pools: would on-demand from the next tick on be in time?"""
    if place.move is Move.ON_DEMAND:
        return True
    time_left = terms.deadline_seconds - view.elapsed_seconds
    wasted = min(terms.tick_seconds, time_left)
    if place.move is Move.SPOT and terms.is_reclaim_seen_at_once:
        pending = view.pending_seconds if place == view.place else terms.changeover_seconds
        wasted = min(wasted, pending)
    work_left = terms.work_seconds - view.done_seconds
    return work_left + terms.changeover_seconds + wasted <= time_left - EPSILON_SECONDS
