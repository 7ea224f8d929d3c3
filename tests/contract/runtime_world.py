"""Builders for tests of the runtime: real spotrun processes, moto's server as S3, and a proxy that injects faults."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
