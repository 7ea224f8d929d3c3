"""Attempts as processes: turns a placed attempt into a process group of the launcher, and reports its news."""

import asyncio
import shutil
import signal
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.status import CANNOT_START_REASON, NOT_STARTED
from spotbatch.local.contract import ContainerSpec, EngineSettings
from spotbatch.local.engine.container import Place, Unit, command_line, image_entry, own_variables, shared_variables
from spotbatch.local.engine.group_commit import GroupCommit
from spotbatch.local.engine.helper_link import MOST_PLANS, Calls, Plan, Start
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.launcher import Launcher
from spotbatch.local.engine.leaked_processes import end_orphans
from spotbatch.local.engine.logs import log_file
from spotbatch.local.engine.running_attempt import AttemptNews, RunningAttempt
from spotbatch.local.engine.scratch import Scratch
from spotbatch.local.engine.secrets import MissingSecret, fetched
from spotbatch.local.engine.snapshot_agent import SnapshotAgent, wants_snapshots
from spotbatch.local.host_view import HostView

_MIB: Final = 1 << 20


class ProcessRunner:
    """A `Runner` whose attempts are process sessions on this machine."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        log_folder: Path,
        commit: GroupCommit,
        scheduler: Scheduler,
        book: JobBook,
        hosts: Hosts,
        scratch: Scratch,
        news: AttemptNews,
    ) -> None:
        self._settings = settings
        self._log_folder = log_folder
        self._scheduler = scheduler
        self._book = book
        self._hosts = hosts
        self._scratch = scratch
        self._news = news
        self._snapshots = SnapshotAgent(settings.home)
        self._loop = asyncio.get_running_loop()
        self._plan_no = 0
        self._plan = lru_cache(maxsize=MOST_PLANS)(self._make_plan)
        calls = Calls(
            on_started=lambda attempt_id, _pid: news.started(attempt_id),  # the helper signals by our id
            on_failed=news.failed,
            on_overran=lambda attempt_id, _used: news.overran(attempt_id),  # AWS does not say how large it is either
            on_ended=news.ended,
            on_lost=self._helper_lost,
            news_begins=commit.news_begins,
            news_ends=commit.news_ends,
        )
        self._launcher = Launcher(calls)

    async def open(self) -> None:
        """Get ready to start processes."""
        self._launcher.open()

    async def close(self) -> None:
        """End every remaining process group."""
        await self._launcher.close()
        await asyncio.to_thread(self._snapshots.close)

    def start(self, attempt: RunningAttempt) -> None:
        """Start the job's command. Raises OSError if there is no room for its folder, Unavailable as the journal."""
        container = self._book.container(attempt.job_no)
        secrets = fetched(self._settings.secret_of, container.secrets)
        if isinstance(secrets, MissingSecret):
            self._news.over(attempt.attempt_id, None, secrets.reason, NOT_STARTED)
            return
        plan, folder = self._plan(attempt.job_no, attempt.host)
        if not plan.argv:
            self._news.over(attempt.attempt_id, None, f"{CANNOT_START_REASON} no command specified", NOT_STARTED)
            return
        scratch = self._scratch.take(attempt.attempt_id)
        unit = self.unit_of(attempt)
        if wants_snapshots(plan.environment) and self._snapshots.offer(self._hosts.notice_folder(attempt.host)):
            own = own_variables(unit, str(self._snapshots.root), plan.environment) | secrets
            argv = self._snapshots.command_line(plan.argv, folder)
            plan = self._new_plan(argv, plan.environment, plan.memory_bytes)
            self._order(attempt, plan, own | self._snapshots.variables(), scratch)
            return
        own = own_variables(unit, scratch, plan.environment) | secrets
        self._order(attempt, plan, own, folder or scratch)

    def start_command(
        self, attempt: RunningAttempt, argv: Sequence[str], environment: Mapping[str, str], memory_bytes: int
    ) -> None:
        """Start another command in place of the attempt's, in the region's own folder."""
        self._order(attempt, self._new_plan(argv, environment, memory_bytes), {}, str(self._settings.home))

    def signal(self, attempt_id: int, number: signal.Signals) -> None:
        """Signal an attempt: its first process, or with SIGKILL its whole group; has no effect if it has ended."""
        self._launcher.signal(attempt_id, number)

    def release(self, attempt_id: int, *, is_dead: bool) -> None:
        """An attempt is over: its folder may be removed once its processes have ended."""
        left = self._scratch.give_back(attempt_id, is_dead=is_dead)
        if left is not None:
            self._loop.run_in_executor(None, partial(shutil.rmtree, left, ignore_errors=True))

    def unit_of(self, attempt: RunningAttempt) -> Unit:
        """What AWS Batch tells the attempt about itself."""
        is_child = self._scheduler.array_size(attempt.job_no) > 0
        return Unit(
            job_id=self._book.unit_id(attempt.job_no, attempt.index),
            attempt=attempt.attempt,
            array_index=attempt.index if is_child else None,
        )

    def place_of(self, job_no: int) -> Place:
        """What AWS Batch tells all attempts of a job."""
        submitted = self._scheduler.submitted(job_no)
        return Place(queue=submitted.queue, array_size=submitted.size)

    def _order(self, attempt: RunningAttempt, plan: Plan, own: Mapping[str, str], folder: str) -> None:
        self._launcher.start(
            Start(
                attempt_id=attempt.attempt_id,
                plan=plan,
                own_environment=own,
                folder=folder,
                log=log_file(self._log_folder, attempt.task),
            )
        )

    def _make_plan(self, job_no: int, host: HostView) -> tuple[Plan, str | None]:
        """What a job's attempts on one host have in common, and the folder set by its image's entry."""
        container: ContainerSpec = self._book.container(job_no)
        entry = image_entry(self._settings.images, container.image)
        on_host = self._hosts.on_host(host, self._settings.metadata_url)
        shared = shared_variables(self._settings, entry, container, self.place_of(job_no), on_host)
        plan = self._new_plan(command_line(entry, container), shared, container.memory_mib * _MIB)
        return plan, str(entry.working_directory) if entry.working_directory else None

    def _new_plan(self, argv: Sequence[str], environment: Mapping[str, str], memory_bytes: int) -> Plan:
        self._plan_no += 1
        return Plan(number=self._plan_no, argv=argv, environment=environment, memory_bytes=memory_bytes)

    def _helper_lost(self) -> None:
        """The helper process was killed: its processes are orphans. They are ended, and their attempts are lost."""
        end_orphans(self._settings.home)
        self._launcher.open_again()
        self._news.lost()
