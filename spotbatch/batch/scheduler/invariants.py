"""The invariants between the state's books; a violation prints the history of the job concerned."""

from spotbatch.batch.errors import BrokenInvariant
from spotbatch.batch.job import Vcpus
from spotbatch.batch.scheduler.dispatch import could_host, lacks_consumables
from spotbatch.batch.scheduler.fleet import Fleet, Host, HostState
from spotbatch.batch.scheduler.job_record import RUNNABLE, RUNNING, STARTING, JobRecord, key_of, unit_of
from spotbatch.batch.scheduler.queue_order import FairOrder, FifoOrder, QueueRecord
from spotbatch.batch.scheduler.state import State, Timer
from spotbatch.batch.status import STATUSES


def check_state(state: State) -> None:
    """Raise BrokenInvariant if any book contradicts another."""
    for record in state.jobs.values():
        _check_job(state, record)
    for host in state.hosts.values():
        _check_host(state, host)
    for fleet in state.fleets.values():
        _check_fleet(state, fleet)
    _check_placed(state)
    _check_waiting(state)
    _check_deadlines(state)
    _check_consumables(state)
    for queue in state.queues.values():
        _check_shares(state, queue)
        _check_head(state, queue)


def _check_job(state: State, record: JobRecord) -> None:
    for code, status in enumerate(STATUSES):
        count = record.status.count(code)
        _require(
            state,
            record,
            count == record.counts[code],
            f"{count} units are {status}, the book says {record.counts}",
        )
    allowed = record.submitted.retry.attempts
    most = max(record.attempts)
    _require(state, record, most <= allowed, f"{most} attempts were made, {allowed} are allowed")
    for index in record.stopping:
        code = record.status[index]
        _require(state, record, code in (STARTING, RUNNING), f"unit {index} is being stopped, yet {STATUSES[code]}")


def _check_placed(state: State) -> None:
    for key, host in state.placed.items():
        job_no, index = unit_of(key)
        record = state.jobs[job_no]
        code = record.status[index]
        if host is None:
            _require(state, record, code in (STARTING, RUNNING), f"unit {index} lost its host, yet {STATUSES[code]}")
            continue
        _require(state, record, host.units.get(key) is record, f"unit {index} is not on its host {host.host_no}")
        bound = host.state is HostState.BOOTING
        right = code == RUNNABLE if bound else code in (STARTING, RUNNING)
        _require(state, record, right, f"unit {index} is {STATUSES[code]} on a host that is {host.state.name}")
    started = sum(record.counts[STARTING] + record.counts[RUNNING] for record in state.jobs.values())
    placed = sum(1 for host in state.placed.values() if host is None or host.state is not HostState.BOOTING)
    _require(state, None, started == placed, f"{started} units run, {placed} are placed on hosts")


def _check_host(state: State, host: Host) -> None:
    needs = [record.needs for record in host.units.values()]
    free = (host.free_vcpus, host.free_mib, host.free_gpus)
    used = (sum(n.vcpus for n in needs), sum(n.memory_mib for n in needs), sum(n.gpus for n in needs))
    whole = (host.pool.vcpus, host.pool.memory_mib, host.pool.gpus)
    adds_up = all(u + f == w for u, f, w in zip(used, free, whole, strict=True))
    _require(state, None, adds_up and min(free) >= 0, f"host {host.host_no}: used {used} + free {free} is not {whole}")


def _check_fleet(state: State, fleet: Fleet) -> None:
    vcpus = sum(host.pool.vcpus for host in fleet.hosts.values())
    name = fleet.environment.name
    _require(state, None, vcpus == fleet.vcpus, f"environment {name} has {vcpus} vCPUs, the book says {fleet.vcpus}")
    ending = sum(host.pool.vcpus for host in fleet.hosts.values() if host.state is HostState.ENDING)
    said = f"environment {name}: {ending} vCPUs are let go, the book says {fleet.ending_vcpus}"
    _require(state, None, ending == fleet.ending_vcpus, said)


def _check_waiting(state: State) -> None:
    """Every RUNNABLE unit that is not bound to a booting host is counted exactly once in its queue's line."""
    waiting: dict[str, Vcpus] = dict.fromkeys(state.queues, 0)
    for record in state.jobs.values():
        queue = record.submitted.queue
        if queue in waiting:
            waiting[queue] += record.counts[RUNNABLE] * record.needs.vcpus
    for key, host in state.placed.items():
        record = state.jobs[unit_of(key)[0]]
        if host is not None and host.state is HostState.BOOTING and record.submitted.queue in waiting:
            waiting[record.submitted.queue] -= record.needs.vcpus
    for name, vcpus in waiting.items():
        book = state.queues[name].waiting_vcpus
        _require(state, None, vcpus == book, f"queue {name} has {vcpus} vCPUs waiting, the book says {book}")
    total = sum(host.pool.vcpus for host in state.hosts.values())
    _require(state, None, total == state.launched_vcpus, f"{total} vCPUs launched, not {state.launched_vcpus}")


def _check_deadlines(state: State) -> None:
    """Only running units have a deadline, and each timeout length has its timer."""
    armed = {arguments[0] for _, _, timer, arguments in state.timers if timer is Timer.TIMEOUT}
    for seconds, deadlines in state.deadlines.items():
        _require(state, None, seconds in armed, f"no timer looks after the timeouts of {seconds} s")
        for key in deadlines:
            job_no, index = unit_of(key)
            record = state.jobs[job_no]
            code = record.status[index]
            _require(state, record, code == RUNNING, f"unit {index} has a deadline, yet is {STATUSES[code]}")


def _check_consumables(state: State) -> None:
    """Started units that have not ended, and bound ones, hold what they need, and nobody else holds anything."""
    held: dict[str, int] = {}
    for record in state.jobs.values():
        if not record.consumables:
            continue
        for index in range(record.units):
            key = key_of(record.job_no, index)
            holds = not record.is_over(index) and (record.attempts[index] > 0 or key in state.placed)
            book = key in state.consumables.holders
            _require(state, record, book == holds, f"unit {index} holds its consumables: {holds}, the book says {book}")
            for need in record.consumables if holds else ():
                held[need.name] = held.get(need.name, 0) + need.quantity
    book_held = {name: quantity for name, quantity in state.consumables.held.items() if quantity}
    _require(state, None, held == book_held, f"units hold {held} of consumables, the book says {book_held}")


def _check_shares(state: State, queue: QueueRecord) -> None:
    """A fair-share queue books the vCPUs that each share runs."""
    if not isinstance(queue.order, FairOrder):
        return
    running: dict[str, Vcpus] = {}
    for record in state.jobs.values():
        units = record.counts[STARTING] + record.counts[RUNNING]
        if record.queue is queue and units:
            running[record.submitted.share] = running.get(record.submitted.share, 0) + units * record.needs.vcpus
    book = {name: vcpus for name, vcpus in queue.order.running_vcpus.items() if vcpus}
    _require(state, None, running == book, f"queue {queue.spec.name}: shares run {running}, the book says {book}")


def _check_head(state: State, queue: QueueRecord) -> None:
    """Nothing waits needlessly: no host has room for the head of a queue, and none may be launched for it.

    Fair shares change order as time passes, so this holds only for a FIFO queue.
    """
    head = queue.order.head(0.0) if isinstance(queue.order, FifoOrder) else None
    if head is None:
        return
    record = head[0]
    _require(state, record, queue.blocked_head == head, f"unit {head[1]} is the head, and nobody looked for a host")
    if lacks_consumables(state, *head):
        return
    host = could_host(state, queue, record)
    _require(state, record, host is None, f"unit {head[1]} waits, yet could have {host}")


def _require(state: State, record: JobRecord | None, holds: bool, what: str) -> None:
    if holds:
        return
    lines = [f"broken invariant: {what}"]
    if record is not None:
        lines.append(f"the story of job {record.job_no} ({record.units} units):")
    for when, event in state.recent or ():
        if record is None or getattr(event, "job_no", record.job_no) == record.job_no:
            lines.append(f"  {when:.3f} {event}")
    raise BrokenInvariant("\n".join(lines))
