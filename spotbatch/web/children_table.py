"""A table of a run's children: fifty search results at a time, in a chosen order. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.pricing.report import CostReport
from spotbatch.web.array_children import ArrayChildren
from spotbatch.web.choice import Choice
from spotbatch.web.run_units import RunUnits

PAGE_ROWS: Final = 50
_Key = tuple[bool, float | str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class HostUse:
    """Where a unit last ran, and its peak memory; None if not known."""

    instance_id: str
    peak_memory_mib: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildRow:
    """A child as far as it is known; without a unit, it was not read yet."""

    index: int
    unit_id: str
    status: JobStatus | None
    unit: Job | None
    seconds: float | None  # total run time of its attempts
    use: HostUse | None
    input: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildrenTable:
    """A page of rows."""

    rows: tuple[ChildRow, ...]
    found: int
    total: int
    page: int
    pages: int


def host_uses(report: CostReport) -> dict[str, HostUse]:
    """Host use by unit, from a bill's attempts."""
    found: dict[str, HostUse] = {}
    for each in report.attempts:
        peak = each.observed.peak_memory_mib if each.observed is not None else None
        before = found.get(each.unit)
        peaks = [value for value in (peak, before.peak_memory_mib if before else None) if value is not None]
        found[each.unit] = HostUse(instance_id=each.instance_id, peak_memory_mib=max(peaks, default=None))
    return found


def children_table(
    units: RunUnits,
    children: Mapping[str, ArrayChildren],
    choice: Choice,
    *,
    uses: Mapping[str, HostUse],
    inputs: Mapping[str, str],
    now: float,
) -> ChildrenTable:
    """The rows selected by a choice; `children` of the arrays by their ids, `now` in UTC epoch seconds."""
    found = _rows(units, children, uses, inputs, now)
    key = _ORDERS.get(choice.order)
    if key is None and not choice.is_filter:  # as they come: none but the shown ones are made
        page, pages = _pages(choice, len(units))
        shown = tuple(islice(found, (page - 1) * PAGE_ROWS, page * PAGE_ROWS))
        return ChildrenTable(rows=shown, found=len(units), total=len(units), page=page, pages=pages)
    rows = [row for row in found if _is_wanted(row, choice)]
    if key is not None:
        rows.sort(key=key)
    page, pages = _pages(choice, len(rows))
    shown = tuple(rows[(page - 1) * PAGE_ROWS : page * PAGE_ROWS])
    return ChildrenTable(rows=shown, found=len(rows), total=len(units), page=page, pages=pages)


def _pages(choice: Choice, rows: int) -> tuple[int, int]:
    """The chosen page, and how many there are."""
    pages = max(1, -(-rows // PAGE_ROWS))
    return min(choice.page, pages), pages


def _rows(
    units: RunUnits,
    children: Mapping[str, ArrayChildren],
    uses: Mapping[str, HostUse],
    inputs: Mapping[str, str],
    now: float,
) -> Iterator[ChildRow]:
    statuses = {array_id: each.statuses() for array_id, each in children.items()}
    for index, span in units:
        unit_id = span.unit_id(index)
        of = children.get(span.job.id)
        unit = span.job if span.job.array is None else of.units.get(span.child(index)) if of is not None else None
        known = statuses.get(span.job.id)
        yield ChildRow(
            index=index,
            unit_id=unit_id,
            status=span.job.status if span.job.array is None else known[span.child(index)] if known else None,
            unit=unit,
            seconds=ran_seconds(unit, now) if unit is not None else None,
            use=uses.get(unit_id),
            input=inputs.get(unit_id, ""),
        )


def ran_seconds(unit: Job, now: float) -> float | None:
    """How long a unit's attempts ran in total; None before the first one."""
    ran = [(each.stopped_at or now) - each.started_at for each in unit.attempts if each.started_at is not None]
    if unit.status is JobStatus.RUNNING and unit.started_at is not None and not _is_attempt_listed(unit):
        ran.append(now - unit.started_at)  # the running attempt is not in the list
    return sum(ran) if ran else None


def _is_attempt_listed(unit: Job) -> bool:
    return bool(unit.attempts) and unit.attempts[-1].stopped_at is None


def _is_wanted(row: ChildRow, choice: Choice) -> bool:
    if choice.status is not None and row.status is not choice.status:
        return False
    if not choice.search:
        return True
    if choice.search.isdecimal():
        return row.index == int(choice.search)
    return choice.search.casefold() in f"{row.input} {row.use.instance_id if row.use else ''}".casefold()


def _descending(value: Callable[[ChildRow], float | None]) -> Callable[[ChildRow], _Key]:
    """Largest first, unknown values last."""

    def key(row: ChildRow) -> _Key:
        found = value(row)
        return (found is None, -(found or 0.0), row.index)

    return key


def _text(value: Callable[[ChildRow], str]) -> Callable[[ChildRow], _Key]:
    return lambda row: (not value(row), value(row), row.index)


def _exit_code(row: ChildRow) -> _Key:
    code = row.unit.exit_code if row.unit is not None else None
    return (code is None, float(-(code or 0)), row.index)


_ORDERS: Final[Mapping[str, Callable[[ChildRow], _Key]]] = {
    "duration": _descending(lambda row: row.seconds),
    "attempts": _descending(lambda row: len(row.unit.attempts) if row.unit is not None else None),
    "memory": _descending(lambda row: row.use.peak_memory_mib if row.use is not None else None),
    "exit": _exit_code,
    "host": _text(lambda row: row.use.instance_id if row.use is not None else ""),
    "input": _text(lambda row: row.input),
}
