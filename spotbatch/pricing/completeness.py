"""How much of a bill is known: all of it, so far, or a part; one type for every screen that shows a sum."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from spotbatch.pricing.report import CostReport
from spotbatch.wording import count


class Coverage(StrEnum):
    """What is said beside a sum; nothing where it is whole and will not grow."""

    COMPLETE = ""
    SO_FAR = "so far"  # all that is known by now; work or hosts go on
    AT_LEAST = "at least"  # something is missing


@dataclass(frozen=True, kw_only=True, slots=True)
class Completeness:
    """The coverage of a bill, and why it is not complete, in plain words."""

    coverage: Coverage = Coverage.COMPLETE
    why: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: CostReport, *, missing: Iterable[str] = (), unread: int = 0, is_over: bool = True) -> Self:
        """What is known of a report's sums.

        `missing` says what is not in them beside what the report itself left out, `unread` how many jobs or children
        were not asked for, `is_over` whether the work has ended.
        """
        lacking = [*missing, *report.missing]
        if unread:
            lacking.append(f"{count(unread, 'job')} not read yet")
        if lacking:
            return cls(coverage=Coverage.AT_LEAST, why=tuple(lacking))
        running = sum(each.ended_at is None for each in report.hosts)
        if running:
            return cls(coverage=Coverage.SO_FAR, why=(f"{count(running, 'host')} up still",))
        return cls() if is_over else cls(coverage=Coverage.SO_FAR, why=("the work goes on",))

    def words(self, figure: str) -> str:
        """A figure with what must be said beside it."""
        if self.coverage is Coverage.AT_LEAST:
            return f"{self.coverage} {figure}"
        return f"{figure} {self.coverage}".rstrip()

    def to_json(self) -> dict[str, object]:
        return {"coverage": self.coverage.name, "why": list(self.why)}
