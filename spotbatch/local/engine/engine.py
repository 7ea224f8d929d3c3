"""The local region's engine: the scheduler driven by a real clock, its journal, its hosts and its processes."""

import asyncio
import signal
from dataclasses import replace
from typing import Final

from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.scheduler import events as ev
from spotbatch.local.contract import EngineSettings, Json, Submission
from spotbatch.local.engine import codec
from spotbatch.local.engine.disk import Disk
from spotbatch.local.engine.group_commit import say
from spotbatch.local.engine.hosting import Hosting
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.journal import Journal, Statement
from spotbatch.local.engine.leaked_processes import end_orphans
from spotbatch.local.engine.machine_quota import MachineQuota
from spotbatch.local.engine.packing import JobTexts, definition_of, pack
from spotbatch.local.engine.restoring import ENVIRONMENT, QUEUE, restore

_CLOSE_GRACE_SECONDS: Final = 5.0
_PUT_RESOURCE: Final = "INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?)"
_DELETE_RESOURCE: Final = "DELETE FROM resource WHERE kind = ? AND name = ?"
_INSERT_JOB: Final = (
    "INSERT INTO job (job_no, id, name, queue, created_at, log_group, definition, share, packed) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class LocalEngine(Hosting):
    """Implements `spotbatch.local.contract.Engine`; made by `open_engine`."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        is_ours = settings.is_quota_of_machine and settings.vcpu_quota is not None
        self._machine_quota = MachineQuota(settings.vcpu_quota or 0, self.environments_of) if is_ours else None

    # ---- open and close ----

    async def open(self) -> None:
        """Open the journal and take up what it holds. Raises Unavailable."""
        self.log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.journal = Journal(self.settings.home)
        self.disk = Disk(self.journal, on_failed=self._commit_failed)
        await asyncio.to_thread(end_orphans, self.settings.home)
        await self.open_containers()
        self._scratch.open()
        self.host_book = Hosts(self.journal, self.settings.home / "hosts", self._rng)
        self.host_book.end_all(self.now())
        self._launcher.open()
        restore(self)
        self._flush()
        self.settle()

    async def close(self) -> None:
        """End attempts as their hosts' end would: SIGTERM, a short grace, SIGKILL. The journal keeps them as lost."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._wakeup is not None:
            self._wakeup.cancel()
        for attempt_id in list(self._running):
            self._signal(attempt_id, signal.SIGTERM)
        deadline = self._loop.time() + min(_CLOSE_GRACE_SECONDS, self.settings.stop_grace_seconds)
        while self._running and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        await self._launcher.close()
        await self._leak_sweep.close()
        await asyncio.to_thread(end_orphans, self.settings.home)
        await self.close_containers()
        await self.disk.close()
        self.host_book.end_all(self.now())
        for event in self._watchers:
            event.set()
        try:
            self.journal.close()
        finally:
            self._scratch.close()

    # ---- control plane ----

    async def put_resource(
        self, kind: str, name: str, body: Json, *, rules: ComputeEnvironment | JobQueue | None = None
    ) -> None:
        """Keep a document. Returns once it is on disk. Raises Unavailable or InvalidInput, changing nothing."""
        before = self.resource_row(kind, name)
        kept = self.resource_rules.get((kind, name)) if rules is None else codec.encode(rules)
        self.remember_resource(kind, name, body, kept)  # at once: two callers must not both create it
        try:
            await self.accept((_PUT_RESOURCE, (kind, name, self.to_json(body), kept)), then=lambda: self._tell(rules))
        except SpotbatchError as error:
            self._take_back(kind, name, before, is_written=not isinstance(error, Unavailable))
            raise

    def environments_of(self, queue: str) -> list[ComputeEnvironment]:
        """A queue's environments as the documents have them, known to the scheduler or not yet."""
        rules = self.resource_rules.get((QUEUE, queue))
        names = () if rules is None else codec.decode(JobQueue, rules).environments
        kept = (self.resource_rules.get((ENVIRONMENT, name)) for name in names)
        return [codec.decode(ComputeEnvironment, one) for one in kept if one is not None]

    def widen_quota(self, rules: ev.JobSubmitted) -> None:
        """A quota that nobody asked for keeps no job from running."""
        if self._machine_quota is not None and self._machine_quota.takes(rules.queue, rules.requirements):
            self.scheduler.set_quota(self._machine_quota.vcpus)
            say(f"hosts have {self._machine_quota.vcpus} vCPUs together from now on: a job fits on no smaller host")

    def _environments_changed(self) -> None:
        if self._machine_quota is not None:
            self._machine_quota.environments_changed()
            for job_no in self.scheduler.job_numbers():
                if not self.scheduler.status(job_no).is_terminal:
                    self.widen_quota(self.scheduler.submitted(job_no))

    def _tell(self, rules: ComputeEnvironment | JobQueue | None) -> None:
        if rules is not None:
            self._environments_changed()
        if isinstance(rules, ComputeEnvironment):
            self.apply(ev.EnvironmentPut(environment=rules))
        elif isinstance(rules, JobQueue):
            self.apply(ev.QueuePut(queue=rules))

    def _take_back(self, kind: str, name: str, before: tuple[Json, str | None] | None, *, is_written: bool) -> None:
        if before is None:
            self.forget_resource(kind, name)
            statement: Statement = (_DELETE_RESOURCE, (kind, name))
        else:
            self.remember_resource(kind, name, *before)
            statement = (_PUT_RESOURCE, (kind, name, self.to_json(before[0]), before[1]))
        if is_written:
            self.journal.write(*statement)
            self._schedule_flush()

    async def delete_resource(self, kind: str, name: str) -> None:
        """Forget a document. Raises NotFound, or Unavailable, changing nothing."""
        if name not in self.resources(kind):
            raise NotFound(f"there is no {kind} {name!r}")
        await self.accept((_DELETE_RESOURCE, (kind, name)), then=lambda: self._delete(kind, name))

    def _delete(self, kind: str, name: str) -> None:
        if name not in self.resources(kind):
            return  # another caller was quicker
        self.forget_resource(kind, name)
        if self.scheduler.has_queue(name) and kind == QUEUE:
            self.apply(ev.QueueRemoved(name=name))
        elif self.scheduler.environment(name) is not None and kind == ENVIRONMENT:
            self.apply(ev.EnvironmentRemoved(name=name))

    # ---- jobs ----

    async def submit(self, submission: Submission) -> None:
        """Take a job. Returns once it is on disk. Raises NotFound, InvalidInput or Unavailable, changing nothing."""
        if not self.scheduler.has_queue(submission.queue):
            raise NotFound(f"there is no job queue {submission.queue!r} to take job {submission.job_id}")
        job_no = self.new_job_no()
        rules = replace(submission.rules, job_no=job_no, dependencies=self._resolved(submission))
        texts = JobTexts(
            rules=codec.encode(rules),
            container=codec.encode(submission.container),
            described=self.to_json(submission.described),
        )
        row = (
            job_no,
            submission.job_id,
            submission.name,
            submission.queue,
            submission.created_at,
            submission.container.log_group,
            definition_of(str(submission.described.get("jobDefinition", ""))),
            rules.share,
            pack(texts),
        )
        await self.accept((_INSERT_JOB, row), then=lambda: self._take(rules, submission))

    def _take(self, rules: ev.JobSubmitted, submission: Submission) -> None:
        for dependency in rules.dependencies:
            if dependency.job_no is not None:
                self.recall(dependency.job_no)  # it may have been put away since it was looked up
        self.enter_job(rules.job_no, submission.job_id, submission.created_at)
        self.widen_quota(rules)
        try:
            self.apply(rules)
        except SpotbatchError:
            self.drop_job(rules.job_no)
            self.journal.write("DELETE FROM job WHERE job_no = ?", (rules.job_no,))
            self._schedule_flush()
            raise

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
        """Cancel what has not started. Returns once that is on disk. Raises NotFound or Unavailable."""
        job_no, index = self.locate(job_id)
        await self._stop_job("cancelled", ev.JobCancelled(job_no=job_no, index=index, reason=reason))

    async def terminate(self, job_id: str, reason: str) -> None:
        """Stop it wherever it stands. Returns once that is on disk. Raises NotFound or Unavailable."""
        job_no, index = self.locate(job_id)
        await self._stop_job("terminated", ev.JobTerminated(job_no=job_no, index=index, reason=reason))

    async def _stop_job(self, kind: str, event: ev.JobCancelled | ev.JobTerminated) -> None:
        """Only a job that has not ended can be stopped: a late call changes nothing (API reference, TerminateJob)."""
        if not self._can_stop(kind, event):
            self.settle()
            return
        unit = (event.job_no, -1 if event.index is None else event.index)

        def stop() -> None:
            if self._can_stop(kind, event):  # still: the disk took its time
                self.stops[event.job_no, event.index] = kind
                self.apply(event)
            elif (event.job_no, event.index) not in self.stops:
                self.journal.write("DELETE FROM stop WHERE job_no = ? AND idx = ?", unit)
                self._schedule_flush()

        row = (*unit, kind, event.reason)
        await self.accept(("INSERT OR REPLACE INTO stop VALUES (?, ?, ?, ?)", row), then=stop)

    def _can_stop(self, kind: str, event: ev.JobCancelled | ev.JobTerminated) -> bool:
        status = self.scheduler.status(event.job_no, event.index)
        return not status.is_terminal if kind == "terminated" else status.is_cancellable
