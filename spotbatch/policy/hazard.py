"""How long Spot stays up, and away, in one pool: hazards by the age of the period, in a few regimes with weights."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from spotbatch.batch.errors import InvalidInput

LEAST_PROBABILITY: Final = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """One way in which a pool behaves. A hazard is a rate per hour, one for each bucket of the age."""

    weight: float
    up_ends_per_hour: tuple[float, ...]
    down_ends_per_hour: tuple[float, ...]

    def rates(self, is_up: bool) -> tuple[float, ...]:
        return self.up_ends_per_hour if is_up else self.down_ends_per_hour


@dataclass(frozen=True, kw_only=True, slots=True)
class HazardModel:
    """A mixture of regimes. `edges_seconds` are where buckets of the age begin; the first is 0, the last is open."""

    edges_seconds: tuple[float, ...]
    regimes: tuple[Regime, ...]
    source: str = ""

    def __post_init__(self) -> None:
        edges = self.edges_seconds
        if not edges or edges[0] != 0 or any(a >= b for a, b in pairwise(edges)):
            raise InvalidInput(f"the buckets of ages must begin at 0 and ascend, not {edges}")
        if not self.regimes or not math.isclose(sum(each.weight for each in self.regimes), 1.0, abs_tol=1e-6):
            raise InvalidInput(f"the weights of the regimes must add up to 1: {[each.weight for each in self.regimes]}")
        for each in self.regimes:
            for rates in (each.up_ends_per_hour, each.down_ends_per_hour):
                if len(rates) != len(edges) or not all(math.isfinite(rate) and rate >= 0 for rate in rates):
                    raise InvalidInput(f"a regime has one rate of 0 or more for each of {len(edges)} ages: {rates}")

    def bucket(self, age_seconds: float) -> int:
        return bisect_right(self.edges_seconds, age_seconds) - 1

    def end_probability(self, regime: Regime, is_up: bool, age_seconds: float, tick_seconds: float) -> float:
        """The chance that a period of this age has ended a tick later."""
        rates = regime.rates(is_up)
        total, at, left = 0.0, age_seconds, tick_seconds
        place = self.bucket(at)
        while left > 0:
            until = self.edges_seconds[place + 1] if place + 1 < len(rates) else math.inf
            stretch = min(left, until - at)
            total += rates[place] * stretch / 3600.0
            at, left, place = at + stretch, left - stretch, place + 1
        return min(max(-math.expm1(-total), LEAST_PROBABILITY), 1.0 - LEAST_PROBABILITY)

    def ages_after(self, bucket: int, tick_seconds: float) -> list[tuple[int, float]]:
        """Where an age that is spread evenly over a bucket is a tick later: buckets with their shares."""
        last = len(self.edges_seconds) - 1
        if bucket == last:
            return [(last, 1.0)]
        low, high = self.edges_seconds[bucket], self.edges_seconds[bucket + 1]
        shares = list[tuple[int, float]]()
        for place in range(bucket, last + 1):
            begin = self.edges_seconds[place] - tick_seconds
            end = self.edges_seconds[place + 1] - tick_seconds if place < last else math.inf
            share = (min(high, end) - max(low, begin)) / (high - low)
            if share > 1e-12:
                shares.append((place, share))
        return shares

    def harsher(self, factor: float) -> "HazardModel":
        """The same with all hazards multiplied: insurance against a pool that is less steady than those fitted."""
        regimes = tuple(
            Regime(
                weight=each.weight,
                up_ends_per_hour=tuple(rate * factor for rate in each.up_ends_per_hour),
                down_ends_per_hour=tuple(rate * factor for rate in each.down_ends_per_hour),
            )
            for each in self.regimes
        )
        return HazardModel(edges_seconds=self.edges_seconds, regimes=regimes, source=self.source)
