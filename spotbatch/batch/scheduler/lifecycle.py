"""What a unit waits for and how it ends: jobs arrive, wait for others, are stopped, and reach their final status.

The end of a unit is propagated to everything that waited for it.
"""

from collections import deque

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.errors import InvalidInput, InvalidJob, NotFound
from spotbatch.batch.placement import JobQueue, StateTimeLimit
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.dispatch import fill, fill_unless_blocked, room_came, why_blocked
from spotbatch.batch.scheduler.job_record import (
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
)
from spotbatch.batch.scheduler.queue_order import QueueRecord, Unit
from spotbatch.batch.scheduler.state import State, Timer
from spotbatch.batch.status import (
    ARRAY_CHILD_FAILED,
    CONTAINER_EXITED,
    DEPENDENCY_FAILED,
    QUEUE_DELETED,
    STATUSES,
    TIME_LIMIT_PREFIX,
    JobStatus,
)

_Ended = deque[tuple[JobRecord, int, int, str]]


def job_submitted(state: State, event: ev.JobSubmitted) -> None:
    if event.queue not in state.queues:
        raise NotFound(f"there is no job queue {event.queue!r} to take job {event.job_no}")
    record = _enter(state, event)
    failed = _count_dependencies(state, record)
    if failed:
        _fail_waiting(state, record, DEPENDENCY_FAILED)
        return
    _release_job(state, record)


def job_restored(state: State, event: ev.JobRestored) -> None:
    record = _enter(state, event.submitted)
    failed = _count_dependencies(state, record)
    record.attempts[:] = event.attempts
    for index, code in enumerate(event.statuses):
        if code >= STARTING and record.status[index] != code:
            record.move(index, code)
        if code in (STARTING, RUNNING):
            state.placed[key_of(record.job_no, index)] = None
            record.queue.order.started(record, state.now)
    if record.consumables:
        for index in range(record.units):
            if record.attempts[index] and not record.is_over(index):  # started before, so it holds what it needs
                state.consumables.hold(record, key_of(record.job_no, index))
    if record.has_ended:  # its queue may be gone
        record.status_reason = ARRAY_CHILD_FAILED if record.is_array and record.counts[FAILED] else ""
        return
    _settle_restored_children(state, record)
    if failed:
        _fail_waiting(state, record, DEPENDENCY_FAILED)
    if event.submitted.queue in state.queues:
        _release_job(state, record)
    else:  # it was deleted before all of its jobs were told
        stop_units(state, record.job_no, None, QUEUE_DELETED, running_too=True)


def job_cancelled(state: State, event: ev.JobCancelled) -> None:
    stop_units(state, event.job_no, event.index, event.reason, running_too=False)


def job_terminated(state: State, event: ev.JobTerminated) -> None:
    stop_units(state, event.job_no, event.index, event.reason, running_too=True)


def _enter(state: State, event: ev.JobSubmitted) -> JobRecord:
    if event.job_no in state.jobs:
        raise InvalidInput(f"job {event.job_no} was submitted before")
    for dependency in event.dependencies:
        _validate_dependency(state, event, dependency)
    queue = state.queues.get(event.queue) or QueueRecord(JobQueue(name=event.queue, environments=()))
    record = state.jobs[event.job_no] = JobRecord(event, queue, state.shape(event.requirements, event.consumables))
    return record


def _validate_dependency(state: State, event: ev.JobSubmitted, dependency: ev.ResolvedDependency) -> None:
    if dependency.type is DependencyType.SEQUENTIAL:
        if not event.size:
            raise InvalidJob(f"job {event.job_no} is no array: a SEQUENTIAL dependency needs one")
        return
    if dependency.job_no is None or dependency.job_no not in state.jobs:
        raise NotFound(f"job {event.job_no} depends on job {dependency.job_no}, which is not known")
    size = state.jobs[dependency.job_no].submitted.size
    if dependency.type is DependencyType.N_TO_N and not size == event.size > 0:
        raise InvalidJob(f"an N_TO_N dependency needs two arrays of one size, not {event.size} and {size}")
    if dependency.index is not None and not dependency.index < size:
        raise NotFound(f"job {dependency.job_no} has no child {dependency.index}: its size is {size}")


def _count_dependencies(state: State, record: JobRecord) -> bool:
    """Record what the job waits for; True if something that the whole job needs has already failed."""
    failed = False
    for dependency in record.submitted.dependencies:
        if dependency.type is DependencyType.PLAIN:
            failed |= _await_whole(state, record, dependency)
        else:
            _await_each(state, record, dependency)
    record.move_all(SUBMITTED, PENDING)
    return failed


def _await_whole(state: State, record: JobRecord, dependency: ev.ResolvedDependency) -> bool:
    assert dependency.job_no is not None  # noqa: S101 - validated at entry, for the type checker
    other = state.jobs[dependency.job_no]
    child = dependency.index
    status = other.job_status() if child is None else STATUSES[other.status[child]]
    if status is JobStatus.FAILED:
        return True
    if status is not JobStatus.SUCCEEDED:
        record.deps_left += 1
        other.dependents.append((record.job_no, dependency.index, DependencyType.PLAIN))
    return False


def _await_each(state: State, record: JobRecord, dependency: ev.ResolvedDependency) -> None:
    """SEQUENTIAL and N_TO_N: every unit waits for one other unit."""
    waits = record.unit_deps = record.unit_deps or bytearray(record.units)
    if dependency.type is DependencyType.SEQUENTIAL:
        for index in range(1, record.units):
            waits[index] += 1
        return
    assert dependency.job_no is not None  # noqa: S101 - validated at entry, for the type checker
    other = state.jobs[dependency.job_no]
    other.dependents.append((record.job_no, None, DependencyType.N_TO_N))
    for index in range(record.units):
        if other.status[index] == FAILED:
            end_unit(state, record, index, FAILED, DEPENDENCY_FAILED)
        elif other.status[index] != SUCCEEDED:
            waits[index] += 1


def _release_job(state: State, record: JobRecord) -> None:
    """Make RUNNABLE the units that the job no longer holds back, and try to place them."""
    if record.deps_left or record.has_ended:
        return
    queue = record.queue
    if record.unit_deps is None:
        waiting = record.counts[PENDING]
        record.move_all(PENDING, RUNNABLE)
        state.out.append(ev.UnitsReleased(job_no=record.job_no, index=None))
        queue.order.line(record).add_job(record)
        queue.waiting_vcpus += waiting * record.needs.vcpus
    else:
        for index, waits in enumerate(record.unit_deps):
            if not waits and record.status[index] == PENDING:
                _queue_unit(state, record, index)
    fill_unless_blocked(state, queue)


def _queue_unit(state: State, record: JobRecord, index: int) -> None:
    queue = record.queue
    record.move(index, RUNNABLE)
    state.out.append(ev.UnitsReleased(job_no=record.job_no, index=index))
    queue.order.line(record).add(record, index)
    queue.waiting_vcpus += record.needs.vcpus


def _settle_restored_children(state: State, record: JobRecord) -> None:
    """A SEQUENTIAL child waits for the previous child only if that has not ended."""
    if record.unit_deps is None or not record.is_sequential:
        return
    for index in range(1, record.units):
        elder = record.status[index - 1]
        if elder == SUCCEEDED:
            record.unit_deps[index] -= 1
        elif elder == FAILED and record.status[index] < STARTING:
            end_unit(state, record, index, FAILED, DEPENDENCY_FAILED)


def stop_units(state: State, job_no: int, index: int | None, reason: str, *, running_too: bool) -> None:
    record = state.job(job_no)
    if index is not None and not 0 <= index < record.units:
        raise NotFound(f"job {job_no} has no child {index}: its size is {record.units}")
    # From the last child backwards: in a SEQUENTIAL array none then ends because the previous child did.
    for each in reversed(range(record.units)) if index is None else (index,):
        code = record.status[each]
        if code < STARTING:
            _drop_waiting(state, record, each, reason)
        elif code < TERMINAL_FROM and running_too:
            stop_attempt(state, record, each, reason)
    fill_unless_blocked(state, record.queue)


def _drop_waiting(state: State, record: JobRecord, index: int, reason: str) -> None:
    """End a unit that has not started: it leaves its line, or the booting host to which it is bound."""
    key = key_of(record.job_no, index)
    host = state.placed.pop(key, None)
    if host is not None:
        host.release(key)
        end_unit(state, record, index, FAILED, reason)
        room_came(state, host)
        return
    if record.status[index] == RUNNABLE:
        record.queue.waiting_vcpus -= record.needs.vcpus
    end_unit(state, record, index, FAILED, reason)


def stop_attempt(state: State, record: JobRecord, index: int, reason: str) -> None:
    if index in record.stopping:
        return
    record.stopping[index] = reason
    state.out.append(
        ev.StopAttempt(job_no=record.job_no, index=index, attempt=record.attempts[index], status_reason=reason)
    )


def _fail_waiting(state: State, record: JobRecord, reason: str) -> None:
    for index in range(record.units):
        if record.status[index] < STARTING:
            _drop_waiting(state, record, index, reason)


def end_unit(state: State, record: JobRecord, index: int, code: int, reason: str) -> None:
    """Put a unit into its final status and propagate that to all that waited for it, however long the chain."""
    _book_end(state, record, index, code, reason)
    if record.unit_deps is None and not record.dependents:
        return
    ended = _Ended()
    _tell(state, record, index, code, ended)
    while ended:
        other, which, their_code, their_reason = ended.popleft()
        if other.status[which] < TERMINAL_FROM:
            _book_end(state, other, which, their_code, their_reason)
            _tell(state, other, which, their_code, ended)


def _book_end(state: State, record: JobRecord, index: int, code: int, reason: str) -> None:
    record.move(index, code)
    if record.consumables:
        _give_back(state, record, index)
    if code == FAILED or reason != CONTAINER_EXITED:
        record.reasons[index] = reason  # the usual reason for success costs no memory
    out = state.out
    out.append(ev.UnitEnded(job_no=record.job_no, index=index, status=STATUSES[code], status_reason=reason))
    if record.has_ended:
        _job_is_over(state, record, reason)


def _give_back(state: State, record: JobRecord, index: int) -> None:
    """A unit that has ended gives back its consumable resources, except what it has used up."""
    key, was_started = key_of(record.job_no, index), record.attempts[index] > 0
    for resource in state.consumables.release(record, key, was_started=was_started):
        state.out.append(ev.ResourceConsumed(resource=resource))


def _tell(state: State, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
    _tell_waiting_units(state, record, index, code, ended)
    _tell_dependents(state, record, index, code, ended)


def _job_is_over(state: State, record: JobRecord, reason: str) -> None:
    status = record.job_status()
    if record.is_array:
        reason = ARRAY_CHILD_FAILED if status is JobStatus.FAILED else ""
    record.status_reason = reason
    state.out.append(ev.JobEnded(job_no=record.job_no, status=status, status_reason=reason))


def _tell_waiting_units(state: State, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
    """SEQUENTIAL: the next child of the same array."""
    younger = index + 1
    if record.unit_deps is None or younger >= record.units or not record.is_sequential:
        return
    _tell_unit(state, record, younger, code, ended)


def _tell_dependents(state: State, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
    for job_no, our_index, kind in record.dependents:
        other = state.jobs.get(job_no)
        if other is None:
            continue
        if kind is DependencyType.N_TO_N:
            _tell_unit(state, other, index, code, ended)
        elif our_index == index or (our_index is None and record.has_ended):
            good = code == SUCCEEDED if our_index is not None else record.counts[FAILED] == 0
            _tell_job(state, other, good=good, ended=ended)


def _tell_unit(state: State, record: JobRecord, index: int, code: int, ended: _Ended) -> None:
    if record.status[index] >= RUNNABLE or record.unit_deps is None:
        return
    if code == FAILED:
        ended.append((record, index, FAILED, DEPENDENCY_FAILED))
        return
    record.unit_deps[index] -= 1
    if record.unit_deps[index] == 0 and record.deps_left == 0:
        _queue_unit(state, record, index)
        fill_unless_blocked(state, record.queue)


def _tell_job(state: State, record: JobRecord, *, good: bool, ended: _Ended) -> None:
    if good:
        record.deps_left -= 1
        _release_job(state, record)
        return
    for index in range(record.units):
        if record.status[index] < RUNNABLE:
            ended.append((record, index, FAILED, DEPENDENCY_FAILED))


def time_limit_reached(state: State, queue: QueueRecord, head: Unit, limit: StateTimeLimit) -> None:
    """A jobStateTimeLimitAction (user guide): cancel the head that can never start, for the reason named.

    A head that by now waits for another reason is checked again after the same time.
    """
    if queue.blocked_head != head or state.now < queue.blocked_since + limit.max_seconds:
        return  # it got room, and may be waiting anew since
    if limit not in queue.spec.time_limits:
        return  # the queue was changed
    if why_blocked(state, queue) == limit.reason:
        _drop_waiting(state, *head, f"{TIME_LIMIT_PREFIX}{limit.reason}")
        fill(state, queue)
    else:
        state.wake_at(state.now + limit.max_seconds, Timer.TIME_LIMIT, queue, head, limit)
