"""What a job or a child wrote in one of its attempts."""

from collections.abc import Iterator

from spotbatch.aws.logs import DEFAULT_GROUP, LogEvent, Logs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job


def lines(
    job: Job, *, attempt: int | None = None, tail: int | None = None, logs: Logs | None = None
) -> Iterator[LogEvent]:
    """The lines of an attempt (default: the last one), or its last `tail` ones, 10,000 at most.

    Raises NotFound where there is no such attempt, or where nothing was written yet.
    """
    stream = stream_of(job, attempt)
    if stream is None:
        raise NotFound(
            f"job {job.id} is {job.status} and has written nothing yet: `spotbatch doctor {job.id}` says why"
        )
    group = logs or Logs(group=job.log_group or DEFAULT_GROUP)
    yield from group.tail(stream, tail) if tail else group.read(stream)


def stream_of(job: Job, attempt: int | None) -> str | None:
    """The log stream of an attempt (default: the last one); None where it has none yet. Raises NotFound."""
    made = [each.log_stream for each in job.attempts]
    if attempt is None:
        return made[-1] if made else job.log_stream
    if not 1 <= attempt <= len(made):
        raise NotFound(f"job {job.id} has made {len(made)} attempts, there is no attempt {attempt}")
    return made[attempt - 1]
