"""AWS Batch's state machine: an event and the time go in, commands come out. No I/O, no clock, no randomness.

`Scheduler` is the facade: it holds the state, passes each event to its rule, and answers queries. The rules are free
functions over the state: `lifecycle` (jobs arrive, wait for each other, end), `attempts` (what the end of an attempt
means), `capacity` (hosts, environments and queues change), `dispatch` (who gets which host).
"""

import heapq
from collections.abc import Callable, Mapping
from itertools import chain, islice
from typing import Any, Final

from spotbatch.batch.consumable import ConsumableResource
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import Vcpus
from spotbatch.batch.placement import BlockedReason, ComputeEnvironment, blocked_in_words
from spotbatch.batch.scheduler import attempts, capacity, consumables, dispatch, lifecycle
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.dispatch import why_blocked
from spotbatch.batch.scheduler.fleet import HostState
from spotbatch.batch.scheduler.invariants import check_state
from spotbatch.batch.scheduler.job_record import SUCCEEDED, unit_of
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
    ev.ConsumablePut: consumables.consumable_put,
    ev.ConsumableRemoved: consumables.consumable_removed,
    ev.TimePassed: _time_passed,
}


class Scheduler:
    """AWS Batch's rules for jobs, queues and hosts. Drive it with `handle`; use the queries below to inspect it.

    `quota_vcpus` limits the vCPUs of all hosts together, like an account's EC2 quota. Jobs are numbered by
    the caller, hosts by the scheduler. `remember` keeps recent events for the history in a BrokenInvariant.
    `state` is for the invariants and for tests: callers use the queries.
    """

    def __init__(self, *, quota_vcpus: int | None = None, remember: bool = False) -> None:
        self.state = State(quota_vcpus=quota_vcpus, remember=remember)

    def handle(self, event: ev.Event, now: float) -> list[ev.Command]:
        """Apply one event at a time (seconds, any epoch, never going back); returns the resulting commands.

        Raises InvalidInput or NotFound, changing nothing, for an event about something unknown.
        """
        state = self.state
        state.now = now
        out: list[ev.Command] = []
        state.out = out
        if state.recent is not None:
            state.recent.append((now, event))
        _RULES[type(event)](state, event)
        if state.consumables.has_changed:
            consumables.retry_waiting(state)
        return out

    @property
    def next_wakeup(self) -> float | None:
        """When TimePassed should be handled next, if nothing else happens."""
        timers = self.state.timers
        return timers[0][0] if timers else None

    def check(self) -> None:
        """Raise BrokenInvariant if the books contradict each other. Costs a pass over everything."""
        check_state(self.state)

    # ---- queries: jobs ----

    def job_numbers(self) -> list[int]:
        """All known jobs, in the order in which they became known."""
        return list(self.state.jobs)

    def submitted(self, job_no: int) -> ev.JobSubmitted:
        """The event with which a job arrived. Raises NotFound."""
        return self.state.job(job_no).submitted

    def array_size(self, job_no: int) -> int:
        """How many children a job has; 0 for a job that is not an array. Raises NotFound."""
        return self.state.job(job_no).submitted.size

    def queue_of(self, job_no: int) -> str:
        """The name of the queue to which a job was submitted. Raises NotFound."""
        return self.state.job(job_no).submitted.queue

    def status(self, job_no: int, index: int | None = None) -> JobStatus:
        """The status of a unit, or of the job as a whole. Raises NotFound."""
        record = self.state.job(job_no)
        return record.job_status() if index is None else STATUSES[record.status[index]]

    def status_reason(self, job_no: int, index: int | None = None) -> str:
        """Why the unit, or the whole job, is in its current status; empty if there is nothing to say.

        The head of a queue that cannot start under current conditions says so (API reference, JobDetail.statusReason).
        """
        record = self.state.job(job_no)
        if index is None and record.is_array:
            return record.status_reason
        unit = index or 0
        if record.queue.blocked_head == (record, unit) and record.queue.spec.name in self.state.queues:
            blocked = why_blocked(self.state, record.queue)
            if blocked is not None:
                open_to_it = [fleet.environment for fleet in record.queue.fleets if fleet.is_open]
                return blocked_in_words(blocked, open_to_it, record.needs)
        return record.reasons.get(unit, CONTAINER_EXITED if record.status[unit] == SUCCEEDED else "")

    def attempts_made(self, job_no: int, index: int = 0) -> int:
        """How many attempts of a unit have been started."""
        return self.state.job(job_no).attempts[index]

    def summary(self, job_no: int) -> dict[JobStatus, int]:
        """How many units of a job are in each status."""
        return dict(zip(STATUSES, self.state.job(job_no).counts, strict=True))

    def statuses(self, job_no: int) -> bytes:
        """One status code (a position in STATUSES) per unit."""
        return bytes(self.state.job(job_no).status)

    def attempts(self, job_no: int) -> bytes:
        """The number of attempts started, per unit."""
        return bytes(self.state.job(job_no).attempts)

    def forget(self, job_no: int) -> None:
        """Drop an ended job on which no later job will depend, to bound memory."""
        if not self.state.job(job_no).has_ended:
            raise InvalidInput(f"job {job_no} has not ended: only an ended job can be forgotten")
        del self.state.jobs[job_no]

    # ---- queries: hosts, environments and queues ----

    def host_numbers(self) -> list[int]:
        """All hosts that were launched and have not ended, oldest first."""
        return list(self.state.hosts)

    def environment(self, name: str) -> ComputeEnvironment | None:
        """A compute environment as last put; also a removed one, until its last host has ended."""
        fleet = self.state.fleets.get(name)
        return None if fleet is None else fleet.environment

    def environment_vcpus(self, name: str) -> Vcpus:
        """vCPUs of an environment's hosts, from launch to end; 0 for an unknown environment."""
        fleet = self.state.fleets.get(name)
        return 0 if fleet is None else fleet.vcpus

    def launched_vcpus(self) -> Vcpus:
        """vCPUs of all hosts, from launch to end."""
        return self.state.launched_vcpus

    def consumable(self, name: str) -> tuple[ConsumableResource, int] | None:
        """A consumable resource, and how much of it is in use or used up; None if there is no such resource."""
        resource = self.state.consumables.resources.get(name)
        return None if resource is None else (resource, self.state.consumables.in_use(name))

    def set_quota(self, vcpus: int) -> None:
        """Set the limit on the vCPUs of all hosts together. Pending launches are retried with the next event."""
        self.state.quota_vcpus = vcpus

    def has_queue(self, name: str) -> bool:
        """Whether a queue exists."""
        return name in self.state.queues

    def blocked(self, queue: str) -> BlockedReason | None:
        """Why the head of a queue can never start as things are; None if it just waits its turn, or nothing waits."""
        return why_blocked(self.state, self.state.queues[queue])

    def blocked_head(self, queue: str) -> tuple[int, int, BlockedReason] | None:
        """(job number, index, reason) of a queue's head if it can never start as things are."""
        of = self.state.queues[queue]
        blocked = None if of.blocked_head is None else why_blocked(self.state, of)
        head = None if blocked is None else of.order.head(self.state.now)
        return None if head is None or blocked is None else (head[0].job_no, head[1], blocked)

    def queue_names(self) -> list[str]:
        """The existing queues."""
        return list(self.state.queues)

    def host_units(self, host_no: int) -> list[tuple[int, int, int]]:
        """(job number, index, attempt) of what is starting or running on a host."""
        host = self.state.hosts[host_no]
        return [(*unit_of(key), record.attempts[unit_of(key)[1]]) for key, record in host.units.items()]

    def front(self, queue: str, limit: int) -> list[tuple[int, int]]:
        """(job number, index) of a queue's first RUNNABLE units in the order of dispatch, as things are.

        Units with a host booting for them come first.
        """
        of = self.state.queues[queue]
        hosts = (host for fleet in of.fleets for host in fleet.booting.values())
        bound = (unit_of(key) for host in hosts for key, record in host.units.items() if record.queue is of)
        waiting = ((record.job_no, index) for record, index in of.order.units(self.state.now))
        return list(islice(chain(bound, waiting), limit))

    def running_vcpus(self, queue: str) -> Vcpus:
        """vCPUs of a queue's jobs that are starting or running."""
        of = self.state.queues[queue]
        return sum(
            record.needs.vcpus
            for host in self.state.hosts.values()
            if host.state is not HostState.BOOTING
            for record in host.units.values()
            if record.queue is of
        )

    def shares(self, queue: str) -> dict[str, Vcpus]:
        """vCPUs that each share of a fair-share queue runs now; empty for a queue without shares."""
        order = self.state.queues[queue].order
        return order.running_vcpus if isinstance(order, FairOrder) else {}

    def waiting_vcpus(self, queue: str) -> Vcpus:
        """vCPUs of all units waiting in a queue."""
        return self.state.queues[queue].waiting_vcpus
