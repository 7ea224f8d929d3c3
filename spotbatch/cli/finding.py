"""From what a user calls a job to the job itself, its run and its artifact store."""

import re
from dataclasses import dataclass
from typing import Final

from spotbatch.aws import session, stack_outputs
from spotbatch.aws.artifacts import Artifacts, open_artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL, SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.batch.job import Job

JOB_HELP: Final = "A job's id, a child's (id:index), a name (the newest job of that name), or a run's id."
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(:[0-9]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where jobs go: the queue and the definition that were named, or else the stack's."""

    queue: str
    definition: str
    bucket: str = ""


def place(*, stack: str | None = None, queue: str | None = None, definition: str | None = None) -> Place:
    """Ask the stack for what was not named. Raises as `stack_outputs.read`."""
    if queue and definition:
        return Place(queue=queue, definition=definition)
    outputs = stack_outputs.read(stack)
    found = Place(
        queue=queue or outputs.job_queue, definition=definition or outputs.job_definition, bucket=outputs.bucket
    )
    if not found.queue or not found.definition:
        raise NotFound(f"stack {outputs.stack} has no outputs JobQueueName and JobDefinitionName: is it one of ours?")
    return found


def queue_of(*, stack: str | None = None, queue: str | None = None) -> str:
    """The queue that was named, or the stack's."""
    return queue or place(stack=stack).queue


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
        from spotbatch.cli.runs import read_run, unit_at

        named, _, index = written.partition(":")
        try:
            run = read_run(store_at(jobs, place(stack=stack, queue=queue)), named)
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


def store_at(jobs: Jobs, where: Place) -> Artifacts:
    """The artifact store of jobs that have not been submitted yet: the definition's variable, or the stack's bucket."""
    url = jobs.definition(where.definition).environment.get(SPOTBATCH_ARTIFACTS_URL)
    if not url and not where.bucket:
        raise NotFound(
            f"job definition {where.definition} has no {SPOTBATCH_ARTIFACTS_URL} and no bucket is known, "
            "so there is no place for inputs"
        )
    return open_artifacts(url or f"s3://{where.bucket}")


def run_id(job: Job) -> str:
    """What names the work in the artifact store: set at submission, else the job's own id."""
    return job.environment.get(SPOTBATCH_RUN_ID) or job.parent_id


def store_of(job: Job, *, stack: str | None = None) -> Artifacts:
    """The artifact store that a job writes to: its own variable says so, else the stack's bucket."""
    url = job.environment.get(SPOTBATCH_ARTIFACTS_URL)
    if url:
        return open_artifacts(url)
    bucket = stack_outputs.read(stack).bucket
    if not bucket:
        raise NotFound(f"job {job.id} has no {SPOTBATCH_ARTIFACTS_URL}, and the stack has no bucket: it kept nothing")
    return open_artifacts(f"s3://{bucket}")


def is_local() -> bool:
    """Whether this process works in a local region."""
    return session.is_local()
