"""Hosts in the engine: launches and boots, interruption notices and reclaims, by hand or by a seeded rate."""

import signal
from collections.abc import Sequence
from typing import Final

from spotbatch.batch import events as ev
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.status import host_terminated
from spotbatch.local.contract import HostView
from spotbatch.local.engine.attempts import Attempts

_RECLAIM_TOGETHER: Final = 0.92  # of one pool's hosts, within three minutes
_TOGETHER_SECONDS: Final = 180.0


class Hosting(Attempts):
    """The simulated instances that attempts run on; the records of them stand in `Hosts`."""

    def _note(self, command: ev.Command) -> None:
        match command:
            case ev.LaunchHost():
                self._launch_host(command)
            case ev.TerminateHost(host_no=host_no, cause=cause):
                self._effects.append(lambda: self._end_host(host_no, cause.value))
            case _:
                super()._note(command)

    def _launch_host(self, command: ev.LaunchHost) -> None:
        environment = self.scheduler.fleets[command.environment].environment
        self.host_book.launch(command.host_no, environment, command.pool, self.now())
        self._effects.append(lambda: self._later(self.settings.boot_seconds, self._host_booted, command.host_no))

    def _host_booted(self, host_no: int) -> None:
        host = self.host_book.alive.get(host_no)
        if host is None or host.noticed_at is not None:
            return
        self.host_book.started(host_no, self.now())
        self.apply(ev.HostStarted(host_no=host_no))
        rate = self.settings.reclaims_per_host_hour
        if rate > 0 and host.is_spot:
            self._later(self._rng.expovariate(rate / 3600), self._pool_runs_short, host_no)

    def _pool_runs_short(self, host_no: int) -> None:
        """A seeded reclaim. On one type and zone interruptions come together, so its neighbours mostly go too."""
        first = self.host_book.alive.get(host_no)
        if first is None:
            return
        self._notice(host_no, self.settings.notice_seconds)
        for other_no, other in list(self.host_book.alive.items()):
            same_pool = (other.instance_type, other.zone) == (first.instance_type, first.zone)
            if other_no != host_no and same_pool and self._rng.random() < _RECLAIM_TOGETHER:
                together = self._rng.uniform(0, _TOGETHER_SECONDS)
                self._later(together, self._notice, other_no, self.settings.notice_seconds)

    def _notice(self, host_no: int, notice_seconds: float) -> None:
        host = self.host_book.alive.get(host_no)
        if host is None or host.noticed_at is not None:
            return
        now = self.now()
        self.host_book.noticed(host_no, now, now + notice_seconds)
        self.apply(ev.HostNoticed(host_no=host_no))
        self._later(notice_seconds, self._reclaim, host_no)

    def _reclaim(self, host_no: int) -> None:
        """The instance goes, and everything on it at once."""
        host = self.host_book.alive.get(host_no)
        if host is None:
            return
        for job_no, index, _ in self.scheduler.host_units(host_no):
            attempt_id = self._attempt_ids[job_no, index]
            self._launcher.signal(attempt_id, signal.SIGKILL)
            self.attempt_over(attempt_id, None, "", host_terminated(host.instance_id))
        self._end_host(host_no, "RECLAIMED")

    def _end_host(self, host_no: int, cause: str) -> None:
        self.host_book.ended(host_no, self.now(), cause)
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
        running = {number: len(self.scheduler.host_units(number)) for number in self.scheduler.hosts}
        return self.host_book.all(running)
