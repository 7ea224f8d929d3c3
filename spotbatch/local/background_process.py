"""A process that outlives us: in a session of its own, with its output in a file."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spotbatch.batch.errors import Unavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class Background:
    """Started by us, but independent of us: Ctrl-C and the end of the terminal do not reach it."""

    pid: int

    @classmethod
    def start(cls, command: Sequence[str], log: Path) -> "Background":
        """Start it, appending its output to a file. Raises Unavailable."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        try:
            pid = os.posix_spawn(command[0], list(command), os.environ, file_actions=actions, setsid=True)
        except OSError as error:
            raise Unavailable(f"{command[0]} cannot be started: {error.strerror}") from error
        return cls(pid=pid)

    def poll(self) -> int | None:
        """Its exit code (negative: the signal that ended it); None while it runs. Once reported, 0."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

    def end(self, seconds: float) -> None:
        """SIGTERM, then SIGKILL if it has not ended by then."""
        if self.poll() is not None:
            return
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.02)
