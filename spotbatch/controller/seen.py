"""What the controller sees of a run at one moment: its jobs as AWS Batch describes them, and their progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from spotbatch.batch.attempt_outcome import AttemptOutcome, outcomes_of
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus

MOVE_REASON: Final = "spotbatch controller"  # the prefix of the reason that the controller passes to TerminateJob


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How much of a unit's work is done, in seconds on one host."""

    kept_seconds: float = 0.0  # saved in a checkpoint
    worked_seconds: float = 0.0  # saved work plus the work done since


NOTHING_DONE: Final = Work()


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One job, or one child of an array. `outcome` is that of its last attempt, or None if it has had none."""

    status: JobStatus
    outcome: AttemptOutcome | None = None
    losses: int = 0  # attempts that ended because their host was lost
    is_ours: bool = False  # terminated by the controller itself
    is_done: bool = False  # its last attempt succeeded, even if it was about to be stopped
    started_at: float | None = None  # of the running attempt
    last_end_at: float | None = None  # of the previous attempt
    kept_seconds: float = 0.0  # work saved in a checkpoint
    worked_seconds: float = 0.0  # saved work plus the work done since


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSeen:
    """One job of a run. `units` holds those whose index in the run is known; `running` counts every unit that costs."""

    running: int = 0
    units: Mapping[int, Unit] = field(default_factory=dict)
    is_gone: bool = False  # AWS Batch no longer knows the job


def unit_of(job: Job, work: Work = NOTHING_DONE) -> Unit:
    """The unit that a described job or child represents, with what is known of its progress."""
    outcomes = outcomes_of(job)
    is_running = job.status in (JobStatus.STARTING, JobStatus.RUNNING)
    last = job.attempts[-1] if job.attempts else None
    return Unit(
        status=job.status,
        outcome=outcomes[-1] if outcomes else None,
        losses=sum(each.may_go_on for each in outcomes),
        is_ours=job.is_terminated and job.status_reason.startswith(MOVE_REASON),
        is_done=job.status is JobStatus.SUCCEEDED
        or (job.status is JobStatus.FAILED and last is not None and last.exit_code == 0),
        started_at=last.started_at if is_running and last is not None and last.stopped_at is None else None,
        last_end_at=max((each.stopped_at for each in job.attempts if each.stopped_at is not None), default=None),
        kept_seconds=work.kept_seconds,
        worked_seconds=work.worked_seconds,
    )
