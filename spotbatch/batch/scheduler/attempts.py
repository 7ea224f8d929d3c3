"""Attempts start, time out and end, and what an end means for the unit: SUCCEEDED, FAILED, or RUNNABLE again."""

from itertools import takewhile

from spotbatch.batch.retry import Action, AttemptExit
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.dispatch import fill_unless_blocked, let_task_go, room_came
from spotbatch.batch.scheduler.fleet import HostState
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
from spotbatch.batch.scheduler.lifecycle import end_unit, stop_attempt
from spotbatch.batch.scheduler.state import State, Timer
from spotbatch.batch.status import CONTAINER_EXITED, TIMEOUT_EXCEEDED


def attempt_started(state: State, event: ev.AttemptStarted) -> None:
    record = state.jobs.get(event.job_no)
    index = event.index
    if record is None or record.status[index] != STARTING or record.attempts[index] != event.attempt:
        return  # it was ended, or its host was lost, before this event arrived
    record.move(index, RUNNING)
    if record.submitted.timeout_seconds is not None:
        _watch_timeout(state, record.submitted.timeout_seconds, key_of(event.job_no, index))


def _watch_timeout(state: State, seconds: int, key: int) -> None:
    """Attempts with the same limit reach it in start order, so one timer for the first of them is enough."""
    deadlines = state.deadlines.get(seconds)
    if deadlines is None:
        deadlines = state.deadlines[seconds] = {}
        state.wake_at(state.now + seconds, Timer.TIMEOUT, seconds)
    deadlines[key] = state.now + seconds


def timeouts_due(state: State, seconds: int) -> None:
    deadlines = state.deadlines[seconds]
    for key in [*takewhile(lambda key: deadlines[key] <= state.now, deadlines)]:
        del deadlines[key]
        job_no, index = unit_of(key)
        stop_attempt(state, state.jobs[job_no], index, TIMEOUT_EXCEEDED)
    if deadlines:
        state.wake_at(next(iter(deadlines.values())), Timer.TIMEOUT, seconds)
    else:
        del state.deadlines[seconds]


def attempt_ended(state: State, event: ev.AttemptEnded) -> None:
    record = state.jobs.get(event.job_no)
    index = event.index
    if (
        record is None
        or record.attempts[index] != event.attempt
        or not STARTING <= record.status[index] < TERMINAL_FROM
    ):
        return  # an event for an attempt that is over
    key = key_of(event.job_no, index)
    host = state.placed.pop(key)
    if host is not None:
        host.release(key)
    timeout = record.submitted.timeout_seconds
    if timeout in state.deadlines:
        state.deadlines[timeout].pop(key, None)
    record.queue.order.ended(record, state.now)
    _settle(state, record, index, event)
    if host is not None and host.state is HostState.DRAINING and host.fleet.environment.is_fargate:
        let_task_go(state, host)
    elif host is not None and host.state is HostState.READY:
        room_came(state, host)
        if record.status[index] != RUNNABLE:
            return
    fill_unless_blocked(state, record.queue)  # it may be waiting again, with its host's environment closed to it


def _settle(state: State, record: JobRecord, index: int, event: ev.AttemptEnded) -> None:
    """Decide what an ended attempt means for its unit: SUCCEEDED, FAILED, or RUNNABLE again."""
    reason = event.status_reason or CONTAINER_EXITED
    stopped = record.stopping.pop(index, None) if record.stopping else None
    if stopped is not None:
        end_unit(state, record, index, FAILED, stopped)
    elif event.exit_code == 0:
        end_unit(state, record, index, SUCCEEDED, reason)
    elif _is_retried(record, index, event, reason):
        record.move(index, RUNNABLE)
        record.reasons[index] = reason
        record.queue.order.line(record).add_retried(record, index)
        record.queue.waiting_vcpus += record.needs.vcpus
        state.out.append(ev.AttemptRetried(job_no=record.job_no, index=index))
    else:
        end_unit(state, record, index, FAILED, reason)


def _is_retried(record: JobRecord, index: int, event: ev.AttemptEnded, reason: str) -> bool:
    ended = AttemptExit(exit_code=event.exit_code, reason=event.reason, status_reason=reason)
    return record.submitted.retry.decide(ended, record.attempts[index]) is Action.RETRY
