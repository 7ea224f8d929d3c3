"""Failures grouped by exit code and reason, by run index. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.job import Job
from spotbatch.web.run_units import index_of
from spotbatch.web.several_logs import MOST_CHILDREN

_FAILURES_SHOWN: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureRow:
    """Units that FAILED for the same reason."""

    reason: str
    exit_code: int | None
    count: int
    example: str  # an id
    input: str  # of the example
    which: str  # indexes of the run
    first_indexes: str  # of these, the first six, as in an address
    last_lines: tuple[str, ...]  # of the example's log


def failure_rows(
    failed: Sequence[Job], inputs: Mapping[str, str], last_lines: Mapping[str, tuple[str, ...]]
) -> tuple[FailureRow, ...]:
    """Units that FAILED, grouped by exit code and reason, most frequent first."""
    groups: dict[tuple[int | None, str], list[Job]] = defaultdict(list)
    for unit in failed:
        groups[(unit.exit_code, unit.reason or unit.status_reason or "no reason was given")].append(unit)
    rows = [
        FailureRow(
            reason=reason,
            exit_code=code,
            count=len(units),
            example=units[0].id,
            input=inputs.get(units[0].id, ""),
            last_lines=last_lines.get(units[0].id, ()),
            which=ArrayIndexes.of(indexes).shown(),
            first_indexes=str(ArrayIndexes.of(indexes[:MOST_CHILDREN])),
        )
        for (code, reason), units in groups.items()
        for indexes in [_indexes(units)]
    ]
    return tuple(sorted(rows, key=lambda row: -row.count)[:_FAILURES_SHOWN])


def _indexes(units: Sequence[Job]) -> list[int]:
    found = (index_of(unit) for unit in units)
    return sorted(index for index in found if index is not None)
