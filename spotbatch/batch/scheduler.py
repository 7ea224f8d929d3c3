"""The state machine of AWS Batch: an event and the time go in, commands come out. No I/O, no clock, no randomness."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from spotbatch.batch import events as ev
from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.errors import InvalidInput, InvalidJob, NotFound
from spotbatch.batch.fleet import Fleet, Host, HostState
from spotbatch.batch.invariants import check_scheduler
from spotbatch.batch.ledger import (
    FAILED,
    PENDING,
    RUNNABLE,
    RUNNING,
    STARTING,
    SUBMITTED,
    SUCCEEDED,
    TERMINAL_FROM,
    JobRecord,
    key_of,
    unit_of,
)
from spotbatch.batch.line import FairOrder, FifoOrder, Unit
from spotbatch.batch.placement import BlockedReason, JobQueue, Pool, blocked_reason
from spotbatch.batch.retry import Action, AttemptExit
from spotbatch.batch.status import (
    ARRAY_CHILD_FAILED,
    CONTAINER_EXITED,
    DEPENDENCY_FAILED,
    STATUSES,
    TIMEOUT_EXCEEDED,
    JobStatus,
)

_UNLIMITED: Final = 1 << 60
_STORY_EVENTS: Final = 2_000


class _Queue:
    """A job queue at work: its order, and whether its head waits for something that is not there."""

    __slots__ = ("blocked_head", "blocked_since", "order", "queue", "waiting_vcpus")

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.order: FifoOrder | FairOrder = FairOrder(queue.fair_share) if queue.fair_share else FifoOrder()
        self.waiting_vcpus = 0  # of all units in the line
        self.blocked_head: Unit | None = None
        self.blocked_since = 0.0


class Scheduler:
    """AWS Batch's rules for jobs, queues and hosts. Drive it with `handle`; ask it with the queries below.

    `quota_vcpus` limits the vCPUs of all hosts together, as the EC2 quota of an account does. Jobs are numbered by
    the caller, hosts by the scheduler. `remember` keeps recent events for the story in a broken invariant.
    """

    def __init__(self, *, quota_vcpus: int | None = None, remember: bool = False) -> None:
        self.quota_vcpus = _UNLIMITED if quota_vcpus is None else quota_vcpus
        self.jobs: dict[int, JobRecord] = {}
        self.fleets: dict[str, Fleet] = {}
        self.queues: dict[str, _Queue] = {}
        self.hosts: dict[int, Host] = {}
        self.placed: dict[int, Host | None] = {}  # unit key -> host: bound, starting or running there
        self.launched_vcpus = 0
        self.recent: deque[tuple[float, ev.Event]] | None = deque(maxlen=_STORY_EVENTS) if remember else None
        self._timers: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._timer_no = 0
        self._host_no = 0
        self._now = 0.0
        self._out: list[ev.Command] = []
        self._queues_by_fleet: dict[str, list[_Queue]] = {}  # both caches are dropped when either side changes
        self._fleets_by_queue: dict[str, list[Fleet]] = {}
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
        self._out = out = list[ev.Command]()
        if self.recent is not None:
            self.recent.append((now, event))
        self._rules[type(event)](event)
        return out

    @property
    def next_wakeup(self) -> float | None:
        """When TimePassed should be handled next, if nothing else happens."""
        return self._timers[0][0] if self._timers else None

    def check(self) -> None:
        """Raise BrokenInvariant where the books contradict each other. Costs a pass over everything."""
        check_scheduler(self)

    # ---- queries ----

    def status(self, job_no: int, index: int | None = None) -> JobStatus:
        """The status of a unit, or of the job as a whole. Raises NotFound."""
        record = self._record(job_no)
        return record.job_status() if index is None else STATUSES[record.status[index]]

    def status_reason(self, job_no: int, index: int | None = None) -> str:
        """Why the unit, or the job as a whole, stands where it stands; empty if there is nothing to say."""
        record = self._record(job_no)
        if index is None and record.is_array:
            return record.status_reason
        unit = index or 0
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

    def blocked(self, queue: str) -> BlockedReason | None:
        """Why the head of a queue can never start as things are; None if it only waits its turn, or nothing waits."""
        state = self.queues[queue]
        head = state.order.head(self._now)
        if head is None or any(
            host.state in (HostState.READY, HostState.BOOTING) and _empty_would_fit(host, head[0])
            for fleet in self._fleets_of(state)
            for host in fleet.hosts.values()
        ):
            return None
        return blocked_reason([fleet.environment for fleet in self._fleets_of(state)], head[0].needs)

    def queue_head(self, queue: str) -> tuple[int, int] | None:
        """(job number, index) of the unit that comes next in a queue."""
        head = self.queues[queue].order.head(self._now)
        return None if head is None else (head[0].job_no, head[1])

    def waiting_vcpus(self, queue: str) -> int:
        """vCPUs of all units that wait in a queue."""
        return self.queues[queue].waiting_vcpus

    def forget(self, job_no: int) -> None:
        """Drop a job that has ended and on which no later job will depend, to bound memory."""
        if not self._record(job_no).has_ended:
            raise InvalidInput(f"job {job_no} has not ended: only an ended job can be forgotten")
        del self.jobs[job_no]

    # ---- jobs come in ----

    def _job_submitted(self, event: ev.JobSubmitted) -> None:
        if event.queue not in self.queues:
            raise NotFound(f"there is no job queue {event.queue!r} to take job {event.job_no}")
        record = self._enter(event)
        failed = self._count_dependencies(record)
        if failed:
            self._fail_waiting(record, DEPENDENCY_FAILED)
            return
        self._release_job(record)

    def _enter(self, event: ev.JobSubmitted) -> JobRecord:
        if event.job_no in self.jobs:
            raise InvalidInput(f"job {event.job_no} was submitted before")
        for dependency in event.dependencies:
            self._validate_dependency(event, dependency)
        record = self.jobs[event.job_no] = JobRecord(event)
        return record

    def _validate_dependency(self, event: ev.JobSubmitted, dependency: ev.ResolvedDependency) -> None:
        if dependency.type is DependencyType.SEQUENTIAL:
            if not event.size:
                raise InvalidJob(f"job {event.job_no} is no array: a SEQUENTIAL dependency needs one")
            return
        if dependency.job_no is None or dependency.job_no not in self.jobs:
            raise NotFound(f"job {event.job_no} depends on job {dependency.job_no}, which is not known")
        size = self.jobs[dependency.job_no].submitted.size
        if dependency.type is DependencyType.N_TO_N and not size == event.size > 0:
            raise InvalidJob(f"an N_TO_N dependency needs two arrays of one size, not {event.size} and {size}")
        if dependency.index is not None and not dependency.index < size:
            raise NotFound(f"job {dependency.job_no} has no child {dependency.index}: its size is {size}")

    def _count_dependencies(self, record: JobRecord) -> bool:
        """Note what the job waits for; True if something that the job as a whole needs has failed already."""
        failed = False
        for dependency in record.submitted.dependencies:
            if dependency.type is DependencyType.PLAIN:
                failed |= self._await_whole(record, dependency)
            else:
                self._await_each(record, dependency)
        record.move_all(SUBMITTED, PENDING)
        return failed

    def _await_whole(self, record: JobRecord, dependency: ev.ResolvedDependency) -> bool:
        assert dependency.job_no is not None  # noqa: S101 - validated at entry, for the type checker
        other = self.jobs[dependency.job_no]
        child = dependency.index
        status = other.job_status() if child is None else STATUSES[other.status[child]]
        if status is JobStatus.FAILED:
            return True
        if status is not JobStatus.SUCCEEDED:
            record.deps_left += 1
            other.dependents.append((record.job_no, dependency.index, DependencyType.PLAIN))
        return False

    def _await_each(self, record: JobRecord, dependency: ev.ResolvedDependency) -> None:
        """SEQUENTIAL and N_TO_N: every unit waits for one other unit."""
        waits = record.unit_deps = record.unit_deps or bytearray(record.units)
        if dependency.type is DependencyType.SEQUENTIAL:
            for index in range(1, record.units):
                waits[index] += 1
            return
        assert dependency.job_no is not None  # noqa: S101 - validated at entry, for the type checker
        other = self.jobs[dependency.job_no]
        other.dependents.append((record.job_no, None, DependencyType.N_TO_N))
        for index in range(record.units):
            if other.status[index] == FAILED:
                self._end_unit(record, index, FAILED, DEPENDENCY_FAILED)
            elif other.status[index] != SUCCEEDED:
                waits[index] += 1

    def _release_job(self, record: JobRecord) -> None:
        """Make RUNNABLE what the job as a whole no longer holds back, and try to place it."""
        if record.deps_left or record.has_ended:
            return
        state = self.queues[record.submitted.queue]
        if record.unit_deps is None:
            waiting = record.counts[PENDING]
            record.move_all(PENDING, RUNNABLE)
            state.order.line(record).add_job(record)
            state.waiting_vcpus += waiting * record.needs.vcpus
        else:
            for index, waits in enumerate(record.unit_deps):
                if not waits and record.status[index] == PENDING:
                    self._queue_unit(state, record, index)
        self._fill_unless_blocked(state)

    def _queue_unit(self, state: _Queue, record: JobRecord, index: int) -> None:
        record.move(index, RUNNABLE)
        state.order.line(record).add(record, index)
        state.waiting_vcpus += record.needs.vcpus

    def _job_restored(self, event: ev.JobRestored) -> None:
        record = self._enter(event.submitted)
        failed = self._count_dependencies(record)
        record.attempts[:] = event.attempts
        for index, code in enumerate(event.statuses):
            if code >= STARTING and record.status[index] != code:
                record.move(index, code)
            if code in (STARTING, RUNNING):
                self.placed[key_of(record.job_no, index)] = None
        if record.has_ended:  # its queue may be gone
            record.status_reason = ARRAY_CHILD_FAILED if record.is_array and record.counts[FAILED] else ""
            return
        self._settle_restored_children(record)
        if failed:
            self._fail_waiting(record, DEPENDENCY_FAILED)
        self._release_job(record)

    def _settle_restored_children(self, record: JobRecord) -> None:
        """A SEQUENTIAL child waits for its elder sibling only if that one has not ended."""
        if record.unit_deps is None or not record.is_sequential:
            return
        for index in range(1, record.units):
            elder = record.status[index - 1]
            if elder == SUCCEEDED:
                record.unit_deps[index] -= 1
            elif elder == FAILED and record.status[index] < STARTING:
                self._end_unit(record, index, FAILED, DEPENDENCY_FAILED)

    # ---- jobs are stopped ----

    def _job_cancelled(self, event: ev.JobCancelled) -> None:
        self._stop_units(event.job_no, event.index, event.reason, running_too=False)

    def _job_terminated(self, event: ev.JobTerminated) -> None:
        self._stop_units(event.job_no, event.index, event.reason, running_too=True)

    def _stop_units(self, job_no: int, index: int | None, reason: str, *, running_too: bool) -> None:
        record = self._record(job_no)
        if index is not None and not 0 <= index < record.units:
            raise NotFound(f"job {job_no} has no child {index}: its size is {record.units}")
        for each in range(record.units) if index is None else (index,):
            code = record.status[each]
            if code < STARTING:
                self._drop_waiting(record, each, reason)
            elif code < TERMINAL_FROM and running_too:
                self._stop_attempt(record, each, reason)
        state = self.queues.get(record.submitted.queue)
        if state is not None:
            self._fill_unless_blocked(state)

    def _drop_waiting(self, record: JobRecord, index: int, reason: str) -> None:
        """End a unit that has not started: it leaves its line, or the booting host that it is bound to."""
        key = key_of(record.job_no, index)
        host = self.placed.pop(key, None)
        if host is not None:
            host.release(key)
            self._end_unit(record, index, FAILED, reason)
            self._room_came(host)
            return
        if record.status[index] == RUNNABLE:
            self.queues[record.submitted.queue].waiting_vcpus -= record.needs.vcpus
        self._end_unit(record, index, FAILED, reason)

    def _stop_attempt(self, record: JobRecord, index: int, reason: str) -> None:
        if index in record.stopping:
            return
        record.stopping[index] = reason
        self._out.append(
            ev.StopAttempt(job_no=record.job_no, index=index, attempt=record.attempts[index], status_reason=reason)
        )

    def _fail_waiting(self, record: JobRecord, reason: str) -> None:
        for index in range(record.units):
            if record.status[index] < STARTING:
                self._drop_waiting(record, index, reason)

    # ---- attempts ----

    def _attempt_started(self, event: ev.AttemptStarted) -> None:
        record = self.jobs.get(event.job_no)
        index = event.index
        if record is None or record.status[index] != STARTING or record.attempts[index] != event.attempt:
            return  # it was ended, or its host went, before the news came
        record.move(index, RUNNING)
        timeout = record.submitted.timeout_seconds
        if timeout is not None:
            self._wake_at(self._now + timeout, self._attempt_timed_out, record, index, event.attempt)

    def _attempt_timed_out(self, record: JobRecord, index: int, attempt: int) -> None:
        if record.status[index] == RUNNING and record.attempts[index] == attempt:
            self._stop_attempt(record, index, TIMEOUT_EXCEEDED)

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
        state = self.queues.get(record.submitted.queue)
        if state is not None:
            state.order.ended(record, self._now)
        self._settle(record, index, event, state)
        if host is not None and host.state is HostState.READY:
            self._room_came(host)
        elif state is not None:
            self._fill_unless_blocked(state)

    def _settle(self, record: JobRecord, index: int, event: ev.AttemptEnded, state: _Queue | None) -> None:
        """Decide what an ended attempt means for its unit: SUCCEEDED, FAILED, or RUNNABLE again."""
        reason = event.status_reason or CONTAINER_EXITED
        stopped = record.stopping.pop(index, None)
        if stopped is not None:
            self._end_unit(record, index, FAILED, stopped)
        elif event.exit_code == 0:
            self._end_unit(record, index, SUCCEEDED, reason)
        elif state is not None and self._is_retried(record, index, event, reason):
            record.move(index, RUNNABLE)
            record.reasons[index] = reason
            state.order.line(record).add_retried(record, index)
            state.waiting_vcpus += record.needs.vcpus
            self._out.append(ev.AttemptRetried(job_no=record.job_no, index=index))
        else:
            self._end_unit(record, index, FAILED, reason)

    def _is_retried(self, record: JobRecord, index: int, event: ev.AttemptEnded, reason: str) -> bool:
        ended = AttemptExit(exit_code=event.exit_code, reason=event.reason, status_reason=reason)
        return record.submitted.retry.decide(ended, record.attempts[index]) is Action.RETRY

    def _end_unit(self, record: JobRecord, index: int, code: int, reason: str) -> None:
        """Put a unit into its last status, and carry the news to all that waited for it, however long the chain."""
        ended: deque[tuple[JobRecord, int, int, str]] = deque([(record, index, code, reason)])
        while ended:
            record, index, code, reason = ended.popleft()
            if record.status[index] >= TERMINAL_FROM:
                continue
            record.move(index, code)
            if code == FAILED or reason != CONTAINER_EXITED:
                record.reasons[index] = reason  # the usual reason of success costs no memory
            status = STATUSES[code]
            self._out.append(ev.UnitEnded(job_no=record.job_no, index=index, status=status, status_reason=reason))
            if record.has_ended:
                self._job_is_over(record, reason)
            self._tell_waiting_units(record, index, code, ended)
            self._tell_dependents(record, index, code, ended)

    def _job_is_over(self, record: JobRecord, reason: str) -> None:
        status = record.job_status()
        if record.is_array:
            reason = ARRAY_CHILD_FAILED if status is JobStatus.FAILED else ""
        record.status_reason = reason
        self._out.append(ev.JobEnded(job_no=record.job_no, status=status, status_reason=reason))

    def _tell_waiting_units(
        self, record: JobRecord, index: int, code: int, ended: deque[tuple[JobRecord, int, int, str]]
    ) -> None:
        """SEQUENTIAL: the next child of the same array."""
        younger = index + 1
        if record.unit_deps is None or younger >= record.units or not record.is_sequential:
            return
        self._tell_unit(record, younger, code, ended)

    def _tell_dependents(
        self, record: JobRecord, index: int, code: int, ended: deque[tuple[JobRecord, int, int, str]]
    ) -> None:
        for job_no, our_index, kind in record.dependents:
            other = self.jobs.get(job_no)
            if other is None:
                continue
            if kind is DependencyType.N_TO_N:
                self._tell_unit(other, index, code, ended)
            elif our_index == index or (our_index is None and record.has_ended):
                good = code == SUCCEEDED if our_index is not None else record.counts[FAILED] == 0
                self._tell_job(other, good=good, ended=ended)

    def _tell_unit(
        self, record: JobRecord, index: int, code: int, ended: deque[tuple[JobRecord, int, int, str]]
    ) -> None:
        if record.status[index] >= RUNNABLE or record.unit_deps is None:
            return
        if code == FAILED:
            ended.append((record, index, FAILED, DEPENDENCY_FAILED))
            return
        record.unit_deps[index] -= 1
        if record.unit_deps[index] == 0 and record.deps_left == 0:
            state = self.queues[record.submitted.queue]
            self._queue_unit(state, record, index)
            self._fill_unless_blocked(state)

    def _tell_job(self, record: JobRecord, *, good: bool, ended: deque[tuple[JobRecord, int, int, str]]) -> None:
        if good:
            record.deps_left -= 1
            self._release_job(record)
            return
        for index in range(record.units):
            if record.status[index] < RUNNABLE:
                ended.append((record, index, FAILED, DEPENDENCY_FAILED))

    # ---- hosts ----

    def _host_started(self, event: ev.HostStarted) -> None:
        host = self._host(event.host_no)
        if host.state is not HostState.BOOTING:
            return
        host.state = HostState.READY
        for key, record in host.units.items():
            self._start(record, unit_of(key)[1], host)
        if not host.units:
            self._room_came(host)

    def _host_noticed(self, event: ev.HostNoticed) -> None:
        host = self._host(event.host_no)
        was_booting = host.state is HostState.BOOTING
        host.state = HostState.DRAINING
        if was_booting:
            self._unbind_all(host)
        for queue in self._queues_on(host.fleet):
            self._fill(queue)

    def _host_ended(self, event: ev.HostEnded) -> None:
        host = self._host(event.host_no)
        if host.units and host.state is not HostState.BOOTING:
            raise InvalidInput(f"host {host.host_no} ended before its {len(host.units)} attempts were ended")
        if host.state is HostState.BOOTING:
            self._wake_at(host.fleet.had_no_capacity(host.pool, self._now), self._refill_fleet, host.fleet)
            self._unbind_all(host)
        host.fleet.remove(host)
        del self.hosts[host.host_no]
        self.launched_vcpus -= host.pool.vcpus
        if host.fleet.is_removed and not host.fleet.hosts:
            self.fleets.pop(host.fleet.environment.name, None)
            self._wiring_changed()
        self._refill_fleet(host.fleet)

    def _unbind_all(self, host: Host) -> None:
        """Units bound to a host that will not come return to the head of their line, in their order."""
        for key in reversed(list(host.units)):
            record = host.release(key)
            del self.placed[key]
            state = self.queues[record.submitted.queue]
            state.order.line(record).put_back(record, unit_of(key)[1])
            state.waiting_vcpus += record.needs.vcpus
            state.blocked_head = None

    def _room_came(self, host: Host) -> None:
        """A unit left a host: give the room to the next in line, or let the host rest."""
        fleet = host.fleet
        if host.state is HostState.READY or host.state is HostState.BOOTING:
            self._offer(host)
            fleet.room_came(host)
        if not host.units and host.state is HostState.READY:
            self._rest(host)

    def _offer(self, host: Host) -> None:
        """Fill one host from the queues that use its environment, the higher priority first.

        A head that this host cannot take, but another of its environment could, holds what stands behind it: else
        small jobs would keep a big one waiting for ever.
        """
        fleet = host.fleet
        if not fleet.is_open:
            return
        for state in self._queues_on(fleet):
            head = self._fill_host(state, host)
            if head is not None and state.blocked_head is None:
                self._fill(state)  # this head was never looked at: it came up while the host was filled
            blocked = state.blocked_head
            if blocked is not None and fleet.could_fit(blocked[0].needs):
                return
        if host.state is HostState.READY:
            self._take_from_booting(host)

    def _fill_host(self, state: _Queue, host: Host) -> Unit | None:
        """Give a host what it takes from the head of one queue; answers the head that is left."""
        while True:
            head = state.order.head(self._now)
            if head is None or not host.fits(head[0].needs) or not self._may_start(state, head[0]):
                return head
            self._take(state, *head, host)

    def _take_from_booting(self, host: Host) -> None:
        """With nothing in line, units that wait for a host to boot need not: this one has room now."""
        for other in host.fleet.hosts.values():
            if other.state is not HostState.BOOTING:
                continue
            for key, record in list(other.units.items()):
                if host.fits(record.needs):
                    other.release(key)
                    self._put_on(record, unit_of(key)[1], host)

    def _rest(self, host: Host) -> None:
        host.idle_since = self._now
        wait = host.fleet.environment.idle_seconds if host.fleet.is_open else 0.0
        self._wake_at(self._now + wait, self._idle_is_over, host, self._now)

    def _idle_is_over(self, host: Host, since: float) -> None:
        fleet = host.fleet
        if host.idle_since != since or host.state is not HostState.READY or host.host_no not in self.hosts:
            return
        floor = fleet.environment.min_vcpus if fleet.is_open else 0
        if fleet.vcpus - host.pool.vcpus >= floor:
            cause = ev.HostEndCause.IDLE if fleet.is_open else ev.HostEndCause.ENVIRONMENT
            host.state = HostState.ENDING
            self._out.append(ev.TerminateHost(host_no=host.host_no, cause=cause))

    # ---- placing ----

    def _fill_unless_blocked(self, state: _Queue) -> None:
        """After something joined the line: if its head is known to wait, and is the head still, nothing changes."""
        if state.blocked_head is None or state.order.is_fair or state.blocked_head != state.order.head(self._now):
            self._fill(state)

    def _fill(self, state: _Queue) -> None:
        """Place units from the head on, in strict order, until one finds neither a host nor a launch."""
        blocked_before, state.blocked_head = state.blocked_head, None
        while True:
            head = state.order.head(self._now)
            if head is None:
                return
            host = self._host_for(state, head[0]) if self._may_start(state, head[0]) else None
            if host is None:
                state.blocked_head = head
                if head != blocked_before:
                    self._head_came_to_wait(state, head)
                return
            self._take(state, *head, host)

    def _may_start(self, state: _Queue, record: JobRecord) -> bool:
        """Whether a fair-share policy's compute reservation leaves room for this unit."""
        order = state.order
        if isinstance(order, FifoOrder):
            return True
        most = sum(fleet.environment.max_vcpus for fleet in self._fleets_of(state))
        return order.may_start(record, most)

    def _host_for(self, state: _Queue, record: JobRecord) -> Host | None:
        fleets = [fleet for fleet in self._fleets_of(state) if fleet.is_open and not self._is_spoken_for(fleet, state)]
        for fleet in fleets:
            host = fleet.find(record.needs)
            if host is not None:
                return host
        for fleet in fleets:
            quota_left = self.quota_vcpus - self.launched_vcpus
            pool = fleet.launchable(record.needs, state.waiting_vcpus, quota_left, self._now)
            if pool is not None:
                return self._launch(fleet, pool)
        return None

    def _is_spoken_for(self, fleet: Fleet, state: _Queue) -> bool:
        """Whether the head of a queue with a higher priority waits for room in this environment."""
        return any(
            other.queue.priority > state.queue.priority
            and other.blocked_head is not None
            and fleet.could_fit(other.blocked_head[0].needs)
            for other in self._queues_on(fleet)
        )

    def _head_came_to_wait(self, state: _Queue, head: Unit) -> None:
        state.blocked_since = self._now
        for limit in state.queue.time_limits:
            self._wake_at(self._now + limit.max_seconds, self._time_limit_reached, state, head, limit.reason)

    def _time_limit_reached(self, state: _Queue, head: Unit, reason: str) -> None:
        """A jobStateTimeLimitAction (user guide): cancel the head that can never start, for the reason named."""
        if state.blocked_head == head and self.blocked(state.queue.name) == reason:
            self._drop_waiting(*head, reason)
            self._fill(state)

    def _launch(self, fleet: Fleet, pool: Pool) -> Host:
        self._host_no += 1
        host = self.hosts[self._host_no] = Host(self._host_no, fleet, pool)
        fleet.add(host)
        self.launched_vcpus += pool.vcpus
        self._out.append(ev.LaunchHost(host_no=host.host_no, environment=fleet.environment.name, pool=pool))
        return host

    def _take(self, state: _Queue, record: JobRecord, index: int, host: Host) -> None:
        state.order.take()
        state.waiting_vcpus -= record.needs.vcpus
        state.blocked_head = None
        self._put_on(record, index, host)

    def _put_on(self, record: JobRecord, index: int, host: Host) -> None:
        key = key_of(record.job_no, index)
        host.hold(key, record)
        self.placed[key] = host
        if host.state is HostState.READY:
            self._start(record, index, host)

    def _start(self, record: JobRecord, index: int, host: Host) -> None:
        record.move(index, STARTING)
        record.attempts[index] += 1
        record.reasons.pop(index, None)
        self.queues[record.submitted.queue].order.started(record, self._now)
        attempt = record.attempts[index]
        self._out.append(ev.StartAttempt(job_no=record.job_no, index=index, attempt=attempt, host_no=host.host_no))

    # ---- environments, queues, time ----

    def _environment_put(self, event: ev.EnvironmentPut) -> None:
        environment = event.environment
        fleet = self.fleets.get(environment.name)
        if fleet is None:
            fleet = self.fleets[environment.name] = Fleet(environment)
        else:
            fleet.change(environment)
        self._wiring_changed()
        for host in list(fleet.hosts.values()):
            if host.state is HostState.READY and not host.units:
                self._rest(host)
        self._refill_fleet(fleet)

    def _environment_removed(self, event: ev.EnvironmentRemoved) -> None:
        fleet = self.fleets.get(event.name)
        if fleet is None:
            raise NotFound(f"there is no compute environment {event.name!r}")
        fleet.is_removed = True
        for host in list(fleet.hosts.values()):
            if host.state is HostState.READY and not host.units:
                self._rest(host)
        if not fleet.hosts:
            del self.fleets[event.name]
        self._wiring_changed()

    def _refill_fleet(self, fleet: Fleet) -> None:
        """Something about an environment's capacity changed: keep its minimum, and let its queues try again."""
        self._keep_minimum(fleet)
        for state in self._queues_on(fleet):
            self._fill(state)

    def _keep_minimum(self, fleet: Fleet) -> None:
        environment = fleet.environment
        while fleet.is_open and fleet.vcpus < environment.min_vcpus:
            quota_left = self.quota_vcpus - self.launched_vcpus
            pools = [pool for pool in environment.pools if fleet.pool_back_at.get(pool, 0.0) <= self._now]
            headroom = min(environment.max_vcpus - fleet.vcpus, quota_left)
            pools = [pool for pool in pools if pool.vcpus <= headroom]
            if not pools:
                return
            self._launch(fleet, min(pools, key=lambda pool: (pool.vcpus, pool.usd_per_hour, pool.instance_type)))

    def _queue_put(self, event: ev.QueuePut) -> None:
        state = self.queues.get(event.queue.name)
        if state is None:
            state = self.queues[event.queue.name] = _Queue(event.queue)
        elif (state.queue.fair_share is None) != (event.queue.fair_share is None):
            raise InvalidInput(f"job queue {event.queue.name}: a scheduling policy cannot be added or removed later")
        state.queue = event.queue
        self._wiring_changed()
        self._fill(state)

    def _queue_removed(self, event: ev.QueueRemoved) -> None:
        if event.name not in self.queues:
            raise NotFound(f"there is no job queue {event.name!r}")
        for record in list(self.jobs.values()):
            if record.submitted.queue == event.name and not record.has_ended:
                self._stop_units(record.job_no, None, "Job queue deleted", running_too=True)
        del self.queues[event.name]
        self._wiring_changed()

    def _time_passed(self, event: ev.TimePassed) -> None:  # noqa: ARG002 - the time itself is what it says
        while self._timers and self._timers[0][0] <= self._now:
            _, _, rule, arguments = heapq.heappop(self._timers)
            rule(*arguments)

    # ---- small helps ----

    def _wake_at(self, when: float, rule: Callable[..., None], *arguments: Any) -> None:
        self._timer_no += 1
        heapq.heappush(self._timers, (when, self._timer_no, rule, arguments))

    def _record(self, job_no: int) -> JobRecord:
        record = self.jobs.get(job_no)
        if record is None:
            raise NotFound(f"there is no job {job_no}")
        return record

    def _host(self, host_no: int) -> Host:
        host = self.hosts.get(host_no)
        if host is None:
            raise NotFound(f"there is no host {host_no}")
        return host

    def _fleets_of(self, state: _Queue) -> list[Fleet]:
        """The fleets of a queue's environments, in the queue's order."""
        name = state.queue.name
        found = self._fleets_by_queue.get(name)
        if found is None:
            found = [self.fleets[each] for each in state.queue.environments if each in self.fleets]
            self._fleets_by_queue[name] = found
        return found

    def _queues_on(self, fleet: Fleet) -> list[_Queue]:
        """Enabled or not (a disabled queue takes no new jobs, but runs those it has), the higher priority first."""
        name = fleet.environment.name
        found = self._queues_by_fleet.get(name)
        if found is None:
            found = [state for state in self.queues.values() if name in state.queue.environments]
            found.sort(key=lambda state: -state.queue.priority)
            self._queues_by_fleet[name] = found
        return found

    def _wiring_changed(self) -> None:
        self._queues_by_fleet.clear()
        self._fleets_by_queue.clear()


def _empty_would_fit(host: Host, record: JobRecord) -> bool:
    return host.pool.fits(record.needs)
