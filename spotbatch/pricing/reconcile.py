"""Our estimate compared with what AWS billed, day by day."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spotbatch.pricing.report import CostReport, usd

CLOSE_PERCENT: Final = 5  # a smaller difference is explained by price movements


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """One UTC day. `billed_usd` is None if Cost Explorer has no figure (yet: it lags by about a day)."""

    day: str
    reckoned_usd: Decimal
    billed_usd: Decimal | None

    @property
    def difference_usd(self) -> Decimal | None:
        """What AWS billed above our estimate; negative if AWS billed less."""
        return None if self.billed_usd is None else self.billed_usd - self.reckoned_usd

    @property
    def is_close(self) -> bool | None:
        """Whether both agree within a few per cent; None if there is nothing to compare."""
        if self.difference_usd is None:
            return None
        return abs(self.difference_usd) * 100 <= CLOSE_PERCENT * max(self.reckoned_usd, Decimal(0))

    def to_json(self) -> dict[str, object]:
        return {
            "day": self.day,
            "reckoned_usd": usd(self.reckoned_usd),
            "billed_usd": None if self.billed_usd is None else usd(self.billed_usd),
            "difference_usd": None if self.difference_usd is None else usd(self.difference_usd),
            "is_close": self.is_close,
        }


def reconcile(report: CostReport, billed_by_day: Mapping[str, Decimal]) -> tuple[Day, ...]:
    """The report's days next to Cost Explorer's (`aws.prices.billed_by_day`), in order.

    Cost Explorer's figure includes everything with the tag: hosts of other runs, volumes, the NAT gateway. So the two
    agree only if the tag is unique to this run; a day that AWS billed but we estimate at nothing is listed too.
    """
    reckoned = {group.name: group.paid_usd for group in report.by("day")}
    return tuple(
        Day(day=day, reckoned_usd=reckoned.get(day, Decimal(0)), billed_usd=billed_by_day.get(day))
        for day in sorted(reckoned.keys() | {day for day, amount in billed_by_day.items() if amount})
    )
