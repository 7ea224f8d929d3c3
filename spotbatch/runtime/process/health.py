"""Whether the command is healthy: a health command or a heartbeat file, with the terms of Docker's HEALTHCHECK."""

import contextlib
import signal
import time
from collections.abc import Mapping

from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say
from spotbatch.runtime.process.child import Child
from spotbatch.runtime.process.children import start_child
from spotbatch.runtime.process.command import Command
from spotbatch.runtime.process.process_tree import command_line, waiting_in
from spotbatch.runtime.settings import HealthSettings

MOST_MEMBERS_SHOWN = 50


class Health:
    """Checks at every interval. `failed` holds the reason once enough checks in a row have failed.

    As in Docker, a check that fails within the start period is not counted unless one has succeeded before; a check
    that exceeds its timeout has failed.
    """

    def __init__(self, settings: HealthSettings, heartbeat_file: Path, variables: Mapping[str, str]) -> None:
        self._settings = settings
        self._heartbeat_file = heartbeat_file
        self._variables = variables
        self._started_at = time.monotonic()
        self._beat: int | None = None  # the heartbeat file's time, by whatever clock set it
        self._beaten_at = self._started_at  # when it changed, by a monotonic clock
        self._next_at = self._started_at + settings.interval_seconds
        self._check: Child | None = None
        self._check_until = 0.0
        self._has_been_well = False
        self._failures = 0
        self.failed: str | None = None

    @property
    def is_wanted(self) -> bool:
        return bool(self._settings.command) or self._settings.heartbeat_seconds is not None

    def tick(self) -> None:
        """Begin a check that is due, or collect the result of a running one. Never blocks."""
        if not self.is_wanted or self.failed:
            return
        self._look_for_heartbeat()
        if self._check is not None:
            self._look_at(self._check)
        elif time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + self._settings.interval_seconds
            if (stale := self._stale_heartbeat()) is not None:
                self._book(stale)
            elif self._settings.command:
                self._begin()
            else:
                self._book(None)

    def close(self) -> None:
        """End a check that is still running."""
        if self._check is not None:
            _end(self._check)
            self._check = None

    def _begin(self) -> None:
        try:
            self._check = start_child(self._settings.command, self._variables)
        except OSError as error:
            self._book(f"the health command cannot be run: {error}")
        self._check_until = time.monotonic() + self._settings.timeout_seconds

    def _look_at(self, check: Child) -> None:
        code = check.poll()
        if code is None and time.monotonic() < self._check_until:
            return
        self._check = None
        self._next_at = time.monotonic() + self._settings.interval_seconds
        if code is None:
            _end(check)
            self._book(f"the health command took longer than {self._settings.timeout_seconds:g} s")
        else:
            self._book(None if code == 0 else f"the health command ended with {code}")

    def _look_for_heartbeat(self) -> None:
        if self._settings.heartbeat_seconds is None:
            return
        with contextlib.suppress(OSError):
            beat = self._heartbeat_file.stat().st_mtime_ns
            if beat != self._beat:
                self._beat, self._beaten_at = beat, time.monotonic()

    def _stale_heartbeat(self) -> str | None:
        limit_seconds = self._settings.heartbeat_seconds
        if limit_seconds is None:
            return None
        age_seconds = time.monotonic() - self._beaten_at
        return None if age_seconds <= limit_seconds else f"the last heartbeat is {age_seconds:.1f} s old"

    def _book(self, problem: str | None) -> None:
        if problem is None:
            self._has_been_well, self._failures = True, 0
            return
        is_starting = time.monotonic() - self._started_at < self._settings.start_period_seconds
        if is_starting and not self._has_been_well:
            return
        self._failures += 1
        say(f"health: {problem} ({self._failures} of {self._settings.retries})")
        if self._failures >= self._settings.retries:
            self.failed = problem


def describe_processes(command: Command) -> list[str]:
    """One line per process of the command: what it is, its state, where in the kernel it waits."""
    return [
        f"  {member.pid} {member.state} in {waiting_in(member.pid)}: {command_line(member.pid) or member.name}"
        for member in command.members()[:MOST_MEMBERS_SHOWN]
    ]


def _end(check: Child) -> None:
    check.send_signal(signal.SIGKILL)
    check.wait(1)
