"""Snapshots in the local region: the agent of its hosts, and how a job that wants them is started.

One agent serves all hosts of a region; its socket is linked into the folder of each that runs such a job. It is started
for the first of them. Where there can be none, the host's folder says why, and the job runs as without snapshots.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from spotbatch.batch.environment import SPOTBATCH_SNAPSHOT, SPOTBATCH_SNAPSHOT_ROOTS
from spotbatch.snapshots.install import criu_folder
from spotbatch.snapshots.protocol import SOCKET_NAME, UNAVAILABLE_NAME

_LAUNCHER: Final = Path(__file__).with_name("own_namespace.py")
_START_SECONDS: Final = 20.0
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - the mount point of POSIX shared memory


def wants_snapshots(environment: Mapping[str, str]) -> bool:
    """Whether a job asks for them."""
    return environment.get(SPOTBATCH_SNAPSHOT, "").strip().lower() == "on-notice"


class SnapshotAgent:
    """The region's agent, from its first use on."""

    def __init__(self, home: Path) -> None:
        self._home = home / "snapshots"
        self._key = home / "snapshot.key"
        self._process: subprocess.Popen[bytes] | None = None
        self._why_not: str | None = None

    @property
    def root(self) -> Path:
        """Where every attempt with snapshots finds its own folder."""
        return self._home / "root"

    def variables(self) -> dict[str, str]:
        """What such a job is told in addition."""
        return {SPOTBATCH_SNAPSHOT_ROOTS: f"{self.root}:{_SHARED_MEMORY}"}

    def command_line(self, argv: Sequence[str], folder: str | None) -> list[str]:
        """The job's command in namespaces of its own, and in its image's folder if it has one."""
        return [sys.executable, "-I", "-S", str(_LAUNCHER), str(self.root), folder or str(self.root), *argv]

    def offer(self, host_folder: Path) -> bool:
        """Make the agent reachable for the jobs of a host; False if there is none, for a reason that they are told."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None  # it died: another one for the next job
        if self._process is None and self._why_not is None:
            self._why_not = self._start()
        with contextlib.suppress(OSError):  # the host has just ended
            if self._why_not is not None:
                (host_folder / UNAVAILABLE_NAME).write_text(json.dumps({"why": self._why_not}), encoding="utf-8")
                return False
            link = host_folder / SOCKET_NAME
            link.unlink(missing_ok=True)
            os.link(self._home / SOCKET_NAME, link)
            return True
        return False

    def close(self) -> None:
        """End the agent: it ends with its standard input."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _start(self) -> str | None:
        """Start it, or return why it cannot be."""
        folder = criu_folder()
        if sys.platform != "linux" or os.geteuid() != 0:
            return "the region does not run as root on Linux, which a dump needs"
        if not folder.is_dir():
            return f"CRIU is not in {folder}: `spotbatch snapshots install` puts it there"
        self._home.mkdir(mode=0o700, exist_ok=True)
        self.root.mkdir(exist_ok=True)
        places = {"--criu": folder, "--key": self._key, "--images": self._home / "images"}
        arguments = [word for name, place in places.items() for word in (name, str(place))]
        process = subprocess.Popen(
            [sys.executable, "-m", "spotbatch.snapshots", *arguments, "--socket", str(self._home / SOCKET_NAME)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._process = process
        assert process.stdout is not None  # noqa: S101 - see above
        ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
        if ready and process.stdout.readline() == b"ready\n":
            process.stdout.close()
            return None
        process.stdout.close()
        process.kill()
        process.wait()
        self._process = None
        return f"the agent with CRIU from {folder} does not start: install it again"
