"""Which unit gets which host, when a host is launched, and when one may be terminated.

Strict order within a queue, higher priorities first, hosts from zero to the environment's maximum. Free functions over
the scheduler's state, like the other rules.
"""

from spotbatch.batch.placement import BlockedReason, Pool, blocked_reason
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.fleet import Fleet, Host, HostState
from spotbatch.batch.scheduler.job_record import STARTING, JobRecord, key_of, unit_of
from spotbatch.batch.scheduler.queue_order import QueueRecord, Unit
from spotbatch.batch.scheduler.state import State, Timer


def why_blocked(state: State, queue: QueueRecord) -> BlockedReason | None:
    """Why the head of a queue can never start as things are; None if it just waits its turn, or nothing waits."""
    head = queue.order.head(state.now)
    fleets = [fleet for fleet in queue.fleets if fleet.is_open]
    if head is not None and lacks_consumables(state, *head):
        return None  # AWS publishes no reason for it
    if head is None or not fleets or any(fleet.has_host_for(head[0]) for fleet in fleets):
        return None
    return blocked_reason([fleet.environment for fleet in fleets], head[0].needs)


def lacks_consumables(state: State, record: JobRecord, index: int) -> bool:
    """Whether a unit has to wait for consumable resources, however many hosts there are."""
    return bool(record.consumables) and not state.consumables.has_for(record, key_of(record.job_no, index))


def fill_unless_blocked(state: State, queue: QueueRecord) -> None:
    """After something joined the line: if the head is unchanged and known to be waiting, nothing changes."""
    blocked = queue.blocked_head
    if blocked is None or queue.order.has_reservation or blocked != queue.order.head(state.now):
        fill(state, queue)


def fill(state: State, queue: QueueRecord) -> None:
    """Place units from the head on, in strict order, until one finds neither a host nor a launch."""
    blocked_before, queue.blocked_head = queue.blocked_head, None
    while (head := queue.order.head(state.now)) is not None:
        may_start = _may_start(queue, head[0]) and not lacks_consumables(state, *head)
        host = _host_for(state, queue, head[0]) if may_start else None
        if host is None:
            _block(state, queue, head, blocked_before)
            break
        _take(state, queue, *head, host)
    _let_others_in(state, queue, blocked_before)


def _block(state: State, queue: QueueRecord, head: Unit, blocked_before: Unit | None) -> None:
    """Mark a head as waiting for room, if it was not already; jobStateTimeLimitActions count from here."""
    queue.blocked_head = head
    if queue.spec.time_limits and head != blocked_before:
        queue.blocked_since = state.now
        for limit in queue.spec.time_limits:
            state.wake_at(state.now + limit.max_seconds, Timer.TIME_LIMIT, queue, head, limit)


def _let_others_in(state: State, queue: QueueRecord, blocked_before: Unit | None) -> None:
    """If a head no longer waits for room, the heads of lower priorities need not hold back for it."""
    blocked = queue.blocked_head
    if blocked_before is None or (blocked is not None and blocked[0].shape == blocked_before[0].shape):
        return
    for fleet in queue.fleets:
        for other in fleet.queues:
            if other.spec.priority < queue.spec.priority and other.blocked_head is not None:
                fill(state, other)


def _may_start(queue: QueueRecord, record: JobRecord) -> bool:
    """Whether a fair-share policy's compute reservation leaves room for this unit."""
    if not queue.order.has_reservation:
        return True
    return queue.order.may_start(record, sum(fleet.environment.max_vcpus for fleet in queue.fleets))


def _host_for(state: State, queue: QueueRecord, record: JobRecord) -> Host | None:
    fleets = [fleet for fleet in queue.fleets if fleet.is_open and not _is_spoken_for(state, fleet, queue)]
    for fleet in fleets:
        host = fleet.find(record)
        if host is not None:
            return host
    for fleet in fleets:
        pool = _launchable(state, queue, fleet, record)
        if pool is not None:
            return _launch(state, fleet, pool)
    return None


def _launchable(state: State, queue: QueueRecord, fleet: Fleet, record: JobRecord) -> Pool | None:
    return fleet.launchable(record, queue.waiting_vcpus, state.quota_vcpus - state.launched_vcpus, state.now)


def could_host(state: State, queue: QueueRecord, record: JobRecord) -> str | None:
    """Where a waiting unit could be placed at once, determined without using cached results.

    Consumable resources aside: see `lacks_consumables`.
    """
    for fleet in queue.fleets:
        if not fleet.is_open or _is_spoken_for(state, fleet, queue):
            continue
        for host in () if fleet.environment.is_fargate else fleet.hosts.values():
            if host.state in (HostState.READY, HostState.BOOTING) and host.fits(record.needs):
                return f"host {host.host_no}"
        pool = _launchable(state, queue, fleet, record)
        if pool is not None:
            return f"a new {pool.instance_type}"
    return None


def _launch(state: State, fleet: Fleet, pool: Pool) -> Host:
    state.host_no += 1
    host = state.hosts[state.host_no] = Host(state.host_no, fleet, pool)
    fleet.add(host)
    state.launched_vcpus += pool.vcpus
    state.out.append(ev.LaunchHost(host_no=host.host_no, environment=fleet.environment.name, pool=pool))
    return host


def _take(state: State, queue: QueueRecord, record: JobRecord, index: int, host: Host) -> None:
    queue.order.take()
    queue.waiting_vcpus -= record.needs.vcpus
    _put_on(state, record, index, host)


def _put_on(state: State, record: JobRecord, index: int, host: Host) -> None:
    key = key_of(record.job_no, index)
    if record.consumables:
        state.consumables.hold(record, key)
    host.hold(key, record)
    state.placed[key] = host
    if host.state is HostState.READY:
        start(state, record, index, host)


def start(state: State, record: JobRecord, index: int, host: Host) -> None:
    record.move(index, STARTING)
    attempt = record.attempts[index] = record.attempts[index] + 1
    if record.reasons:
        record.reasons.pop(index, None)
    record.queue.order.started(record, state.now)
    state.out.append(ev.StartAttempt(job_no=record.job_no, index=index, attempt=attempt, host_no=host.host_no))


def room_came(state: State, host: Host) -> None:
    """A unit left a host: give the room to the next in line, or let the host go idle."""
    fleet = host.fleet
    if fleet.environment.is_fargate:
        let_task_go(state, host)
        return
    if host.state is HostState.READY or host.state is HostState.BOOTING:
        if fleet.is_open:
            _offer(state, host, fleet)
        fleet.room_came(host)
    if not host.units and host.state is HostState.READY:
        rest(state, host)


def let_task_go(state: State, host: Host) -> None:
    """Fargate's capacity ends with its task, and takes no other; one that is not there yet ends when it comes."""
    if not host.units and host.state in (HostState.READY, HostState.DRAINING):
        host.fleet.turn(host, HostState.ENDING)
        state.out.append(ev.TerminateHost(host_no=host.host_no, cause=ev.HostEndCause.TASK_ENDED))


def _offer(state: State, host: Host, fleet: Fleet) -> None:
    """Fill one host from the queues that use its environment, the higher priority first.

    A head that does not fit this host, but could fit another in its environment, holds back everything behind it and
    the queues of lower priority: otherwise small jobs would keep a big one waiting forever.
    """
    held: int | None = None
    for queue in fleet.queues:
        if held is not None and queue.spec.priority < held:
            return
        blocked = _offer_to(state, queue, host)
        if blocked is not None and fleet.could_fit(blocked[0]) and not lacks_consumables(state, *blocked):
            held = queue.spec.priority
    if held is not None:
        return
    if fleet.booting and host.state is HostState.READY:
        _take_from_booting(state, host, fleet)


def _offer_to(state: State, queue: QueueRecord, host: Host) -> Unit | None:
    """Fill a host from one queue; returns the head that then waits for room.

    Only this host changed: a head of the same shape as the one that waited before finds no other room either, so
    nothing else is tried for it.
    """
    before = queue.blocked_head
    head = _fill_host(state, queue, host)
    if head == before:
        return before
    if head is None:
        queue.blocked_head = None
        _let_others_in(state, queue, before)
    elif before is not None and before[0].shape == head[0].shape and not queue.order.has_reservation:
        _block(state, queue, head, before)
    else:
        fill(state, queue)
    return queue.blocked_head


def _fill_host(state: State, queue: QueueRecord, host: Host) -> Unit | None:
    """Fill a host from the head of one queue; returns the remaining head."""
    order = queue.order
    while True:
        head = order.head(state.now)
        if head is None or not host.fits(head[0].needs):
            return head
        if order.has_reservation and not _may_start(queue, head[0]):
            return head
        if lacks_consumables(state, *head):
            return head
        _take(state, queue, *head, host)


def _take_from_booting(state: State, host: Host, fleet: Fleet) -> None:
    """With nothing in line, units waiting for a host to boot can move to this one, which has room now."""
    for other in fleet.booting.values():
        for key, record in list(other.units.items()):
            if host.fits(record.needs):
                other.release(key)
                fleet.room_came(other)
                _put_on(state, record, unit_of(key)[1], host)


def unbind_all(state: State, host: Host, queue: QueueRecord | None = None) -> None:
    """Units bound to a booting host that they will not get return to the head of their line, in order.

    If a queue is given, only its units.
    """
    for key, bound in reversed(list(host.units.items())):
        if queue is not None and bound.queue is not queue:
            continue
        record = host.release(key)
        del state.placed[key]
        if record.consumables and not record.attempts[unit_of(key)[1]]:
            state.consumables.release(record, key, was_started=False)
        queue = record.queue
        queue.order.line(record).put_back(record, unit_of(key)[1])
        queue.waiting_vcpus += record.needs.vcpus


def rest(state: State, host: Host) -> None:
    host.idle_since = state.now
    wait = host.fleet.environment.idle_seconds if host.fleet.is_open else 0.0
    state.wake_at(state.now + wait, Timer.IDLE, host, state.now)


def idle_is_over(state: State, host: Host, since: float) -> None:
    fleet = host.fleet
    if host.idle_since != since or host.state is not HostState.READY or host.host_no not in state.hosts:
        return
    # API reference, ComputeResource.minvCpus: kept "even if the compute environment is DISABLED".
    floor = 0 if fleet.is_removed else fleet.environment.min_vcpus
    if fleet.vcpus - fleet.ending_vcpus - host.pool.vcpus >= floor:
        cause = ev.HostEndCause.IDLE if fleet.is_open else ev.HostEndCause.ENVIRONMENT
        fleet.turn(host, HostState.ENDING)
        state.out.append(ev.TerminateHost(host_no=host.host_no, cause=cause))


def refill_fleet(state: State, fleet: Fleet) -> None:
    """Something about an environment's capacity changed: keep its minimum, and let its queues try again."""
    _keep_minimum(state, fleet)
    for queue in fleet.queues:
        fill(state, queue)


def refill_all(state: State) -> None:
    """Something shared by all environments changed: anything that waits may try again."""
    for fleet in state.fleets.values():
        _keep_minimum(state, fleet)
    for queue in sorted(state.queues.values(), key=lambda queue: -queue.spec.priority):
        fill(state, queue)


def _keep_minimum(state: State, fleet: Fleet) -> None:
    environment = fleet.environment
    while fleet.is_open and fleet.vcpus < environment.min_vcpus and not environment.is_fargate:
        quota_left = state.quota_vcpus - state.launched_vcpus
        pools = [pool for pool in environment.pools if fleet.pool_back_at.get(pool, 0.0) <= state.now]
        headroom = min(environment.max_vcpus - fleet.vcpus, quota_left)
        pools = [pool for pool in pools if pool.vcpus <= headroom]
        if not pools:
            return
        _launch(state, fleet, min(pools, key=lambda pool: (pool.vcpus, pool.usd_per_hour, pool.instance_type)))


def _is_spoken_for(state: State, fleet: Fleet, queue: QueueRecord) -> bool:
    """Whether the head of a queue with a higher priority waits for room in this environment."""
    priority = queue.spec.priority
    for other in fleet.queues:
        if other.spec.priority <= priority:
            return False  # they are ordered by priority
        if other.blocked_head is not None and fleet.could_fit(other.blocked_head[0]):
            if lacks_consumables(state, *other.blocked_head):
                continue  # room would not help it
            return True
    return False
