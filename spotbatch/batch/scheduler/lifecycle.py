"""What a unit waits for and how it ends: the scheduler's chapter on dependencies, cancelling and last statuses."""

from collections import deque

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.errors import InvalidInput, InvalidJob, NotFound
from spotbatch.batch.placement import JobQueue
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.dispatch import Hosting
from spotbatch.batch.scheduler.job_record import (
    FAILED,
    PENDING,
    RUNNABLE,
    STARTING,
    SUBMITTED,
    SUCCEEDED,
    TERMINAL_FROM,
    JobRecord,
    key_of,
)
from spotbatch.batch.scheduler.queue_order import QueueRecord
from spotbatch.batch.status import ARRAY_CHILD_FAILED, CONTAINER_EXITED, DEPENDENCY_FAILED, STATUSES, JobStatus

_Ended = deque[tuple[JobRecord, int, int, str]]


class Waiting(Hosting):
    """Units come in, wait for others, and end; the news of an end travels to all that waited for it."""

    def _enter(self, event: ev.JobSubmitted) -> JobRecord:
        if event.job_no in self.jobs:
            raise InvalidInput(f"job {event.job_no} was submitted before")
        for dependency in event.dependencies:
            self._validate_dependency(event, dependency)
        queue = self.queues.get(event.queue) or QueueRecord(JobQueue(name=event.queue, environments=()))
        record = self.jobs[event.job_no] = JobRecord(event, queue, self._shape(event.requirements))
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
        state = record.queue
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

    def _queue_unit(self, state: QueueRecord, record: JobRecord, index: int) -> None:
        record.move(index, RUNNABLE)
        state.order.line(record).add(record, index)
        state.waiting_vcpus += record.needs.vcpus

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

    def _stop_units(self, job_no: int, index: int | None, reason: str, *, running_too: bool) -> None:
        record = self._record(job_no)
        if index is not None and not 0 <= index < record.units:
            raise NotFound(f"job {job_no} has no child {index}: its size is {record.units}")
        # From the last child on: of a SEQUENTIAL array none ends because its elder sibling did.
        for each in reversed(range(record.units)) if index is None else (index,):
            code = record.status[each]
            if code < STARTING:
                self._drop_waiting(record, each, reason)
            elif code < TERMINAL_FROM and running_too:
                self._stop_attempt(record, each, reason)
        self._fill_unless_blocked(record.queue)

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
            record.queue.waiting_vcpus -= record.needs.vcpus
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

    def _end_unit(self, record: JobRecord, index: int, code: int, reason: str) -> None:
        """Put a unit into its last status, and carry the news to all that waited for it, however long the chain."""
        self._book_end(record, index, code, reason)
        if record.unit_deps is None and not record.dependents:
            return
        ended = _Ended()
        self._tell(record, index, code, ended)
        while ended:
            other, which, their_code, their_reason = ended.popleft()
            if other.status[which] < TERMINAL_FROM:
                self._book_end(other, which, their_code, their_reason)
                self._tell(other, which, their_code, ended)

    def _book_end(self, record: JobRecord, index: int, code: int, reason: str) -> None:
        record.move(index, code)
        if code == FAILED or reason != CONTAINER_EXITED:
            record.reasons[index] = reason  # the usual reason of success costs no memory
        out = self._out
        out.append(ev.UnitEnded(job_no=record.job_no, index=index, status=STATUSES[code], status_reason=reason))
        if record.has_ended:
            self._job_is_over(record, reason)

    def _tell(self, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
        self._tell_waiting_units(record, index, code, ended)
        self._tell_dependents(record, index, code, ended)

    def _job_is_over(self, record: JobRecord, reason: str) -> None:
        status = record.job_status()
        if record.is_array:
            reason = ARRAY_CHILD_FAILED if status is JobStatus.FAILED else ""
        record.status_reason = reason
        self._out.append(ev.JobEnded(job_no=record.job_no, status=status, status_reason=reason))

    def _tell_waiting_units(self, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
        """SEQUENTIAL: the next child of the same array."""
        younger = index + 1
        if record.unit_deps is None or younger >= record.units or not record.is_sequential:
            return
        self._tell_unit(record, younger, code, ended)

    def _tell_dependents(self, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
        for job_no, our_index, kind in record.dependents:
            other = self.jobs.get(job_no)
            if other is None:
                continue
            if kind is DependencyType.N_TO_N:
                self._tell_unit(other, index, code, ended)
            elif our_index == index or (our_index is None and record.has_ended):
                good = code == SUCCEEDED if our_index is not None else record.counts[FAILED] == 0
                self._tell_job(other, good=good, ended=ended)

    def _tell_unit(self, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
        if record.status[index] >= RUNNABLE or record.unit_deps is None:
            return
        if code == FAILED:
            ended.append((record, index, FAILED, DEPENDENCY_FAILED))
            return
        record.unit_deps[index] -= 1
        if record.unit_deps[index] == 0 and record.deps_left == 0:
            self._queue_unit(record.queue, record, index)
            self._fill_unless_blocked(record.queue)

    def _tell_job(self, record: JobRecord, *, good: bool, ended: _Ended) -> None:
        if good:
            record.deps_left -= 1
            self._release_job(record)
            return
        for index in range(record.units):
            if record.status[index] < RUNNABLE:
                ended.append((record, index, FAILED, DEPENDENCY_FAILED))
