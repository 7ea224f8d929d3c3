"""Which unit gets which host, when a host is launched, and when one may go: the scheduler's chapter on placing."""

from abc import ABC, abstractmethod

from spotbatch.batch.placement import BlockedReason, Pool, StateTimeLimit, blocked_reason
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.fleet import Fleet, Host, HostState
from spotbatch.batch.scheduler.job_record import STARTING, JobRecord, key_of, unit_of
from spotbatch.batch.scheduler.queue_order import QueueRecord, Unit
from spotbatch.batch.scheduler.state import Books


class Hosting(Books, ABC):
    """Strict order within a queue, higher priorities first, hosts from zero to the environment's maximum."""

    @abstractmethod
    def _drop_waiting(self, record: JobRecord, index: int, reason: str) -> None:
        """End a unit that has not started."""

    def blocked(self, queue: str) -> BlockedReason | None:
        """Why the head of a queue can never start as things are; None if it only waits its turn, or nothing waits."""
        state = self.queues[queue]
        head = state.order.head(self._now)
        fleets = [fleet for fleet in state.fleets if fleet.is_open]
        if head is None or not fleets or any(fleet.has_host_for(head[0]) for fleet in fleets):
            return None
        return blocked_reason([fleet.environment for fleet in fleets], head[0].needs)

    def _fill_unless_blocked(self, state: QueueRecord) -> None:
        """After something joined the line: if its head is known to wait, and is the head still, nothing changes."""
        blocked = state.blocked_head
        if blocked is None or state.order.has_reservation or blocked != state.order.head(self._now):
            self._fill(state)

    def _fill(self, state: QueueRecord) -> None:
        """Place units from the head on, in strict order, until one finds neither a host nor a launch."""
        blocked_before, state.blocked_head = state.blocked_head, None
        while (head := state.order.head(self._now)) is not None:
            host = self._host_for(state, head[0]) if self._may_start(state, head[0]) else None
            if host is None:
                self._block(state, head, blocked_before)
                break
            self._take(state, *head, host)
        self._let_others_in(state, blocked_before)

    def _block(self, state: QueueRecord, head: Unit, blocked_before: Unit | None) -> None:
        """A head waits for room from now on, if it did not before; jobStateTimeLimitActions count from here."""
        state.blocked_head = head
        if state.queue.time_limits and head != blocked_before:
            state.blocked_since = self._now
            for limit in state.queue.time_limits:
                self._wake_at(self._now + limit.max_seconds, self._time_limit_reached, state, head, limit)

    def _let_others_in(self, state: QueueRecord, blocked_before: Unit | None) -> None:
        """Where a head does not wait for room any more, the heads of lower priorities need not hold back for it."""
        blocked = state.blocked_head
        if blocked_before is None or (blocked is not None and blocked[0].shape == blocked_before[0].shape):
            return
        for fleet in state.fleets:
            for other in fleet.queues:
                if other.queue.priority < state.queue.priority and other.blocked_head is not None:
                    self._fill(other)

    def _may_start(self, state: QueueRecord, record: JobRecord) -> bool:
        """Whether a fair-share policy's compute reservation leaves room for this unit."""
        if not state.order.has_reservation:
            return True
        return state.order.may_start(record, sum(fleet.environment.max_vcpus for fleet in state.fleets))

    def _host_for(self, state: QueueRecord, record: JobRecord) -> Host | None:
        fleets = [fleet for fleet in state.fleets if fleet.is_open and not _is_spoken_for(fleet, state)]
        for fleet in fleets:
            host = fleet.find(record)
            if host is not None:
                return host
        for fleet in fleets:
            pool = self._launchable(state, fleet, record)
            if pool is not None:
                return self._launch(fleet, pool)
        return None

    def _launchable(self, state: QueueRecord, fleet: Fleet, record: JobRecord) -> Pool | None:
        return fleet.launchable(record, state.waiting_vcpus, self.quota_vcpus - self.launched_vcpus, self._now)

    def could_host(self, state: QueueRecord, record: JobRecord) -> str | None:
        """Where a unit that waits could go at once, looked for without any memory of earlier looks."""
        for fleet in state.fleets:
            if not fleet.is_open or _is_spoken_for(fleet, state):
                continue
            for host in fleet.hosts.values():
                if host.state in (HostState.READY, HostState.BOOTING) and host.fits(record.needs):
                    return f"host {host.host_no}"
            pool = self._launchable(state, fleet, record)
            if pool is not None:
                return f"a new {pool.instance_type}"
        return None

    def _time_limit_reached(self, state: QueueRecord, head: Unit, limit: StateTimeLimit) -> None:
        """A jobStateTimeLimitAction (user guide): cancel the head that can never start, for the reason named.

        A head that waits for another reason by now is looked at again after the same time.
        """
        if state.blocked_head != head or self._now < state.blocked_since + limit.max_seconds:
            return  # it got room, and may have come to wait anew since
        if limit not in state.queue.time_limits:
            return  # the queue was changed
        if self.blocked(state.queue.name) == limit.reason:
            self._drop_waiting(*head, limit.reason)
            self._fill(state)
        else:
            self._wake_at(self._now + limit.max_seconds, self._time_limit_reached, state, head, limit)

    def _launch(self, fleet: Fleet, pool: Pool) -> Host:
        self._host_no += 1
        host = self.hosts[self._host_no] = Host(self._host_no, fleet, pool)
        fleet.add(host)
        self.launched_vcpus += pool.vcpus
        self._out.append(ev.LaunchHost(host_no=host.host_no, environment=fleet.environment.name, pool=pool))
        return host

    def _take(self, state: QueueRecord, record: JobRecord, index: int, host: Host) -> None:
        state.order.take()
        state.waiting_vcpus -= record.needs.vcpus
        self._put_on(record, index, host)

    def _put_on(self, record: JobRecord, index: int, host: Host) -> None:
        key = key_of(record.job_no, index)
        host.hold(key, record)
        self.placed[key] = host
        if host.state is HostState.READY:
            self._start(record, index, host)

    def _start(self, record: JobRecord, index: int, host: Host) -> None:
        record.move(index, STARTING)
        attempt = record.attempts[index] = record.attempts[index] + 1
        if record.reasons:
            record.reasons.pop(index, None)
        record.queue.order.started(record, self._now)
        self._out.append(ev.StartAttempt(job_no=record.job_no, index=index, attempt=attempt, host_no=host.host_no))

    def _room_came(self, host: Host) -> None:
        """A unit left a host: give the room to the next in line, or let the host rest."""
        fleet = host.fleet
        if host.state is HostState.READY or host.state is HostState.BOOTING:
            if fleet.is_open:
                self._offer(host, fleet)
            fleet.room_came(host)
        if not host.units and host.state is HostState.READY:
            self._rest(host)

    def _offer(self, host: Host, fleet: Fleet) -> None:
        """Fill one host from the queues that use its environment, the higher priority first.

        A head that this host cannot take, but another of its environment could, holds what stands behind it, and the
        queues of lower priorities: else small jobs would keep a big one waiting for ever.
        """
        held: int | None = None
        for state in fleet.queues:
            if held is not None and state.queue.priority < held:
                return
            blocked = self._offer_to(state, host)
            if blocked is not None and fleet.could_fit(blocked[0]):
                held = state.queue.priority
        if held is not None:
            return
        if fleet.booting and host.state is HostState.READY:
            self._take_from_booting(host, fleet)

    def _offer_to(self, state: QueueRecord, host: Host) -> Unit | None:
        """Give a host what it takes from one queue; answers the head that then waits for room.

        Only this host changed: a head of the same shape as the one that waited before finds no other room either, so
        that nothing else is tried for it.
        """
        before = state.blocked_head
        head = self._fill_host(state, host)
        if head == before:
            return before
        if head is None:
            state.blocked_head = None
            self._let_others_in(state, before)
        elif before is not None and before[0].shape == head[0].shape and not state.order.has_reservation:
            self._block(state, head, before)
        else:
            self._fill(state)
        return state.blocked_head

    def _fill_host(self, state: QueueRecord, host: Host) -> Unit | None:
        """Give a host what it takes from the head of one queue; answers the head that is left."""
        order = state.order
        while True:
            head = order.head(self._now)
            if head is None or not host.fits(head[0].needs):
                return head
            if order.has_reservation and not self._may_start(state, head[0]):
                return head
            self._take(state, *head, host)

    def _take_from_booting(self, host: Host, fleet: Fleet) -> None:
        """With nothing in line, units that wait for a host to boot need not: this one has room now."""
        for other in fleet.booting.values():
            for key, record in list(other.units.items()):
                if host.fits(record.needs):
                    other.release(key)
                    fleet.room_came(other)
                    self._put_on(record, unit_of(key)[1], host)

    def _unbind_all(self, host: Host, queue: QueueRecord | None = None) -> None:
        """Units bound to a booting host that they will not get return to the head of their line, in their order.

        With a queue, only its own.
        """
        for key, bound in reversed(list(host.units.items())):
            if queue is not None and bound.queue is not queue:
                continue
            record = host.release(key)
            del self.placed[key]
            state = record.queue
            state.order.line(record).put_back(record, unit_of(key)[1])
            state.waiting_vcpus += record.needs.vcpus

    def _rest(self, host: Host) -> None:
        host.idle_since = self._now
        wait = host.fleet.environment.idle_seconds if host.fleet.is_open else 0.0
        self._wake_at(self._now + wait, self._idle_is_over, host, self._now)

    def _idle_is_over(self, host: Host, since: float) -> None:
        fleet = host.fleet
        if host.idle_since != since or host.state is not HostState.READY or host.host_no not in self.hosts:
            return
        # API reference, ComputeResource.minvCpus: kept "even if the compute environment is DISABLED".
        floor = 0 if fleet.is_removed else fleet.environment.min_vcpus
        if fleet.vcpus - fleet.ending_vcpus - host.pool.vcpus >= floor:
            cause = ev.HostEndCause.IDLE if fleet.is_open else ev.HostEndCause.ENVIRONMENT
            fleet.turn(host, HostState.ENDING)
            self._out.append(ev.TerminateHost(host_no=host.host_no, cause=cause))

    def _refill_fleet(self, fleet: Fleet) -> None:
        """Something about an environment's capacity changed: keep its minimum, and let its queues try again."""
        self._keep_minimum(fleet)
        for state in fleet.queues:
            self._fill(state)

    def _refill_all(self) -> None:
        """Something that all environments share changed: what waits anywhere may try again."""
        for fleet in self.fleets.values():
            self._keep_minimum(fleet)
        for state in sorted(self.queues.values(), key=lambda state: -state.queue.priority):
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


def _is_spoken_for(fleet: Fleet, state: QueueRecord) -> bool:
    """Whether the head of a queue with a higher priority waits for room in this environment."""
    priority = state.queue.priority
    for other in fleet.queues:
        if other.queue.priority <= priority:
            return False  # they stand in the order of their priorities
        if other.blocked_head is not None and fleet.could_fit(other.blocked_head[0]):
            return True
    return False
