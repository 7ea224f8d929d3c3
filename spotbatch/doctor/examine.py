"""What the doctor asks AWS about a job: everything its rules need, gathered once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from spotbatch.aws import session
from spotbatch.aws.inspection import Inspector, Surroundings
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import current_catalogue
from spotbatch.batch.errors import NotFound, SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.doctor.attempt_warnings import warnings_of
from spotbatch.doctor.case import Case
from spotbatch.doctor.failed_units import failure_groups
from spotbatch.runs.capacity import unknown_types
from spotbatch.runs.endpoint import local_vcpus
from spotbatch.runs.units import failed_of

WAITING: Final = (JobStatus.RUNNABLE, JobStatus.STARTING, JobStatus.PENDING, JobStatus.SUBMITTED)


def run_of(jobs: Jobs, ids: Sequence[str]) -> list[Job]:
    """The jobs of a run. Raises NotFound."""
    if len(ids) == 1:
        return [jobs.get(ids[0])]
    found = jobs.describe(ids)
    if not found:
        raise NotFound(f"none of the run's {len(ids)} jobs is here any more")
    return found


def most_in_need(jobs: Jobs, run: Sequence[Job]) -> Job:
    """The job of a run that waits, or has a failure that was not retried; otherwise the newest."""
    if len(run) == 1:
        return run[0]
    for status in WAITING:
        if waiting := [each for each in run if each.status is status]:
            return waiting[0]
    if any(each.status is JobStatus.FAILED for each in run) and (left := failed_of(jobs, run)):
        return left[0].job
    running = [each for each in run if each.status is JobStatus.RUNNING]
    return (running or list(run))[-1]


def oldest_waiting(jobs: Jobs, queue: str) -> Job | None:
    """The job in a queue that has waited longest, RUNNABLE ones first."""
    for status in WAITING:
        found = jobs.in_status(queue, status)
        if found:
            return jobs.get(found[-1].id)
    return None


def examine(jobs: Jobs, job: Job, *, run: Sequence[Job] = (), named: str = "", is_cloud: bool | None = None) -> Case:
    """Everything about a job that a diagnosis needs. For an array, the first waiting child is examined.

    `run` is all jobs of its run, oldest first, and `named` the user's name for it.
    """
    whole = run or (job,)
    job = _waiting_child(jobs, job) or job
    image, roles = _of_definition(jobs, job)
    cloud = not session.is_local() if is_cloud is None else is_cloud
    around = Inspector().look(job.queue, image=image, roles=roles, is_cloud=cloud)
    types = current_catalogue()
    unknown = sorted({name for each in around.queue.environments for name in unknown_types(each, types)})
    if unknown:
        note = f"size and price of {', '.join(unknown)}: the catalogue of {types.region} does not have them"
        around = replace(around, unseen=(*around.unseen, note))
    failures = failure_groups(jobs, whole) if job.status is JobStatus.FAILED else ()
    wanted = [each.job_id for each in job.depends_on if each.job_id]
    return Case(
        job=job,
        around=around,
        types=types,
        dependencies=jobs.describe(wanted) if wanted else (),
        head=_head(jobs, job, around),
        failures=failures,
        warnings=warnings_of(jobs, job, failures),
        run=whole,
        named=named,
        is_cloud=cloud,
        local_vcpus=local_vcpus() if session.is_local() and job.status is JobStatus.RUNNABLE else None,
    )


def _head(jobs: Jobs, job: Job, around: Surroundings) -> Job | None:
    """The job at the front of the queue: everything behind it waits for the same thing."""
    first = next(iter(around.ahead or ()), None)
    if first is None or job.id in (first, first.partition(":")[0]):
        return None
    return next(iter(jobs.describe([first])), None)


def _waiting_child(jobs: Jobs, job: Job) -> Job | None:
    """A waiting child says more than its parent, which is PENDING as long as any child runs."""
    if job.array is None or job.status.is_terminal:
        return None
    for status in (JobStatus.RUNNABLE, JobStatus.STARTING):
        if job.array.status_summary.get(status):
            found = jobs.children(job.id, status, limit=1)
            if found:
                return jobs.get(found[0].id)
    return None


def _of_definition(jobs: Jobs, job: Job) -> tuple[str, tuple[str, ...]]:
    try:
        definition = jobs.definition(job.definition)
    except (NotFound, SpotbatchError):
        return "", ()
    return definition.image, tuple(role for role in (definition.job_role, definition.execution_role) if role)
