"""What must always hold between the scheduler's books; a breach prints the story of the job concerned."""

from typing import TYPE_CHECKING

from spotbatch.batch.errors import BrokenInvariant
from spotbatch.batch.scheduler.fleet import Fleet, Host, HostState
from spotbatch.batch.scheduler.job_record import RUNNABLE, RUNNING, STARTING, JobRecord, unit_of
from spotbatch.batch.scheduler.queue_order import FairOrder, FifoOrder, QueueRecord
from spotbatch.batch.status import STATUSES

if TYPE_CHECKING:
    from spotbatch.batch.scheduler.scheduler import Scheduler


def check_scheduler(scheduler: "Scheduler") -> None:
    """Raise BrokenInvariant if any book contradicts another."""
    for record in scheduler.jobs.values():
        _check_job(scheduler, record)
    for host in scheduler.hosts.values():
        _check_host(scheduler, host)
    for fleet in scheduler.fleets.values():
        _check_fleet(scheduler, fleet)
    _check_placed(scheduler)
    _check_waiting(scheduler)
    _check_deadlines(scheduler)
    for state in scheduler.queues.values():
        _check_shares(scheduler, state)
        _check_head(scheduler, state)


def _check_job(scheduler: "Scheduler", record: JobRecord) -> None:
    for code, status in enumerate(STATUSES):
        count = record.status.count(code)
        _require(
            scheduler,
            record,
            count == record.counts[code],
            f"{count} units are {status}, the book says {record.counts}",
        )
    allowed = record.submitted.retry.attempts
    most = max(record.attempts)
    _require(scheduler, record, most <= allowed, f"{most} attempts were made, {allowed} are allowed")
    for index in record.stopping:
        code = record.status[index]
        _require(scheduler, record, code in (STARTING, RUNNING), f"unit {index} is being stopped, yet {STATUSES[code]}")


def _check_placed(scheduler: "Scheduler") -> None:
    for key, host in scheduler.placed.items():
        job_no, index = unit_of(key)
        record = scheduler.jobs[job_no]
        code = record.status[index]
        if host is None:
            _require(
                scheduler, record, code in (STARTING, RUNNING), f"unit {index} lost its host, yet {STATUSES[code]}"
            )
            continue
        _require(scheduler, record, host.units.get(key) is record, f"unit {index} is not on its host {host.host_no}")
        bound = host.state is HostState.BOOTING
        right = code == RUNNABLE if bound else code in (STARTING, RUNNING)
        _require(scheduler, record, right, f"unit {index} is {STATUSES[code]} on a host that is {host.state.name}")
    started = sum(record.counts[STARTING] + record.counts[RUNNING] for record in scheduler.jobs.values())
    placed = sum(1 for host in scheduler.placed.values() if host is None or host.state is not HostState.BOOTING)
    _require(scheduler, None, started == placed, f"{started} units run, {placed} are placed on hosts")


def _check_host(scheduler: "Scheduler", host: Host) -> None:
    needs = [record.needs for record in host.units.values()]
    free = (host.free_vcpus, host.free_mib, host.free_gpus)
    used = (sum(n.vcpus for n in needs), sum(n.memory_mib for n in needs), sum(n.gpus for n in needs))
    whole = (host.pool.vcpus, host.pool.memory_mib, host.pool.gpus)
    adds_up = all(u + f == w for u, f, w in zip(used, free, whole, strict=True))
    _require(
        scheduler, None, adds_up and min(free) >= 0, f"host {host.host_no}: used {used} + free {free} is not {whole}"
    )


def _check_fleet(scheduler: "Scheduler", fleet: Fleet) -> None:
    vcpus = sum(host.pool.vcpus for host in fleet.hosts.values())
    name = fleet.environment.name
    _require(
        scheduler, None, vcpus == fleet.vcpus, f"environment {name} has {vcpus} vCPUs, the book says {fleet.vcpus}"
    )
    ending = sum(host.pool.vcpus for host in fleet.hosts.values() if host.state is HostState.ENDING)
    said = f"environment {name}: {ending} vCPUs are let go, the book says {fleet.ending_vcpus}"
    _require(scheduler, None, ending == fleet.ending_vcpus, said)


def _check_waiting(scheduler: "Scheduler") -> None:
    """Every RUNNABLE unit that is not bound to a booting host is counted in its queue's line, once."""
    waiting = dict.fromkeys(scheduler.queues, 0)
    for record in scheduler.jobs.values():
        queue = record.submitted.queue
        if queue in waiting:
            waiting[queue] += record.counts[RUNNABLE] * record.needs.vcpus
    for key, host in scheduler.placed.items():
        record = scheduler.jobs[unit_of(key)[0]]
        if host is not None and host.state is HostState.BOOTING and record.submitted.queue in waiting:
            waiting[record.submitted.queue] -= record.needs.vcpus
    for name, vcpus in waiting.items():
        book = scheduler.queues[name].waiting_vcpus
        _require(scheduler, None, vcpus == book, f"queue {name} has {vcpus} vCPUs waiting, the book says {book}")
    total = sum(host.pool.vcpus for host in scheduler.hosts.values())
    _require(
        scheduler, None, total == scheduler.launched_vcpus, f"{total} vCPUs launched, not {scheduler.launched_vcpus}"
    )


def _check_deadlines(scheduler: "Scheduler") -> None:
    """Only what runs has a deadline, and each length has its timer."""
    armed = {arguments[0] for _, _, _, arguments in scheduler.timers if len(arguments) == 1}
    for seconds, deadlines in scheduler.deadlines.items():
        _require(scheduler, None, seconds in armed, f"no timer looks after the timeouts of {seconds} s")
        for key in deadlines:
            job_no, index = unit_of(key)
            record = scheduler.jobs[job_no]
            code = record.status[index]
            _require(scheduler, record, code == RUNNING, f"unit {index} has a deadline, yet is {STATUSES[code]}")


def _check_shares(scheduler: "Scheduler", state: QueueRecord) -> None:
    """A fair-share queue books to each share the vCPUs that it runs."""
    if not isinstance(state.order, FairOrder):
        return
    running: dict[str, int] = {}
    for record in scheduler.jobs.values():
        units = record.counts[STARTING] + record.counts[RUNNING]
        if record.queue is state and units:
            running[record.submitted.share] = running.get(record.submitted.share, 0) + units * record.needs.vcpus
    book = {name: vcpus for name, vcpus in state.order.running_vcpus.items() if vcpus}
    _require(scheduler, None, running == book, f"queue {state.queue.name}: shares run {running}, the book says {book}")


def _check_head(scheduler: "Scheduler", state: QueueRecord) -> None:
    """Nobody waits for what is there: no host has room for the head of a queue, nor may one be launched for it.

    Fair shares change their order as time passes, so this holds for a FIFO queue only.
    """
    head = state.order.head(0.0) if isinstance(state.order, FifoOrder) else None
    if head is None:
        return
    record = head[0]
    _require(scheduler, record, state.blocked_head == head, f"unit {head[1]} is the head, and nobody looked for a host")
    host = scheduler.could_host(state, record)
    _require(scheduler, record, host is None, f"unit {head[1]} waits, yet could have {host}")


def _require(scheduler: "Scheduler", record: JobRecord | None, holds: bool, what: str) -> None:
    if holds:
        return
    lines = [f"broken invariant: {what}"]
    if record is not None:
        lines.append(f"the story of job {record.job_no} ({record.units} units):")
    for when, event in scheduler.recent or ():
        if record is None or getattr(event, "job_no", record.job_no) == record.job_no:
            lines.append(f"  {when:.3f} {event}")
    raise BrokenInvariant("\n".join(lines))
