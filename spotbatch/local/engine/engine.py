"""The scheduler driven by a real clock: events become rows of the journal, and commands become processes and hosts.

One turn of the loop: events are applied, their rows are committed in one transaction, and only then is what the
scheduler commanded done. So an attempt's intent is on disk before its process starts, and an answer never tells of what
a kill could undo.
"""

import asyncio
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Final

from spotbatch.batch import events as ev
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.batch.ledger import key_of
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.status import (
    CANNOT_START_REASON,
    CONTAINER_EXITED,
    OUT_OF_MEMORY_REASON,
    STATUSES,
    JobStatus,
    host_terminated,
)
from spotbatch.local.contract import ContainerSpec, EngineSettings, HostView, Json, Submission, UnitView
from spotbatch.local.engine import codec
from spotbatch.local.engine.container import Unit, command_line, image_entry, variables
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.launcher import Launcher, Start
from spotbatch.local.engine.logs import log_file, task_id
from spotbatch.local.engine.orphans import end_orphans
from spotbatch.local.engine.reading import Reading
from spotbatch.local.engine.restoring import restore
from spotbatch.local.engine.scratch import Scratch

_MIB: Final = 1 << 20
_COMMIT_RETRY_SECONDS: Final = 1.0
_CLOSE_GRACE_SECONDS: Final = 5.0
_CONTAINERS_KEPT: Final = 1_000
_RECLAIM_TOGETHER: Final = 0.92  # of one pool's hosts, within three minutes
_TOGETHER_SECONDS: Final = 180.0

UnitKey = tuple[int, int]


class LocalEngine(Reading):
    """Implements `spotbatch.local.contract.Engine`; made by `open_engine`."""

    def __init__(self, settings: EngineSettings) -> None:
        if settings.runner == "docker":
            raise Unavailable("--runner docker is not there yet: use process, and an image table (--images)")
        if settings.trace_file is not None:
            raise InvalidInput("--trace-file is not there yet: use --reclaims-per-host-hour with a --seed")
        self.settings = settings
        self.scheduler = Scheduler(quota_vcpus=settings.vcpu_quota)
        self.log_folder = settings.home / "logs"
        self._scratch = Scratch(settings.home / "scratch")
        self._rng = random.Random(settings.seed or None)  # noqa: S311 - reclaims and ids of pretended hosts
        self._effects: list[Callable[[], None]] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._watchers: set[asyncio.Event] = set()
        self._flush_is_due = False
        self._is_closing = False
        self._wakeup: asyncio.TimerHandle | None = None
        self._attempt_no = 0
        self._running: dict[int, tuple[int, int, int]] = {}  # attempt id -> (job, index, attempt)
        self._attempt_ids: dict[UnitKey, int] = {}
        self._stopping: dict[int, str] = {}  # attempt id -> status reason
        self._container = lru_cache(maxsize=_CONTAINERS_KEPT)(self._read_container)
        self._overran: set[int] = set()  # attempt ids that were ended for their memory
        super().__init__()

    # ---- open and close ----

    async def open(self) -> None:
        """Open the journal and take up what it holds. Raises Unavailable."""
        self._loop = asyncio.get_running_loop()
        self._clock_offset = time.time() - time.monotonic()
        self.log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.journal = Journal(self.settings.home)
        await asyncio.to_thread(end_orphans, self.settings.home)
        self._scratch.open()
        self.host_book = Hosts(self.journal, self.settings.home / "hosts", self._rng)
        self.host_book.end_all(self.now())
        self._launcher = Launcher(
            on_started=self._process_started,
            on_failed=self._process_failed,
            on_overran=self._process_overran,
            on_ended=self._process_ended,
            on_lost=self._helper_lost,
        )
        self._launcher.open()
        restore(self)
        self._flush()

    async def close(self) -> None:
        """End attempts as their hosts' end would: SIGTERM, a short grace, SIGKILL. The journal keeps them as lost."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._wakeup is not None:
            self._wakeup.cancel()
        for attempt_id in list(self._running):
            self._launcher.signal(attempt_id, signal.SIGTERM)
        deadline = self._loop.time() + min(_CLOSE_GRACE_SECONDS, self.settings.stop_grace_seconds)
        while self._running and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        await self._launcher.close()
        self.host_book.end_all(self.now())
        self.journal.close()
        self._scratch.close()
        for event in self._watchers:
            event.set()

    def now(self) -> float:
        """UTC epoch seconds that never go back."""
        return time.monotonic() + self._clock_offset

    # ---- the turn ----

    def apply(self, event: ev.Event) -> None:
        """Give one event to the scheduler, and note what it commands. Raises what the scheduler raises."""
        for command in self.scheduler.handle(event, self.now()):
            self._note(command)
        self._schedule_flush()

    def _note(self, command: ev.Command) -> None:
        match command:
            case ev.StartAttempt():
                self._note_start(command)
            case ev.UnitEnded(job_no=job_no, index=index):
                row = (job_no, index, STATUSES.index(command.status), command.status_reason, self.now())
                self.journal.write("INSERT OR REPLACE INTO unit VALUES (?, ?, ?, ?, ?)", row)
            case ev.JobEnded(job_no=job_no):
                self._note_job_ended(job_no, command.status, command.status_reason)
            case ev.StopAttempt(job_no=job_no, index=index):
                self._effects.append(lambda: self._stop((job_no, index), command.status_reason))
            case ev.LaunchHost():
                self._launch_host(command)
            case ev.TerminateHost(host_no=host_no, cause=cause):
                self._effects.append(lambda: self._end_host(host_no, cause.value))
            case ev.AttemptRetried():
                pass  # the ended attempt's row says it

    def _note_job_ended(self, job_no: int, status: JobStatus, reason: str) -> None:
        self.journal.write(
            "UPDATE job SET status = ?, status_reason = ?, ended_at = ?, statuses = ?, attempts = ? WHERE job_no = ?",
            (
                STATUSES.index(status),
                reason,
                self.now(),
                self.scheduler.statuses(job_no),
                self.scheduler.attempts(job_no),
                job_no,
            ),
        )

    def _schedule_flush(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Commit, then act, then tell those who wait."""
        self._flush_is_due = False
        try:
            self.journal.commit()
        except Unavailable as error:
            self._refuse_waiters(error)
            self._loop.call_later(_COMMIT_RETRY_SECONDS, self._schedule_flush)
            return
        effects, self._effects = self._effects, []
        for effect in effects:
            effect()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        for event in self._watchers:
            event.set()
        self._set_wakeup()

    def settle(self) -> None:
        """Before an answer: what was applied is committed, so that no answer tells of what a kill could undo."""
        if self.journal.is_pending:
            self._flush()

    def _refuse_waiters(self, error: Unavailable) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()

    async def _durable(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        self._schedule_flush()
        await waiter

    def _set_wakeup(self) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        when = self.scheduler.next_wakeup
        if when is not None and not self._is_closing:
            self._wakeup = self._loop.call_later(max(0.0, when - self.now()), self._time_passed)

    def _time_passed(self) -> None:
        self._wakeup = None
        self.apply(ev.TimePassed())

    # ---- attempts ----

    def _note_start(self, command: ev.StartAttempt) -> None:
        """The intent goes to disk first; the process starts after the commit."""
        job_no, index, attempt = command.job_no, command.index, command.attempt
        host = self.host_book.alive[command.host_no]
        task = task_id(self.unit_id(job_no, index), attempt)
        self.journal.write(
            "INSERT OR REPLACE INTO attempt (job_no, idx, attempt, task, instance_id, placed_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (job_no, index, attempt, task, host.instance_id, self.now()),
        )
        self._attempt_no += 1
        attempt_id = self._attempt_no
        self._running[attempt_id] = (job_no, index, attempt)
        self._attempt_ids[job_no, index] = attempt_id
        self._effects.append(lambda: self._start(attempt_id, host, task))

    def _start(self, attempt_id: int, host: HostView, task: str) -> None:
        if attempt_id not in self._running or self._is_closing:
            return  # its host went in the same turn
        job_no, index, attempt = self._running[attempt_id]
        container = self._container(job_no)
        entry = image_entry(self.settings.images, container.image)
        argv = command_line(entry, container)
        if not argv:
            self._process_failed(attempt_id, "no command specified")
            return
        size = self.scheduler.jobs[job_no].submitted.size
        unit = Unit(
            job_id=self.unit_id(job_no, index),
            attempt=attempt,
            queue=self.scheduler.jobs[job_no].submitted.queue,
            environment=host.environment,
            array_index=index if size else None,
            array_size=size or None,
        )
        scratch = self._scratch.take(attempt_id)
        log = log_file(self.log_folder, task)
        if not log.parent.is_dir():  # which is quicker than mkdir, and there are 256 of them
            log.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        notice = self.host_book.notice_file(host.instance_id)
        environment = variables(self.settings, entry, container, unit, host, scratch, notice)
        order = Start(
            attempt_id=attempt_id,
            argv=argv,
            environment=environment,
            folder=entry.working_directory or scratch,
            log=log,
            memory_bytes=container.memory_mib * _MIB,
        )
        self._launcher.start(order)

    def _process_started(self, attempt_id: int, pid: int) -> None:  # noqa: ARG002 - the helper signals by id
        unit = self._running.get(attempt_id)
        if unit is None:
            return
        self.journal.write(
            "UPDATE attempt SET started_at = ? WHERE job_no = ? AND idx = ? AND attempt = ?", (self.now(), *unit)
        )
        self.apply(ev.AttemptStarted(job_no=unit[0], index=unit[1], attempt=unit[2]))

    def _process_failed(self, attempt_id: int, why: str) -> None:
        """The command could not be started: the attempt fails as a container's would, and the engine goes on."""
        self.attempt_over(attempt_id, None, f"{CANNOT_START_REASON} {why}", "Task failed to start")

    def _process_overran(self, attempt_id: int, used: int) -> None:  # noqa: ARG002 - AWS does not say how much either
        self._overran.add(attempt_id)

    def _process_ended(self, attempt_id: int, exit_code: int) -> None:
        reason = OUT_OF_MEMORY_REASON if attempt_id in self._overran else ""
        self._overran.discard(attempt_id)
        if self._is_closing and exit_code != 0:
            self._running.pop(attempt_id, None)  # the region stopped it: as lost as with its host, and tried again
            return
        self.attempt_over(attempt_id, exit_code, reason, self._stopping.get(attempt_id, CONTAINER_EXITED))

    def attempt_over(self, attempt_id: int, exit_code: int | None, reason: str, status_reason: str) -> None:
        """Journal the end of an attempt and let the rules decide. News of an attempt that is over does nothing."""
        unit = self._running.pop(attempt_id, None)
        if unit is None:
            return
        job_no, index, attempt = unit
        if self._attempt_ids.get((job_no, index)) == attempt_id:
            del self._attempt_ids[job_no, index]
        self._stopping.pop(attempt_id, None)
        self.write_attempt_end(unit, exit_code, reason, status_reason, self.now())
        left = self._scratch.give_back(attempt_id, is_dead=exit_code is not None)
        if left is not None:
            self._loop.run_in_executor(None, partial(shutil.rmtree, left, ignore_errors=True))
        self.apply(
            ev.AttemptEnded(
                job_no=job_no,
                index=index,
                attempt=attempt,
                exit_code=exit_code,
                reason=reason,
                status_reason=status_reason,
            )
        )

    def write_attempt_end(
        self, unit: tuple[int, int, int], exit_code: int | None, reason: str, status_reason: str, now: float
    ) -> None:
        self.journal.write(
            "UPDATE attempt SET stopped_at = ?, exit_code = ?, reason = ?, status_reason = ? "
            "WHERE job_no = ? AND idx = ? AND attempt = ?",
            (now, exit_code, reason, status_reason, *unit),
        )

    def _stop(self, unit: UnitKey, reason: str) -> None:
        """SIGTERM, the grace, SIGKILL (user guide, "Job timeouts": 30 seconds)."""
        attempt_id = self._attempt_ids.get(unit)
        if attempt_id is None:
            return
        self._stopping[attempt_id] = reason
        self._launcher.signal(attempt_id, signal.SIGTERM)
        self._loop.call_later(self.settings.stop_grace_seconds, self._launcher_kill, attempt_id)

    def _launcher_kill(self, attempt_id: int) -> None:
        if attempt_id in self._running and not self._is_closing:
            self._launcher.signal(attempt_id, signal.SIGKILL)

    def _helper_lost(self) -> None:
        """The helper process was killed: its processes are orphans. They are ended, and their attempts lost."""
        end_orphans(self.settings.home)
        self._launcher.open_again()
        for attempt_id, (job_no, index, _) in list(self._running.items()):
            host = self.scheduler.placed[key_of(job_no, index)]
            assert host is not None  # noqa: S101 - what runs here was placed here
            instance_id = self.host_book.alive[host.host_no].instance_id
            self.attempt_over(attempt_id, None, "", host_terminated(instance_id))

    # ---- hosts ----

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
        for number in numbers:
            self._notice(number, wait)
        await self._durable()
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

    # ---- control plane ----

    async def put_resource(
        self, kind: str, name: str, body: Json, *, rules: ComputeEnvironment | JobQueue | None = None
    ) -> None:
        if isinstance(rules, ComputeEnvironment):
            self.apply(ev.EnvironmentPut(environment=rules))
        elif isinstance(rules, JobQueue):
            self.apply(ev.QueuePut(queue=rules))
        kept = self.resource_rules.get((kind, name)) if rules is None else codec.encode(rules)
        self.remember_resource(kind, name, body, kept)
        row = (kind, name, self.to_json(body), kept)
        self.journal.write("INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?)", row, sync=True)
        await self._durable()

    async def delete_resource(self, kind: str, name: str) -> None:
        if name not in self.resources(kind):
            raise NotFound(f"there is no {kind} {name!r}")
        if name in self.scheduler.queues and kind == "job-queue":
            self.apply(ev.QueueRemoved(name=name))
        elif name in self.scheduler.fleets and kind == "compute-environment":
            self.apply(ev.EnvironmentRemoved(name=name))
        self.forget_resource(kind, name)
        self.journal.write("DELETE FROM resource WHERE kind = ? AND name = ?", (kind, name), sync=True)
        await self._durable()

    # ---- jobs ----

    async def submit(self, submission: Submission) -> None:
        """Take a job. Returns once it is on disk. Raises NotFound or InvalidInput, changing nothing."""
        job_no = self.next_job_no
        rules = replace(submission.rules, job_no=job_no, dependencies=self._resolved(submission))
        self.enter_job(job_no, submission.job_id, submission.created_at)
        try:
            self.apply(rules)
        except Exception:
            self.drop_job(job_no)
            raise
        row = (
            job_no,
            submission.job_id,
            submission.name,
            submission.queue,
            submission.created_at,
            submission.container.log_group,
            codec.encode(rules),
            codec.encode(submission.container),
            self.to_json(submission.described),
        )
        # In front of what the job caused: its own row comes first in the same transaction.
        self.journal.write_first(
            "INSERT INTO job (job_no, id, name, queue, created_at, log_group, rules, container, described) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        await self._durable()

    def _resolved(self, submission: Submission) -> tuple[ev.ResolvedDependency, ...]:
        found = []
        for dependency, job_id in zip(submission.rules.dependencies, submission.depends_on_ids, strict=True):
            if job_id:
                job_no, index = self.locate(job_id)
                found.append(replace(dependency, job_no=job_no, index=index))
            else:
                found.append(dependency)
        return tuple(found)

    async def cancel(self, job_id: str, reason: str) -> None:
        job_no, index = self.locate(job_id)
        self._mark_stop(job_no, index, "cancelled")
        self.apply(ev.JobCancelled(job_no=job_no, index=index, reason=reason))
        await self._durable()

    async def terminate(self, job_id: str, reason: str) -> None:
        job_no, index = self.locate(job_id)
        self._mark_stop(job_no, index, "terminated")
        self.apply(ev.JobTerminated(job_no=job_no, index=index, reason=reason))
        await self._durable()

    def _mark_stop(self, job_no: int, index: int | None, kind: str) -> None:
        """Only a job that has not ended can be stopped: a late call changes nothing (API reference, TerminateJob)."""
        status = self.scheduler.status(job_no, index)
        if status.is_terminal or (kind == "cancelled" and not status.is_cancellable):
            return
        self.stops[job_no, index] = kind
        row = (job_no, -1 if index is None else index, kind)
        self.journal.write("INSERT OR REPLACE INTO stop VALUES (?, ?, ?)", row, sync=True)

    def _read_container(self, job_no: int) -> ContainerSpec:
        found = self.journal.row("SELECT container FROM job WHERE job_no = ?", (job_no,))
        assert found is not None  # noqa: S101 - a job's row is committed before its first attempt
        return codec.decode(ContainerSpec, found[0])

    # ---- live views ----

    async def changes(self) -> AsyncIterator[None]:
        """Yields whenever something changed; bursts are merged. Ends when the engine closes."""
        event = asyncio.Event()
        self._watchers.add(event)
        try:
            while not self._is_closing:
                await event.wait()
                event.clear()
                yield None
        finally:
            self._watchers.discard(event)

    def view(self, job_id: str) -> UnitView:
        self.settle()
        return super().view(job_id)

    def hosts(self) -> Sequence[HostView]:
        """The living and the past, in the order of their launch."""
        self.settle()
        running = {number: len(self.scheduler.host_units(number)) for number in self.scheduler.hosts}
        return self.host_book.all(running)

    def _later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            if not self._is_closing:
                call(*arguments)

        self._loop.call_later(seconds, run)
