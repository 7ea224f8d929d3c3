"""A dashboard's server in front of a state that the test changes itself: real HTTP, real pages, no region behind it."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from spotbatch.web.serve import prepare
from spotbatch.web.state import State
from tests.contract.local_api_region import until
from tests.unit.web_builders import SCOPE


@dataclass(frozen=True, kw_only=True)
class WebPages:
    """Pages of what the test puts on the state; what changes there reaches an open page as news."""

    state: State
    printed: str  # a link to the list, with the key

    def url(self, path: str) -> str:
        """A link to another page, with the key."""
        before, _, key = self.printed.partition("/?")
        return f"{before}{path}{'&' if '?' in path else '?'}{key}"


@contextlib.contextmanager
def web_pages() -> Iterator[WebPages]:
    """The server as `spotbatch dashboard --actions` prepares it, without the thread that asks AWS."""
    served = prepare(SCOPE, port=0, may_act=True)
    running = threading.Thread(target=served.server.run, kwargs={"sockets": [served.listener]}, daemon=True)
    running.start()
    try:
        until(lambda: served.server.started)
        yield WebPages(state=served.poller.state, printed=served.url)
    finally:
        served.server.should_exit = True
        running.join(15)
        served.listener.close()
        assert not running.is_alive()
