"""The state machine of AWS Batch: an event and the time go in, commands come out. No I/O, no clock, no randomness.

Its rules stand in three chapters: `books` (what is known), `hosting` (who gets which host), `waiting` (who waits for
whom, and how units end). This file is the face: events in, queries.
"""

from collections.abc import Callable
from itertools import chain, islice, takewhile
from typing import Any

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.placement import BLOCKED_IN_WORDS
from spotbatch.batch.retry import Action, AttemptExit
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.fleet import Fleet, HostState
from spotbatch.batch.scheduler.invariants import check_scheduler
from spotbatch.batch.scheduler.job_record import (
    FAILED,
    RUNNABLE,
    RUNNING,
    STARTING,
    SUCCEEDED,
    TERMINAL_FROM,
    JobRecord,
    key_of,
    unit_of,
)
from spotbatch.batch.scheduler.lifecycle import Waiting
from spotbatch.batch.scheduler.queue_order import FairOrder, QueueRecord
from spotbatch.batch.scheduler.state import UNLIMITED
from spotbatch.batch.status import (
    ARRAY_CHILD_FAILED,
    CONTAINER_EXITED,
    DEPENDENCY_FAILED,
    QUEUE_DELETED,
    STATUSES,
    TIMEOUT_EXCEEDED,
    JobStatus,
)


class Scheduler(Waiting):
    """AWS Batch's rules for jobs, queues and hosts. Drive it with `handle`; ask it with the queries below.

    `quota_vcpus` limits the vCPUs of all hosts together, as the EC2 quota of an account does. Jobs are numbered by
    the caller, hosts by the scheduler. `remember` keeps recent events for the story in a broken invariant.
    """

    def __init__(self, *, quota_vcpus: int | None = None, remember: bool = False) -> None:
        super().__init__(quota_vcpus=quota_vcpus, remember=remember)
        self._rules: dict[type, Callable[[Any], None]] = {
            ev.JobSubmitted: self._job_submitted,
            ev.JobRestored: self._job_restored,
            ev.JobCancelled: self._job_cancelled,
            ev.JobTerminated: self._job_terminated,
            ev.HostStarted: self._host_started,
            ev.HostNoticed: self._host_noticed,
            ev.HostEnded: self._host_ended,
            ev.AttemptStarted: self._attempt_started,
            ev.AttemptEnded: self._attempt_ended,
            ev.EnvironmentPut: self._environment_put,
            ev.EnvironmentRemoved: self._environment_removed,
            ev.QueuePut: self._queue_put,
            ev.QueueRemoved: self._queue_removed,
            ev.TimePassed: self._time_passed,
        }

    # ---- the face ----

    def handle(self, event: ev.Event, now: float) -> list[ev.Command]:
        """Apply one event at a time (seconds, any epoch, never going back), and answer what is to be done.

        Raises InvalidInput or NotFound, changing nothing, for an event about something that is not there.
        """
        self._now = now
        out: list[ev.Command] = []
        self._out = out
        if self.recent is not None:
            self.recent.append((now, event))
        self._rules[type(event)](event)
        return out

    @property
    def next_wakeup(self) -> float | None:
        """When TimePassed should be handled next, if nothing else happens."""
        return self.timers[0][0] if self.timers else None

    def check(self) -> None:
        """Raise BrokenInvariant where the books contradict each other. Costs a pass over everything."""
        check_scheduler(self)

    # ---- queries ----

    def status(self, job_no: int, index: int | None = None) -> JobStatus:
        """The status of a unit, or of the job as a whole. Raises NotFound."""
        record = self._record(job_no)
        return record.job_status() if index is None else STATUSES[record.status[index]]

    def status_reason(self, job_no: int, index: int | None = None) -> str:
        """Why the unit, or the job as a whole, stands where it stands; empty if there is nothing to say.

        The head of a queue that cannot start as things are says so (API reference, JobDetail.statusReason).
        """
        record = self._record(job_no)
        if index is None and record.is_array:
            return record.status_reason
        unit = index or 0
        if record.queue.blocked_head == (record, unit) and record.queue.queue.name in self.queues:
            blocked = self.blocked(record.queue.queue.name)
            if blocked is not None:
                return f"{blocked} - {BLOCKED_IN_WORDS[blocked]}"
        return record.reasons.get(unit, CONTAINER_EXITED if record.status[unit] == SUCCEEDED else "")

    def attempts_made(self, job_no: int, index: int = 0) -> int:
        """How many attempts of a unit have been started."""
        return self._record(job_no).attempts[index]

    def summary(self, job_no: int) -> dict[JobStatus, int]:
        """How many units of a job stand in each status."""
        return dict(zip(STATUSES, self._record(job_no).counts, strict=True))

    def statuses(self, job_no: int) -> bytes:
        """One status code (a place in STATUSES) a unit."""
        return bytes(self._record(job_no).status)

    def attempts(self, job_no: int) -> bytes:
        """The number of attempts started of each unit."""
        return bytes(self._record(job_no).attempts)

    def host_units(self, host_no: int) -> list[tuple[int, int, int]]:
        """(job number, index, attempt) of what is starting or running on a host."""
        host = self.hosts[host_no]
        return [(*unit_of(key), record.attempts[unit_of(key)[1]]) for key, record in host.units.items()]

    def queue_head(self, queue: str) -> tuple[int, int] | None:
        """(job number, index) of the unit that comes next in a queue."""
        head = self.queues[queue].order.head(self._now)
        return None if head is None else (head[0].job_no, head[1])

    def front(self, queue: str, limit: int) -> list[tuple[int, int]]:
        """(job number, index) of a queue's first RUNNABLE units in the order of dispatch, as things are.

        Those that a host boots for come first.
        """
        state = self.queues[queue]
        hosts = (host for fleet in state.fleets for host in fleet.booting.values())
        bound = (unit_of(key) for host in hosts for key, record in host.units.items() if record.queue is state)
        waiting = ((record.job_no, index) for record, index in state.order.units(self._now))
        return list(islice(chain(bound, waiting), limit))

    def running_vcpus(self, queue: str) -> int:
        """vCPUs of what is starting or running of a queue's jobs."""
        state = self.queues[queue]
        return sum(
            record.needs.vcpus
            for host in self.hosts.values()
            if host.state is not HostState.BOOTING
            for record in host.units.values()
            if record.queue is state
        )

    def shares(self, queue: str) -> dict[str, int]:
        """vCPUs that each share of a fair-share queue runs now; empty for a queue without shares."""
        order = self.queues[queue].order
        return order.running_vcpus if isinstance(order, FairOrder) else {}

    def waiting_vcpus(self, queue: str) -> int:
        """vCPUs of all units that wait in a queue."""
        return self.queues[queue].waiting_vcpus

    def forget(self, job_no: int) -> None:
        """Drop a job that has ended and on which no later job will depend, to bound memory."""
        if not self._record(job_no).has_ended:
            raise InvalidInput(f"job {job_no} has not ended: only an ended job can be forgotten")
        del self.jobs[job_no]

    # ---- jobs ----

    def _job_submitted(self, event: ev.JobSubmitted) -> None:
        if event.queue not in self.queues:
            raise NotFound(f"there is no job queue {event.queue!r} to take job {event.job_no}")
        record = self._enter(event)
        failed = self._count_dependencies(record)
        if failed:
            self._fail_waiting(record, DEPENDENCY_FAILED)
            return
        self._release_job(record)

    def _job_restored(self, event: ev.JobRestored) -> None:
        record = self._enter(event.submitted)
        failed = self._count_dependencies(record)
        record.attempts[:] = event.attempts
        for index, code in enumerate(event.statuses):
            if code >= STARTING and record.status[index] != code:
                record.move(index, code)
            if code in (STARTING, RUNNING):
                self.placed[key_of(record.job_no, index)] = None
                record.queue.order.started(record, self._now)
        if record.has_ended:  # its queue may be gone
            record.status_reason = ARRAY_CHILD_FAILED if record.is_array and record.counts[FAILED] else ""
            return
        self._settle_restored_children(record)
        if failed:
            self._fail_waiting(record, DEPENDENCY_FAILED)
        if event.submitted.queue in self.queues:
            self._release_job(record)
        else:  # it was deleted, and the news of that did not reach all of its jobs
            self._stop_units(record.job_no, None, QUEUE_DELETED, running_too=True)

    def _job_cancelled(self, event: ev.JobCancelled) -> None:
        self._stop_units(event.job_no, event.index, event.reason, running_too=False)

    def _job_terminated(self, event: ev.JobTerminated) -> None:
        self._stop_units(event.job_no, event.index, event.reason, running_too=True)

    # ---- attempts ----

    def _attempt_started(self, event: ev.AttemptStarted) -> None:
        record = self.jobs.get(event.job_no)
        index = event.index
        if record is None or record.status[index] != STARTING or record.attempts[index] != event.attempt:
            return  # it was ended, or its host went, before the news came
        record.move(index, RUNNING)
        if record.submitted.timeout_seconds is not None:
            self._watch_timeout(record.submitted.timeout_seconds, key_of(event.job_no, index))

    def _watch_timeout(self, seconds: int, key: int) -> None:
        """Attempts with one limit reach it in the order of their start: one timer, for the first of them, is enough."""
        deadlines = self.deadlines.get(seconds)
        if deadlines is None:
            deadlines = self.deadlines[seconds] = {}
            self._wake_at(self._now + seconds, self._timeouts_due, seconds)
        deadlines[key] = self._now + seconds

    def _timeouts_due(self, seconds: int) -> None:
        deadlines = self.deadlines[seconds]
        for key in [*takewhile(lambda key: deadlines[key] <= self._now, deadlines)]:
            del deadlines[key]
            job_no, index = unit_of(key)
            self._stop_attempt(self.jobs[job_no], index, TIMEOUT_EXCEEDED)
        if deadlines:
            self._wake_at(next(iter(deadlines.values())), self._timeouts_due, seconds)
        else:
            del self.deadlines[seconds]

    def _attempt_ended(self, event: ev.AttemptEnded) -> None:
        record = self.jobs.get(event.job_no)
        index = event.index
        if (
            record is None
            or record.attempts[index] != event.attempt
            or not STARTING <= record.status[index] < TERMINAL_FROM
        ):
            return  # news of an attempt that is over
        key = key_of(event.job_no, index)
        host = self.placed.pop(key)
        if host is not None:
            host.release(key)
        timeout = record.submitted.timeout_seconds
        if timeout in self.deadlines:
            self.deadlines[timeout].pop(key, None)
        record.queue.order.ended(record, self._now)
        self._settle(record, index, event)
        if host is not None and host.state is HostState.READY:
            self._room_came(host)
            if record.status[index] != RUNNABLE:
                return
        self._fill_unless_blocked(record.queue)  # it may wait again, and its host's environment be closed to it

    def _settle(self, record: JobRecord, index: int, event: ev.AttemptEnded) -> None:
        """Decide what an ended attempt means for its unit: SUCCEEDED, FAILED, or RUNNABLE again."""
        reason = event.status_reason or CONTAINER_EXITED
        stopped = record.stopping.pop(index, None) if record.stopping else None
        if stopped is not None:
            self._end_unit(record, index, FAILED, stopped)
        elif event.exit_code == 0:
            self._end_unit(record, index, SUCCEEDED, reason)
        elif self._is_retried(record, index, event, reason):
            record.move(index, RUNNABLE)
            record.reasons[index] = reason
            record.queue.order.line(record).add_retried(record, index)
            record.queue.waiting_vcpus += record.needs.vcpus
            self._out.append(ev.AttemptRetried(job_no=record.job_no, index=index))
        else:
            self._end_unit(record, index, FAILED, reason)

    def _is_retried(self, record: JobRecord, index: int, event: ev.AttemptEnded, reason: str) -> bool:
        ended = AttemptExit(exit_code=event.exit_code, reason=event.reason, status_reason=reason)
        return record.submitted.retry.decide(ended, record.attempts[index]) is Action.RETRY

    # ---- hosts ----

    def _host_started(self, event: ev.HostStarted) -> None:
        host = self._host(event.host_no)
        if host.state is not HostState.BOOTING:
            return
        host.fleet.turn(host, HostState.READY)
        for key, record in host.units.items():
            self._start(record, unit_of(key)[1], host)
        if not host.units:
            self._room_came(host)

    def _host_noticed(self, event: ev.HostNoticed) -> None:
        host = self._host(event.host_no)
        was_booting = host.state is HostState.BOOTING
        host.fleet.turn(host, HostState.DRAINING)
        if was_booting:
            self._unbind_all(host)
            self._refill_all()

    def _host_ended(self, event: ev.HostEnded) -> None:
        host = self._host(event.host_no)
        was_booting = host.state is HostState.BOOTING
        if host.units and not was_booting:
            raise InvalidInput(f"host {host.host_no} ended before its {len(host.units)} attempts were ended")
        if was_booting:
            back_at = host.fleet.had_no_capacity(host.pool, self._now, event.relaunch_seconds)
            self._wake_at(back_at, self._refill_fleet, host.fleet)
            self._unbind_all(host)
        host.fleet.remove(host)
        del self.hosts[host.host_no]
        self.launched_vcpus -= host.pool.vcpus
        if host.fleet.is_removed and not host.fleet.hosts:
            self.fleets.pop(host.fleet.environment.name, None)
            self._wire()
        if was_booting or self.quota_vcpus < UNLIMITED:
            self._refill_all()  # its units may be of any queue, and the quota is everybody's
        else:
            self._refill_fleet(host.fleet)

    # ---- environments, queues, time ----

    def _environment_put(self, event: ev.EnvironmentPut) -> None:
        environment = event.environment
        fleet = self.fleets.get(environment.name)
        if fleet is None:
            fleet = self.fleets[environment.name] = Fleet(environment)
        else:
            fleet.change(environment)
        self._wire()
        for host in list(fleet.hosts.values()):
            if host.state is HostState.READY and not host.units:
                self._rest(host)
            elif host.state is HostState.BOOTING and not fleet.is_open:
                self._unbind_all(host)  # nothing new is placed in a disabled environment
                fleet.room_came(host)
        self._refill_fleet(fleet)

    def _environment_removed(self, event: ev.EnvironmentRemoved) -> None:
        fleet = self.fleets.get(event.name)
        if fleet is None:
            raise NotFound(f"there is no compute environment {event.name!r}")
        fleet.close()
        for host in list(fleet.hosts.values()):
            if host.state is HostState.READY and not host.units:
                self._rest(host)
        if not fleet.hosts:
            del self.fleets[event.name]
        self._wire()

    def _queue_put(self, event: ev.QueuePut) -> None:
        state = self.queues.get(event.queue.name)
        if state is None:
            self.queues[event.queue.name] = QueueRecord(event.queue)
        else:
            state.change(event.queue)
        self._wire()
        if state is not None:
            self._leave_environments(state)
        self._refill_all()  # for a priority that changed

    def _leave_environments(self, state: QueueRecord) -> None:
        """What waits for a host to boot does not wait in an environment that its queue has no more."""
        for fleet in self.fleets.values():
            if fleet not in state.fleets:
                for host in fleet.booting.values():
                    self._unbind_all(host, state)
                    fleet.room_came(host)

    def _queue_removed(self, event: ev.QueueRemoved) -> None:
        if event.name not in self.queues:
            raise NotFound(f"there is no job queue {event.name!r}")
        for record in list(self.jobs.values()):
            if record.submitted.queue == event.name and not record.has_ended:
                self._stop_units(record.job_no, None, QUEUE_DELETED, running_too=True)
        del self.queues[event.name]
        self._wire()
        self._refill_all()

    def _time_passed(self, event: ev.TimePassed) -> None:  # noqa: ARG002 - the time itself is what it says
        self._run_timers()
