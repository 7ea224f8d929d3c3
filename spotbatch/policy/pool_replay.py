"""The replay of one job over several pools, tick by tick, under a placement policy: what it costs in USD."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.interface import EPSILON_SECONDS, Move
from spotbatch.policy.placement import Place, PlacementPolicy, PlacementTerms, PlacementView

_PROBE_HOURS = 1 / 60.0  # EC2 bills at least a minute


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolsOutcome:
    """How a replay over several pools went, in USD."""

    usd: float
    egress_usd: float
    probe_usd: float
    on_demand_seconds: float
    is_late: bool
    reclaims: int
    starts: int
    attempts: int


class _Market:
    """One tick of the traces. Launches are counted; successful probes are billed."""

    def __init__(self) -> None:
        self.up: Mapping[str, bool] = {}
        self.prices: Mapping[str, float] = {}
        self.attempts, self.probe_usd = 0, 0.0
        self.launched: set[str] = set()

    def launch(self, pool: str) -> bool:
        self.attempts += 1
        if self.up[pool]:
            self.launched.add(pool)
        return self.up[pool]

    def probe(self, pool: str) -> bool:
        self.probe_usd += self.prices[pool] * _PROBE_HOURS * self.up[pool]
        return self.up[pool]


def replay_pools(
    terms: PlacementTerms,
    policy: PlacementPolicy,
    availability: Mapping[str, Sequence[bool]],
    usd_per_hour: Mapping[str, Sequence[float]] | None = None,
) -> PoolsOutcome:
    """Run the job to its end, or to the deadline, with one entry of each trace per tick.

    Availability and prices hold for a whole tick; without `usd_per_hour`, prices are those of the terms. An instance
    stays in its pool until it is reclaimed or released. The policy sees only its own instance and the results of its
    attempts. Raises InvalidInput for a pool without a trace, a short trace, or Spot that was not launched.
    """
    names = [each.name for each in terms.pools]
    if any(len(availability.get(name, ())) < terms.ticks for name in names):
        raise InvalidInput(f"a replay of {terms.ticks} ticks needs a trace as long for each of {', '.join(names)}")
    run = _Run(terms, policy)
    for number in range(terms.ticks):
        run.market.up = {name: bool(availability[name][number]) for name in names}
        run.market.prices = {
            each.name: usd_per_hour[each.name][number] if usd_per_hour else each.usd_per_hour for each in terms.pools
        }
        if run.tick(number):
            return run.outcome(is_late=False)
    return run.outcome(is_late=True)


class _Run:
    """The state of one replay."""

    def __init__(self, terms: PlacementTerms, policy: PlacementPolicy) -> None:
        self._terms, self._name = terms, policy.name
        self._pilot = policy.start(terms)
        self.market = _Market()
        self._place = Place(Move.WAIT)
        self._done = self._pending = self._usd = self._egress_usd = self._on_demand = 0.0
        self._reclaims = self._starts = 0

    def tick(self, number: int) -> bool:
        """Run one tick; returns whether the work is done by its end."""
        terms, market = self._terms, self.market
        elapsed = number * terms.tick_seconds
        reclaimed = ""
        if self._place.move is Move.SPOT and not market.up[self._place.pool]:
            reclaimed, self._pending, self._reclaims = self._place.pool, 0.0, self._reclaims + 1
            self._place = Place(Move.WAIT, self._place.region)
        market.launched = set()
        view = PlacementView(elapsed, self._done, self._place, self._pending, market.prices, reclaimed)
        self._go(self._pilot.decide(view, market), number)
        length = min(terms.tick_seconds, terms.deadline_seconds - elapsed)
        if not self._place.move:
            return False
        billed = min(length, self._pending + terms.work_seconds - self._done)
        self._usd += self._price() * billed / 3600.0
        self._on_demand += billed * (self._place.move is Move.ON_DEMAND)
        self._done += max(0.0, billed - self._pending)
        self._pending = max(0.0, self._pending - billed)
        return terms.work_seconds - self._done <= EPSILON_SECONDS

    def _go(self, place: Place, number: int) -> None:
        if place == self._place:
            return
        if place.move is Move.SPOT and place.pool not in self.market.launched:
            raise InvalidInput(
                f"policy {self._name} is in pool {place.pool} at tick {number}, and launched nothing there"
            )
        if place.move:
            self._egress_usd += self._terms.egress_usd(self._place.region, place.region)
            self._pending, self._starts = self._terms.changeover_seconds, self._starts + 1
        else:
            self._pending = 0.0
        self._place = place

    def _price(self) -> float:
        if self._place.move is Move.SPOT:
            return self.market.prices[self._place.pool]
        return self._terms.on_demand_usd_per_hour[self._place.region]

    def outcome(self, *, is_late: bool) -> PoolsOutcome:
        return PoolsOutcome(
            usd=self._usd + self._egress_usd + self.market.probe_usd,
            egress_usd=self._egress_usd,
            probe_usd=self.market.probe_usd,
            on_demand_seconds=self._on_demand,
            is_late=is_late,
            reclaims=self._reclaims,
            starts=self._starts,
            attempts=self.market.attempts,
        )
