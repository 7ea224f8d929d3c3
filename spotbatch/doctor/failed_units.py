"""The failures of a job, in groups of those that look alike: exit code, reason, and the end of their logs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
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

_MOST_FAILURES: Final = 10_000  # an array has no more
_DESCRIBED: Final = 100  # one call of DescribeJobs
_LOGS_READ: Final = 12
_LINES: Final = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    unit: Job
    lines: tuple[str, ...] | None


def failure_groups(jobs: Jobs, job: Job) -> tuple[FailureGroup, ...]:
    """The groups, largest first. A few calls whatever the size of the array: the logs of a dozen children are read."""
    if job.status is not JobStatus.FAILED:
        return ()
    if job.array is None:
        read = _read(job)
        return (_group([read], ids=[job.id]),) if job.attempts else ()
    failed = jobs.children(job.id, JobStatus.FAILED, limit=_MOST_FAILURES)
    by_code: dict[tuple[int | None, str], list[str]] = defaultdict(list)
    for child in failed:
        by_code[child.exit_code, signature(child.reason or child.status_reason)].append(child.id)
    found: list[FailureGroup] = []
    for ids in by_code.values():
        found += _by_last_line(jobs, ids, share=max(2, _LOGS_READ // len(by_code)))
    return tuple(sorted(found, key=lambda each: -each.count))


def _by_last_line(jobs: Jobs, ids: Sequence[str], *, share: int) -> Iterator[FailureGroup]:
    """Units of one exit code and reason, told apart by the last line of their logs where all of these were read."""
    described = jobs.describe(_spread(ids, min(share, _DESCRIBED)))
    reads = [_read(each) for each in described]
    if not reads:
        return
    if len(reads) < len(ids):
        yield _group(reads, ids=ids)
        return
    by_line: dict[str, list[_Read]] = defaultdict(list)
    for each in reads:
        by_line[signature(last_line(each.lines or ()))].append(each)
    for same in by_line.values():
        yield _group(same, ids=[each.unit.id for each in same])


def _spread(ids: Sequence[str], most: int) -> list[str]:
    """At most so many of the ids, spread evenly over them."""
    step = max(1, len(ids) // most)
    return list(ids[::step][:most])


def _group(reads: Sequence[_Read], *, ids: Sequence[str]) -> FailureGroup:
    known = next((each for each in reads if each.lines), reads[0])
    indexes = (int(index) for unit in ids if (index := unit.partition(":")[2]))
    return FailureGroup(
        count=len(ids),
        example=known.unit,
        indexes=ArrayIndexes.of(indexes),
        lines=known.lines,
        is_sampled=len(reads) < len(ids),
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
