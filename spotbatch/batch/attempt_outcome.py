"""How an attempt ended: the single rule, based on what AWS Batch reports and what the runtime recorded.

The bill, the screens, the doctor, the deadline controller and the simulator all use this, so that an attempt means the
same thing everywhere. The evidence considered, strongest first:

1. the status reason, if AWS Batch itself ended the attempt (timeout) or its host went away;
2. exit code 0 of a job that nobody stopped;
3. what the runtime recorded: what told it to leave first, and how it ended;
4. the reason of the container (out of memory, could not be started) and the runtime's own exit codes;
5. that somebody terminated or cancelled the job, which concerns its last attempt only.

Under `spotrun` a terminated, a timed-out and a reclaimed attempt all end with exit code 210, since all three get a
signal or a notice, save and leave. Only EC2's own interruption may be waived by EC2 (EC2 user guide, "Billing for
interrupted Spot Instances"), so the three are told apart here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from spotbatch.batch.attempt_record import AttemptRecord, InterruptionCause, RecordedOutcome
from spotbatch.batch.environment import EXIT_INTERRUPTED, EXIT_NOT_SAVED, EXIT_OUTPUTS_REFUSED, EXIT_UNHEALTHY
from spotbatch.batch.job import Job
from spotbatch.batch.status import (
    HOST_TERMINATED_PREFIX,
    INSTANCE_DRAINING,
    NOT_STARTED,
    NOT_STARTED_REASONS,
    OUT_OF_MEMORY,
    SPOT_TASK_INTERRUPTED,
    TIMEOUT_EXCEEDED,
    JobStatus,
)

# A job cancelled while waiting for a retry ends later than its last attempt. If the attempt itself was
# stopped, both end at the same time, give or take AWS Batch's rounding.
_STOPPED_LATER_SECONDS: Final = 2.0


class AttemptOutcome(StrEnum):
    """How an attempt ended, or that it is still running."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"  # the command's own failure
    INTERRUPTED = "INTERRUPTED"  # EC2 took its Spot host back, or announced it and the runtime left
    STOPPED = "STOPPED"  # a user terminated or cancelled the job
    TIMED_OUT = "TIMED_OUT"  # AWS Batch stopped it: the job's timeout
    UNHEALTHY = "UNHEALTHY"  # the runtime's health check gave up on the command
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NOT_STARTED = "NOT_STARTED"  # the command never ran: image, container or restore
    NOT_SAVED = "NOT_SAVED"  # the command succeeded, but its outputs could not be stored
    LOST = "LOST"  # lost with its host, not through a Spot reclaim, or for no known reason

    @property
    def is_over(self) -> bool:
        """Whether the attempt has ended."""
        return self is not AttemptOutcome.RUNNING

    @property
    def is_lost_to_spot(self) -> bool:
        """Whether EC2's reclaim of the host ended it, rather than the command, a user or a limit."""
        return self is AttemptOutcome.INTERRUPTED

    @property
    def is_waivable(self) -> bool:
        """Whether EC2 waives the host's time within its first hour: only for what EC2 interrupted."""
        return self is AttemptOutcome.INTERRUPTED

    @property
    def is_stopped(self) -> bool:
        """Whether a user, or a limit set by a user, ended it on purpose."""
        return self in (AttemptOutcome.STOPPED, AttemptOutcome.TIMED_OUT)

    @property
    def is_failure(self) -> bool:
        """Whether it ended unsuccessfully although its host was up and nobody stopped it."""
        return self in _FAILURES

    @property
    def may_go_on(self) -> bool:
        """Whether the work itself is fine and would continue from its last checkpoint on another host."""
        return self in (AttemptOutcome.INTERRUPTED, AttemptOutcome.LOST)

    @property
    def group(self) -> "AttemptOutcome":
        """How bills and charts classify it: RUNNING, SUCCEEDED, INTERRUPTED (also LOST), STOPPED or FAILED."""
        if self.may_go_on:
            return AttemptOutcome.INTERRUPTED
        if self.is_stopped:
            return AttemptOutcome.STOPPED
        return AttemptOutcome.FAILED if self.is_failure else self


_FAILURES: Final = frozenset(
    {
        AttemptOutcome.FAILED,
        AttemptOutcome.UNHEALTHY,
        AttemptOutcome.OUT_OF_MEMORY,
        AttemptOutcome.NOT_STARTED,
        AttemptOutcome.NOT_SAVED,
    }
)


def outcome_of(
    *,
    is_running: bool = False,
    exit_code: int | None = None,
    reason: str = "",
    status_reason: str = "",
    is_stopped: bool = False,
    is_spot: bool = True,
    record: AttemptRecord | None = None,
) -> AttemptOutcome:
    """How one attempt ended.

    Args:
        is_running: it has not ended yet.
        exit_code: the container's; None if AWS Batch has none.
        reason: the container's.
        status_reason: the attempt's.
        is_stopped: somebody terminated or cancelled the job while this attempt ran.
        is_spot: its host is a Spot instance; True if that is not known.
        record: what the runtime wrote; None if there is no record.
    """
    if is_running:
        return AttemptOutcome.RUNNING
    if status_reason.startswith(TIMEOUT_EXCEEDED):
        return AttemptOutcome.TIMED_OUT
    if exit_code == 0:
        return AttemptOutcome.STOPPED if is_stopped else AttemptOutcome.SUCCEEDED
    if status_reason.startswith(SPOT_TASK_INTERRUPTED):
        return AttemptOutcome.INTERRUPTED
    if status_reason.startswith(HOST_TERMINATED_PREFIX):
        return AttemptOutcome.INTERRUPTED if is_spot else AttemptOutcome.LOST
    if record is not None and (recorded := _recorded(record, exit_code, reason, is_stopped=is_stopped)):
        return AttemptOutcome.LOST if recorded.is_lost_to_spot and not is_spot else recorded
    if reason.startswith(OUT_OF_MEMORY):
        return AttemptOutcome.OUT_OF_MEMORY
    if exit_code is None and (reason.startswith(NOT_STARTED_REASONS) or status_reason.startswith(NOT_STARTED)):
        return AttemptOutcome.NOT_STARTED
    if is_stopped:
        return AttemptOutcome.STOPPED
    if exit_code is None or status_reason.startswith(INSTANCE_DRAINING):
        return AttemptOutcome.LOST
    if exit_code == EXIT_INTERRUPTED:
        return AttemptOutcome.INTERRUPTED if is_spot else AttemptOutcome.LOST
    return _BY_CODE.get(exit_code, AttemptOutcome.FAILED)


_BY_CODE: Final[Mapping[int, AttemptOutcome]] = {
    EXIT_UNHEALTHY: AttemptOutcome.UNHEALTHY,
    EXIT_NOT_SAVED: AttemptOutcome.NOT_SAVED,
    EXIT_OUTPUTS_REFUSED: AttemptOutcome.NOT_SAVED,
}


def _recorded(record: AttemptRecord, exit_code: int | None, reason: str, *, is_stopped: bool) -> AttemptOutcome | None:
    """According to the runtime's record; None if it has none, or if the container then ended in another way."""
    if not record.has_ended:
        # Killed after a notice, before its deadline: the runtime could only record that the notice came.
        was_killed = exit_code in _KILLED and not reason.startswith(OUT_OF_MEMORY)
        return AttemptOutcome.INTERRUPTED if record.was_noticed and was_killed else None
    if record.exit_code != exit_code:
        return None
    if record.outcome == RecordedOutcome.INTERRUPTED:
        if record.was_noticed:  # even if somebody stopped the job after the notice: the host was being reclaimed
            return AttemptOutcome.INTERRUPTED
        if is_stopped:
            return AttemptOutcome.STOPPED
        # Neither a user nor a timeout sent that signal: the host was shut down without an EC2 notice.
        return AttemptOutcome.LOST if record.interruption_cause in _SIGNALS else None
    return None if is_stopped else _BY_RECORD.get(record.outcome)


_KILLED: Final = (None, 128 + 9, 128 + 15)  # as Docker reports SIGKILL and SIGTERM
_SIGNALS: Final = (InterruptionCause.SIGTERM, InterruptionCause.SIGINT)
_BY_RECORD: Final[Mapping[str, AttemptOutcome]] = {
    RecordedOutcome.UNHEALTHY: AttemptOutcome.UNHEALTHY,  # also if it is given up with a code other than 211
    RecordedOutcome.NOT_SAVED: AttemptOutcome.NOT_SAVED,
    RecordedOutcome.NOT_RESTORED: AttemptOutcome.NOT_STARTED,  # with 210 if the store may answer next time
}


def outcomes_of(job: Job, records: Mapping[int, AttemptRecord] | None = None) -> tuple[AttemptOutcome, ...]:
    """How each attempt of a job or child ended, in order. `records` are keyed by attempt, from 1."""
    known = records or {}
    last = len(job.attempts)
    return tuple(
        outcome_of(
            is_running=attempt.stopped_at is None,
            exit_code=attempt.exit_code,
            reason=attempt.reason,
            status_reason=attempt.status_reason,
            is_stopped=number == last and _was_stopped(job),
            record=known.get(number),
        )
        for number, attempt in enumerate(job.attempts, start=1)
    )


def interruptions_of(job: Job, records: Mapping[int, AttemptRecord] | None = None) -> int:
    """How many attempts of a job or child were ended by Spot."""
    return sum(outcome.is_lost_to_spot for outcome in outcomes_of(job, records))


def _was_stopped(job: Job) -> bool:
    """Whether stopping the job ended its last attempt, rather than its wait for the next one."""
    if not job.is_terminated or job.status is JobStatus.SUCCEEDED:
        return False
    ended_at = job.attempts[-1].stopped_at
    if ended_at is None or job.stopped_at is None:
        return True
    return job.stopped_at - ended_at <= _STOPPED_LATER_SECONDS
