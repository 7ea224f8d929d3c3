"""Supervising the running command: one loop handles its end, the notice, its health, and when to save."""

import contextlib
import signal
import time
from collections.abc import Mapping

from spotbatch.batch.attempt_record import InterruptionCause
from spotbatch.batch.light_dataclass import dataclass, made_by
from spotbatch.batch.light_types import TYPE_CHECKING
from spotbatch.runtime.background import Ticket
from spotbatch.runtime.checkpoints.open_rule import Unfinished
from spotbatch.runtime.checkpoints.schedule import SaveSchedule
from spotbatch.runtime.log import say
from spotbatch.runtime.process import shutdown
from spotbatch.runtime.process.children import start_child
from spotbatch.runtime.process.command import Command
from spotbatch.runtime.process.health import Health, describe_processes
from spotbatch.runtime.process.interruptions import Interruption, Interruptions
from spotbatch.runtime.process.progress_report import Progress
from spotbatch.runtime.process.resource_monitor import ResourceMonitor
from spotbatch.runtime.process.signals import STOPPING, Signals
from spotbatch.runtime.settings import Settings
from spotbatch.runtime.workspace import Workspace, command_variables

if TYPE_CHECKING:
    from spotbatch.runtime.snapshot.flow import SnapshotFlow
    from spotbatch.runtime.snapshot.snapshots import Dump

TICK_SECONDS = 0.25
DRAIN_SECONDS = 2.0  # for output that some process still holds open after the command has ended
LEFT_BEHIND_SECONDS = 1.0  # between SIGTERM and SIGKILL for what the command left running when it ended on its own
UNHEALTHY_GRACE_SECONDS = 5.0  # to print its stacks


@dataclass(kw_only=True)
class Supervisor:
    """What the loop needs. `run` is called once."""

    command: Command
    settings: Settings
    workspace: Workspace
    signals: Signals
    interruptions: Interruptions
    health: Health
    monitor: ResourceMonitor
    schedule: SaveSchedule | None
    progress: Progress | None
    unfinished: shutdown.FindUnfinished = dict
    snapshots: "SnapshotFlow | None" = None
    dump: "Dump | None" = None  # set afterwards: the command was dumped, and then killed
    is_folder_at_rest: bool = True  # set afterwards: whether the checkpoint folder can be trusted
    half_written: Mapping[str, Unfinished] = made_by(default_factory=dict)  # except for these files
    _stop: shutdown.Stop | None = None
    _stopped_for: Interruption | None = None
    _dumping: "Ticket[Dump] | None" = None
    _has_dumped: bool = False  # or tried to: once

    def run(self) -> int:
        """Returns the command's exit code. Nothing that it started is left running."""
        while not self._is_over():
            until_kill_seconds = TICK_SECONDS if self._stop is None else self._stop.left_seconds() + 0.01
            self.signals.wait(min(TICK_SECONDS, until_kill_seconds))
            self.command.reap()
            self.interruptions.look()
            self._tick()
        self.interruptions.look()  # a signal to the whole group may have ended the command before we looked
        self.health.close()
        self.monitor.look_back()
        self._clear_away()
        code = self.command.poll()
        assert code is not None  # noqa: S101 - the loop ends only once there is one
        return code

    def _is_over(self) -> bool:
        if self._stop is not None:
            return self._stop.is_over()
        return self.command.poll() is not None and self._dumping is None

    def _tick(self) -> None:
        if self.command.poll() is None:
            self.monitor.tick(self.command.descendants)
            if self.progress is not None:
                self.progress.tick()
        why = self.interruptions.current
        if self._stop is not None:
            if why is not None and why is not self._stopped_for:
                self._stopped_for = why
                self._stop.shorten(self._grace_seconds(why))
            self._stop.tick()
        elif self._dumping is not None:
            self._look_at_dump()
        elif self.command.poll() is None:
            self._tick_running(why)

    def _tick_running(self, why: Interruption | None) -> None:
        if why is not None:
            if not self._begin_dump(why):
                self._interrupt(why)
            return
        self.health.tick()
        if self.health.failed:
            self._end_unhealthy()
        elif self.schedule is not None:
            self.schedule.tick()

    def _begin_dump(self, why: Interruption) -> bool:
        """Whether the command is being dumped. Only at a notice: someone who sends a signal wants it to stop."""
        if self.snapshots is None or self._has_dumped or why.cause != InterruptionCause.NOTICE:
            return False
        self._has_dumped = True
        self.health.close()  # its child is ours, and no part of the command
        self._dumping = self.snapshots.dump(self.command, why.left_seconds(), self.unfinished)
        return self._dumping is not None

    def _look_at_dump(self) -> None:
        """A dump that is refused leaves the command as it was: it is stopped as without one, at the next tick."""
        from spotbatch.runtime.snapshot.refusal import NoSnapshot

        if self.snapshots is None or self._dumping is None or not self._dumping.is_done:
            return
        ticket, self._dumping = self._dumping, None
        try:
            self.dump = self.snapshots.dumped(ticket)
        except NoSnapshot:
            self.command.kill()

    def _interrupt(self, why: Interruption) -> None:
        with contextlib.suppress(OSError):  # full disk: the signal conveys it as well
            self.workspace.interrupted_file.write_text(why.cause, encoding="ascii")
        self._stopped_for = why
        self._stop = shutdown.Stop(
            self.command,
            grace_seconds=self._grace_seconds(why),
            tell=self._tell,
            sends=None if self.settings.stop_hook else self.settings.stop_signal,
            unfinished=self.unfinished,
        )

    def _end_unhealthy(self) -> None:
        say(f"unhealthy ({self.health.failed}): stopped. What it was doing:")
        for line in describe_processes(self.command):
            say(line)
        self._stop = shutdown.Stop(
            self.command,
            grace_seconds=UNHEALTHY_GRACE_SECONDS,
            tell=lambda: shutdown.abort(self.command),
            sends=signal.SIGABRT,
            unfinished=self.unfinished,
        )

    def _grace_seconds(self, why: Interruption) -> float:
        save_seconds = self.schedule.save_seconds if self.schedule is not None else None
        return shutdown.grace_seconds(why.left_seconds(), self.settings.grace_seconds, save_seconds or 0.0)

    def _tell(self) -> None:
        if self.settings.stop_hook and self.command.poll() is None:
            try:
                start_child(self.settings.stop_hook, command_variables(self.workspace))
            except OSError as error:
                say(f"the stop hook cannot be run ({error}): the signal is sent instead")
            else:
                return
        self.command.send(self.settings.stop_signal)

    def _clear_away(self) -> None:
        """End everything that could still write to our folders."""
        if self._stop is None and self.command.members():
            self.command.send(self.settings.stop_signal)
            give_up = time.monotonic() + LEFT_BEHIND_SECONDS
            while self.command.members() and time.monotonic() < give_up:
                self.signals.wait(0.02)
                self.command.reap()
        self.command.kill()
        self.command.drain(DRAIN_SECONDS)
        self.is_folder_at_rest = self._is_at_rest()

    def _is_at_rest(self) -> bool:
        """A command that exited on its own closed its files. One killed by a signal did not: then the signal must be
        ours, sent at a calm moment, or have been sent to the whole process group (Ctrl-C), where nobody could look.
        """
        died_of = self.command.died_of
        if died_of is None:
            return True
        if self.dump is not None:
            self.half_written = self.dump.half_written
            return True
        if self._stop is None:
            return died_of in STOPPING
        self.half_written = self._stop.half_written
        return self._stop.explains(died_of, or_any_of=STOPPING)
