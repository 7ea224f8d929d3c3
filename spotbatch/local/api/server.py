"""Serving the application on 127.0.0.1, and only there."""

import asyncio
import contextlib
import errno
import gc
import socket
from collections.abc import Iterator

import uvicorn

from spotbatch.batch.errors import Unavailable
from spotbatch.local.api.app import Application
from spotbatch.local.api.protocol import LimitedProtocol

_HOST = "127.0.0.1"
_BACKLOG = 512
_MAX_CONNECTIONS = 1000
_KEEP_ALIVE_SECONDS = 75
_DRAIN_SECONDS = 3


def bind(port: int, *, preferred: int = 0) -> socket.socket:
    """A listening socket on the port; for port 0 on the preferred port if it is free, otherwise on any.

    Raises Unavailable if the requested port is taken.
    """
    candidates = [port] if port else [preferred, 0] if preferred else [0]
    for candidate in candidates:
        # With the protocol given, asyncio sets TCP_NODELAY on each connection; without it, a small response, which is
        # sent in two writes, waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, candidate))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        listener.setblocking(False)
        return listener
    raise Unavailable(f"port {port} of {_HOST} is taken or not allowed: choose another with --port, or 0 for any")


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
