"""The logs of several children as one, by time, each line with its child. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from spotbatch.aws.logs import LogEvent
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.run_units import RunUnits

MOST_CHILDREN: Final = 6
ANY: Final = "*"  # instead of indexes: those that run, or that FAILED, or the first
_LINES_SHOWN: Final = 600
_LOOKED_AT: Final = 40_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SeveralLine:
    """A line of one of the logs."""

    id: str
    at: float
    index: int  # of the run
    place: int  # of its child among the chosen ones, from 0
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SeveralLogs:
    """What was read of the logs of some children."""

    children: tuple[tuple[int, str, str], ...] = ()  # index, unit id, status
    lines: tuple[SeveralLine, ...] = ()


def chosen_indexes(units: RunUnits, find: Callable[[str], Job | None], written: str) -> tuple[int, ...]:
    """The first six of the written indexes that exist; for `ANY` the children that run, or FAILED, or the first."""
    if written != ANY:
        try:
            wanted = ArrayIndexes.parse(written)
        except InvalidInput:
            return ()
        return tuple(islice((each for each in wanted if units.unit_id(each) is not None), MOST_CHILDREN))
    first: dict[JobStatus | None, list[int]] = {}
    for index, span in islice(units, _LOOKED_AT):
        unit = find(span.unit_id(index))
        some = first.setdefault(unit.status if unit is not None else None, [])
        if len(some) < MOST_CHILDREN:
            some.append(index)
    for status in (JobStatus.RUNNING, JobStatus.FAILED, JobStatus.SUCCEEDED):
        if first.get(status):
            return tuple(first[status])
    return tuple(islice(units.indexes, MOST_CHILDREN))


def merged(logs: Sequence[tuple[int, Iterable[LogEvent]]]) -> tuple[SeveralLine, ...]:
    """The last lines of all, by time; lines of one log keep their order. Ids stay as lines come and go."""
    seen: Counter[tuple[int, int]] = Counter()
    found = []
    for place, (index, events) in enumerate(logs):
        for event in events:
            milliseconds = round(event.at * 1000)
            name = f"l{index}-{milliseconds}-{seen[index, milliseconds]}"
            seen[index, milliseconds] += 1
            found.append(SeveralLine(id=name, at=event.at, index=index, place=place, text=event.text))
    return tuple(sorted(found, key=lambda line: line.at)[-_LINES_SHOWN:])  # a stable sort
