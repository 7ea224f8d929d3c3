"""Stopping jobs, whether they have started or not."""

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Job


def stop(jobs: Jobs, job: Job, reason: str) -> bool:
    """CancelJob for what has not started, TerminateJob for the rest; covers every child of an array."""
    if job.status.is_terminal:
        return False
    if job.status.is_cancellable and job.array is None:
        jobs.cancel(job.id, reason)
        if jobs.get(job.id).status.is_terminal:
            return True
    jobs.terminate(job.id, reason)  # it may have started meanwhile
    return True
