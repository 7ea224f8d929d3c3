"""Ending the command in time: when, how, and what is then left to save the last checkpoint."""

import contextlib
import resource
import signal
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from spotbatch.runtime.checkpoints.folder import list_folder
from spotbatch.runtime.log import say
from spotbatch.runtime.process.command import Command
from spotbatch.runtime.process.process_tree import writers

MARGIN_SECONDS = 0.3  # kept free before the host's own SIGKILL, to write the record and leave
LEAST_GRACE_SECONDS = 0.1
RESERVE_SECONDS = 1.0  # for a save beyond its measured time: a first one is not measured, and hosts may be busy
CALM_SECONDS = 1.0  # spent looking for a moment when no checkpoint file is open for writing
CALM_PAUSE_SECONDS = 0.005


def grace_seconds(left_seconds: float, wanted_seconds: float, save_seconds: float) -> float:
    """How long the command may take to end: what it was promised, if a save (measured, doubled) still fits after it.

    Half of the time left is the command's in any case, so that one slow save does not take its grace away.
    """
    usable = max(0.0, left_seconds - MARGIN_SECONDS)
    after_save = usable - 2 * save_seconds - RESERVE_SECONDS
    return max(LEAST_GRACE_SECONDS, min(wanted_seconds, max(usable / 2, after_save)))


class Stop:
    """One command on its way out: told at once, killed when its grace is over."""

    def __init__(
        self,
        command: Command,
        *,
        grace_seconds: float,
        tell: Callable[[], None],
        sends: int | None,  # the signal by which it is told; None: a hook tells it, at a moment of its own
        is_being_written: Callable[[], bool],
    ) -> None:
        self._command = command
        self._kill_at = time.monotonic() + grace_seconds
        self._tell_again = tell
        self._is_being_written = is_being_written
        self._has_told_orphans = False
        self._sends = sends
        self._has_killed = False
        self.is_folder_at_rest = calmly(command, is_being_written, tell)

    def left_seconds(self) -> float:
        """Until it is killed."""
        return max(0.0, self._kill_at - time.monotonic())

    def shorten(self, grace_seconds: float) -> None:
        """The end has come nearer."""
        self._kill_at = min(self._kill_at, time.monotonic() + grace_seconds)

    def tick(self) -> None:
        """Kill what outlives its grace; tell what the command left behind."""
        if time.monotonic() >= self._kill_at and self._command.members():
            say("the command did not end within its grace: killed")
            self._has_killed = True
            self.is_folder_at_rest = calmly(self._command, self._is_being_written, self._command.kill)

    def explains(self, died_of: int, or_any_of: Collection[int]) -> bool:
        """Whether the command died of a signal of ours, and no checkpoint file was half written then."""
        if died_of == signal.SIGKILL != self._sends:
            return self._has_killed and self.is_folder_at_rest
        return self.is_folder_at_rest and (died_of == self._sends or (self._sends is not None and died_of in or_any_of))

    def is_over(self) -> bool:
        """The command has ended, and so has all that it started, or has had its grace."""
        if self._command.poll() is None:
            return False
        if not self._command.members():
            return True
        if not self._has_told_orphans:
            self._has_told_orphans = True
            self._tell_again()
        return time.monotonic() >= self._kill_at


def calmly(command: Command, is_being_written: Callable[[], bool], act: Callable[[], None]) -> bool:
    """Act (signal, kill) at a moment when no checkpoint file is half written; answers whether there was one.

    All is frozen, looked at, told, and thawed: a program that the signal ends does not execute another instruction.
    """
    give_up = time.monotonic() + CALM_SECONDS
    while time.monotonic() < give_up:
        command.freeze()
        if not is_being_written():
            act()
            command.thaw()
            return True
        command.thaw()
        time.sleep(CALM_PAUSE_SECONDS)
    act()
    return False


def is_open_below(folder: Path, exclude: tuple[str, ...], pids: Iterable[int]) -> bool:
    """Whether one of these processes holds a file that is saved open for writing, other than to append."""
    held = {key for key, appends in writers(pids).items() if not appends}
    if not held:
        return False
    return any((look.device, look.inode) in held for look in list_folder(str(folder), exclude).files.values())


def abort(command: Command) -> None:
    """SIGABRT to everything: Python and Go programs print the stacks of all their threads. No core file is left."""
    for pid in command.pids():
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, hard))
    command.send_all(signal.SIGABRT)
