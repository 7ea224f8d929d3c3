"""Prices of everything except instances that the stack can add to a bill, and its cost while idle."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.usage import HostLife

HOURS_A_MONTH: Final = 730  # as in AWS's own pricing calculator
AS_OF: Final = "2025"
PROVENANCE: Final = f"us-east-1, as published by AWS in {AS_OF}, not verified here; free tiers are left out"
_SECONDS_A_MONTH: Final = HOURS_A_MONTH * 3600
_DATA: Final = Path(__file__).parent / "data" / "unit_prices.csv"

_PERIODS: Final[Mapping[str, Literal["hour", "month", "use"]]] = {"hour": "hour", "month": "month", "use": "use"}

Number = int | float | Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitPrice:
    """The price of one unit, per hour or month that it exists, or per use."""

    item: str
    usd: Decimal
    unit: str
    per: Literal["hour", "month", "use"]
    description: str
    source: str

    @property
    def usd_per_month(self) -> Decimal:
        """The cost of one that exists for a whole month; 0 for items billed by use."""
        return {"hour": self.usd * HOURS_A_MONTH, "month": self.usd, "use": Decimal(0)}[self.per]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A quantity, its price and the resulting cost: per month for idle cost, in total for usage."""

    item: str
    description: str
    quantity: Decimal
    unit: str
    usd: Decimal
    source: str


@lru_cache(maxsize=1)
def unit_prices() -> Mapping[str, UnitPrice]:
    """The shipped table, read once."""
    rows = csv.DictReader(_DATA.read_text(encoding="utf-8").splitlines())
    return {row["item"]: _unit_price(row) for row in rows}


def _unit_price(row: Mapping[str, str]) -> UnitPrice:
    return UnitPrice(
        item=row["item"],
        usd=Decimal(row["usd"]),
        unit=row["unit"],
        per=_PERIODS[row["per"]],
        description=row["description"],
        source=row["source"],
    )


def idle_cost(counts: Mapping[str, Number]) -> tuple[Line, ...]:
    """What resources cost in a month (730 h) in which nothing runs, most expensive first; `usd` is per month.

    `counts` is the number of each item of the table, e.g. `{"nat_gateway": 1, "public_ipv4": 1, "alarm": 5}`.
    Items billed by use cost nothing while idle and are listed as such. Raises InvalidInput for an unknown item or a
    count below 0. `PROVENANCE` states the date of the prices.
    """
    lines = [_line(item, count, monthly=True) for item, count in counts.items()]
    return tuple(sorted(lines, key=lambda line: (-line.usd, line.item)))


def usage_cost(quantities: Mapping[str, Number]) -> tuple[Line, ...]:
    """The cost of used quantities: unit-hours of items sold by the hour, unit-months, or uses."""
    lines = [_line(item, quantity, monthly=False) for item, quantity in quantities.items()]
    return tuple(sorted(lines, key=lambda line: (-line.usd, line.item)))


# What AWS deducts per month and account, regardless of the account's age (CloudWatch pricing, "Free tier", 2025).
_FREE: Final[Mapping[str, int]] = {"alarm": 10, "dashboard": 3, "custom_metric": 10}


def free_tier(lines: Iterable[Line]) -> Decimal:
    """The most that AWS's always-free tier deducts from these lines in a month, in USD: per account, not per stack."""
    free = [
        (unit_prices()[one.item].usd_per_month, one.quantity, _FREE[one.item]) for one in lines if one.item in _FREE
    ]
    return sum((usd * min(quantity, Decimal(most)) for usd, quantity, most in free), Decimal(0))


def total(lines: Iterable[Line]) -> Decimal:
    """The sum of some lines, USD."""
    return sum((line.usd for line in lines), Decimal(0))


def host_quantities(
    hosts: Iterable[HostLife], *, until: float, volume_gib: int = 50, has_public_ipv4: bool = False
) -> Mapping[str, Decimal]:
    """What comes with every host: its gp3 volume, and its public address if the stack assigns one.

    Quantities for `usage_cost`. `until` (UTC epoch seconds) is where hosts that are still running are cut off.
    """
    seconds = sum(
        Decimal(str(max(0.0, (until if each.ended_at is None else each.ended_at) - each.launched_at))) for each in hosts
    )
    found = {"ebs_gp3_gib": Decimal(volume_gib) * seconds / _SECONDS_A_MONTH}
    if has_public_ipv4:
        found["public_ipv4"] = Decimal(seconds) / 3600
    return found


def _line(item: str, count: Number, *, monthly: bool) -> Line:
    price = unit_prices().get(item)
    if price is None:
        raise InvalidInput(f"there is no unit price for {item!r}; known are: {', '.join(unit_prices())}")
    quantity = Decimal(str(count))
    if not quantity >= 0:
        raise InvalidInput(f"the number of {item} must be 0 or more, not {count}")
    rate = price.usd_per_month if monthly else price.usd
    unit = price.unit if monthly or price.per == "use" else f"{price.unit}-{price.per}s"
    return Line(
        item=item,
        description=price.description,
        quantity=quantity,
        unit=unit,
        usd=rate * quantity,
        source=price.source,
    )
