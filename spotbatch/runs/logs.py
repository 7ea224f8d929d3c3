"""The output of a job or a child: of one of its attempts, or of all of them as they run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import DEFAULT_GROUP, Cursor, LogEvent, Logs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus

_POLL_SECONDS: Final = 1.5
_DESCRIBED_EVERY: Final = 3  # polls; a job's status need not be queried as often as its log


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptBegan:
    """The following lines are those of another attempt."""

    number: int  # from 1


def lines(
    job: Job, *, attempt: int | None = None, tail: int | None = None, logs: Logs | None = None
) -> Iterator[LogEvent]:
    """The lines of an attempt (default: the last one), or its last `tail` ones, at most 10,000.

    Raises NotFound if there is no such attempt, or if nothing was written yet.
    """
    stream = stream_of(job, attempt)
    if stream is None:
        raise NotFound(
            f"job {job.id} is {job.status} and has written nothing yet: `spotbatch doctor {job.id}` says why"
        )
    group = logs or Logs(group=job.log_group or DEFAULT_GROUP)
    yield from group.tail(stream, tail) if tail else group.read(stream)


def stream_of(job: Job, attempt: int | None) -> str | None:
    """The log stream of an attempt (default: the last one); None if it has none yet. Raises NotFound."""
    made = [each.log_stream for each in job.attempts]
    if attempt is None:
        return made[-1] if made else job.log_stream
    if not 1 <= attempt <= len(made):
        raise NotFound(f"job {job.id} has made {len(made)} attempts, there is no attempt {attempt}")
    return made[attempt - 1]


def follow(
    jobs: Jobs, job: Job, *, tail: int | None = None, sleep: Callable[[float], None] = time.sleep
) -> Iterator[LogEvent | AttemptBegan | JobStatus]:
    """The lines of every attempt, one after the other, until the job has ended; its final status comes last.

    With `tail` it starts with the last lines of the newest attempt instead of the first line of the first.
    """
    logs = Logs(group=job.log_group or DEFAULT_GROUP)
    cursors: dict[str, Cursor] = {}
    if tail and (made := [each.log_stream for each in job.attempts if each.log_stream]):
        cursors = {stream: Cursor(logs=logs, stream=stream) for stream in made}
        yield from cursors[made[-1]].last(tail)
    skipped = set(list(cursors)[:-1])
    polls = 0
    while True:
        for stream in dict.fromkeys(each.log_stream for each in job.attempts):
            if not stream or stream in skipped:
                continue
            if stream not in cursors:
                if cursors:
                    yield AttemptBegan(number=len(cursors) + 1)
                cursors[stream] = Cursor(logs=logs, stream=stream)
            while events := cursors[stream].more():
                yield from events
        if job.status.is_terminal:
            yield job.status
            return
        sleep(_POLL_SECONDS)
        polls += 1
        if polls % _DESCRIBED_EVERY == 0 or not cursors:
            job = jobs.get(job.id)
