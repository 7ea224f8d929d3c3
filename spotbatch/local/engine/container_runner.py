"""Attempts in containers: if a Docker engine answers and has the image, `docker run` is the attempt's process."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any, Final

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.status import CANNOT_PULL_REASON, CANNOT_START_REASON, NOT_STARTED
from spotbatch.local.contract import EngineSettings
from spotbatch.local.engine.container import in_container
from spotbatch.local.engine.docker import REGION_LABEL, Docker, HowItEnded, Mount, run_command
from spotbatch.local.engine.group_commit import GroupCommit, say
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.leaked_processes import cookie_of
from spotbatch.local.engine.process_runner import ProcessRunner
from spotbatch.local.engine.running_attempt import AttemptNews, RunningAttempt
from spotbatch.local.engine.secrets import MissingSecret, fetched

_NO_LIMIT_OF_OURS: Final = 1 << 60  # the engine's control group limits the container's memory
_TELLING_CODES: Final = (125, 126, 127, 137)  # Docker's own failure, or its engine killed the container
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 30.0
_MARK_NAME: Final = "containers"

MakeProcesses = Callable[[AttemptNews], ProcessRunner]


class ContainerRunner:
    """A `Runner` between the bookkeeping and a `ProcessRunner`, whose news passes through here.

    Without an engine, or without the image under `auto`, a process is run. If containers are not requested, it only
    removes those that an earlier start left behind.
    """

    def __init__(
        self,
        *,
        settings: EngineSettings,
        commit: GroupCommit,
        book: JobBook,
        hosts: Hosts,
        make_processes: MakeProcesses,
        news: AttemptNews,
    ) -> None:
        self._settings = settings
        self._commit = commit
        self._book = book
        self._hosts = hosts
        self._news = news
        self._processes = make_processes(self)
        self._loop = asyncio.get_running_loop()
        self._docker: Docker | None = None
        self._mark = settings.home / _MARK_NAME  # exists while there may be containers of this region
        self._attempts: dict[int, RunningAttempt] = {}  # those that may be told to stop, until they are over
        self._names: dict[int, str] = {}  # attempt id -> its container's name
        self._orders: set[asyncio.Task[None]] = set()

    # ---- a Runner to the books ----

    async def open(self) -> None:
        """Look for the engine, and remove what a killed region left in it. Raises Unavailable for --runner docker."""
        await self._find_engine()
        await self._processes.open()

    async def _find_engine(self) -> None:
        is_wanted = self._settings.runner != "process"
        if not is_wanted and not self._mark.exists():
            return
        try:
            docker = await asyncio.to_thread(Docker.find, self._settings.home)
        except Unavailable as error:
            if self._settings.runner == "docker":
                raise
            if is_wanted:
                say(f"jobs run as processes: {error}")
            if self._mark.exists():
                self._say_what_is_left(str(error).rpartition(": ")[0])  # the remedy is different here
            return
        if is_wanted:
            self._docker = docker
            with contextlib.suppress(OSError):  # full disk: the journal will report it
                self._mark.touch()
        await self._remove_all(docker)

    async def close(self) -> None:
        """Remove what still runs when the region ends."""
        await self._processes.close()
        if self._docker is not None:
            await asyncio.gather(*self._orders, return_exceptions=True)
            await self._remove_all(self._docker, is_end=True)

    async def _remove_all(self, docker: Docker, *, is_end: bool = False) -> None:
        if not await asyncio.to_thread(docker.remove_all):
            self._say_what_is_left("its engine did not remove them all")
        elif is_end or self._docker is None:
            self._mark.unlink(missing_ok=True)

    def _say_what_is_left(self, why: str) -> None:
        mine = f"docker ps --all --quiet --filter label={REGION_LABEL}={cookie_of(self._settings.home)}"
        say(f"containers of an earlier start may still run: {why}; end them with: docker rm --force $({mine})")

    def start(self, attempt: RunningAttempt) -> None:
        if self._docker is None:
            self._processes.start(attempt)
        else:
            self._attempts[attempt.attempt_id] = attempt
            image = self._book.container(attempt.job_no).image
            self._in_background(self._start_container(self._docker, image, attempt))

    async def _start_container(self, docker: Docker, image: str, attempt: RunningAttempt) -> None:
        is_there = await asyncio.to_thread(docker.has_image, image)
        if attempt.attempt_id not in self._attempts or self._commit.is_closing:
            return
        try:
            if is_there:
                self._run_container(docker, attempt)
            elif self._settings.runner == "docker":
                why = f"{CANNOT_PULL_REASON} Docker has no image {image} here, and none is pulled: docker pull {image}"
                self._news.over(attempt.attempt_id, None, why, NOT_STARTED)
            else:
                self._processes.start(attempt)
        except (OSError, Unavailable) as error:
            self.failed(attempt.attempt_id, str(error))

    def _run_container(self, docker: Docker, attempt: RunningAttempt) -> None:
        container, name = self._book.container(attempt.job_no), docker.name_of(attempt.task)
        secrets = fetched(self._settings.secret_of, container.secrets)
        if isinstance(secrets, MissingSecret):
            self._news.over(attempt.attempt_id, None, secrets.reason, NOT_STARTED)
            return
        on_host = self._hosts.on_host(attempt.host, self._settings.metadata_url)
        asked: Any = self._book.described(attempt.job_no).get("container")
        place, unit = self._processes.place_of(attempt.job_no), self._processes.unit_of(attempt)
        command, environment = run_command(
            docker,
            name=name,
            job_id=unit.job_id,
            container=container,
            asked=asked if isinstance(asked, dict) else {},
            variables={**in_container(self._settings, container, place, unit, on_host), **secrets},
            mounts=[
                Mount(folder=on_host.notice.parent, is_read_only=True),
                Mount(folder=self._settings.artifacts, is_read_only=False),
            ],
        )
        self._names[attempt.attempt_id] = name
        self._processes.start_command(attempt, command, environment, _NO_LIMIT_OF_OURS)

    def signal(self, attempt_id: int, number: signal.Signals) -> None:
        """`docker run` forwards SIGTERM to its container; SIGKILL would end only itself."""
        name = self._names.get(attempt_id)
        if number is signal.SIGKILL and name is not None and self._docker is not None:
            self._in_background(self._remove_until_ended(self._docker, attempt_id, name))
        else:
            self._processes.signal(attempt_id, number)

    async def _remove_until_ended(self, docker: Docker, attempt_id: int, name: str) -> None:
        """Repeat while `docker run` lives: it may be about to create the container that was not there to remove."""
        wait_seconds = _FIRST_WAIT_SECONDS
        while attempt_id in self._names and not self._commit.is_closing and wait_seconds < _LONGEST_WAIT_SECONDS:
            await asyncio.to_thread(docker.remove, [name])
            await asyncio.sleep(wait_seconds)
            wait_seconds *= 2

    def release(self, attempt_id: int, *, is_dead: bool) -> None:
        self._attempts.pop(attempt_id, None)
        self._processes.release(attempt_id, is_dead=is_dead)

    # ---- news of the processes, on its way to the books ----

    def started(self, attempt_id: int) -> None:
        self._news.started(attempt_id)

    def overran(self, attempt_id: int) -> None:
        self._news.overran(attempt_id)

    def over(self, attempt_id: int, exit_code: int | None, reason: str, status_reason: str) -> None:
        self._news.over(attempt_id, exit_code, reason, status_reason)

    def lost(self) -> None:
        names, self._names = list(self._names.values()), {}
        if self._docker is not None:
            self._in_thread(self._docker.remove, names)
        self._news.lost()

    def failed(self, attempt_id: int, why: str) -> None:
        self._names.pop(attempt_id, None)
        self._news.failed(attempt_id, why)

    def ended(self, attempt_id: int, exit_code: int) -> None:
        name = self._names.pop(attempt_id, None)
        if name is None or self._docker is None or self._commit.is_closing:
            self._news.ended(attempt_id, exit_code)
            return
        attempt = self._attempts.get(attempt_id)
        if exit_code in _TELLING_CODES and attempt is not None and attempt.stop_reason is None:
            self._in_background(self._container_ended(self._docker, attempt_id, exit_code, name))
        else:
            self._in_thread(self._docker.remove, [name])
            self._news.ended(attempt_id, exit_code)

    async def _container_ended(self, docker: Docker, attempt_id: int, exit_code: int, name: str) -> None:
        how: HowItEnded = await asyncio.to_thread(docker.how_it_ended, name)
        await asyncio.to_thread(docker.remove, [name])
        if not how.was_started:
            self._news.over(attempt_id, None, f"{CANNOT_START_REASON} {how.error}".strip(), NOT_STARTED)
            return
        if how.was_out_of_memory:
            self._news.overran(attempt_id)
        self._news.ended(attempt_id, exit_code)

    # ---- work beside the event loop ----

    def _in_thread(self, call: Callable[..., object], *arguments: object) -> None:
        self._in_background(asyncio.to_thread(call, *arguments))

    def _in_background(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
