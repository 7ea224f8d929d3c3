"""Hosts in the engine: launches and boots, interruption notices and reclaims, by hand or when Spot capacity changes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.local import faults
from spotbatch.local.changes import HostState
from spotbatch.local.contract import LAUNCH_TEMPLATE, EngineSettings, Json, launch_template_of
from spotbatch.local.engine.attempts import Attempts
from spotbatch.local.engine.control_plane import ENVIRONMENT
from spotbatch.local.engine.ecs_config import drains_on_notice, reaches_metadata
from spotbatch.local.engine.group_commit import GroupCommit
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.spot_capacity import CapacityAtRate, CapacityFromTrace, PoolKey, SpotCapacity
from spotbatch.local.faults import BootFault
from spotbatch.local.host_view import HostView

_RELAUNCH_SECONDS: Final = 1.0  # when to ask again in a pool that lacked capacity because of a fault


class HostLifecycle:
    """The simulated instances that attempts run on; their records are kept in `Hosts`."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        commit: GroupCommit,
        scheduler: Scheduler,
        hosts: Hosts,
        attempts: Attempts,
        documents: Callable[[str], Mapping[str, Json]],
    ) -> None:
        self._settings = settings
        self._commit = commit
        self._clock = commit.clock
        self._scheduler = scheduler
        self._hosts = hosts
        self._attempts = attempts
        self._documents = documents  # of one kind, by name
        self._capacity = _capacity(settings, self._clock.steady())
        self._going: set[int] = set()  # hosts already bound to end
        self._open_under_notice: set[int] = set()  # hosts that have a notice but are not drained
        self._capacity_timer: asyncio.TimerHandle | None = None
        commit.carry_out({ev.LaunchHost: self._launch, ev.TerminateHost: self._terminate})

    # ---- from the launch to the end ----

    def _launch(self, command: ev.LaunchHost) -> None:
        environment = self._scheduler.environment(command.environment)
        assert environment is not None  # noqa: S101 - it exists as long as it has a host
        now = self._clock.now()
        host = self._hosts.launch(command.host_no, environment, command.pool, now)
        if not environment.is_fargate and reaches_metadata(self._user_data(environment.name)):
            self._hosts.open_metadata(host.instance_id)
        self._commit.change_log.host(host, HostState.LAUNCHED, now)
        fault = faults.of_boot(self._settings.faults, self._settings.seed, command.host_no)
        seconds = self._settings.boot_seconds + fault.late_seconds
        self._commit.after_commit(lambda: self._commit.later(seconds, self._booted, command.host_no, fault))

    def _booted(self, host_no: int, fault: BootFault) -> None:
        host = self._hosts.alive.get(host_no)
        if host is None or host_no in self._going:
            return
        if fault.never_joins:
            self._end(host_no, "NEVER_JOINED", relaunch_seconds=_RELAUNCH_SECONDS)
            return
        if fault.is_without_capacity:
            self._never_came(host_no, host, _RELAUNCH_SECONDS)
            return
        steady, pool = self._clock.steady(), PoolKey(instance_type=host.instance_type, zone=host.zone)
        if host.is_spot and self._capacity is not None:
            if not self._capacity.has_capacity(pool, steady):
                self._never_came(host_no, host, self._capacity.relaunch_seconds)
                return
            self._capacity.host_up(host_no, pool, steady)
            self._watch_capacity()
        now = self._clock.now()
        self._commit.change_log.host(self._hosts.started(host_no, now), HostState.STARTED, now)
        self._commit.apply(ev.HostStarted(host_no=host_no))

    def _never_came(self, host_no: int, host: HostView, relaunch_seconds: float) -> None:
        self._hosts.never_came(host_no)
        self._commit.change_log.host(host, HostState.NEVER_CAME, self._clock.now())
        self._commit.apply(ev.HostEnded(host_no=host_no, relaunch_seconds=relaunch_seconds))

    def _terminate(self, command: ev.TerminateHost) -> None:
        host_no, cause = command.host_no, command.cause.value
        if host_no in self._going and cause == ev.HostEndCause.TASK_ENDED:
            cause = "RECLAIMED"
        self._commit.after_commit(lambda: self._end(host_no, cause))

    def _end(self, host_no: int, cause: str, *, relaunch_seconds: float | None = None) -> None:
        if self._capacity is not None:
            self._capacity.host_gone(host_no)
        self._open_under_notice.discard(host_no)
        self._going.discard(host_no)
        now = self._clock.now()
        self._commit.change_log.host(self._hosts.ended(host_no, now, cause), HostState.ENDED, now)
        self._commit.apply(ev.HostEnded(host_no=host_no, relaunch_seconds=relaunch_seconds))

    # ---- notices and reclaims ----

    def _watch_capacity(self) -> None:
        """A single timer, for the moment at which the next reclaim may be due."""
        if self._capacity_timer is not None:
            self._capacity_timer.cancel()
        when = None if self._capacity is None else self._capacity.next_look(self._clock.steady())
        self._capacity_timer = (
            None if when is None else self._commit.later(max(0.0, when - self._clock.steady()), self._capacity_changed)
        )

    def _capacity_changed(self) -> None:
        if self._capacity is not None:
            for host_no in self._capacity.due(self._clock.steady()):
                self._take_away(host_no, self._settings.notice_seconds)
        self._watch_capacity()

    def _take_away(self, host_no: int, seconds: float) -> None:
        """A host ends in this many seconds, with a notice before that, unless it is late or never comes."""
        if host_no in self._going or host_no not in self._hosts.alive:
            return
        self._going.add(host_no)
        if self._capacity is not None:
            self._capacity.host_gone(host_no)
        if self._hosts.alive[host_no].is_fargate:
            self._interrupt_task(host_no, seconds)
            return
        noticed = faults.notice_seconds(self._settings.faults, self._settings.seed, host_no, seconds)
        if noticed is None:
            self._commit.later(seconds, self._reclaim, host_no)
        elif noticed < seconds:
            self._commit.later(seconds - noticed, self._notice, host_no, noticed)
        else:
            self._notice(host_no, seconds)

    def _interrupt_task(self, host_no: int, seconds: float) -> None:
        """Fargate Spot takes a task's capacity back: the warning is SIGTERM, and its stop timeout begins.

        It is at most the two minutes of the warning (ECS developer guide, "Fargate Spot termination notices"). The
        capacity ends with the task.
        """
        now = self._clock.now()
        self._commit.change_log.host(self._hosts.noticed(host_no, now, now + seconds), HostState.NOTICED, now)
        units = self._scheduler.host_units(host_no)
        is_booting = self._hosts.alive[host_no].started_at is None
        self._commit.apply(ev.HostNoticed(host_no=host_no))
        if is_booting:
            self._end(host_no, "RECLAIMED")
        else:
            self._attempts.interrupt(units, seconds)

    def _notice(self, host_no: int, notice_seconds: float) -> None:
        host = self._hosts.alive.get(host_no)
        if host is None:
            return
        now = self._clock.now()
        noticed = self._hosts.noticed(host_no, now, now + notice_seconds)
        self._commit.change_log.host(noticed, HostState.NOTICED, now)
        if host.started_at is None or self._drains(host):
            if host.started_at is not None:
                self._commit.change_log.host(noticed, HostState.DRAINING, now)
            self._commit.apply(ev.HostNoticed(host_no=host_no))
        else:
            self._open_under_notice.add(host_no)  # ECS keeps placing jobs there: only its jobs know of the notice
            self._commit.schedule()
        self._commit.later(notice_seconds, self._reclaim, host_no)

    def _drains(self, host: HostView) -> bool:
        """Whether the host's ECS agent drains it on a notice: set by its launch template's user data."""
        if self._settings.faults.draining_off:
            return False
        if self._settings.draining != "template":
            return self._settings.draining == "on"
        return drains_on_notice(self._user_data(host.environment))

    def _user_data(self, environment_name: str) -> str:
        """From the environment's launch template in a loaded stack; "" if there is none."""
        environment: Any = self._documents(ENVIRONMENT).get(environment_name, {})
        named = environment.get("computeResources", {}).get("launchTemplate", {})
        template = launch_template_of(self._documents(LAUNCH_TEMPLATE), named) or {}
        return str(template.get("userData", ""))

    def _reclaim(self, host_no: int) -> None:
        """The instance is lost, and everything on it, at once."""
        if host_no not in self._hosts.alive:
            return
        if self._hosts.alive[host_no].noticed_at is None or host_no in self._open_under_notice:
            self._open_under_notice.discard(host_no)
            self._commit.apply(ev.HostNoticed(host_no=host_no))  # else jobs that end there now would be retried there
        self._attempts.lose(self._scheduler.host_units(host_no))
        self._end(host_no, "RECLAIMED")

    # ---- who asks ----

    async def interrupt(
        self, *, instance_ids: Sequence[str] = (), count: int = 0, notice_seconds: float | None = None
    ) -> Sequence[str]:
        """Send hosts the notice, then reclaim them. Raises NotFound, or InvalidInput for an on-demand host."""
        numbers = [self._host_number(instance_id) for instance_id in instance_ids] or self._busiest(count)
        wait = self._settings.notice_seconds if notice_seconds is None else notice_seconds
        chosen = [self._hosts.alive[number].instance_id for number in numbers]

        def notice() -> None:
            for number in numbers:
                self._take_away(number, wait)

        await self._commit.accept(then=notice)
        self._commit.settle()
        return chosen

    def _host_number(self, instance_id: str) -> int:
        for number, host in self._hosts.alive.items():
            if host.instance_id == instance_id:
                if not host.is_spot:
                    what = "Fargate, not Fargate Spot" if host.is_fargate else "on-demand"
                    raise InvalidInput(f"host {instance_id} is {what}: only Spot is reclaimed")
                return number
        raise NotFound(f"there is no living host {instance_id}")

    def _busiest(self, count: int) -> list[int]:
        """Hosts with running attempts, oldest first."""
        candidates = [
            (host.launched_at, number)
            for number, host in self._hosts.alive.items()
            if host.is_spot and number not in self._going and self._scheduler.host_units(number)
        ]
        return [number for _, number in sorted(candidates)[:count]]

    def views(self) -> Sequence[HostView]:
        """Current and past hosts, in launch order."""
        return self._hosts.all(self._running())

    def living(self) -> Sequence[HostView]:
        """Current hosts, in launch order."""
        return self._hosts.living(self._running())

    def _running(self) -> dict[int, int]:
        """Attempts by host number."""
        return {number: len(self._scheduler.host_units(number)) for number in self._scheduler.host_numbers()}


def _capacity(settings: EngineSettings, now: float) -> SpotCapacity | None:
    """The source of reclaims; None if they are only triggered by hand."""
    if settings.traces:
        return CapacityFromTrace(settings.traces, begins=now, speed=settings.trace_speed)
    if settings.reclaims_per_host_hour > 0:
        return CapacityAtRate(per_host_hour=settings.reclaims_per_host_hour, seed=settings.seed)
    return None
