"""The failures of a run, grouped by similarity: exit code, reason, and the end of their logs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import DEFAULT_GROUP, Logs
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.doctor.case import FailureGroup
from spotbatch.doctor.log_causes import last_line, signature
from spotbatch.runs.units import failed_of, run_index

_DESCRIBED: Final = 100  # one call of DescribeJobs
_LOGS_READ: Final = 12
_LINES: Final = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    unit: Job
    lines: tuple[str, ...] | None


def failure_groups(jobs: Jobs, run: Sequence[Job]) -> tuple[FailureGroup, ...]:
    """The groups of a run's failures that were not retried, largest first.

    A few calls regardless of the run's size: the logs of a dozen units are read.
    """
    if not any(job.status is JobStatus.FAILED for job in run):
        return ()
    if len(run) == 1 and run[0].array is None:
        return (_group([_read(run[0])], units={run[0].id: run_index(run[0])}),) if run[0].attempts else ()
    by_code: dict[tuple[int | None, str], dict[str, int | None]] = defaultdict(dict)
    for unit in failed_of(jobs, run):
        by_code[unit.exit_code, signature(unit.reason)][unit.unit_id] = unit.index
    found: list[FailureGroup] = []
    for units in by_code.values():
        found += _by_last_line(jobs, units, share=max(2, _LOGS_READ // len(by_code)))
    return tuple(sorted(found, key=lambda each: -each.count))


def _by_last_line(jobs: Jobs, units: Mapping[str, int | None], *, share: int) -> Iterator[FailureGroup]:
    """Units with the same exit code and reason, split by the last line of their logs if all of these were read."""
    described = jobs.describe(_spread(list(units), min(share, _DESCRIBED)))
    reads = [_read(each) for each in described]
    if not reads:
        return
    if len(reads) < len(units):
        yield _group(reads, units=units)
        return
    by_line: dict[str, list[_Read]] = defaultdict(list)
    for each in reads:
        by_line[signature(last_line(each.lines or ()))].append(each)
    for same in by_line.values():
        yield _group(same, units={each.unit.id: units[each.unit.id] for each in same})


def _spread(ids: Sequence[str], most: int) -> list[str]:
    """At most this many of the ids, evenly spread."""
    step = max(1, len(ids) // most)
    return list(ids[::step][:most])


def _group(reads: Sequence[_Read], *, units: Mapping[str, int | None]) -> FailureGroup:
    """A group from units and the run index that each stands for."""
    known = next((each for each in reads if each.lines), reads[0])
    return FailureGroup(
        count=len(units),
        example=known.unit,
        indexes=ArrayIndexes.of(index for index in units.values() if index is not None),
        lines=known.lines,
        is_sampled=len(reads) < len(units),
    )


def _read(unit: Job) -> _Read:
    stream = next((each.log_stream for each in reversed(unit.attempts) if each.log_stream), unit.log_stream)
    if not stream:
        return _Read(unit=unit, lines=())
    try:
        events = Logs(group=unit.log_group or DEFAULT_GROUP).tail(stream, _LINES)
    except SpotbatchError:
        return _Read(unit=unit, lines=None)
    return _Read(unit=unit, lines=tuple(event.text for event in events))
