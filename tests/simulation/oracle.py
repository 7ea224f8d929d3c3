"""AWS Batch's rules for one unit, worked out anew from what was submitted: the scheduler is held against them."""

from collections.abc import Iterator

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.job import MAX_ARRAY_SIZE
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.status import JobStatus

NOT_YET = (JobStatus.SUBMITTED, JobStatus.PENDING)


def needed(scheduler: Scheduler, job_no: int, index: int) -> Iterator[JobStatus]:
    """How that stands on which a unit depends."""
    for dependency in scheduler.submitted(job_no).dependencies:
        if dependency.type is DependencyType.SEQUENTIAL:
            if index > 0:
                yield scheduler.status(job_no, index - 1)
        else:
            assert dependency.job_no is not None
            of_partner = dependency.type is DependencyType.N_TO_N
            yield scheduler.status(dependency.job_no, index if of_partner else dependency.index)


def check_dependencies(scheduler: Scheduler) -> None:
    """A unit waits while something that it needs has not succeeded, fails with it, and waits for nothing else."""
    for job_no, record in scheduler.state.jobs.items():
        for index in range(min(record.units, MAX_ARRAY_SIZE)):
            status = scheduler.status(job_no, index)
            others = list(needed(scheduler, job_no, index))
            told = f"unit {job_no}:{index} is {status}, what it needs is {[str(one) for one in others]}"
            if JobStatus.FAILED in others:
                assert status is JobStatus.FAILED, told
            elif any(one is not JobStatus.SUCCEEDED for one in others):
                assert status in (*NOT_YET, JobStatus.FAILED), told
            else:
                assert status not in NOT_YET, told


def after(scheduler: Scheduler, job_no: int, index: int, *, exit_code: int | None, was_stopped: bool) -> str:
    """Where a unit stands once its attempt has ended: SUCCEEDED, FAILED, or waiting again, as its strategy says.

    Knows the two strategies of these tests: without entries, and `spot_safe`, which ends what a program did itself.
    """
    retry = scheduler.submitted(job_no).retry
    if was_stopped:
        return "FAILED"
    if exit_code == 0:
        return "SUCCEEDED"
    is_programs_own = bool(retry.evaluate_on_exit) and exit_code not in (None, 210)
    has_attempts = scheduler.attempts_made(job_no, index) < retry.attempts
    return "AGAIN" if has_attempts and not is_programs_own else "FAILED"


def stands(scheduler: Scheduler, job_no: int, index: int) -> str:
    """The same, as the scheduler has it."""
    status = scheduler.status(job_no, index)
    return status.value if status.is_terminal else "AGAIN"
