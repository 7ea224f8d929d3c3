"""Serving the application on 127.0.0.1, and only there."""

import asyncio
import contextlib
import gc
from collections.abc import Iterator

import uvicorn

from spotbatch.local.api.app import Application
from spotbatch.local.api.protocol import LimitedProtocol

BACKLOG = 512
_MAX_CONNECTIONS = 1000
_KEEP_ALIVE_SECONDS = 75
_DRAIN_SECONDS = 3


class Server(uvicorn.Server):
    """uvicorn without its signals and its clock: it runs until `stop`, and an idle region does not wake up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Accept no more connections, answer those that are open, and end."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        gc.freeze()  # what has been imported stays: no collection need scan it again at a request's expense
        await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(application: Application) -> Server:
    """The server, not yet started: `serve(sockets=[...])` runs it, `stop()` ends it."""
    config = uvicorn.Config(
        application,
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        loop="none",
        access_log=False,
        log_level="error",
        server_header=False,
        date_header=False,  # written by the application
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    return Server(config)
