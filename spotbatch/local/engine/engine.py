"""The local region's engine: the scheduler driven by a real clock, its journal, its hosts and its processes."""

import asyncio
import signal
from dataclasses import replace
from typing import Final

from spotbatch.batch import events as ev
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.local.contract import EngineSettings, Json, Submission
from spotbatch.local.engine import codec
from spotbatch.local.engine.hosting import Hosting
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.orphans import end_orphans
from spotbatch.local.engine.restoring import restore

_CLOSE_GRACE_SECONDS: Final = 5.0


class LocalEngine(Hosting):
    """Implements `spotbatch.local.contract.Engine`; made by `open_engine`."""

    def __init__(self, settings: EngineSettings) -> None:
        if settings.runner == "docker":
            raise Unavailable("--runner docker is not there yet: use process, and an image table (--images)")
        if settings.trace_file is not None:
            raise InvalidInput("--trace-file is not there yet: use --reclaims-per-host-hour with a --seed")
        super().__init__(settings)

    # ---- open and close ----

    async def open(self) -> None:
        """Open the journal and take up what it holds. Raises Unavailable."""
        self.log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.journal = Journal(self.settings.home)
        await asyncio.to_thread(end_orphans, self.settings.home)
        self._scratch.open()
        self.host_book = Hosts(self.journal, self.settings.home / "hosts", self._rng)
        self.host_book.end_all(self.now())
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
