"""The jobs of a queue and the children of an array, filtered by status, name and time."""

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus


def of_queue(
    jobs: Jobs, queue: str, *, status: JobStatus | None, name: str | None, after: float, limit: int
) -> list[JobSummary]:
    """The jobs of a queue created since `after` (seconds since 1970), newest first, at most `limit`.

    ListJobs accepts one filter at a time (API reference, ListJobs, filters), so the others are applied here.
    """
    most = limit if status is None and name is None else 10_000
    if name is not None:
        found = jobs.named(queue, name, limit=most)
    elif status is not None:
        found = jobs.in_status(queue, status, limit=most)
    else:
        found = jobs.created_after(queue, after, limit=10_000)
    kept = [one for one in found if status in (None, one.status) and (one.created_at or after) >= after]
    return kept[:limit]


def children(jobs: Jobs, parent: Job, *, status: JobStatus | None, limit: int) -> list[JobSummary]:
    """The children of an array by index. Raises InvalidInput for a job that is not an array."""
    if parent.array is None:
        raise InvalidInput(f"job {parent.id} is no array: it has no children to list")
    wanted = [status] if status is not None else [each for each in JobStatus if parent.array.status_summary.get(each)]
    found = [child for each in wanted for child in jobs.children(parent.id, each, limit=limit)]
    return sorted(found, key=lambda child: child.array_index or 0)[:limit]
