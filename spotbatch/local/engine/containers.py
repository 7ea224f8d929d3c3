"""Attempts in containers: where a Docker engine answers and has the image, `docker run` is the attempt's process."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any, Final

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.status import CANNOT_PULL_REASON, CANNOT_START_REASON, NOT_STARTED
from spotbatch.local.contract import EngineSettings, HostView
from spotbatch.local.engine.attempts import Attempts
from spotbatch.local.engine.container import in_container
from spotbatch.local.engine.docker import REGION_LABEL, Docker, HowItEnded, Mount, run_command
from spotbatch.local.engine.group_commit import say
from spotbatch.local.engine.helper_link import Start
from spotbatch.local.engine.leaked_processes import cookie_of
from spotbatch.local.engine.logs import log_file

_NO_LIMIT_OF_OURS: Final = 1 << 60  # the engine's control group holds the container to its memory
_TELLING_CODES: Final = (125, 126, 127, 137)  # Docker's own, or its engine killed the container
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 30.0
_MARK_NAME: Final = "containers"


class Containers(Attempts):
    """Adds containers to attempts; without an engine, or without the image under `auto`, a process is run."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._docker: Docker | None = None
        self._mark = settings.home / _MARK_NAME  # exists while there may be containers of this region
        self._names: dict[int, str] = {}  # attempt id -> its container's name
        self._orders: set[asyncio.Task[None]] = set()

    async def open_containers(self) -> None:
        """Look for the engine, and remove what a killed region left in it. Raises Unavailable for --runner docker."""
        is_wanted = self.settings.runner != "process"
        if not is_wanted and not self._mark.exists():
            return
        try:
            docker = await asyncio.to_thread(Docker.find, self.settings.home)
        except Unavailable as error:
            if self.settings.runner == "docker":
                raise
            if is_wanted:
                say(f"jobs run as processes: {error}")
            if self._mark.exists():
                self._say_what_is_left(str(error).rpartition(": ")[0])  # what to do about it is another thing here
            return
        if is_wanted:
            self._docker = docker
            with contextlib.suppress(OSError):  # a full disk: the journal will say so
                self._mark.touch()
        await self._remove_all(docker)

    async def close_containers(self) -> None:
        """Remove what still runs, at the region's end."""
        if self._docker is not None:
            await asyncio.gather(*self._orders, return_exceptions=True)
            await self._remove_all(self._docker, is_end=True)

    async def _remove_all(self, docker: Docker, *, is_end: bool = False) -> None:
        if not await asyncio.to_thread(docker.remove_all):
            self._say_what_is_left("its engine did not remove them all")
        elif is_end or self._docker is None:
            self._mark.unlink(missing_ok=True)

    def _say_what_is_left(self, why: str) -> None:
        mine = f"docker ps --all --quiet --filter label={REGION_LABEL}={cookie_of(self.settings.home)}"
        say(f"containers of an earlier start may still run: {why}; end them with: docker rm --force $({mine})")

    def _order(self, attempt_id: int, host: HostView, task: str) -> None:
        if self._docker is None:
            super()._order(attempt_id, host, task)
        else:
            image = self._container(self._running[attempt_id][0]).image
            self._in_background(self._order_container(self._docker, image, attempt_id, host, task))

    async def _order_container(self, docker: Docker, image: str, attempt_id: int, host: HostView, task: str) -> None:
        is_there = await asyncio.to_thread(docker.has_image, image)
        if attempt_id not in self._running or self._is_closing:
            return
        try:
            if is_there:
                self._run_container(docker, attempt_id, host, task)
            elif self.settings.runner == "docker":
                why = f"{CANNOT_PULL_REASON} Docker has no image {image} here, and none is pulled: docker pull {image}"
                self.attempt_over(attempt_id, None, why, NOT_STARTED)
            else:
                super()._order(attempt_id, host, task)
        except (OSError, Unavailable) as error:
            self._process_failed(attempt_id, str(error))

    def _run_container(self, docker: Docker, attempt_id: int, host: HostView, task: str) -> None:
        job_no = self._running[attempt_id][0]
        container, name = self._container(job_no), docker.name_of(task)
        notices = self.host_book.notice_file(host.instance_id)
        asked: Any = self._described(job_no).get("container")
        command, environment = run_command(
            docker,
            name=name,
            job_id=self.unit_id(*self._running[attempt_id][:2]),
            container=container,
            asked=asked if isinstance(asked, dict) else {},
            variables=in_container(
                self.settings, container, self._place(job_no), self._unit(attempt_id), host, notices
            ),
            mounts=[
                Mount(folder=notices.parent, is_read_only=True),
                Mount(folder=self.settings.artifacts, is_read_only=False),
            ],
        )
        self._names[attempt_id] = name
        self._launcher.start(
            Start(
                attempt_id=attempt_id,
                plan=self._new_plan(command, environment, _NO_LIMIT_OF_OURS),
                own_environment={},
                folder=str(self.settings.home),
                log=log_file(self.log_folder, task),
            )
        )

    def _signal(self, attempt_id: int, number: signal.Signals) -> None:
        """`docker run` hands SIGTERM on to its container; SIGKILL would end only itself."""
        name = self._names.get(attempt_id)
        if number is signal.SIGKILL and name is not None and self._docker is not None:
            self._in_background(self._remove_until_ended(self._docker, attempt_id, name))
        else:
            super()._signal(attempt_id, number)

    async def _remove_until_ended(self, docker: Docker, attempt_id: int, name: str) -> None:
        """Again while `docker run` lives: it may be about to make the container that was not there to be removed."""
        wait_seconds = _FIRST_WAIT_SECONDS
        while attempt_id in self._names and not self._is_closing and wait_seconds < _LONGEST_WAIT_SECONDS:
            await asyncio.to_thread(docker.remove, [name])
            await asyncio.sleep(wait_seconds)
            wait_seconds *= 2

    def _helper_lost(self) -> None:
        names, self._names = list(self._names.values()), {}
        if self._docker is not None:
            self._in_thread(self._docker.remove, names)
        super()._helper_lost()

    def _process_failed(self, attempt_id: int, why: str) -> None:
        self._names.pop(attempt_id, None)
        super()._process_failed(attempt_id, why)

    def _process_ended(self, attempt_id: int, exit_code: int) -> None:
        name = self._names.pop(attempt_id, None)
        if name is None or self._docker is None or self._is_closing:
            super()._process_ended(attempt_id, exit_code)
        elif exit_code in _TELLING_CODES and attempt_id in self._running and attempt_id not in self._stopping:
            self._in_background(self._container_ended(self._docker, attempt_id, exit_code, name))
        else:
            self._in_thread(self._docker.remove, [name])
            super()._process_ended(attempt_id, exit_code)

    async def _container_ended(self, docker: Docker, attempt_id: int, exit_code: int, name: str) -> None:
        how: HowItEnded = await asyncio.to_thread(docker.how_it_ended, name)
        await asyncio.to_thread(docker.remove, [name])
        if not how.was_started:
            self.attempt_over(attempt_id, None, f"{CANNOT_START_REASON} {how.error}".strip(), NOT_STARTED)
            return
        if how.was_out_of_memory:
            self._overran.add(attempt_id)
        super()._process_ended(attempt_id, exit_code)

    def _in_thread(self, call: Callable[..., object], *arguments: object) -> None:
        self._in_background(asyncio.to_thread(call, *arguments))

    def _in_background(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
