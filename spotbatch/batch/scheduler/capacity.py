"""Hosts come and go, environments and queues change: what that means for the units that wait."""

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.dispatch import refill_all, refill_fleet, rest, room_came, start, unbind_all
from spotbatch.batch.scheduler.fleet import Fleet, HostState
from spotbatch.batch.scheduler.job_record import unit_of
from spotbatch.batch.scheduler.lifecycle import stop_units
from spotbatch.batch.scheduler.queue_order import QueueRecord
from spotbatch.batch.scheduler.state import UNLIMITED, State, Timer
from spotbatch.batch.status import QUEUE_DELETED


def host_started(state: State, event: ev.HostStarted) -> None:
    host = state.host(event.host_no)
    if host.state is not HostState.BOOTING:
        return
    host.fleet.turn(host, HostState.READY)
    for key, record in host.units.items():
        start(state, record, unit_of(key)[1], host)
    if not host.units:
        room_came(state, host)


def host_noticed(state: State, event: ev.HostNoticed) -> None:
    host = state.host(event.host_no)
    was_booting = host.state is HostState.BOOTING
    host.fleet.turn(host, HostState.DRAINING)
    if was_booting:
        unbind_all(state, host)
        refill_all(state)


def host_ended(state: State, event: ev.HostEnded) -> None:
    host = state.host(event.host_no)
    was_booting = host.state is HostState.BOOTING
    if host.units and not was_booting:
        raise InvalidInput(f"host {host.host_no} ended before its {len(host.units)} attempts were ended")
    if was_booting:
        back_at = host.fleet.had_no_capacity(host.pool, state.now, event.relaunch_seconds)
        state.wake_at(back_at, Timer.REFILL, host.fleet)
        unbind_all(state, host)
    host.fleet.remove(host)
    del state.hosts[host.host_no]
    state.launched_vcpus -= host.pool.vcpus
    if host.fleet.is_removed and not host.fleet.hosts:
        state.fleets.pop(host.fleet.environment.name, None)
        state.wire()
    if was_booting or state.quota_vcpus < UNLIMITED:
        refill_all(state)  # its units may belong to any queue, and the quota is shared by all
    else:
        refill_fleet(state, host.fleet)


def environment_put(state: State, event: ev.EnvironmentPut) -> None:
    environment = event.environment
    fleet = state.fleets.get(environment.name)
    if fleet is None:
        fleet = state.fleets[environment.name] = Fleet(environment)
    else:
        fleet.change(environment)
    state.wire()
    for host in list(fleet.hosts.values()):
        if host.state is HostState.READY and not host.units:
            rest(state, host)
        elif host.state is HostState.BOOTING and not fleet.is_open:
            unbind_all(state, host)  # nothing new is placed in a disabled environment
            fleet.room_came(host)
    refill_fleet(state, fleet)


def environment_removed(state: State, event: ev.EnvironmentRemoved) -> None:
    fleet = state.fleets.get(event.name)
    if fleet is None:
        raise NotFound(f"there is no compute environment {event.name!r}")
    fleet.close()
    for host in list(fleet.hosts.values()):
        if host.state is HostState.READY and not host.units:
            rest(state, host)
    if not fleet.hosts:
        del state.fleets[event.name]
    state.wire()


def queue_put(state: State, event: ev.QueuePut) -> None:
    queue = state.queues.get(event.queue.name)
    if queue is None:
        state.queues[event.queue.name] = QueueRecord(event.queue)
    else:
        queue.change(event.queue)
    state.wire()
    if queue is not None:
        _leave_environments(state, queue)
    refill_all(state)  # for a priority that changed


def _leave_environments(state: State, queue: QueueRecord) -> None:
    """Units waiting for a host to boot stop waiting in an environment that their queue no longer uses."""
    for fleet in state.fleets.values():
        if fleet not in queue.fleets:
            for host in fleet.booting.values():
                unbind_all(state, host, queue)
                fleet.room_came(host)


def queue_removed(state: State, event: ev.QueueRemoved) -> None:
    if event.name not in state.queues:
        raise NotFound(f"there is no job queue {event.name!r}")
    for record in list(state.jobs.values()):
        if record.submitted.queue == event.name and not record.has_ended:
            stop_units(state, record.job_no, None, QUEUE_DELETED, running_too=True)
    del state.queues[event.name]
    state.wire()
    refill_all(state)
