"""Our placement over several pools: the cheapest place by the joint table and our beliefs, and an exact safety net."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from spotbatch.policy.coupling import FITTED_COUPLING, Coupling
from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.interface import Move
from spotbatch.policy.joint_table import MOST_POOLS, Chance, JointTable, solve_joint
from spotbatch.policy.placement import Market, Place, PlacementTerms, PlacementView, SpotPool, is_safe
from spotbatch.policy.pool_beliefs import PoolBeliefs
from spotbatch.policy.region_table import RegionTable

_SCARCE: Final = 0.5
_HOUR: Final = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JointPolicy:
    """The joint table, solved once per job, and a filter over regime and age for each pool.

    `recovery`: the table assumes that pools recover this many times as fast as believed, since outages are correlated
    beyond `coupling`; `scarce_recovery` where Spot is scarce. Spot is scarce if it is believed to be up less than the
    fraction `solve_again_below` of the time, as a mean over the table's pools: then the table is solved again every
    `solve_again_seconds` with the beliefs at that time. 0 means never, 1 always.
    `region_weight`: where all pools are of one region, this part of the costs comes from `region_table`, the rest from
    the joint table; 0 uses the joint table alone.
    `is_aged` False uses the table's own odds for the next tick, `is_moving` False stays on a Spot instance until it is
    reclaimed, `is_wide` False considers only pools like those fitted: all for ablation.
    """

    model: HazardModel
    name: str = "joint table"
    recovery: float = 0.7
    scarce_recovery: float = 0.3
    coupling: Coupling = FITTED_COUPLING
    solve_again_below: float = _SCARCE
    solve_again_seconds: float = 6 * _HOUR
    region_weight: float = 0.5
    is_wide: bool = True
    is_aged: bool = True
    is_moving: bool = True

    def start(self, terms: PlacementTerms) -> "JointPilot":
        """A pilot for one job; the first one for these terms solves the table. Needs numpy."""
        return JointPilot(terms, self)

    @property
    def believed(self) -> HazardModel:
        """The regimes considered possible."""
        return self.model.widened() if self.is_wide else self.model


@lru_cache(maxsize=2)
def _solved(key: "_Key") -> JointTable:
    return solve_joint(key.terms, key.pools, key.chances, key.coupling)


@dataclass(frozen=True, eq=False, slots=True)
class _Key:
    """The key of a table: terms hold mappings, and so are compared by content."""

    terms: PlacementTerms
    pools: tuple[SpotPool, ...]
    chances: tuple[Chance, ...]
    coupling: Coupling

    def _said(self) -> tuple[object, ...]:
        return (repr(self.terms), self.pools, self.chances, self.coupling)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())


class JointPilot:
    """One job in progress. It knows about a pool only what its own launch attempts and instances there showed."""

    def __init__(self, terms: PlacementTerms, policy: JointPolicy) -> None:
        self._terms, self._policy = terms, policy
        self._beliefs = PoolBeliefs(policy.believed, terms.tick_seconds, terms.pools, policy.coupling)
        self._places = {each.name: place for place, each in enumerate(terms.pools)}
        is_mixed = policy.region_weight > 0 and len(terms.regions) == 1
        self._region = RegionTable(terms, policy.believed) if is_mixed else None
        self._is_first = True
        self._solved_at = 0.0
        self._solve()

    @property
    def table(self) -> JointTable:
        return self._table

    def watch(self, is_up: Sequence[bool]) -> None:
        """Process the pools' state at a tick before the job starts; the table is solved anew when it does."""
        self._step([*enumerate(is_up)])
        if self._region is not None:
            self._region.see(any(is_up))
        self._solved_at = -_HOUR * 24

    def decide(self, view: PlacementView, market: Market) -> Place:
        seen = []
        if view.place.move is Move.SPOT:
            seen.append((self._places[view.place.pool], True))
        if view.reclaimed:
            seen.append((self._places[view.reclaimed], False))
        self._step(seen)
        self._solve_again(view.elapsed_seconds)
        if self._region is not None and view.reclaimed:
            self._region.see(False)
        place, is_up = self._try(view, market, {place for place, _ in seen})
        if self._region is not None:
            self._region.see(True if view.place.move is Move.SPOT else is_up)
        return place

    def _step(self, seen: Sequence[tuple[int, bool]]) -> None:
        if not self._is_first:
            self._beliefs.pass_tick()
        self._is_first = False
        for place, is_up in seen:
            self._beliefs.see(place, is_up=is_up)

    # ---- the table ----

    def _solve_again(self, elapsed: float) -> None:
        if self._solved_at < 0 or (elapsed - self._solved_at >= self._policy.solve_again_seconds and self._is_scarce()):
            self._solve()
            self._solved_at = max(elapsed, 0.0)

    def _is_scarce(self) -> bool:
        found = self._beliefs.availability()
        mean = sum(found[each] for each in self._chosen) / len(self._chosen)
        return mean < self._policy.solve_again_below

    def _solve(self) -> None:
        np, terms = _numpy(), self._terms
        availability = self._beliefs.availability()
        self._chosen = _cheapest(terms, availability)
        pools = tuple(terms.pools[each] for each in self._chosen)
        mean = sum(availability[each] for each in self._chosen) / len(self._chosen)
        is_scarce = mean < self._policy.solve_again_below
        chances = self._beliefs.chances(self._policy.scarce_recovery if is_scarce else self._policy.recovery)
        self._chances = tuple(chances[each] for each in self._chosen)
        self._table = _solved(_Key(terms, pools, self._chances, self._policy.coupling))
        regions = self._table.regions
        self._targets = [Place(Move.SPOT, each.region, each.name) for each in pools]
        self._targets += [Place(Move.ON_DEMAND, each) for each in regions]
        self._egress = {
            source: np.array([terms.egress_usd(source, each.region) for each in self._targets])
            for source in ("", *terms.regions)
        }

    # ---- the move ----

    def _try(self, view: PlacementView, market: Market, known: set[int]) -> tuple[Place, bool | None]:
        """Try pools in order of cost-to-go: one that refuses is known to be down, and the costs are recomputed.

        Also returns whether the last pool that was tried is up; None if none was tried.
        """
        refused: set[int] = set()
        is_up: bool | None = None
        while True:
            place = self._cheapest(view, refused)
            if place.move is not Move.SPOT or place == view.place:
                return place, is_up
            number = self._places[place.pool]
            if number in known and place.pool == view.reclaimed:
                refused.add(number)
                continue
            is_up = market.launch(place.pool)
            self._beliefs.see(number, is_up=is_up)
            if is_up:
                return place, True
            refused.add(number)

    def _cheapest(self, view: PlacementView, refused: set[int]) -> Place:
        """The place with the lowest cost-to-go among those that the safety net allows and that did not refuse."""
        costs, wait = self._mixed(view, refused)
        best, least = self._net(view), float("inf")
        for place, cost in zip(self._targets, costs, strict=True):
            if place.move is Move.SPOT and (self._places[place.pool] in refused or not self._may(view, place)):
                continue
            if cost < least:
                best, least = place, cost
        if wait < least and is_safe(self._terms, view, waiting := Place(Move.WAIT, view.place.region)):
            return waiting
        return best

    def _may(self, view: PlacementView, place: Place) -> bool:
        is_leaving = view.place.move is Move.SPOT and place != view.place
        return is_safe(self._terms, view, place) and (self._policy.is_moving or not is_leaving)

    def _net(self, view: PlacementView) -> Place:
        """On-demand, in place if already on it: the fallback when nothing else is safe."""
        if view.place.move is Move.ON_DEMAND:
            return view.place
        region = view.place.region or min(self._terms.regions, key=self._terms.on_demand_usd_per_hour.__getitem__)
        return Place(Move.ON_DEMAND, region)

    def _mixed(self, view: PlacementView, refused: set[int]) -> tuple[list[float], float]:
        """Costs-to-go of each target, and of waiting, in USD: of the joint table, or the mean with the region's."""
        costs, wait = self._costs(view)
        if self._region is None:
            return costs, wait
        gone = refused | {self._places[each] for each in (view.reclaimed,) if each}
        others, other_wait = self._region.costs(view, self._targets, is_up=not gone.issuperset(self._chosen))
        share = self._policy.region_weight
        mean = [(1 - share) * one + share * other for one, other in zip(costs, others, strict=True)]
        return mean, (1 - share) * wait + share * other_wait

    def _costs(self, view: PlacementView) -> tuple[list[float], float]:
        """Costs-to-go of each target, and of waiting, in USD, by the joint table."""
        np, terms, table = _numpy(), self._terms, self._table
        left = terms.deadline_seconds - view.elapsed_seconds
        slack = left - (terms.work_seconds - view.done_seconds)
        count, places = len(self._chosen), len(table.regions)
        kept = np.array([view.place == each for each in self._targets])
        after = np.where(kept, slack - view.pending_seconds, slack - terms.changeover_seconds)
        length = min(terms.tick_seconds, left)
        step = min(int((view.elapsed_seconds + length) / table.step_seconds + 1e-6), len(table.costs) - 1)
        costs = table.costs[step]
        home = table.regions.index(view.place.region) if view.place.region in table.regions else 0
        rows = np.concatenate((np.arange(places, 2 * places + count), [home]))
        slacks = np.concatenate((after, [slack - length]))
        at = np.clip(slacks / table.cell_seconds, 0, costs.shape[-1] - 1)
        low = at.astype(int)
        high = np.minimum(low + 1, costs.shape[-1] - 1)
        mean = costs[rows, :, low] * (1 - at + low)[:, None] + costs[rows, :, high] * (at - low)[:, None]
        mean = self._expected(mean, count)
        prices = [view.usd_per_hour[each.pool] for each in self._targets[:count]]
        prices += [terms.on_demand_usd_per_hour[each.region] for each in self._targets[count:]]
        used = np.clip(left - after, 0.0, length) / 3600.0
        egress = np.where(kept, 0.0, self._egress[view.place.region])
        found = np.where(after < -1e-6, np.inf, mean[:-1] + used * np.array(prices) + egress)
        return found.tolist(), float(mean[-1]) if slacks[-1] >= 0 else float("inf")

    def _expected(self, costs: Any, count: int) -> Any:
        """The mean over the next tick's sets of pools; a Spot target is up now, or it will not be started."""
        np = _numpy()
        believed, if_up = self._next()
        for axis in range(count):
            odds = np.full(len(costs), believed[axis])
            odds[axis] = if_up[axis]
            half = costs.reshape(len(costs), 2, -1)
            costs = half[:, 0] + (half[:, 1] - half[:, 0]) * odds[:, None]
        return costs[:, 0]

    def _next(self) -> tuple[Any, Any]:
        np = _numpy()
        if self._policy.is_aged:
            believed, if_up = self._beliefs.up_next()
            return believed[list(self._chosen)], if_up[list(self._chosen)]
        hours = self._terms.tick_seconds / 3600.0
        lost = 1.0 - np.exp([-each.up_ends_per_hour * hours for each in self._chances])
        back = 1.0 - np.exp([-each.down_ends_per_hour * hours for each in self._chances])
        up = self._beliefs.up_now()[list(self._chosen)]
        return up * (1.0 - lost) + (1.0 - up) * back, 1.0 - lost


def _cheapest(terms: PlacementTerms, availability: Sequence[float]) -> tuple[int, ...]:
    """At most five pools, ranked by the hourly cost if on-demand takes over while Spot is down."""

    def usd(place: int) -> float:
        pool, share = terms.pools[place], availability[place]
        return share * pool.usd_per_hour + (1.0 - share) * terms.on_demand_usd_per_hour[pool.region]

    return tuple(sorted(sorted(range(len(terms.pools)), key=usd)[:MOST_POOLS]))


def _numpy() -> Any:
    import numpy

    return numpy
