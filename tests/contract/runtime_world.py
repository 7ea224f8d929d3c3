"""Builders for tests of the runtime: real spotrun processes, moto's server as S3, and a proxy that injects faults."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

BUCKET = "artifacts"
LONGEST_SECONDS = 60.0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = LONGEST_SECONDS) -> None:
    """Until it is so; fails loudly when it never is."""
    give_up = time.monotonic() + seconds
    pause = 0.002
    while not condition():
        assert time.monotonic() < give_up, f"never happened within {seconds} s: {what}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


@dataclass
class Run:
    """One started spotrun, in a process group of its own as the local region starts it."""

    process: subprocess.Popen[bytes]
    log: Path
    notice: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = LONGEST_SECONDS) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"spotrun did not end within {seconds} s:\n{self.text()}") from None

    def wait_for_text(self, text: str) -> None:
        wait_for(lambda: text in self.text() or self.process.poll() is not None, f"{text!r} in the log")
        assert text in self.text(), self.text()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group, as a host that vanishes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def give_notice(self, seconds: float) -> None:
        at = datetime.fromtimestamp(time.time() + seconds, UTC).isoformat().replace("+00:00", "Z")
        beside = self.notice.with_suffix(".part")
        beside.write_text(json.dumps({"action": "terminate", "time": at}), encoding="ascii")
        beside.replace(self.notice)


@dataclass
class Spot:
    """Starts attempts of one work against one store."""

    folder: Path
    url: str
    environment: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def start(self, *command: str, wrapper: str = "", **variables: str) -> Run:
        number = len(self.runs) + 1
        log, notice = self.folder / f"log-{number}.txt", self.folder / f"notice-{number}.json"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*wrapper.split(), sys.executable, "-m", "spotbatch.runtime", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._variables(notice, variables),
                start_new_session=True,
                cwd=self.folder,
            )
        self.runs.append(Run(process=process, log=log, notice=notice))
        return self.runs[-1]

    def run(self, *command: str, **variables: str) -> tuple[int, str]:
        started = self.start(*command, **variables)
        return started.wait(), started.text()

    def close(self) -> None:
        for run in self.runs:
            run.kill()

    def _variables(self, notice: Path, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "DOCKER_HOST") if name in os.environ}
        ours = {
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "SPOTBATCH_ARTIFACTS_URL": self.url,
            "SPOTBATCH_RUN_ID": "work",
            "SPOTBATCH_NOTICE_FILE": str(notice),
            "SPOTBATCH_SCRATCH_DIR": str(self.folder / "scratch"),
            "SPOTBATCH_CHECKPOINT_SECONDS": "0.1",
        }
        return {**kept, **ours, **self.environment, **more}


@contextmanager
def spot(folder: Path, url: str | None = None, **environment: str) -> Iterator[Spot]:
    """A store in a folder unless another is named; nothing runs on afterwards."""
    world = Spot(folder=folder, url=url or (folder / "store").as_uri(), environment=environment)
    try:
        yield world
    finally:
        world.close()


def record(folder: Path, attempt: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"store/runs/work/job/attempts/{attempt:02d}.json").read_bytes())
    return found


@contextmanager
def moto_s3() -> Iterator[str]:
    """moto's server with one bucket; answers its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("PUT", f"/{BUCKET}", headers={"Host": "s3.amazonaws.com"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        yield f"http://{host}:{port}"
    finally:
        connection.close()
        server.stop()


def s3_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }


class Faults:
    """A proxy before S3 that, seeded, delays, refuses, resets, cuts and throttles; while `is_down`, all is reset."""

    def __init__(self, target: str, *, seed: int, share: float) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._random = random.Random(seed)
        self._share = share
        self._lock = threading.Lock()
        self.is_down = False
        self.injected: dict[str, int] = {}
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

    @property
    def target(self) -> tuple[str, int]:
        return self._target

    def next(self) -> str:
        """What happens to the next request."""
        with self._lock:
            if self.is_down:
                what = "down"
            elif self._random.random() >= self._share:
                what = "none"
            else:
                what = self._random.choice(
                    ["delay", "500", "throttle", "reset", "lost answer", "cut body", "cut answer"]
                )
            self.injected[what] = self.injected.get(what, 0) + 1
            return what


class _Server(ThreadingHTTPServer):
    faults: Faults
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that we reset are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
        """Quiet."""

    def _pass(self) -> None:
        assert isinstance(self.server, _Server)
        what = self.server.faults.next()
        if what in ("down", "reset"):
            return self._reset()
        length = int(self.headers.get("Content-Length") or 0)
        if what == "cut body" and length:
            self.rfile.read(length // 2)
            return self._reset()
        body = self.rfile.read(length)
        if what in ("500", "throttle"):
            return self._refuse(*((500, "InternalError") if what == "500" else (503, "SlowDown")))
        if what == "delay":
            time.sleep(0.05)
        status, headers, data = self._forward(body)
        if what == "lost answer":
            return self._reset()
        self._answer(status, headers, data, cut=what == "cut answer" and len(data) > 1)
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 - the names that the base class looks for

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        assert isinstance(self.server, _Server)
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
