"""The state machine of AWS Batch: an event and the time go in, commands come out. No I/O, no clock, no randomness.

`Scheduler` is its face: it holds the state, hands each event to its rule, and answers questions. The rules are free
functions over the state: `lifecycle` (jobs come in, wait for each other, end), `attempts` (what the end of an attempt
means), `capacity` (hosts, environments and queues change), `dispatch` (who gets which host).
"""

import heapq
from collections.abc import Callable, Mapping
from itertools import chain, islice
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import BLOCKED_IN_WORDS, BlockedReason, ComputeEnvironment
from spotbatch.batch.scheduler import attempts, capacity, dispatch, lifecycle
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.dispatch import why_blocked
from spotbatch.batch.scheduler.fleet import HostState
from spotbatch.batch.scheduler.invariants import check_state
from spotbatch.batch.scheduler.job_record import SUCCEEDED, key_of, unit_of
from spotbatch.batch.scheduler.queue_order import FairOrder
from spotbatch.batch.scheduler.state import State, Timer
from spotbatch.batch.status import CONTAINER_EXITED, STATUSES, JobStatus


def _time_passed(state: State, event: ev.TimePassed) -> None:  # noqa: ARG001 - the time itself is what it says
    while state.timers and state.timers[0][0] <= state.now:
        _, _, timer, arguments = heapq.heappop(state.timers)
        _TIMER_RULES[timer](state, *arguments)


_TIMER_RULES: Final[Mapping[Timer, Callable[..., None]]] = {
    Timer.IDLE: dispatch.idle_is_over,
    Timer.REFILL: dispatch.refill_fleet,
    Timer.TIME_LIMIT: lifecycle.time_limit_reached,
    Timer.TIMEOUT: attempts.timeouts_due,
}
_RULES: Final[Mapping[type, Callable[[State, Any], None]]] = {
    ev.JobSubmitted: lifecycle.job_submitted,
    ev.JobRestored: lifecycle.job_restored,
    ev.JobCancelled: lifecycle.job_cancelled,
    ev.JobTerminated: lifecycle.job_terminated,
    ev.AttemptStarted: attempts.attempt_started,
    ev.AttemptEnded: attempts.attempt_ended,
    ev.HostStarted: capacity.host_started,
    ev.HostNoticed: capacity.host_noticed,
    ev.HostEnded: capacity.host_ended,
    ev.EnvironmentPut: capacity.environment_put,
    ev.EnvironmentRemoved: capacity.environment_removed,
    ev.QueuePut: capacity.queue_put,
    ev.QueueRemoved: capacity.queue_removed,
    ev.TimePassed: _time_passed,
}


class Scheduler:
    """AWS Batch's rules for jobs, queues and hosts. Drive it with `handle`; ask it with the queries below.

    `quota_vcpus` limits the vCPUs of all hosts together, as the EC2 quota of an account does. Jobs are numbered by
    the caller, hosts by the scheduler. `remember` keeps recent events for the story in a broken invariant.
    `state` is for the invariants and for tests: callers ask by the queries.
    """

    def __init__(self, *, quota_vcpus: int | None = None, remember: bool = False) -> None:
        self.state = State(quota_vcpus=quota_vcpus, remember=remember)

    def handle(self, event: ev.Event, now: float) -> list[ev.Command]:
        """Apply one event at a time (seconds, any epoch, never going back), and answer what is to be done.

        Raises InvalidInput or NotFound, changing nothing, for an event about something that is not there.
        """
        state = self.state
        state.now = now
        out: list[ev.Command] = []
        state.out = out
        if state.recent is not None:
            state.recent.append((now, event))
        _RULES[type(event)](state, event)
        return out

    @property
    def next_wakeup(self) -> float | None:
        """When TimePassed should be handled next, if nothing else happens."""
        timers = self.state.timers
        return timers[0][0] if timers else None

    def check(self) -> None:
        """Raise BrokenInvariant where the books contradict each other. Costs a pass over everything."""
        check_state(self.state)

    # ---- queries: jobs ----

    def job_numbers(self) -> list[int]:
        """All jobs that are known, in the order in which they came to be known."""
        return list(self.state.jobs)

    def submitted(self, job_no: int) -> ev.JobSubmitted:
        """The event by which a job came in. Raises NotFound."""
        return self.state.job(job_no).submitted

    def array_size(self, job_no: int) -> int:
        """How many children a job has; 0 for one that is no array. Raises NotFound."""
        return self.state.job(job_no).submitted.size

    def queue_of(self, job_no: int) -> str:
        """The name of the queue that a job was submitted to. Raises NotFound."""
        return self.state.job(job_no).submitted.queue

    def status(self, job_no: int, index: int | None = None) -> JobStatus:
        """The status of a unit, or of the job as a whole. Raises NotFound."""
        record = self.state.job(job_no)
        return record.job_status() if index is None else STATUSES[record.status[index]]

    def status_reason(self, job_no: int, index: int | None = None) -> str:
        """Why the unit, or the job as a whole, stands where it stands; empty if there is nothing to say.

        The head of a queue that cannot start as things are says so (API reference, JobDetail.statusReason).
        """
        record = self.state.job(job_no)
        if index is None and record.is_array:
            return record.status_reason
        unit = index or 0
        if record.queue.blocked_head == (record, unit) and record.queue.spec.name in self.state.queues:
            blocked = why_blocked(self.state, record.queue)
            if blocked is not None:
                return f"{blocked} - {BLOCKED_IN_WORDS[blocked]}"
        return record.reasons.get(unit, CONTAINER_EXITED if record.status[unit] == SUCCEEDED else "")

    def attempts_made(self, job_no: int, index: int = 0) -> int:
        """How many attempts of a unit have been started."""
        return self.state.job(job_no).attempts[index]

    def summary(self, job_no: int) -> dict[JobStatus, int]:
        """How many units of a job stand in each status."""
        return dict(zip(STATUSES, self.state.job(job_no).counts, strict=True))

    def statuses(self, job_no: int) -> bytes:
        """One status code (a place in STATUSES) a unit."""
        return bytes(self.state.job(job_no).status)

    def attempts(self, job_no: int) -> bytes:
        """The number of attempts started of each unit."""
        return bytes(self.state.job(job_no).attempts)

    def forget(self, job_no: int) -> None:
        """Drop a job that has ended and on which no later job will depend, to bound memory."""
        if not self.state.job(job_no).has_ended:
            raise InvalidInput(f"job {job_no} has not ended: only an ended job can be forgotten")
        del self.state.jobs[job_no]

    # ---- queries: hosts, environments and queues ----

    def host_numbers(self) -> list[int]:
        """All hosts that were launched and have not ended, the oldest first."""
        return list(self.state.hosts)

    def host_of(self, job_no: int, index: int = 0) -> int | None:
        """The host that a unit is bound to, starting or running on; None where it has none that is known."""
        host = self.state.placed.get(key_of(job_no, index))
        return None if host is None else host.host_no

    def environment(self, name: str) -> ComputeEnvironment | None:
        """A compute environment as it was put last; also a removed one, until its last host has ended."""
        fleet = self.state.fleets.get(name)
        return None if fleet is None else fleet.environment

    def environment_vcpus(self, name: str) -> int:
        """vCPUs of an environment's hosts, from their launch to their end; 0 for one that is not there."""
        fleet = self.state.fleets.get(name)
        return 0 if fleet is None else fleet.vcpus

    def launched_vcpus(self) -> int:
        """vCPUs of all hosts, from their launch to their end."""
        return self.state.launched_vcpus

    def set_quota(self, vcpus: int) -> None:
        """Another limit of the vCPUs of all hosts together. What could not be launched is, with the next event."""
        self.state.quota_vcpus = vcpus

    def has_queue(self, name: str) -> bool:
        """Whether a queue is there."""
        return name in self.state.queues

    def blocked(self, queue: str) -> BlockedReason | None:
        """Why the head of a queue can never start as things are; None if it only waits its turn, or nothing waits."""
        return why_blocked(self.state, self.state.queues[queue])

    def blocked_head(self, queue: str) -> tuple[int, int, BlockedReason] | None:
        """(job number, index, why) of a queue's head where it can never start as things are."""
        of = self.state.queues[queue]
        blocked = None if of.blocked_head is None else why_blocked(self.state, of)
        head = None if blocked is None else of.order.head(self.state.now)
        return None if head is None or blocked is None else (head[0].job_no, head[1], blocked)

    def queue_names(self) -> list[str]:
        """The queues that are there."""
        return list(self.state.queues)

    def host_units(self, host_no: int) -> list[tuple[int, int, int]]:
        """(job number, index, attempt) of what is starting or running on a host."""
        host = self.state.hosts[host_no]
        return [(*unit_of(key), record.attempts[unit_of(key)[1]]) for key, record in host.units.items()]

    def front(self, queue: str, limit: int) -> list[tuple[int, int]]:
        """(job number, index) of a queue's first RUNNABLE units in the order of dispatch, as things are.

        Those that a host boots for come first.
        """
        of = self.state.queues[queue]
        hosts = (host for fleet in of.fleets for host in fleet.booting.values())
        bound = (unit_of(key) for host in hosts for key, record in host.units.items() if record.queue is of)
        waiting = ((record.job_no, index) for record, index in of.order.units(self.state.now))
        return list(islice(chain(bound, waiting), limit))

    def running_vcpus(self, queue: str) -> int:
        """vCPUs of what is starting or running of a queue's jobs."""
        of = self.state.queues[queue]
        return sum(
            record.needs.vcpus
            for host in self.state.hosts.values()
            if host.state is not HostState.BOOTING
            for record in host.units.values()
            if record.queue is of
        )

    def shares(self, queue: str) -> dict[str, int]:
        """vCPUs that each share of a fair-share queue runs now; empty for a queue without shares."""
        order = self.state.queues[queue].order
        return order.running_vcpus if isinstance(order, FairOrder) else {}

    def waiting_vcpus(self, queue: str) -> int:
        """vCPUs of all units that wait in a queue."""
        return self.state.queues[queue].waiting_vcpus
