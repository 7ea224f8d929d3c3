"""The server: only on 127.0.0.1, with the poller in a separate thread."""

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn

from spotbatch.loopback import HOST, bind
from spotbatch.web.app import Dashboard
from spotbatch.web.guard import Key
from spotbatch.web.poller import Poller
from spotbatch.web.render import Pages
from spotbatch.web.scope import Scope
from spotbatch.web.state import State

USUAL_PORT: Final = 8427
_BACKLOG: Final = 128
_MAX_CONNECTIONS: Final = 200
_DRAIN_SECONDS: Final = 3
_POLLER_END_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A dashboard that is ready to run."""

    server: uvicorn.Server
    listener: socket.socket
    poller: Poller
    url: str  # with its key

    def run(self) -> None:
        """Serve until the server is told to exit (SIGINT, SIGTERM, or `server.should_exit`)."""
        with _thread(self.poller):
            self.server.run(sockets=[self.listener])


def prepare(scope: Scope, *, port: int | None, may_act: bool, home: str = "") -> Served:
    """A dashboard on its own port. `home`: the start page, if it is not the list.

    On the usual port if it is free and none is asked for, else on any. Raises Unavailable if the port is taken.
    """
    listener = bind([USUAL_PORT, 0] if port is None else [port], backlog=_BACKLOG)
    given = int(listener.getsockname()[1])
    key = Key(secret=secrets.token_urlsafe(24))
    state = State()
    poller = Poller(state=state, scope=scope)
    holder: list[uvicorn.Server] = []
    dashboard = Dashboard(
        state=state,
        poller=poller,
        pages=Pages(state=state, scope=scope, csrf_token=key.csrf_token if may_act else ""),
        key=key,
        may_act=may_act,
        is_closing=_closing(holder),
        home=home if scope.queue is None else "",
    )
    config = uvicorn.Config(
        dashboard.application(given),
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    holder.append(uvicorn.Server(config))
    url = f"http://{HOST}:{given}{home or '/'}?key={key.secret}"
    return Served(server=holder[0], listener=listener, poller=poller, url=url)


def _closing(holder: list[uvicorn.Server]) -> Callable[[], bool]:
    """Whether the server, which is created after the application, is shutting down; this ends streams."""
    return lambda: bool(holder) and holder[0].should_exit


@contextlib.contextmanager
def _thread(poller: Poller) -> Iterator[None]:
    running = threading.Thread(target=poller.run, name="dashboard-poller", daemon=True)
    running.start()
    try:
        yield
    finally:
        poller.close()
        running.join(_POLLER_END_SECONDS)
