"""A proxy before S3 that injects faults: by chance, seeded, or by a plan that says which request meets what."""

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

NONE = "none"
DELAY = "delay"  # a twentieth of a second, or `delay_seconds`
ERROR = "500"
THROTTLE = "throttle"  # 503 SlowDown
RESET = "reset"  # before anything is done
LOST_ANSWER = "lost answer"  # done, and nobody is told
CUT_BODY = "cut body"  # reset in the middle of the request
CUT_ANSWER = "cut answer"  # reset in the middle of the answer
HALF_ANSWER = "half answer"  # half of it, as if it were all
FLIP = "flip"  # one bit of the answer
STALE_LIST = "stale list"  # a listing as it was before
EXPIRED = "expired"  # 400 ExpiredToken
NOT_THERE = "not there"  # 404 NoSuchKey
OTHER_TAG = "other tag"  # an ETag that is no checksum of the content, as with keys of KMS
DOWN = "down"

BY_CHANCE = (DELAY, ERROR, THROTTLE, RESET, LOST_ANSWER, CUT_BODY, CUT_ANSWER)
LYING = (FLIP, HALF_ANSWER, STALE_LIST, NOT_THERE, EXPIRED)  # what passes for a good answer, or for the wrong reason


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a plan may look at."""

    method: str
    path: str  # with its query, as it was sent
    nth: int  # how often just this was asked, from 1

    @property
    def is_list(self) -> bool:
        return "list-type=2" in self.path


Plan = Callable[[Request], str]


class Faults:
    """While `is_down`, all is reset. Otherwise the plan decides, and where it says NONE, chance does."""

    def __init__(
        self,
        target: str,
        *,
        seed: int = 0,
        share: float = 0.0,
        kinds: tuple[str, ...] = BY_CHANCE,
        plan: Plan | None = None,
        delay_seconds: float = 0.05,
    ) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self.target = (host, int(port))
        self._random = random.Random(seed)
        self._share = share
        self._kinds = kinds
        self.plan = plan
        self.delay_seconds = delay_seconds
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], int] = {}
        self._listings: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        self.is_down = False
        self.injected: dict[str, int] = {}
        self.requests: list[Request] = []
        self.sent_bytes = 0  # of answers
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.faults = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def next(self, method: str, path: str) -> tuple[str, float]:
        """What happens to a request, and where in its answer."""
        with self._lock:
            nth = self._asked[method, path] = self._asked.get((method, path), 0) + 1
            request = Request(method=method, path=path, nth=nth)
            self.requests.append(request)
            what = DOWN if self.is_down else self.plan(request) if self.plan is not None else NONE
            if what == NONE and self._random.random() < self._share:
                what = self._random.choice(self._kinds)
            self.injected[what] = self.injected.get(what, 0) + 1
            return what, self._random.random()

    def listing(
        self, path: str, now: tuple[int, list[tuple[str, str]], bytes], *, is_stale: bool
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """The answer to a listing, now or as it was the time before."""
        with self._lock:
            before = self._listings.get(path, now)
            self._listings[path] = now
            return before if is_stale else now


class _Server(ThreadingHTTPServer):
    faults: Faults
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that we reset are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
        """Quiet."""

    def _pass(self) -> None:
        what, where = self.server.faults.next(self.command, self.path)
        if what in (DOWN, RESET):
            return self._reset()
        length = int(self.headers.get("Content-Length") or 0)
        if what == CUT_BODY and length:
            self.rfile.read(length // 2)
            return self._reset()
        body = self.rfile.read(length)
        if (refusal := _REFUSALS.get(what)) is not None and not (what == NOT_THERE and self.command != "GET"):
            return self._refuse(*refusal)
        if what == DELAY:
            time.sleep(self.server.faults.delay_seconds)
        status, headers, data = self._forward(body)
        if "list-type=2" in self.path:
            status, headers, data = self.server.faults.listing(
                self.path, (status, headers, data), is_stale=what == STALE_LIST
            )
        elif self.command == "GET" and status < 300 and data:
            data = _changed(what, where, data)
            if what == OTHER_TAG:
                headers = [(n, '"0123456789abcdef0123456789abcdef"' if n.lower() == "etag" else v) for n, v in headers]
        if what == LOST_ANSWER:
            return self._reset()
        self._answer(status, headers, data, cut=what == CUT_ANSWER and len(data) > 1)
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 - the names that the base class looks for

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.faults.target, timeout=30)
        try:
            connection.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = next((v for n, v in headers if n.lower() == "content-length"), str(len(data)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.server.faults.sent_bytes += len(data)
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._reset()

    def _refuse(self, status: int, code: str) -> None:
        data = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self._answer(status, [("Content-Type", "application/xml")], data, cut=False)

    def _reset(self) -> None:
        """RST instead of FIN."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)


_REFUSALS = {
    ERROR: (500, "InternalError"),
    THROTTLE: (503, "SlowDown"),
    EXPIRED: (400, "ExpiredToken"),
    NOT_THERE: (404, "NoSuchKey"),
}


def _changed(what: str, where: float, data: bytes) -> bytes:
    if what == HALF_ANSWER:
        return data[: len(data) // 2]
    if what != FLIP:
        return data
    flipped = bytearray(data)
    flipped[int(where * len(data))] ^= 1 << int(where * 997) % 8
    return bytes(flipped)
