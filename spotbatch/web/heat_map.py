"""The children of an array as a heat map, and the same in words."""

from collections import defaultdict
from dataclasses import dataclass

from spotbatch.batch.status import JobStatus
from spotbatch.web.array_children import ArrayChildren, cells, index_ranges, retried
from spotbatch.web.progress import BAR_ORDER


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatMap:
    """One array's heat map, and its summary in words."""

    id: str
    name: str
    size: int
    cells: str
    seen: int
    groups: tuple[tuple[str, int, str], ...]  # status, count, which indexes
    retried: str
    label: str


def heat_map_of(array: ArrayChildren) -> HeatMap:
    statuses = array.statuses()
    by_status: dict[JobStatus | None, list[int]] = defaultdict(list)
    for index, status in enumerate(statuses):
        by_status[status].append(index)
    again = retried(array.units)
    summary = array.summary
    shown = [status for status in BAR_ORDER if summary.get(status)]
    groups = tuple((status.value, summary[status], index_ranges(by_status.get(status, ()))) for status in shown)
    counted = ", ".join(f"{count:,} {status}" for status, count, _ in groups)
    return HeatMap(
        id=array.parent.id,
        name=array.parent.name,
        size=array.size,
        cells=cells(statuses, again),
        seen=array.seen,
        groups=groups,
        retried=index_ranges(sorted(again)) if again else "",
        label=f"Heat map of {array.size:,} children: {counted}",
    )
