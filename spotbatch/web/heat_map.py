"""The units of a run or array as a heat map by run index, and the same in words. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.tracker import BAR_ORDER
from spotbatch.web.array_children import ArrayChildren, cells, retried
from spotbatch.web.run_units import RunUnits, run_units, standing_counts


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatMap:
    """One cell per index, and a description in words."""

    id: str  # of the run or the array
    cells: str  # one character each; "." if the status was not read yet
    indexes: str  # of the run, as 0-99 or 3,17,40-45: the cells' own names
    groups: tuple[tuple[str, int, str], ...]  # status, count, which indexes
    retried: str  # which had more than one attempt
    unread: int  # cells about which nothing is known yet
    label: str

    @property
    def size(self) -> int:
        return len(self.cells)

    @property
    def last(self) -> int:
        """The largest index."""
        return ArrayIndexes.parse(self.indexes).ranges[-1][1]


def heat_map_of(
    page_id: str,
    members: Sequence[Job],
    children: Mapping[str, ArrayChildren],
    counts_of: Callable[[Sequence[Job]], Mapping[JobStatus, int]],
) -> HeatMap | None:
    """The heat map of one run's jobs (`children` of the arrays by their ids); None if they have no indexes."""
    units = run_units(members)
    if not units.spans:
        return None
    statuses = list(_statuses(units, children))
    again = _again(members, units, children)
    by_status: dict[JobStatus | None, list[int]] = defaultdict(list)
    for (index, _), status in zip(units, statuses, strict=True):
        by_status[status].append(index)
    counts = standing_counts([job for job in members if job.array is not None or indexes_known(job)], counts_of)
    groups = tuple(
        (status.value, counts[status], _which(by_status.get(status, ()))) for status in BAR_ORDER if counts.get(status)
    )
    unread = len(by_status.get(None, ()))
    counted = ", ".join(f"{count:,} {status}" for status, count, _ in groups)
    unknown = f", {unread:,} not read yet" if unread else ""
    places = frozenset(place for place, (index, _) in enumerate(units) if index in again)
    return HeatMap(
        id=page_id,
        cells=cells(statuses, places),
        indexes=str(units.indexes),
        groups=groups,
        retried=_which(again) if again else "",
        unread=unread,
        label=f"Heat map of {len(statuses):,} children: {counted}{unknown}",
    )


def indexes_known(job: Job) -> bool:
    """Whether a job that is not an array has an index in its run."""
    return bool(run_units([job]).spans)


def _statuses(units: RunUnits, children: Mapping[str, ArrayChildren]) -> Iterable[JobStatus | None]:
    known = {array_id: each.statuses() for array_id, each in children.items()}
    for span in units.spans:
        if span.job.array is None:
            yield span.job.status
        elif span.job.id in known:
            yield from known[span.job.id][span.place : span.child(span.last) + 1]
        else:
            yield from [None] * (span.last - span.first + 1)


def _again(members: Sequence[Job], units: RunUnits, children: Mapping[str, ArrayChildren]) -> set[int]:
    """The indexes with more than one attempt, in one job of the run or several."""
    found: set[int] = set()
    for span in units.spans:
        of = children.get(span.job.id)
        places = retried(of.units) if of is not None else ()
        found.update(
            span.first + place - span.place for place in places if span.place <= place <= span.child(span.last)
        )
    if units.replaced:
        held = Counter(index for job in members for index in run_units([job]).indexes)
        found.update(index for index, times in held.items() if times > 1)
    return found


def _which(indexes: Iterable[int]) -> str:
    return ArrayIndexes.of(indexes).shown()
