"""A run's units, jobs and children: which run index each stands for, which FAILED, which were retried."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES
from spotbatch.batch.errors import InvalidInput, Unavailable
from spotbatch.batch.job import MAX_ARRAY_SIZE, Job
from spotbatch.batch.status import JobStatus

_LOOKS_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 4.0)  # since a list may lag behind the count


def named_indexes(job: Job) -> ArrayIndexes:
    """The run indexes that a job was given; none if none can be read."""
    text = job.environment.get(SPOTBATCH_ARRAY_INDEXES)
    try:
        return ArrayIndexes.parse(text) if text else ArrayIndexes()
    except InvalidInput:
        return ArrayIndexes()  # a user's own variable: spotrun refuses it, and all other jobs are still shown


def run_index(job: Job, array_index: int | None = None) -> int | None:
    """The run index that a job, or a child of it, stands for; None if it is not part of an array."""
    own = job.array_index if array_index is None else array_index
    if own is None and job.array is not None:
        return None  # the parent stands for all of them
    index = named_indexes(job).at(own or 0)
    return own if index is None else index


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedUnit:
    """A child or single job that FAILED and was not retried by a later part of its run."""

    job: Job  # the array, or the job itself
    unit_id: str
    index: int | None  # in the run
    exit_code: int | None
    reason: str
    input: str = ""  # what the unit stands for, if that was requested


def failed_of(jobs: Jobs, parts: Sequence[Job], *, limit: int = MAX_ARRAY_SIZE) -> list[FailedUnit]:
    """The failed units of a run that were not retried, by index; `limit` per array. One call per failed array."""
    found: list[FailedUnit] = []
    done_later: set[int | None] = set()
    for job in reversed(parts):
        found += [each for each in _failed_in(jobs, job, limit) if each.index not in done_later]
        done_later.update(indexes_of(job))
    return sorted(found, key=lambda each: -1 if each.index is None else each.index)


def _failed_in(jobs: Jobs, job: Job, limit: int) -> Iterator[FailedUnit]:
    if job.array is None:
        if job.status is JobStatus.FAILED:
            why = job.reason or job.status_reason
            yield FailedUnit(job=job, unit_id=job.id, index=run_index(job), exit_code=job.exit_code, reason=why)
    elif job.array.status_summary.get(JobStatus.FAILED):
        for child in _failed_children(jobs, job, limit):
            index, why = run_index(job, child.array_index), child.reason or child.status_reason
            yield FailedUnit(job=job, unit_id=child.id, index=index, exit_code=child.exit_code, reason=why)


def _failed_children(jobs: Jobs, job: Job, limit: int) -> list[JobSummary]:
    """All that the parent counts as FAILED: with half a list, only half would be retried.

    A list may lag behind the count. Raises Unavailable if it stays incomplete.
    """
    assert job.array is not None  # noqa: S101 - for the type checker
    wanted = min(job.array.status_summary.get(JobStatus.FAILED, 0), limit)
    for seconds in _LOOKS_SECONDS:
        found = jobs.children(job.id, JobStatus.FAILED, limit=limit)
        if len(found) >= wanted:
            return found
        jobs.sleep(seconds)
    raise Unavailable(
        f"AWS Batch lists {len(found):,} of the {wanted:,} children of {job.id} that it counts as FAILED: "
        "its lists lag behind, try again in a minute"
    )


def run_again(parts: Sequence[Job]) -> Mapping[str, frozenset[str]]:
    """For each job of a run, oldest first, the units superseded by a later job: what `retry` ran again."""
    found: dict[str, frozenset[str]] = {}
    later: set[int | None] = set()
    for job in reversed(parts):
        held = indexes_of(job)
        again = (at for at, index in enumerate(held) if index in later) if later else ()
        found[job.id] = frozenset(job.id if job.array is None else f"{job.id}:{at}" for at in again)
        later.update(held)
    return found


def run_again_count(parts: Sequence[Job]) -> int:
    """How many units of a run were retried, each counted once."""
    seen: set[int | None] = set()
    again: set[int | None] = set()
    for job in parts:
        for index in indexes_of(job):
            (again if index in seen else seen).add(index)
    return len(again)


def run_size(parts: Sequence[Job]) -> int:
    """How many units a run has; retried units count once."""
    return len({index for job in parts for index in indexes_of(job)})


def indexes_of(job: Job) -> list[int | None]:
    """The run indexes of a job's children, or its own; None for a job that is not part of an array."""
    if job.array is None:
        return [run_index(job)]
    named = list(named_indexes(job))[: job.array.size]
    return [*named, *range(len(named), job.array.size)]
