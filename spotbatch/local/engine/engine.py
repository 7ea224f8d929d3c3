"""The local region's engine: its assembled parts, and the interface that the endpoint uses."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final

from spotbatch.batch.job import Vcpus
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler.state import UNLIMITED
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import EngineSettings, JobFilter, JobPlace, Json, Rules, Submission, UnitView
from spotbatch.local.engine.attempts import Attempts
from spotbatch.local.engine.change_log import ChangeLog
from spotbatch.local.engine.clock import Clock
from spotbatch.local.engine.container_runner import ContainerRunner
from spotbatch.local.engine.control_plane import ControlPlane
from spotbatch.local.engine.group_commit import GroupCommit
from spotbatch.local.engine.host_lifecycle import HostLifecycle
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.job_control import JobControl
from spotbatch.local.engine.job_views import JobViews
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.leaked_processes import end_orphans
from spotbatch.local.engine.log_streams import LogStreams
from spotbatch.local.engine.process_runner import ProcessRunner
from spotbatch.local.engine.restore import Restore
from spotbatch.local.engine.retention import Retention
from spotbatch.local.engine.scratch import Scratch
from spotbatch.local.host_view import HostView

_CLOSE_GRACE_SECONDS: Final = 5.0


class LocalEngine:
    """Implements `spotbatch.local.contract.Engine`; created by `open_engine`.

    This is where parts are wired together, without any rules: `GroupCommit` drives the scheduler, `JobControl` and
    `ControlPlane` accept callers' requests, `HostLifecycle` and `Attempts` carry out the scheduler's commands,
    `JobViews` and `LogStreams` answer. What is answered from the journal is committed first (`settle`).
    """

    def __init__(self, settings: EngineSettings, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal
        skew, utc = settings.faults.clock_skew_seconds, settings.utc
        clock, log_folder = Clock(utc=(lambda: utc() + skew) if skew else utc), settings.home / "logs"
        rng = random.Random(settings.seed or None)  # noqa: S311 - ids of simulated hosts
        self._scheduler = scheduler = Scheduler(quota_vcpus=settings.vcpu_quota)
        self._clock = clock
        self._hosts = hosts = Hosts(journal, settings.home / "hosts", rng)
        self._book = book = JobBook(journal=journal, scheduler=scheduler, clock=clock)
        change_log = ChangeLog(
            settings.observers,
            scheduler,
            is_observed=settings.is_observed,
            job_id_of=book.job_id,
            instance_id_of=hosts.instance_id_of,
        )
        self._commit = commit = GroupCommit(journal=journal, scheduler=scheduler, clock=clock, change_log=change_log)
        self._control_plane = ControlPlane(settings=settings, commit=commit, scheduler=scheduler)
        self._jobs = JobControl(commit=commit, scheduler=scheduler, book=book, control_plane=self._control_plane)
        self._scratch = Scratch(settings.home / "scratch")
        make_processes = partial(
            ProcessRunner,
            settings=settings,
            log_folder=log_folder,
            commit=commit,
            scheduler=scheduler,
            book=book,
            hosts=hosts,
            scratch=self._scratch,
        )
        self._attempts = Attempts(
            settings=settings,
            commit=commit,
            book=book,
            hosts=hosts,
            make_runner=lambda news: ContainerRunner(
                settings=settings,
                commit=commit,
                book=book,
                hosts=hosts,
                make_processes=lambda ours: make_processes(news=ours),
                news=news,
            ),
        )
        self._host_lifecycle = HostLifecycle(
            settings=settings,
            commit=commit,
            scheduler=scheduler,
            hosts=hosts,
            attempts=self._attempts,
            documents=self._control_plane.documents,
        )
        self._views = JobViews(journal=journal, scheduler=scheduler, book=book)
        self._streams = LogStreams(journal=journal, book=book, folder=log_folder)
        self._restore = Restore(
            journal=journal,
            commit=commit,
            scheduler=scheduler,
            book=book,
            control_plane=self._control_plane,
            attempts=self._attempts,
        )
        self._retention = Retention(
            commit=commit, book=book, log_folder=log_folder, keep_seconds=settings.keep_jobs_seconds
        )
        log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    # ---- open and close ----

    async def open(self) -> None:
        """Load the journal. Raises Unavailable."""
        await asyncio.to_thread(end_orphans, self._settings.home)
        self._scratch.open()
        await self._attempts.open()
        self._hosts.end_all(self._clock.now())
        self._restore.run()
        self._commit.flush()
        self._commit.settle()
        self._retention.begin()

    async def close(self) -> None:
        """End attempts as their hosts' end would: SIGTERM, a short grace, SIGKILL. The journal has them as lost."""
        if self._commit.is_closing:
            return
        self._commit.begin_to_close()
        self._attempts.ask_all_to_stop()
        await self._retention.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(_CLOSE_GRACE_SECONDS, self._settings.stop_grace_seconds)
        while self._attempts.is_any_running and loop.time() < deadline:
            await asyncio.sleep(0.02)
        await self._attempts.close()
        await asyncio.to_thread(end_orphans, self._settings.home)
        await self._commit.close()
        self._hosts.end_all(self._clock.now())
        try:
            self._journal.close()
        finally:
            self._scratch.close()

    async def failed(self) -> None:
        """Waits until the engine cannot continue, then raises Unavailable with the reason."""
        await self._commit.failed()

    def changes(self) -> AsyncIterator[None]:
        """Yields whenever something has changed; bursts are merged. Ends when the engine closes."""
        return self._commit.changes()

    # ---- control plane ----

    def resources(self, kind: str) -> Mapping[str, Json]:
        """All documents of a kind, by name."""
        return self._control_plane.documents(kind)

    async def put_resource(self, kind: str, name: str, body: Json, *, rules: Rules | None = None) -> None:
        """Store a document. Returns once it is on disk. Raises Unavailable or InvalidInput, changing nothing."""
        await self._control_plane.put(kind, name, body, rules=rules)

    async def delete_resource(self, kind: str, name: str) -> None:
        """Delete a document. Raises NotFound, or Unavailable, changing nothing."""
        await self._control_plane.delete(kind, name)

    # ---- jobs ----

    async def submit(self, submission: Submission) -> None:
        """Accept a job. Returns once it is on disk. Raises NotFound, InvalidInput or Unavailable, changing nothing."""
        await self._jobs.submit(submission)

    async def cancel(self, job_id: str, reason: str) -> None:
        """Cancel what has not started. Returns once that is on disk. Raises NotFound or Unavailable."""
        await self._jobs.cancel(job_id, reason)

    async def terminate(self, job_id: str, reason: str) -> None:
        """Stop it whatever its status. Returns once that is on disk. Raises NotFound or Unavailable."""
        await self._jobs.terminate(job_id, reason)

    def described(self, job_id: str) -> Json:
        """The constant part of DescribeJobs' answer; a child's is its parent's."""
        self._commit.settle()
        return self._book.described(self._book.locate(job_id)[0])

    def view(self, job_id: str) -> UnitView:
        """The changing part of a job, a parent or a child. Raises NotFound."""
        self._commit.settle()
        return self._views.view(job_id)

    def still_holds(self, job_id: str, view: UnitView) -> bool:
        """Whether an earlier view of a job that had not ended would still be the same. Raises NotFound."""
        return self._views.still_holds(job_id, view)

    def list_jobs(
        self, *, queue: str | None = None, array_job_id: str | None = None, status: JobStatus | None = None
    ) -> Sequence[str]:
        """Job ids, newest first; children by index. Raises NotFound for an unknown array."""
        self._commit.settle()
        return self._views.list_jobs(queue=queue, array_job_id=array_job_id, status=status)

    def find_jobs(
        self,
        *,
        queue: str,
        status: JobStatus | None = None,
        where: JobFilter | None = None,
        after: JobPlace | None = None,
        limit: int,
    ) -> Sequence[str]:
        """Ids of a queue's jobs, newest first, after a given position; at most `limit`."""
        self._commit.settle()
        return self._views.find_jobs(queue=queue, status=status, where=where, after=after, limit=limit)

    def front_of_queue(self, queue: str, *, limit: int = 100) -> Sequence[tuple[str, float]]:
        """(id, since when) of the first RUNNABLE jobs of a queue, in dispatch order."""
        return self._views.front_of_queue(queue, limit=limit)

    def queue_usage(self, queue: str) -> tuple[Vcpus, Mapping[str, Vcpus]]:
        """The vCPUs currently used by a queue's jobs, in total and per share."""
        return self._views.queue_usage(queue)

    def environment_vcpus(self, name: str) -> Vcpus:
        """The vCPUs of a compute environment's hosts, from their launch to their end."""
        return self._views.environment_vcpus(name)

    def consumable_in_use(self, name: str) -> int:
        """How much of a consumable resource jobs hold or have used up; 0 if it does not exist."""
        found = self._scheduler.consumable(name)
        return 0 if found is None else found[1]

    def jobs_consuming(self, name: str) -> Sequence[str]:
        """Ids of the jobs that need some of a consumable resource, newest first, whatever their status."""
        self._commit.settle()
        return self._views.jobs_consuming(name)

    def jobs_in_memory(self) -> int:
        """How many jobs are in memory: those that have not ended, and some of those that have."""
        return self._book.jobs_in_memory()

    async def forget_ended_jobs(self) -> int:
        """Forget the ended jobs whose time has come now rather than soon; returns how many. Raises Unavailable."""
        return await self._retention.forget_due()

    def jobs_forgotten(self) -> int:
        """How many ended jobs have been forgotten since the start: a kept answer about one of them no longer holds."""
        return self._retention.forgotten

    # ---- logs ----

    def job_of_stream(self, log_stream: str) -> str | None:
        """The job or child that wrote a log stream."""
        return self._streams.job_of(log_stream)

    def log_streams(self, log_group: str, prefix: str = "") -> Mapping[str, float]:
        """The streams of a group with a given prefix, and when each began, ordered by their attempts' ends.

        Those still running come last.
        """
        self._commit.settle()
        return self._streams.of_group(log_group, prefix)

    def read_log(
        self, log_stream: str, *, offset: int = 0, limit: int = 10_000
    ) -> tuple[Sequence[tuple[float, str]], int]:
        """(time, line) pairs from a byte offset on, and the offset after them. Raises NotFound."""
        self._commit.settle()
        return self._streams.read(log_stream, offset=offset, limit=limit)

    def read_log_back(
        self, log_stream: str, *, stop: int | None = None, limit: int = 10_000
    ) -> tuple[int, Sequence[tuple[float, str]], int]:
        """The last lines before a byte offset or the end, with their start and end offsets. Raises NotFound."""
        self._commit.settle()
        return self._streams.read_back(log_stream, stop=stop, limit=limit)

    # ---- hosts ----

    def hosts(self) -> Sequence[HostView]:
        """Current and past hosts, in launch order."""
        self._commit.settle()
        return self._host_lifecycle.views()

    def living_hosts(self) -> Sequence[HostView]:
        """Current hosts, in launch order."""
        self._commit.settle()
        return self._host_lifecycle.living()

    def vcpus(self) -> tuple[Vcpus, int | None]:
        """vCPUs of all hosts that were launched and have not ended, and their limit (None: no limit)."""
        state = self._scheduler.state
        return state.launched_vcpus, None if state.quota_vcpus == UNLIMITED else state.quota_vcpus

    async def interrupt(
        self, *, instance_ids: Sequence[str] = (), count: int = 0, notice_seconds: float | None = None
    ) -> Sequence[str]:
        """Send hosts the notice, then reclaim them. Raises NotFound, or InvalidInput for an on-demand host."""
        return await self._host_lifecycle.interrupt(
            instance_ids=instance_ids, count=count, notice_seconds=notice_seconds
        )
