"""How much of a bill is known: final, so far, or partial. One type for every screen that shows a total."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from spotbatch.pricing.report import CostReport
from spotbatch.wording import count


class Coverage(StrEnum):
    """The qualifier shown next to a total; empty if the total is complete and final."""

    COMPLETE = ""
    SO_FAR = "so far"  # everything known by now; work or hosts are still running
    AT_LEAST = "at least"  # something is missing


@dataclass(frozen=True, kw_only=True, slots=True)
class Completeness:
    """The coverage of a bill, and why it is not complete, in plain words."""

    coverage: Coverage = Coverage.COMPLETE
    why: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: CostReport, *, missing: Iterable[str] = (), unread: int = 0, is_over: bool = True) -> Self:
        """The completeness of a report's totals.

        `missing` lists what is not included beyond what the report itself left out, `unread` how many jobs or children
        were not queried, `is_over` whether the work has ended.
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
        """A figure together with its qualifier."""
        if self.coverage is Coverage.AT_LEAST:
            return f"{self.coverage} {figure}"
        return f"{figure} {self.coverage}".rstrip()

    def to_json(self) -> dict[str, object]:
        return {"coverage": self.coverage.name, "why": list(self.why)}
