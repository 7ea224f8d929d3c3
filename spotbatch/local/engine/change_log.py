"""What is recorded for observers between two commits: the scheduler's events and commands, in terms of `changes`."""

import asyncio
from collections.abc import Callable, Sequence

from spotbatch.batch.placement import BlockedReason
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import JobStatus
from spotbatch.local.changes import (
    AttemptChange,
    AttemptState,
    Change,
    HostChange,
    HostState,
    JobChange,
    Observer,
    QueueBlocked,
)
from spotbatch.local.engine.logs import task_id
from spotbatch.local.host_view import HostView

IdOf = Callable[[int], str]  # by the scheduler's number
_Attempt = tuple[int, int, int]


class ChangeLog:
    """For one engine. It is asked for the ids of jobs that the scheduler refers to, and of hosts that are alive."""

    def __init__(
        self,
        observers: Sequence[Observer],
        scheduler: Scheduler,
        *,
        is_observed: Callable[[], bool],
        job_id_of: IdOf,
        instance_id_of: IdOf,
    ) -> None:
        self._observers = observers
        self._is_observed = is_observed
        self._scheduler = scheduler
        self._job_id_of = job_id_of
        self._instance_id_of = instance_id_of
        self._loop = asyncio.get_running_loop()
        self._changes: list[Change] = []
        self._instance_of: dict[_Attempt, str] = {}  # of attempts that are not over
        self._blocked: dict[str, tuple[int, int, BlockedReason]] = {}  # by queue: the reported head, and the reason
        self._is_due = False  # something was scheduled since the queues were examined

    @property
    def is_on(self) -> bool:
        """Whether anybody observes now: otherwise nothing needs to be recorded."""
        return bool(self._observers) and self._is_observed()

    def hand_on(self, now: float) -> None:
        """What was recorded is on disk: the observers receive it, one round of the event loop later."""
        if self._is_due:
            self._is_due = False
            self._look_for_blocked_queues(now)
        if not self._changes:
            return
        changes, self._changes = tuple(self._changes), []
        for observer in self._observers:
            self._loop.call_soon(observer, changes)

    # ---- what is recorded ----

    def host(self, host: HostView, state: HostState, at: float) -> None:
        """A host changed to its current state."""
        if self.is_on:
            self._changes.append(HostChange(at=at, host=host, state=state))

    def placed(self, attempt: _Attempt, instance_id: str) -> None:
        """An attempt, (job number, index, attempt), has this host, as reported before the restart."""
        if self.is_on:
            self._instance_of[attempt] = instance_id

    def scheduled(self, event: ev.Event, commands: Sequence[ev.Command], at: float) -> None:
        """The scheduler took an event and issued commands. Hosts are reported separately."""
        if not self.is_on:
            self._instance_of.clear()
            return
        self._is_due = True
        match event:
            case ev.JobSubmitted():
                self._submitted(event, at)
            case ev.AttemptStarted(job_no=job_no, index=index):
                if self._scheduler.status(job_no, index) is JobStatus.RUNNING:
                    self._attempt((job_no, index, event.attempt), AttemptState.RUNNING, at)
                    self._unit(job_no, index, JobStatus.RUNNING, "", at)
            case ev.AttemptEnded():
                self._attempt_ended(event, at)
        is_restored = isinstance(event, ev.JobRestored)
        for command in commands:
            if not (is_restored and isinstance(command, ev.UnitsReleased)):  # these were reported before the restart
                self._commanded(command, at)

    def _commanded(self, command: ev.Command, at: float) -> None:
        match command:
            case ev.UnitsReleased(job_no=job_no, index=None):
                self._units(job_no, JobStatus.RUNNABLE, at)
            case ev.UnitsReleased(job_no=job_no, index=int(index)):
                self._unit(job_no, index, JobStatus.RUNNABLE, "", at)
            case ev.AttemptRetried(job_no=job_no, index=index):
                reason = self._scheduler.status_reason(job_no, index)
                self._unit(job_no, index, JobStatus.RUNNABLE, reason, at)
            case ev.StartAttempt(job_no=job_no, index=index):
                self._instance_of[job_no, index, command.attempt] = self._instance_id_of(command.host_no)
                self._attempt((job_no, index, command.attempt), AttemptState.PENDING, at)
                self._unit(job_no, index, JobStatus.STARTING, "", at)
            case ev.UnitEnded(job_no=job_no, index=index):
                self._unit(job_no, index, command.status, command.status_reason, at)
            case ev.JobEnded(job_no=job_no):
                if self._scheduler.array_size(job_no):
                    self._job(job_no, None, command.status, at, command.status_reason)

    def _submitted(self, event: ev.JobSubmitted, at: float) -> None:
        """An array's parent is PENDING until all its children have ended; a job with no dependencies never is."""
        job_no = event.job_no
        self._job(job_no, None, JobStatus.SUBMITTED, at)
        if event.size:
            self._job(job_no, None, JobStatus.PENDING, at)
            self._units(job_no, JobStatus.SUBMITTED, at)
        if event.dependencies:
            self._units(job_no, JobStatus.PENDING, at)

    def _units(self, job_no: int, status: JobStatus, at: float) -> None:
        """All units of a job."""
        size = self._scheduler.array_size(job_no)
        self._job(job_no, range(size) if size else None, status, at)

    def _unit(self, job_no: int, index: int, status: JobStatus, reason: str, at: float) -> None:
        is_child = self._scheduler.array_size(job_no) > 0
        self._job(job_no, range(index, index + 1) if is_child else None, status, at, reason)

    def _job(self, job_no: int, children: range | None, status: JobStatus, at: float, reason: str = "") -> None:
        self._changes.append(
            JobChange(at=at, job_id=self._job_id_of(job_no), children=children, status=status, status_reason=reason)
        )

    def _attempt_ended(self, event: ev.AttemptEnded, at: float) -> None:
        self._attempt(
            (event.job_no, event.index, event.attempt),
            AttemptState.STOPPED,
            at,
            exit_code=event.exit_code,
            reason=event.reason,
            status_reason=event.status_reason,
        )

    def _attempt(
        self,
        attempt: _Attempt,
        state: AttemptState,
        at: float,
        *,
        exit_code: int | None = None,
        reason: str = "",
        status_reason: str = "",
    ) -> None:
        job_no, index, number = attempt
        job_id = self._job_id_of(job_no)
        is_over = state is AttemptState.STOPPED
        instance_id = self._instance_of.pop(attempt, "") if is_over else self._instance_of.get(attempt, "")
        self._changes.append(
            AttemptChange(
                at=at,
                job_id=self._unit_id(job_no, index),
                attempt=number,
                task_id=task_id(job_id, *attempt),
                instance_id=instance_id,
                state=state,
                exit_code=exit_code,
                reason=reason,
                status_reason=status_reason,
            )
        )

    def _unit_id(self, job_no: int, index: int) -> str:
        job_id = self._job_id_of(job_no)
        return f"{job_id}:{index}" if self._scheduler.array_size(job_no) else job_id

    def _look_for_blocked_queues(self, now: float) -> None:
        found = {}
        for queue in self._scheduler.queue_names():
            blocked = self._scheduler.blocked_head(queue)
            if blocked is None:
                continue
            found[queue] = blocked
            if self._blocked.get(queue) != blocked:
                job_no, index, reason = blocked
                job_id = self._unit_id(job_no, index)
                words = self._scheduler.status_reason(job_no, index)
                self._changes.append(
                    QueueBlocked(at=now, queue=queue, job_id=job_id, reason=reason, status_reason=words)
                )
        self._blocked = found
