"""What the controller sees of a run at one moment: its jobs as AWS Batch describes them, and how far their work is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from spotbatch.batch.attempt_outcome import AttemptOutcome, outcomes_of
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus

MOVE_REASON: Final = "spotbatch controller"  # what the reason begins with that the controller gives to TerminateJob


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How much of a unit's work is done, in seconds of one host."""

    kept_seconds: float = 0.0  # a checkpoint holds it
    worked_seconds: float = 0.0  # that, and what was worked since


NOTHING_DONE: Final = Work()


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One job, or one child of an array. `outcome` is of its last attempt, None where it has had none."""

    status: JobStatus
    outcome: AttemptOutcome | None = None
    losses: int = 0  # attempts that ended with their host
    is_ours: bool = False  # the controller itself terminated it
    is_done: bool = False  # its last attempt succeeded, also where it was to be stopped just then
    started_at: float | None = None  # of the attempt that runs
    last_end_at: float | None = None  # of the attempt before
    kept_seconds: float = 0.0  # of its work, which a checkpoint holds
    worked_seconds: float = 0.0  # the same, and what was worked since


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSeen:
    """One job of a run. `units` has those that are known by their index in the run; `running` counts all that cost."""

    running: int = 0
    units: Mapping[int, Unit] = field(default_factory=dict)
    is_gone: bool = False  # AWS Batch knows no such job any more


def unit_of(job: Job, work: Work = NOTHING_DONE) -> Unit:
    """What a described job or child tells, with what is known of its work."""
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
