"""From what a user calls a job or a run to the ids of its jobs."""

import re
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.runs.artifact_store import store_at
from spotbatch.runs.destination import destination, queue_of
from spotbatch.runs.run import read_run, unit_at

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(:[0-9]+)?")


def is_id(written: str) -> bool:
    """Whether this is a job's or a child's id, rather than a name."""
    return _ID.fullmatch(written) is not None


def job_id(written: str, *, jobs: Jobs, stack: str | None = None, queue: str | None = None) -> str:
    """The id that a user means by an id, an ARN or a name. Raises NotFound, InvalidInput."""
    reference = written.rpartition(":job/")[2] if written.startswith("arn:") else written
    if is_id(reference):
        return reference
    name, _, index = reference.partition(":")
    if index and not index.isdigit():
        raise InvalidInput(f"a job is named by its id, its name or a child's id:index, not {written!r}")
    where = queue_of(stack=stack, queue=queue)
    found = jobs.named(where, name, limit=100)
    if not found:
        raise NotFound(
            f"there is no job of the name {name!r} in queue {where.rpartition('/')[2]}: `spotbatch list` shows them all"
        )
    return f"{found[0].id}:{index}" if index else found[0].id


def job_ids(written: str, *, jobs: Jobs, stack: str | None = None, queue: str | None = None) -> list[str]:
    """The ids of the jobs that a user means: one, or all of a run that is named by its run id.

    `RUN:INDEX` means the newest job or child that stands for this index of a run.
    """
    try:
        return [job_id(written, jobs=jobs, stack=stack, queue=queue)]
    except NotFound as error:
        named, _, index = written.partition(":")
        try:
            run = read_run(store_at(jobs, destination(stack=stack, queue=queue)), named)
        except SpotbatchError:
            raise error from None
        return [unit_at(run, int(index))] if index.isdigit() else run.job_ids


def one_job(written: str, *, jobs: Jobs, stack: str | None = None, queue: str | None = None) -> str:
    """The one job that a user means. Raises InvalidInput for a run of several."""
    ids = job_ids(written, jobs=jobs, stack=stack, queue=queue)
    if len(ids) > 1:
        raise InvalidInput(
            f"{written} is a run of {len(ids)} jobs: name one of them ({ids[0]}, ...), or one index as {written}:0"
        )
    return ids[0]
