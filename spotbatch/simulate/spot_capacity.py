"""Spot capacity: when a pool has none, from a trace, from the fitted model, or from a seeded rate."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.placement import Pool
from spotbatch.policy.fitted_model import SAME_REGION_CORRELATION
from spotbatch.policy.hazard import HazardModel
from spotbatch.simulate.trace import Trace


class Outage(NamedTuple):
    """A pool has no capacity from `begins` until `ends` (seconds of the run). Its hosts are reclaimed at its start."""

    begins: float
    ends: float


class SpotCapacity(Protocol):
    """Where outages come from."""

    def outages(self, pool: Pool, random: Random) -> Iterator[Outage]:
        """The outages of one pool, in order, endless or until there are no more."""
        ...

    @property
    def host_reclaims_per_hour(self) -> float:
        """The rate at which one host is reclaimed although its pool has capacity."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Calm:
    """No outages: on-demand, or an ideal case."""

    host_reclaims_per_hour: float = 0.0

    def outages(self, pool: Pool, random: Random) -> Iterator[Outage]:  # noqa: ARG002 - the face of SpotCapacity
        return iter(())


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityAtRate:
    """Reclaims at a rate (each host sees `reclaims_per_hour`), of which the fraction `correlation` takes a whole pool.

    Within one type and zone interruptions are correlated, so the default is high. A reclaimed pool is without capacity
    for `outage_seconds` on average; both times are exponential.
    """

    reclaims_per_hour: float
    correlation: float = 0.9
    outage_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not (0 <= self.reclaims_per_hour < math.inf and 0 <= self.correlation <= 1 and self.outage_seconds > 0):
            raise InvalidInput(
                f"a rate is 0 or more ({self.reclaims_per_hour}), the correlation 0 to 1 ({self.correlation}), "
                f"an outage longer than 0 s ({self.outage_seconds})"
            )

    @property
    def host_reclaims_per_hour(self) -> float:
        return self.reclaims_per_hour * (1 - self.correlation)

    def outages(self, pool: Pool, random: Random) -> Iterator[Outage]:  # noqa: ARG002 - all pools alike
        rate = self.reclaims_per_hour * self.correlation / 3600.0
        at = 0.0
        while rate > 0:
            begins = at + random.expovariate(rate)
            at = begins + random.expovariate(1 / self.outage_seconds)
            yield Outage(begins, at)


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityByModel:
    """Outages drawn from the fitted model: each pool gets a regime, and periods with hazards by age.

    Two pools of a region are up and down with the given correlation: each follows its region's common course with the
    square root of that probability, otherwise its own. `common_seed` is the run's.
    """

    model: HazardModel
    correlation: float = SAME_REGION_CORRELATION
    common_seed: int = 0
    host_reclaims_per_hour: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.correlation <= 1:
            raise InvalidInput(f"the correlation of pools must be 0 to 1, not {self.correlation}")

    def outages(self, pool: Pool, random: Random) -> Iterator[Outage]:
        if random.random() < math.sqrt(self.correlation):
            region = pool.zone[:-1]  # us-east-1a is in us-east-1
            random = Random(f"{self.common_seed}/{region}/common")  # noqa: S311 - a seeded world is no secret
        regime = random.choices(self.model.regimes, [each.weight for each in self.model.regimes])[0]
        at = 0.0
        while True:
            begins = at + _drawn_period(self.model, regime.up_ends_per_hour, random)
            at = begins + _drawn_period(self.model, regime.down_ends_per_hour, random)
            yield Outage(begins, at)


def _drawn_period(model: HazardModel, rates: tuple[float, ...], random: Random) -> float:
    """A length with these rates by age: the integral of the rate reaches an exponential draw."""
    left = random.expovariate(1.0)
    for place, rate in enumerate(rates):
        begin = model.edges_seconds[place]
        end = model.edges_seconds[place + 1] if place + 1 < len(rates) else math.inf
        per_second = max(rate, 1e-6) / 3600.0
        if left <= per_second * (end - begin):
            return begin + left / per_second
        left -= per_second * (end - begin)
    raise AssertionError("the last bucket is open")


@dataclass(frozen=True, kw_only=True)
class CapacityFromTrace:
    """Outages from traces, starting at `offset_seconds`; a trace repeats from its start when it ends.

    A pool's trace is that of its zone. Zones without one take the traces in turn if `is_by_order`.
    """

    traces: Mapping[str, Trace]
    offset_seconds: float = 0.0
    is_by_order: bool = False
    host_reclaims_per_hour: float = 0.0
    _taken: dict[str, str] = field(default_factory=dict, compare=False)

    def trace_of(self, pool: Pool) -> Trace:
        """Raises NotFound for a zone without a trace."""
        found = self.traces.get(pool.zone)
        if found is None and self.is_by_order:
            names = sorted(self.traces)
            found = self.traces[self._taken.setdefault(pool.zone, names[len(self._taken) % len(names)])]
        if found is None:
            raise NotFound(f"there is no trace of zone {pool.zone}; the file has {', '.join(sorted(self.traces))}")
        return found

    def outages(self, pool: Pool, random: Random) -> Iterator[Outage]:  # noqa: ARG002 - a trace has no chance in it
        trace = self.trace_of(pool)
        if all(trace.available):
            return
        tick, count = trace.tick_seconds, len(trace.available)
        first = int(self.offset_seconds / tick) % count
        begins: float | None = None
        for number in range(1 << 62):
            if number == 2 * count and begins == 0.0:
                yield Outage(0.0, math.inf)  # it is never up
                return
            is_up = trace.available[(first + number) % count]
            if not is_up and begins is None:
                begins = number * tick
            elif is_up and begins is not None:
                yield Outage(begins, number * tick)
                begins = None
