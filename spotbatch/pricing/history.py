"""Price history and the cost of usage: piecewise across price changes, per second, exact in Decimal."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.pricing.catalogue import Catalogue

MINIMUM_SECONDS: Final = 60  # EC2 pricing: Linux is billed by the second, with a minimum of 60 s per start
FREE_SECONDS: Final = 3600  # EC2 user guide, "Billing for interrupted Spot Instances": within the first hour, no charge
ANY_ZONE: Final = "*"  # a price that holds in every zone
_MILLIS_AN_HOUR: Final = 3_600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """Valid from `since` (UTC epoch seconds) until the next price of the same type and zone."""

    instance_type: str
    zone: str = ANY_ZONE
    since: float = 0.0
    usd_per_hour: Decimal

    def __post_init__(self) -> None:
        if not (self.usd_per_hour.is_finite() and self.usd_per_hour >= 0):
            raise InvalidInput(f"a price of {self.instance_type} must be 0 or more, not {self.usd_per_hour}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """A stretch of time on one instance type in one zone (UTC epoch seconds).

    A `lifetime` is billed as EC2 bills an instance: whole seconds, at least 60, and nothing if EC2 itself
    interrupted a Spot instance in its first hour. Any other usage is part of a lifetime and costs exactly its seconds.
    """

    instance_type: str
    zone: str
    started_at: float
    stopped_at: float
    is_lifetime: bool = True
    is_interrupted_by_ec2: bool = False

    def __post_init__(self) -> None:
        if not self.started_at <= self.stopped_at:
            raise InvalidInput(f"a usage cannot stop ({self.stopped_at}) before it starts ({self.started_at})")

    @property
    def billed_until(self) -> float:
        """When billing ends: a lifetime is rounded up to whole seconds, and to at least a minute."""
        if not self.is_lifetime:
            return self.stopped_at
        seconds = -(-millis(self.stopped_at - self.started_at) // 1000)
        return self.started_at + max(MINIMUM_SECONDS, seconds)

    @property
    def is_free(self) -> bool:
        """Whether the first-hour rule waives the whole charge."""
        lived = self.stopped_at - self.started_at
        return self.is_lifetime and self.is_interrupted_by_ec2 and lived < FREE_SECONDS


def millis(seconds: float) -> int:
    """Time is counted in whole milliseconds, so that a stretch and its parts add up exactly."""
    return round(seconds * 1000)


class PriceHistory:
    """What an instance type cost in a zone at a given time, with the source and date of the figures."""

    def __init__(self, prices: Iterable[Price], *, source: str, as_of: str):
        steps: dict[tuple[str, str], dict[int, Decimal]] = {}
        for each in prices:
            steps.setdefault((each.instance_type, each.zone), {})[millis(each.since)] = each.usd_per_hour
        self._steps = {key: sorted(found.items()) for key, found in steps.items()}
        self._times = {key: [at for at, _ in found] for key, found in self._steps.items()}
        self.source = source
        self.as_of = as_of

    def zones(self, instance_type: str) -> tuple[str, ...]:
        """The zones with prices of this type, in order; ANY_ZONE if one price applies to all."""
        return tuple(sorted(zone for name, zone in self._steps if name == instance_type))

    def knows(self, instance_type: str, zone: str) -> bool:
        return self._key(instance_type, zone) is not None

    def usd_per_hour(self, instance_type: str, zone: str, at: float) -> Decimal:
        """The price at a given time. Before the first known price, that price applies, as in EC2's own history.

        Raises NotFound if no price is known for this type in this zone: prices are never guessed.
        """
        steps = self._steps[self._known(instance_type, zone)]
        place = bisect_right(self._times[self._known(instance_type, zone)], millis(at)) - 1
        return steps[max(place, 0)][1]

    def cost(self, usage: Usage) -> Decimal:
        """USD for a usage, with EC2's rounding, minimum and first-hour rule if it is a lifetime.

        Raises NotFound if there is no price.
        """
        if usage.is_free:
            self._known(usage.instance_type, usage.zone)
            return Decimal(0)
        return self.gross(usage.instance_type, usage.zone, usage.started_at, usage.billed_until)

    def gross(self, instance_type: str, zone: str, start: float, stop: float) -> Decimal:
        """USD for the seconds between two times, piecewise across price changes. Raises NotFound without a price."""
        key = self._known(instance_type, zone)
        steps, times = self._steps[key], self._times[key]
        begin, end = millis(start), millis(stop)
        place = max(bisect_right(times, begin) - 1, 0)
        total = Decimal(0)
        while begin < end:
            until = times[place + 1] if place + 1 < len(times) else end
            total += steps[place][1] * (min(until, end) - begin)
            begin = min(until, end)
            place += 1
        return total / _MILLIS_AN_HOUR

    def mean(self, instance_type: str, zone: str, start: float, stop: float) -> Decimal:
        """The time-weighted mean price, USD per hour, over a non-empty period."""
        if millis(start) >= millis(stop):
            raise InvalidInput(f"a mean price needs a stretch of time, not {start} to {stop}")
        return self.gross(instance_type, zone, start, stop) * _MILLIS_AN_HOUR / (millis(stop) - millis(start))

    def _key(self, instance_type: str, zone: str) -> tuple[str, str] | None:
        for key in ((instance_type, zone), (instance_type, ANY_ZONE)):
            if key in self._steps:
                return key
        return None

    def _known(self, instance_type: str, zone: str) -> tuple[str, str]:
        key = self._key(instance_type, zone)
        if key is None:
            raise NotFound(
                f"no price is known for {instance_type} in zone {zone} ({self.source}, {self.as_of}): "
                f"`spotbatch prices refresh` asks AWS for it"
            )
        return key


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """Spot and on-demand prices together, as every bill needs both."""

    spot: PriceHistory
    on_demand: PriceHistory

    def of(self, *, is_spot: bool) -> PriceHistory:
        return self.spot if is_spot else self.on_demand

    @property
    def sources(self) -> tuple[str, ...]:
        """One sentence per price list: its source and date."""
        return tuple(
            f"{name}: {each.source}, as of {each.as_of}"
            for name, each in (("Spot", self.spot), ("on-demand", self.on_demand))
        )


def flat(usd_per_hour: Mapping[str, Decimal], *, source: str, as_of: str) -> PriceHistory:
    """A history in which each type has one price, at all times and in all zones."""
    prices = (Price(instance_type=name, usd_per_hour=usd) for name, usd in usd_per_hour.items())
    return PriceHistory(prices, source=source, as_of=as_of)


def prices_of(catalogue: Catalogue) -> Prices:
    """A catalogue's prices. Its Spot prices are means over zones and a month: good for a forecast, not for a bill."""
    types = list(catalogue)
    spot = {each.name: each.spot_usd_per_hour for each in types if each.spot_usd_per_hour is not None}
    return Prices(
        spot=flat(spot, source=catalogue.spot_source, as_of=_days(each.spot_date for each in types)),
        on_demand=flat(
            {each.name: each.on_demand_usd_per_hour for each in types},
            source=catalogue.source,
            as_of=_days(each.on_demand_date for each in types),
        ),
    )


def _days(dates: Iterable[str]) -> str:
    """One day, or the first and the last of several."""
    found = sorted(set(dates))
    if not found:
        return "no day"
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"
