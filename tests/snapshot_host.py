"""Attempts with snapshots outside a region: an agent, and `spotrun` as the first process of namespaces of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spotbatch.local.engine import own_namespace
from spotbatch.snapshots import check
from spotbatch.snapshots.__main__ import listen
from spotbatch.snapshots.agent import Agent
from spotbatch.snapshots.criu import Criu
from spotbatch.snapshots.install import criu_folder
from spotbatch.snapshots.protocol import SOCKET_NAME

ROOT = Path(__file__).resolve().parent.parent
RUN = "snap"


_WHY_NOT = check.why_not(criu_folder())
needs_criu = pytest.mark.skipif(_WHY_NOT is not None, reason=_WHY_NOT or "it can")


class SnapshotHost:
    """One host's agent and its store; attempts run one after the other."""

    def __init__(self, folder: Path, key: bytes = b"k" * 32) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.root = folder / "root"
        self.notice_folder = folder / "host"
        for each in (self.store, self.root, self.notice_folder, folder / "images"):
            each.mkdir()
        self.agent = Agent(Criu(str(criu_folder())), key, str(folder / "images"))
        self._listener: socket.socket = listen(str(self.notice_folder / SOCKET_NAME))
        threading.Thread(target=self.agent.serve, args=(self._listener,), daemon=True).start()
        self._attempts = 0
        self._running: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        self._listener.close()
        for each in self._running:
            if each.poll() is None:
                each.kill()
            each.wait(20)

    @property
    def log_file(self) -> Path:
        return self.folder / f"attempt-{self._attempts}.log"

    @property
    def unit(self) -> Path:
        return self.store / "runs" / RUN / "job"

    def log(self, attempt: int | None = None) -> str:
        return (self.folder / f"attempt-{attempt or self._attempts}.log").read_text(errors="replace")

    def record(self, attempt: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.unit / "attempts" / f"{attempt or self._attempts:02d}.json").read_text()
        )
        return found

    def lines(self) -> list[str]:
        """What the command itself printed, over all attempts."""
        logs = [self.log(attempt) for attempt in range(1, self._attempts + 1)]
        return [line for log in logs for line in log.splitlines() if not line.startswith("spotrun: ")]

    def start(
        self, argv: Sequence[str], variables: Mapping[str, str] | None = None, cgroup: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """The next attempt, on a host without a notice; in a cgroup of its own, if one is given."""
        self._attempts += 1
        (self.notice_folder / "notice.json").unlink(missing_ok=True)
        scratch = self.folder / f"scratch-{self._attempts}"
        scratch.mkdir()
        given = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.root),
            "HOME": str(self.root),
            "SPOTBATCH_ARTIFACTS_URL": self.store.as_uri(),
            "SPOTBATCH_RUN_ID": RUN,
            "SPOTBATCH_NOTICE_FILE": str(self.notice_folder / "notice.json"),
            "SPOTBATCH_SNAPSHOT": "on-notice",
            "SPOTBATCH_SNAPSHOT_ROOTS": f"{self.root}:/dev/shm",
            "SPOTBATCH_GRACE_SECONDS": "2",
            **(variables or {}),
        }
        command = [sys.executable, "-m", "spotbatch.runtime", "--", *argv]
        command = [sys.executable, "-I", "-S", own_namespace.__file__, str(self.root), str(self.root), *command]
        if cgroup is not None:
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroup / "cgroup.procs"), *command]
        with self.log_file.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def notice(self, seconds: float = 60.0) -> None:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        beside = self.notice_folder / "notice.tmp"
        beside.write_text(json.dumps({"action": "terminate", "time": at.isoformat()}))
        beside.replace(self.notice_folder / "notice.json")

    def interrupt(self, argv: Sequence[str], until_line: str, **variables: str) -> int:
        """Start an attempt, give its host the notice once the command has printed a line, and wait for its end."""
        process = self.start(argv, variables)
        self.wait_for(until_line)
        self.notice()
        return process.wait(60)

    def finish(self, argv: Sequence[str], **variables: str) -> int:
        """One more attempt, to its end."""
        return self.start(argv, variables).wait(60)

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        """Until the current attempt's log has it."""
        deadline = time.monotonic() + seconds
        while text not in self.log():
            assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{self.log()[-3000:]}"
            time.sleep(0.01)

    def kill(self) -> None:
        """The host is gone."""
        for each in self._running:
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGKILL)
                each.wait(20)
