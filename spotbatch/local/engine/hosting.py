"""Hosts in the engine: launches and boots, interruption notices and reclaims, by hand or as Spot capacity changes."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import host_terminated
from spotbatch.local.changes import HostState
from spotbatch.local.contract import LAUNCH_TEMPLATE, EngineSettings, HostView
from spotbatch.local.engine.containers import Containers
from spotbatch.local.engine.ecs_config import drains_on_notice
from spotbatch.local.engine.leaked_processes import LATER_SECONDS, SOON_SECONDS, Carrier, LeakSweep
from spotbatch.local.engine.restoring import ENVIRONMENT
from spotbatch.local.engine.spot_capacity import CapacityAtRate, CapacityFromTrace, PoolKey, SpotCapacity


class Hosting(Containers):
    """The simulated instances that attempts run on; the records of them stand in `Hosts`."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._capacity = _capacity(settings, self._clock.steady())
        self._open_under_notice: set[int] = set()  # hosts that got their notice and are not drained
        self._sky_timer: asyncio.TimerHandle | None = None
        self._leak_sweep = LeakSweep(settings.home, self._of_ended_attempts)

    def attempt_over(self, attempt_id: int, exit_code: int | None, reason: str, status_reason: str) -> None:
        """The end of an attempt is that of all it started, though some may have left its group of processes."""
        ended_by_itself = exit_code is not None and attempt_id not in self._stopping and not reason
        super().attempt_over(attempt_id, exit_code, reason, status_reason)
        self._leak_sweep.look_within(LATER_SECONDS if ended_by_itself else SOON_SECONDS)

    def _of_ended_attempts(self, found: Sequence[Carrier]) -> Sequence[Carrier]:
        """Those whose attempts do not run. What runs is in the books before it starts, and an attempt starts once."""
        running = {(self.unit_id(job_no, index), str(attempt)) for job_no, index, attempt in self._running.values()}
        return [one for one in found if one.job_id and (one.job_id, one.attempt) not in running]

    def _note(self, command: ev.Command) -> None:
        match command:
            case ev.LaunchHost():
                self._launch_host(command)
            case ev.TerminateHost(host_no=host_no, cause=cause):
                self._effects.append(lambda: self._end_host(host_no, cause.value))
            case _:
                super()._note(command)

    def _launch_host(self, command: ev.LaunchHost) -> None:
        environment = self.scheduler.environment(command.environment)
        assert environment is not None  # noqa: S101 - it is there as long as it has a host
        now = self.now()
        host = self.host_book.launch(command.host_no, environment, command.pool, now)
        self.change_log.host(host, HostState.LAUNCHED, now)
        self._effects.append(lambda: self._later(self.settings.boot_seconds, self._host_booted, command.host_no))

    def _host_booted(self, host_no: int) -> None:
        host = self.host_book.alive.get(host_no)
        if host is None or host.noticed_at is not None:
            return
        now, pool = self._clock.steady(), PoolKey(instance_type=host.instance_type, zone=host.zone)
        if host.is_spot and self._capacity is not None:
            if not self._capacity.has_capacity(pool, now):
                self.host_book.never_came(host_no)
                self.change_log.host(host, HostState.NEVER_CAME, self.now())
                self.apply(ev.HostEnded(host_no=host_no, relaunch_seconds=self._capacity.relaunch_seconds))
                return
            self._capacity.host_up(host_no, pool, now)
            self._watch_sky()
        started_at = self.now()
        self.change_log.host(self.host_book.started(host_no, started_at), HostState.STARTED, started_at)
        self.apply(ev.HostStarted(host_no=host_no))

    def _watch_sky(self) -> None:
        """One timer, for the moment at which a reclaim may be due."""
        if self._sky_timer is not None:
            self._sky_timer.cancel()
        when = None if self._capacity is None else self._capacity.next_look(self._clock.steady())
        self._sky_timer = (
            None if when is None else self._later(max(0.0, when - self._clock.steady()), self._sky_changed)
        )

    def _sky_changed(self) -> None:
        if self._capacity is not None:
            for host_no in self._capacity.due(self._clock.steady()):
                self._notice(host_no, self.settings.notice_seconds)
        self._watch_sky()

    def _notice(self, host_no: int, notice_seconds: float) -> None:
        host = self.host_book.alive.get(host_no)
        if host is None or host.noticed_at is not None:
            return
        if self._capacity is not None:
            self._capacity.host_gone(host_no)
        now = self.now()
        noticed = self.host_book.noticed(host_no, now, now + notice_seconds)
        self.change_log.host(noticed, HostState.NOTICED, now)
        if host.started_at is None or self._drains(host):
            if host.started_at is not None:
                self.change_log.host(noticed, HostState.DRAINING, now)
            self.apply(ev.HostNoticed(host_no=host_no))
        else:
            self._open_under_notice.add(host_no)  # ECS goes on placing jobs there: only its jobs know of the notice
            self._schedule_flush()
        self._later(notice_seconds, self._reclaim, host_no)

    def _drains(self, host: HostView) -> bool:
        """Whether the host's ECS agent drains it under a notice: as its launch template's user data has it."""
        if self.settings.draining != "template":
            return self.settings.draining == "on"
        environment: Any = self.resources(ENVIRONMENT).get(host.environment, {})
        template = environment.get("computeResources", {}).get("launchTemplate", {})
        wanted = {template.get("launchTemplateId"), template.get("launchTemplateName")} - {None}
        for template_id, kept in self.resources(LAUNCH_TEMPLATE).items():
            if wanted & {template_id, kept.get("name", template_id)}:
                return drains_on_notice(str(kept.get("userData", "")))
        return False

    def _reclaim(self, host_no: int) -> None:
        """The instance goes, and everything on it at once."""
        host = self.host_book.alive.get(host_no)
        if host is None:
            return
        if host_no in self._open_under_notice:
            self._open_under_notice.discard(host_no)
            self.apply(ev.HostNoticed(host_no=host_no))  # or what ends there now would be tried again there
        for job_no, index, _ in self.scheduler.host_units(host_no):
            attempt_id = self._attempt_ids[job_no, index]
            self._signal(attempt_id, signal.SIGKILL)
            self.attempt_over(attempt_id, None, "", host_terminated(host.instance_id))
        self._end_host(host_no, "RECLAIMED")

    def _end_host(self, host_no: int, cause: str) -> None:
        if self._capacity is not None:
            self._capacity.host_gone(host_no)
        self._open_under_notice.discard(host_no)
        now = self.now()
        self.change_log.host(self.host_book.ended(host_no, now, cause), HostState.ENDED, now)
        self.apply(ev.HostEnded(host_no=host_no))

    async def interrupt(
        self, *, instance_ids: Sequence[str] = (), count: int = 0, notice_seconds: float | None = None
    ) -> Sequence[str]:
        """Give hosts the notice, then reclaim them. Raises NotFound, or InvalidInput for an on-demand host."""
        numbers = [self._host_number(instance_id) for instance_id in instance_ids] or self._busiest(count)
        wait = self.settings.notice_seconds if notice_seconds is None else notice_seconds
        chosen = [self.host_book.alive[number].instance_id for number in numbers]

        def notice() -> None:
            for number in numbers:
                self._notice(number, wait)

        await self.accept(then=notice)
        self.settle()
        return chosen

    def _host_number(self, instance_id: str) -> int:
        for number, host in self.host_book.alive.items():
            if host.instance_id == instance_id:
                if not host.is_spot:
                    raise InvalidInput(f"host {instance_id} is on-demand: EC2 reclaims Spot hosts only")
                return number
        raise NotFound(f"there is no living host {instance_id}")

    def _busiest(self, count: int) -> list[int]:
        """Hosts with running attempts, the oldest first."""
        candidates = [
            (host.launched_at, number)
            for number, host in self.host_book.alive.items()
            if host.is_spot and host.noticed_at is None and self.scheduler.host_units(number)
        ]
        return [number for _, number in sorted(candidates)[:count]]

    def hosts(self) -> Sequence[HostView]:
        """The living and the past, in the order of their launch."""
        self.settle()
        running = {number: len(self.scheduler.host_units(number)) for number in self.scheduler.host_numbers()}
        return self.host_book.all(running)


def _capacity(settings: EngineSettings, now: float) -> SpotCapacity | None:
    """Where reclaims come from; None where they come by hand only."""
    if settings.traces:
        return CapacityFromTrace(settings.traces, begins=now, speed=settings.trace_speed)
    if settings.reclaims_per_host_hour > 0:
        return CapacityAtRate(per_host_hour=settings.reclaims_per_host_hour, seed=settings.seed)
    return None
