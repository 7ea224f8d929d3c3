"""How long Spot stays up or down in one pool: hazards by the age of the period, in a few weighted regimes."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from spotbatch.batch.errors import InvalidInput

LEAST_PROBABILITY: Final = 1e-9
_STRETCH: Final = 3.0  # factor by which periods may be longer or shorter in a pool unlike those fitted
_DOUBT: Final = 0.1  # prior probability of all pools together that are unlike those fitted


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """One way in which a pool behaves. Hazards are rates per hour, one per age bucket."""

    weight: float
    up_ends_per_hour: tuple[float, ...]
    down_ends_per_hour: tuple[float, ...]

    def rates(self, is_up: bool) -> tuple[float, ...]:
        return self.up_ends_per_hour if is_up else self.down_ends_per_hour


@dataclass(frozen=True, kw_only=True, slots=True)
class HazardModel:
    """A mixture of regimes. `edges_seconds` are lower edges of age buckets; the first is 0, the last bucket is open."""

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
        """The probability that a period of this age has ended a tick later."""
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
        """Where an age uniformly distributed over a bucket is one tick later: buckets with their shares."""
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
        """The same model with all hazards multiplied: insurance against a pool less stable than those fitted."""
        regimes = tuple(
            Regime(
                weight=each.weight,
                up_ends_per_hour=_times(each.up_ends_per_hour, factor),
                down_ends_per_hour=_times(each.down_ends_per_hour, factor),
            )
            for each in self.regimes
        )
        return HazardModel(edges_seconds=self.edges_seconds, regimes=regimes, source=self.source)

    def mean_hours(self, rates: tuple[float, ...]) -> float:
        """The mean length of a period with these rates; infinity if an old one never ends."""
        total, alive = 0.0, 1.0
        for place, rate in enumerate(rates):
            is_last = place + 1 == len(rates)
            hours = math.inf if is_last else (self.edges_seconds[place + 1] - self.edges_seconds[place]) / 3600.0
            stays = math.exp(-rate * hours) if rate else float(not is_last)
            total += alive * ((1.0 - stays) / rate if rate else hours)
            alive *= stays
        return total

    def widened(self) -> "HazardModel":
        """The same regimes, plus ones for what a different kind of pool, or another year, may bring.

        The mean hazards with up or down periods three times longer or shorter, and memoryless ones. Bayes' rule sorts
        these out as the pool is observed; a small prior is enough.
        """
        up, down = self._mean_rates(is_up=True), self._mean_rates(is_up=False)
        others = [
            *((_times(up, factor), down) for factor in (1 / _STRETCH, _STRETCH)),
            *((up, _times(down, factor)) for factor in (1 / _STRETCH, _STRETCH)),
            (self._without_memory(up), self._without_memory(down)),
        ]
        own = [(each.weight * (1.0 - _DOUBT), each.up_ends_per_hour, each.down_ends_per_hour) for each in self.regimes]
        found = [*own, *((_DOUBT / len(others), *each) for each in others)]
        regimes = tuple(Regime(weight=one, up_ends_per_hour=two, down_ends_per_hour=three) for one, two, three in found)
        return HazardModel(edges_seconds=self.edges_seconds, regimes=regimes, source=self.source)

    def _mean_rates(self, *, is_up: bool) -> tuple[float, ...]:
        return tuple(
            sum(each.weight * each.rates(is_up)[place] for each in self.regimes)
            for place in range(len(self.edges_seconds))
        )

    def _without_memory(self, rates: tuple[float, ...]) -> tuple[float, ...]:
        """A single rate for all ages, with the same mean period length."""
        return (1.0 / max(self.mean_hours(rates), 1e-9),) * len(rates)


def _times(rates: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return tuple(rate * factor for rate in rates)
