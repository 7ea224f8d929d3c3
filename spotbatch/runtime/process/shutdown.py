"""Ending the command in time: when, how, and what remains to save the last checkpoint."""

import contextlib
import resource
import signal
import time
from collections.abc import Callable, Collection, Mapping

from spotbatch.runtime.checkpoints.open_rule import Unfinished
from spotbatch.runtime.log import say
from spotbatch.runtime.process.command import Command
from spotbatch.runtime.process.freeze import frozen

FindUnfinished = Callable[[], Mapping[str, Unfinished]]  # half-written checkpoint files, by path

MARGIN_SECONDS = 0.3  # reserved before the host's own SIGKILL, to write the record and exit
LEAST_GRACE_SECONDS = 0.1
RESERVE_SECONDS = 1.0  # for a save beyond its measured time: a first save has no measurement, and hosts may be busy
CALM_SECONDS = 1.0  # spent looking for a moment when no checkpoint file is open for writing
CALM_PAUSE_SECONDS = 0.005


def grace_seconds(left_seconds: float, wanted_seconds: float, save_seconds: float) -> float:
    """How long the command may take to end: what it was promised, if a save (measured, doubled) still fits after it.

    The command always gets half of the time left, so that one slow save does not use up its grace period.
    """
    usable = max(0.0, left_seconds - MARGIN_SECONDS)
    after_save = usable - 2 * save_seconds - RESERVE_SECONDS
    return max(LEAST_GRACE_SECONDS, min(wanted_seconds, max(usable / 2, after_save)))


class Stop:
    """A command being stopped: told at once, killed when its grace period is over."""

    def __init__(
        self,
        command: Command,
        *,
        grace_seconds: float,
        tell: Callable[[], None],
        sends: int | None,  # the signal that tells it; None: a hook tells it, at a moment of its own choosing
        unfinished: FindUnfinished,
    ) -> None:
        self._command = command
        self._kill_at = time.monotonic() + grace_seconds
        self._tell_again = tell
        self._unfinished = unfinished
        self._has_told_orphans = False
        self._sends = sends
        self._has_killed = False
        self._calm_seconds = min(CALM_SECONDS, grace_seconds / 4)  # the save afterwards needs time too
        self.half_written = calmly(command, unfinished, tell, self._calm_seconds)

    def left_seconds(self) -> float:
        """Seconds until it is killed."""
        return max(0.0, self._kill_at - time.monotonic())

    def shorten(self, grace_seconds: float) -> None:
        """The deadline has moved closer."""
        self._kill_at = min(self._kill_at, time.monotonic() + grace_seconds)

    def tick(self) -> None:
        """Kill what outlives its grace period; tell what the command left running."""
        if time.monotonic() >= self._kill_at and self._command.members():
            say("the command did not end within its grace: killed")
            self._has_killed = True
            self.half_written = calmly(self._command, self._unfinished, self._command.kill, self._calm_seconds)

    def explains(self, died_of: int, or_any_of: Collection[int]) -> bool:
        """Whether the command died of a signal of ours: then `half_written` lists the files that were half written."""
        if died_of == signal.SIGKILL != self._sends:
            return self._has_killed
        return died_of == self._sends or (self._sends is not None and died_of in or_any_of)

    def is_over(self) -> bool:
        """The command has ended, and everything it started has ended or has used up its grace period."""
        if self._command.poll() is None:
            return False
        if not self._command.members():
            return True
        if not self._has_told_orphans:
            self._has_told_orphans = True
            self._tell_again()
        return time.monotonic() >= self._kill_at


def calmly(
    command: Command, unfinished: FindUnfinished, act: Callable[[], None], seconds: float = CALM_SECONDS
) -> Mapping[str, Unfinished]:
    """Act (signal, kill) when no checkpoint file is half written; if there is no such moment, returns those that were.

    All is frozen, inspected, signalled and thawed: a program that the signal ends executes no further instruction.
    """
    give_up = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= give_up
        with frozen(command.pids):
            half_written = unfinished()
            if not half_written or is_last:
                act()
                return half_written
        time.sleep(CALM_PAUSE_SECONDS)


def abort(command: Command) -> None:
    """SIGABRT to everything: Python and Go programs print the stacks of all their threads. No core file is written."""
    for pid in command.pids():
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, hard))
    command.send_all(signal.SIGABRT)
