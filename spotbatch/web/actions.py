"""What `--actions` allows: the same as `spotbatch cancel` and `spotbatch retry`, reported in one sentence each."""

from collections.abc import Sequence

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Job
from spotbatch.runs import retry
from spotbatch.runs.cancel import stop as stop_job
from spotbatch.runs.units import failed_of


def stop(jobs: Jobs, shown: Sequence[Job]) -> str:
    """Stop the jobs of a page."""
    name = shown[0].name
    stopped = [job for job in shown if stop_job(jobs, job, "cancelled in the dashboard")]
    return f"{name} is being stopped" if stopped else f"{name} has ended already ({shown[-1].status})"


def again(jobs: Jobs, shown: Sequence[Job], run: Sequence[Job], *, stack: str | None) -> str:
    """Retry what FAILED in the jobs of a page and was not retried by a later job of their `run`."""
    own = {job.id for job in shown}
    failed = [each for each in failed_of(jobs, run) if each.job.id in own]
    problems: list[str] = []
    parts = [
        part
        for job in shown
        if (mine := retry.indexes_of_failed([each for each in failed if each.job.id == job.id]))
        for part in retry.again(jobs, job, mine, note=problems.append, stack=stack)
    ]
    if not parts:
        return f"nothing of {shown[0].name} has FAILED, or it was run again already"
    ids = ", ".join(part.job_id for part in parts)
    return "; ".join([f"{len(failed):,} run again from their checkpoints, as {ids}", *problems])
