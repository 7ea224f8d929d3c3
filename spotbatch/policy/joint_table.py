"""The joint table of placement: costs-to-go over (pools up, job location, slack, time left), solved backwards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.policy.coupling import NONE, Coupling
from spotbatch.policy.placement import PlacementTerms, SpotPool

MOST_POOLS: Final = 5  # 32 sets of pools that are up
_MOST_CELLS: Final = 96
_MOST_STEPS: Final = 400
_MOST_BYTES: Final = 60_000_000  # of what is kept; later steps share an entry
_CELLS_A_STEP: Final = 4
_LATE_USD: Final = 1e6  # represents infinity, but stays finite under interpolation


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """How one pool goes down and recovers, regardless of age: the rates per hour of either."""

    up_ends_per_hour: float
    down_ends_per_hour: float


@dataclass(frozen=True, kw_only=True, slots=True)
class JointTable:
    """Costs-to-go in USD, `costs[step, location, pools up, cell]` (float32 of numpy).

    Locations: waiting with the checkpoint in each region, then on Spot in each pool, then on-demand in each region. A
    set of pools is a number with the first pool as its highest bit; on Spot in a pool that is down means reclaimed.
    """

    costs: Any
    pools: tuple[SpotPool, ...]
    regions: tuple[str, ...]
    step_seconds: float
    cell_seconds: float

    @property
    def bytes(self) -> int:
        return int(self.costs.nbytes)


def solve_joint(
    terms: PlacementTerms, pools: Sequence[SpotPool], chances: Sequence[Chance], coupling: Coupling = NONE
) -> JointTable:
    """The table for a job and at most five pools; pools of one region are coupled by `coupling`. Needs numpy.

    Waiting costs a tick of slack, each start a changeover and the egress from the checkpoint's location, steady running
    its price. The safety net is built in: what it would refuse has infinite cost. Jobs with many ticks are solved on
    coarser ones.
    """
    import numpy as np

    factor = max(1, math.ceil(terms.ticks / _MOST_STEPS))
    step = terms.tick_seconds * factor
    steps = math.ceil(terms.deadline_seconds / step - 1e-9)
    slack = max(terms.slack_seconds, 0.0)
    cell = max(step / _CELLS_A_STEP, slack / _MOST_CELLS, 1e-6)
    odds = set_odds(np, tuple(pools), chances, coupling, step)
    world = _World(np, terms, tuple(pools), odds, step, cell, math.ceil(slack / cell) + 1)
    most = max(1, _MOST_BYTES // (4 * math.prod(world.shape)))
    every = math.ceil(steps / most)
    kept = np.empty((math.ceil(steps / every) + 1, *world.shape), dtype=np.float32)
    costs = np.zeros(world.shape, dtype=np.float32)
    kept[-1] = costs
    for number in range(steps - 1, -1, -1):
        costs = world.back(costs, terms.deadline_seconds - number * step)
        if number % every == 0:
            kept[number // every] = costs
    return JointTable(
        costs=kept, pools=world.pools, regions=world.regions, step_seconds=step * every, cell_seconds=cell
    )


class _World:
    """What stays constant from step to step. Arrays have the axes (location, set of pools up, slack cell)."""

    def __init__(
        self,
        np: Any,
        terms: PlacementTerms,
        pools: tuple[SpotPool, ...],
        odds: Any,
        step: float,
        cell: float,
        cells: int,
    ) -> None:
        self._np, self._step, self._terms, self.pools = np, step, terms, pools
        self.regions = tuple(sorted({each.region for each in pools}))
        count, places = len(pools), len(self.regions)
        self.shape = (2 * places + count, 2**count, cells)
        self._home = [self.regions.index(each.region) for each in pools] + list(range(places))
        self._is_up = sets_of(np, count)
        prices = [each.usd_per_hour for each in pools] + [terms.on_demand_usd_per_hour[each] for each in self.regions]
        self._price = np.array(prices, dtype=np.float32)[:, None, None]
        self._egress = np.array(
            [[terms.egress_usd(one, self.regions[home]) for home in self._home] for one in self.regions], np.float32
        )[:, :, None, None]
        self._odds = odds
        self._slack = np.arange(cells, dtype=np.float32) * np.float32(cell)
        self._start = _shift_of(np, terms.changeover_seconds / cell, cells)
        self._wait = _shift_of(np, step / cell, cells)

    def back(self, after: Any, left: float) -> Any:
        """Go back one step; `left` is the time left then, in seconds."""
        np, terms = self._np, self._terms
        places, count = len(self.regions), len(self.pools)
        mean = np.matmul(self._odds, after)  # over what the pools do within a step; small products, one core each
        length = min(self._step, left)
        used = (np.clip(left - self._slack, 0.0, length) / 3600.0).astype(np.float32)
        steady = mean[places:] + self._price * used
        held_back = terms.changeover_seconds + (0.0 if terms.is_reclaim_seen_at_once else length)
        steady[:count, :, self._slack < held_back] = _LATE_USD
        steady[:count][~self._is_up] = _LATE_USD
        wait = _shifted(np, mean[:places], self._wait)
        wait[:, :, self._slack < terms.changeover_seconds + length] = _LATE_USD
        anew = (_shifted(np, steady, self._start)[None] + self._egress).min(axis=1)
        idle = np.minimum(wait, anew)
        out = np.empty(self.shape, dtype=np.float32)
        out[:places] = idle
        for place, home in enumerate(self._home):
            np.minimum(steady[place], idle[home], out=out[places + place])
        out[:, :, left - self._slack <= 0] = 0.0
        return out


def sets_of(np: Any, count: int) -> Any:
    """Which pool is up in which set, by (pool, set); the first pool is the highest bit."""
    return np.array([[bool(n >> (count - 1 - each) & 1) for n in range(2**count)] for each in range(count)])


def others_of(np: Any, pools: Sequence[SpotPool]) -> Any:
    """A matrix that maps pools up to the share of each pool's regional peers that are up; nan if it has none."""
    same = np.array([[one.region == two.region and one is not two for two in pools] for one in pools], dtype=float)
    with np.errstate(invalid="ignore"):
        return same / same.sum(axis=1, keepdims=True)


def set_odds(
    np: Any, pools: tuple[SpotPool, ...], chances: Sequence[Chance], coupling: Coupling, step_seconds: float
) -> Any:
    """P(set of pools up a step later) by (set now, set then): each pool independently, given what is up now."""
    hours = step_seconds / 3600.0
    up = sets_of(np, len(pools))
    shares = others_of(np, pools) @ up
    odds = np.ones((up.shape[1], up.shape[1]))
    for place, each in enumerate(chances):
        stays = np.exp(-each.up_ends_per_hour * hours * _factors(np, coupling, True, shares[place]))
        comes = 1.0 - np.exp(-each.down_ends_per_hour * hours * _factors(np, coupling, False, shares[place]))
        to_up = np.where(up[place], stays, comes)[:, None]
        odds *= np.where(up[place][None, :], to_up, 1.0 - to_up)
    return odds.astype(np.float32)


def _factors(np: Any, coupling: Coupling, is_up: bool, shares: Any) -> Any:
    """The coupling factors by set; a pool alone in its region has none."""
    return np.where(np.isnan(shares), 1.0, coupling.factor(is_up, shares))


def _shift_of(np: Any, distance: float, cells: int) -> tuple[Any, Any, Any]:
    """A shift along the slack axis by a distance that need not be whole cells: source cells, shares, and what would
    be late."""
    place = np.arange(cells) - distance
    late = place < -1e-6
    place = np.clip(place, 0, None)
    low = np.floor(place + 1e-9).astype(int)
    return low, np.clip(place - low, 0.0, 1.0).astype(np.float32), late


def _shifted(np: Any, costs: Any, shift: tuple[Any, Any, Any]) -> Any:
    low, share, late = shift
    found = np.take(costs, low, axis=-1)
    found += (np.take(costs, np.minimum(low + 1, costs.shape[-1] - 1), axis=-1) - found) * share
    found[:, :, late] = _LATE_USD
    return found
