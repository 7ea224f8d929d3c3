"""The artifact store of a run: where its inputs, records and outputs are kept."""

from spotbatch.aws import stack_outputs
from spotbatch.aws.artifacts import Artifacts, open_artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL, SPOTBATCH_RUN_ID
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.runs.destination import Destination


def store_at(jobs: Jobs, where: Destination) -> Artifacts:
    """The artifact store of jobs that have not been submitted yet: the definition's variable, or the stack's bucket."""
    url = jobs.definition(where.definition).environment.get(SPOTBATCH_ARTIFACTS_URL)
    if not url and not where.bucket:
        raise NotFound(
            f"job definition {where.definition} has no {SPOTBATCH_ARTIFACTS_URL} and no bucket is known, "
            "so there is no place for inputs"
        )
    return open_artifacts(url or f"s3://{where.bucket}")


def run_id(job: Job) -> str:
    """The name of the work in the artifact store: set at submission, otherwise the job's own id."""
    return job.environment.get(SPOTBATCH_RUN_ID) or job.parent_id


def store_of(job: Job, *, stack: str | None = None) -> Artifacts:
    """The artifact store that a job writes to: from its own variable, otherwise the stack's bucket."""
    url = job.environment.get(SPOTBATCH_ARTIFACTS_URL)
    if url:
        return open_artifacts(url)
    bucket = stack_outputs.read(stack).bucket
    if not bucket:
        raise NotFound(f"job {job.id} has no {SPOTBATCH_ARTIFACTS_URL}, and the stack has no bucket: it kept nothing")
    return open_artifacts(f"s3://{bucket}")
