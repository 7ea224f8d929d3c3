"""Supervising the running command: one loop handles its end, the notice, its health, and when to save."""

import contextlib
import signal
import time
from collections.abc import Mapping

from spotbatch.batch.light_dataclass import dataclass, made_by
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
    is_folder_at_rest: bool = True  # set afterwards: whether the checkpoint folder can be trusted
    half_written: Mapping[str, Unfinished] = made_by(default_factory=dict)  # except for these files
    _stop: shutdown.Stop | None = None
    _stopped_for: Interruption | None = None

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
        return self._stop.is_over() if self._stop is not None else self.command.poll() is not None

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
        elif self.command.poll() is None:
            self._tick_running(why)

    def _tick_running(self, why: Interruption | None) -> None:
        if why is not None:
            self._interrupt(why)
            return
        self.health.tick()
        if self.health.failed:
            self._end_unhealthy()
        elif self.schedule is not None:
            self.schedule.tick()

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
        if self._stop is None:
            return died_of in STOPPING
        self.half_written = self._stop.half_written
        return self._stop.explains(died_of, or_any_of=STOPPING)
