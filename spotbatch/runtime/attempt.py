"""One attempt, from the restore to the exit code: the loop that everything else hangs on."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from spotbatch.batch import artifacts
from spotbatch.batch.environment import EXIT_INTERRUPTED, EXIT_NOT_SAVED, EXIT_UNHEALTHY
from spotbatch.runtime import stopping
from spotbatch.runtime.background import Background, Ticket
from spotbatch.runtime.command import EXIT_CANNOT_RUN, EXIT_NOT_FOUND, Command
from spotbatch.runtime.errors import SpotrunError, StoreError
from spotbatch.runtime.keeping import Keeper, Past
from spotbatch.runtime.limit import Limit
from spotbatch.runtime.log import say
from spotbatch.runtime.notice import read_notice
from spotbatch.runtime.outputs import Uploaded
from spotbatch.runtime.record import Record
from spotbatch.runtime.restoring import Restored
from spotbatch.runtime.rooms import Rooms, command_variables, make_rooms
from spotbatch.runtime.saving import Writer
from spotbatch.runtime.schedule import SaveSchedule
from spotbatch.runtime.settings import Settings
from spotbatch.runtime.signals import Signals
from spotbatch.runtime.store import Store, open_store

T = TypeVar("T")

TICK_SECONDS = 0.25
DRAIN_SECONDS = 2.0  # for output that somebody still holds open after the command has ended
LEFT_BEHIND_SECONDS = 1.0  # between SIGTERM and SIGKILL for what the command left running when it ended by itself
EXIT_OURS = 125  # the runtime itself could not begin: as env(1), timeout(1) and Docker have it
ENDLESS_SECONDS = 10 * 365 * 86400.0


class Attempt:
    """The state of one attempt. `run` is called once."""

    def __init__(self, settings: Settings, argv: Sequence[str]) -> None:
        self._settings = settings
        self._argv = argv
        self._signals = Signals()
        self._background = Background(self._signals.wake)
        self._rooms: Rooms = make_rooms(settings)
        self._interruption: stopping.Interruption | None = None
        self._command: Command | None = None
        self._began_at = time.time()  # what would be lost if nothing were saved
        self._record = _new_record(settings)
        self._keeper = self._make_keeper()
        self._schedule: SaveSchedule | None = None

    def run(self) -> int:
        """The exit code of spotrun."""
        try:
            return self._run()
        finally:
            if self._command is not None:
                self._command.kill()
            self._rooms.remove()

    def _run(self) -> int:
        try:
            self._prepare()
        except SpotrunError as problem:
            return self._not_begun(problem)
        if self._interruption is not None:
            return self._end("interrupted", EXIT_INTERRUPTED)
        try:
            self._command = Command(self._argv, command_variables(self._rooms))
        except OSError as error:
            say(f"cannot run {self._argv[0]!r}: {error.strerror}")
            return self._end("failed", EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CANNOT_RUN)
        self._signals.forward = self._command.send
        code = self._attend(self._command)
        self._record.command_exit_code = code
        if code == 0:
            return self._finish_well()
        if self._interruption is not None:
            self._save_last(self._interruption)
            return self._end("interrupted", EXIT_INTERRUPTED)
        return self._finish_badly(code)

    # --- before

    def _make_keeper(self) -> Keeper | None:
        if self._settings.store_url is None:
            return None
        store: Store = open_store(self._settings.store_url)
        identity = self._settings.identity
        writer = Writer(
            store,
            artifacts.checkpoint_prefix(identity.run_id, identity.array_index),
            self._rooms.checkpoint,
            exclude=self._settings.exclude,
            family=lambda: self._command.pids() if self._command is not None else (),
        )
        return Keeper(store, identity, writer, self._rooms.checkpoint)

    def _prepare(self) -> None:
        keeper = self._keeper
        if keeper is None:
            say("SPOTBATCH_ARTIFACTS_URL is not set: the command runs, and nothing is saved")
            return
        limit, began = Limit(self._settings.restore_seconds), time.monotonic()

        def prepare() -> tuple[Past, Restored]:
            return keeper.look_back(limit), keeper.restore(limit)

        done = self._await(self._background.do(prepare), limit)
        if done is None:
            return
        past, restored = done
        self._record.attempt = past.attempt
        self._record.restore_seconds = round(time.monotonic() - began, 3)
        self._record.downloaded_bytes += restored.downloaded_bytes
        if restored.manifest is not None:
            self._record.resumed_from = restored.manifest.name
            self._record.checkpoint_bytes = restored.manifest.size
            say(f"resumed from checkpoint {restored.manifest.name} ({len(restored.manifest.files)} files)")
        self._began_at = time.time()
        self._put_record()
        self._schedule = SaveSchedule(
            background=self._background,
            save=keeper.save,
            record=self._record,
            rooms=self._rooms,
            fixed_seconds=self._settings.checkpoint_seconds,
            interruptions_per_hour=self._settings.interruptions_per_hour,
        )

    def _not_begun(self, problem: SpotrunError) -> int:
        """Without knowing the last checkpoint, beginning anew would throw work away: so do not begin."""
        say(f"the command was not started: {problem}")
        is_passing = isinstance(problem, StoreError)
        return self._end("not_restored", EXIT_INTERRUPTED if is_passing else EXIT_OURS)

    # --- while it runs

    def _attend(self, command: Command) -> int:
        """Until the command has ended, by itself or stopped; what it left behind is gone then."""
        stop: stopping.Stop | None = None
        while True:
            self._signals.wait(TICK_SECONDS)
            command.reap()
            self._look_for_interruption()
            if stop is None:
                if command.poll() is not None:
                    break
                if self._interruption is not None:
                    stop = self._begin_stop(command, self._interruption)
                elif self._schedule is not None:
                    self._schedule.tick()
            if stop is not None:
                stop.tick()
                if stop.is_over():
                    break
        self._clear_away(command, stop)
        code = command.poll()
        assert code is not None  # noqa: S101 - the loop ends when there is one
        return code

    def _look_for_interruption(self) -> None:
        found = self._notice() or self._stop_signal()
        if found is None or (self._interruption is not None and found.deadline >= self._interruption.deadline):
            return
        if self._interruption is None:
            say(f"{found.cause}: {found.lead_seconds:.1f} s are left to save and leave")
            self._record.interruption_cause = found.cause
            self._record.noticed_at = found.noticed_at
            self._record.notice_lead_seconds = round(found.lead_seconds, 3)
        self._interruption = found

    def _notice(self) -> stopping.Interruption | None:
        if self._settings.notice_file is None or (self._interruption and self._interruption.cause == "notice"):
            return None
        notice = read_notice(self._settings.notice_file, time.time())
        return None if notice is None else stopping.interruption("notice", max(0.0, notice.at - time.time()))

    def _stop_signal(self) -> stopping.Interruption | None:
        asked, self._signals.asked_to_stop = self._signals.asked_to_stop, None
        return None if asked is None else stopping.interruption(asked.name, self._settings.stop_seconds)

    def _begin_stop(self, command: Command, why: stopping.Interruption) -> stopping.Stop:
        self._rooms.interrupted_file.write_text(why.cause, encoding="ascii")
        save_seconds = self._schedule.save_seconds or 0.0 if self._schedule is not None else 0.0
        left = max(0.0, why.deadline - time.monotonic())
        return stopping.Stop(
            command,
            grace_seconds=stopping.grace_seconds(left, self._settings.grace_seconds, save_seconds),
            tell=lambda: self._tell(command),
            is_being_written=lambda: stopping.is_open_below(self._rooms.checkpoint, command.pids()),
        )

    def _tell(self, command: Command) -> None:
        if self._settings.stop_hook and command.poll() is None:
            stopping.run_hook(self._settings.stop_hook, command_variables(self._rooms))
        else:
            command.send(self._settings.stop_signal)

    def _clear_away(self, command: Command, stop: stopping.Stop | None) -> None:
        """Nothing may write in our folders any more."""
        if stop is None and command.members():
            command.send(self._settings.stop_signal)
            give_up = time.monotonic() + LEFT_BEHIND_SECONDS
            while command.members() and time.monotonic() < give_up:
                self._signals.wait(0.02)
                command.reap()
        command.kill()
        command.drain(DRAIN_SECONDS)
        self._is_at_rest = stop is None or stop.is_folder_at_rest or not command.was_killed_by_signal

    # --- after

    def _finish_well(self) -> int:
        keeper, seconds = self._keeper, self._settings.upload_seconds
        if keeper is None:
            return self._end("succeeded", 0)
        limit = Limit(self._left_seconds(seconds))
        ticket = self._background.do(lambda: keeper.upload_outputs(self._rooms.output, limit))
        try:
            uploaded = self._await(ticket, limit, shorten=True)
        except (StoreError, OSError) as problem:
            say(f"the outputs are NOT saved: {problem}")
            uploaded = None
        if uploaded is not None:
            self._count_outputs(uploaded)
            return self._end("succeeded", 0)
        if self._interruption is not None:
            return self._end("interrupted", EXIT_INTERRUPTED)
        say(f"the command succeeded, and its outputs could not be saved within {seconds:g} s")
        return self._end("not_saved", EXIT_NOT_SAVED)

    def _finish_badly(self, code: int) -> int:
        keeper, command = self._keeper, self._command
        if keeper is not None and command is not None:
            limit = Limit(self._left_seconds(self._settings.upload_seconds))
            tail, number = command.tail.text(), self._record.attempt
            with contextlib.suppress(SpotrunError, OSError):
                ticket = self._background.do(lambda: keeper.keep_failed(number, tail, self._rooms.output, limit))
                self._await(ticket, limit, shorten=True)
        return self._end("failed", code)

    def _save_last(self, why: stopping.Interruption) -> None:
        if self._schedule is None:
            return
        if not self._is_at_rest:
            say("the command was ended while it wrote a checkpoint file: the checkpoint before stays the last one")
            return
        limit = Limit(max(0.0, why.deadline - time.monotonic() - stopping.MARGIN_SECONDS))
        ticket = self._schedule.last(limit)
        while not ticket.is_done and not limit.is_over():
            self._signals.wait(min(TICK_SECONDS, limit.left_seconds()))
        if self._schedule.settle() is None and not ticket.is_done:
            say("the last save did not end in time: the checkpoint before stays the last one")

    def _count_outputs(self, uploaded: Uploaded) -> None:
        self._record.output_files = len(uploaded.files)
        self._record.output_bytes = uploaded.size
        self._record.uploaded_bytes += uploaded.uploaded_bytes

    def _end(self, outcome: str, exit_code: int) -> int:
        self._record.end(
            outcome=outcome, exit_code=exit_code, began_at=max(self._began_at, self._record.last_saved_at or 0.0)
        )
        limit = Limit(min(10.0, self._left_seconds(10.0)))
        ticket = self._put_record(limit)
        if ticket is not None:
            with contextlib.suppress(SpotrunError):
                self._await(ticket, limit)
        return exit_code

    # --- waiting

    def _left_seconds(self, seconds: float) -> float:
        if self._interruption is None:
            return seconds
        return min(seconds, max(0.05, self._interruption.deadline - time.monotonic() - 0.05))

    def _put_record(self, limit: Limit | None = None) -> Ticket[None] | None:
        keeper = self._keeper
        return None if keeper is None else self._background.do(lambda: keeper.put_record(self._record, limit))

    def _await(self, ticket: Ticket[T], limit: Limit, *, shorten: bool = False) -> T | None:
        """The ticket's result; None when the limit or an interruption comes first."""
        while not ticket.is_done:
            if limit.is_over():
                return None
            self._signals.wait(TICK_SECONDS)
            if self._command is not None:
                self._command.reap()
            self._look_for_interruption()
            if self._interruption is not None and not shorten and self._command is None:
                limit.cancel()
                return None
            if shorten and self._left_seconds(ENDLESS_SECONDS) <= 0.1:
                limit.cancel()
                return None
        return ticket.result()


def _new_record(settings: Settings) -> Record:
    identity = settings.identity
    return Record(
        run_id=identity.run_id,
        job_id=identity.job_id,
        array_index=identity.array_index,
        attempt=identity.attempt or 1,
        instance_type=identity.instance_type,
        zone=identity.zone,
        started_at=time.time(),
    )
