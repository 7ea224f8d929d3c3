"""One attempt, from the restore to the exit code."""

import contextlib
import time
from collections.abc import Sequence

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.environment import (
    EXIT_INTERRUPTED,
    EXIT_NOT_SAVED,
    EXIT_OUTPUTS_REFUSED,
    EXIT_UNHEALTHY,
    HOST_TYPE_FILE,
    HOST_ZONE_FILE,
    SPOTBATCH_ARTIFACTS_URL,
)
from spotbatch.batch.errors import Missing, SpotbatchError, StoreError, Superseded
from spotbatch.batch.light_types import TYPE_CHECKING, TypeVar
from spotbatch.runtime.array_index import fetch_own_input
from spotbatch.runtime.attempt_store import RECORD_SECONDS, AttemptStore, Past
from spotbatch.runtime.background import Background, Ticket
from spotbatch.runtime.checkpoints.results import Restored
from spotbatch.runtime.checkpoints.room import is_restore_under_way
from spotbatch.runtime.checkpoints.schedule import SaveSchedule
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.errors import may_pass
from spotbatch.runtime.host import host_fact
from spotbatch.runtime.log import say
from spotbatch.runtime.outputs import Uploaded
from spotbatch.runtime.process import shutdown
from spotbatch.runtime.process.command import EXIT_CANNOT_RUN, EXIT_NOT_FOUND, Command
from spotbatch.runtime.process.health import Health
from spotbatch.runtime.process.interruptions import Interruptions
from spotbatch.runtime.process.progress_report import Progress
from spotbatch.runtime.process.resource_monitor import ResourceMonitor
from spotbatch.runtime.process.signals import Signals
from spotbatch.runtime.process.supervisor import TICK_SECONDS, Supervisor
from spotbatch.runtime.record import finish
from spotbatch.runtime.settings import Settings
from spotbatch.runtime.storage.location import open_store
from spotbatch.runtime.storage.store import Store
from spotbatch.runtime.workspace import Workspace, command_variables, make_workspace

if TYPE_CHECKING:
    from spotbatch.runtime.snapshot.flow import SnapshotFlow

T = TypeVar("T")

_LONG = 365 * 86400.0  # seconds, where the only limit is on standing still

EXIT_OURS = 125  # the runtime itself could not start: the convention of env(1), timeout(1) and Docker
MOST_NOTICE_SECONDS = 300.0  # EC2 gives two minutes; a notice with a later time is not waited out
AFTER_NOTICE_SECONDS = 15.0  # after the notice's time: hosts end a little later than announced
EXIT_GIVEN_UP = 1  # unhealthy too often: not retried


class Attempt:
    """The state of one attempt. `run` is called once."""

    def __init__(self, settings: Settings, argv: Sequence[str]) -> None:
        self._settings = settings
        self._argv = argv
        self._store: Store | None = open_store(settings.store_url) if settings.store_url is not None else None
        self._record = _new_record(settings)
        self._signals = Signals()
        self._background = Background(self._signals.wake)  # checkpoints and outputs: may take long
        self._small = Background(self._signals.wake)  # records and progress: must not wait for the former
        self._interruptions = Interruptions(self._signals, settings.notice_file, settings.stop_seconds, self._record)
        self._workspace: Workspace = make_workspace(settings)
        self._attempt_store = self._make_attempt_store(self._store) if self._store is not None else None
        self._snapshots = self._make_snapshots(self._store) if settings.is_snapshot_wanted else None
        self._command: Command | None = None
        self._schedule: SaveSchedule | None = None
        self._past = Past(attempt=self._record.attempt, unhealthy=0)
        self._is_numbered = False  # whether the store has been asked for earlier attempts
        self._began_at = time.time()

    def run(self) -> int:
        """Returns spotrun's exit code."""
        try:
            return self._run()
        finally:
            if self._command is not None:
                self._command.kill()
            if is_restore_under_way(self._workspace.checkpoint):
                self._workspace.keep("checkpoint", self._workspace.checkpoint)
            self._workspace.remove()

    def _run(self) -> int:
        try:
            finished = self._prepare()
        except (SpotbatchError, OSError) as problem:
            return self._not_begun(problem)
        if finished is not None:
            return self._end_well(finished)
        self._interruptions.look()
        if self._interruptions.current is not None:
            return self._leave_unstarted()
        self._signals.begin()
        try:
            self._command = self._start()
        except OSError as error:
            say(f"cannot run {self._argv[0]!r}: {error.strerror}")
            if may_pass(error):  # no memory, or no process available
                return self._end("not_restored", EXIT_INTERRUPTED)
            return self._end("failed", EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CANNOT_RUN)
        if self._command is None:
            return self._end("not_restored", EXIT_INTERRUPTED)
        self._signals.forward_to(self._command.send)
        supervisor = self._supervisor(self._command)
        code = supervisor.run()
        self._record.command_exit_code = code
        if supervisor.progress is not None:
            supervisor.progress.tick(is_last=True)
        return self._finish(code, supervisor)

    def _start(self) -> Command | None:
        """The command; None if it could not be restored from its snapshot. Raises OSError."""
        folder, variables = self._workspace.code if self._settings.code is not None else None, self._variables()
        if self._snapshots is None:
            return Command(self._argv, variables, folder)
        from spotbatch.runtime.snapshot.refusal import NoSnapshot

        try:
            return self._snapshots.start(self._argv, variables, folder)
        except NoSnapshot:  # logged; this container may hold half of it, so the next attempt begins in another
            return None

    # --- before

    def _make_snapshots(self, store: Store | None) -> "SnapshotFlow | None":
        durable = self._attempt_store
        if store is None or durable is None:
            return None
        from spotbatch.runtime.snapshot.archive import Archive
        from spotbatch.runtime.snapshot.flow import SnapshotFlow  # most attempts have no snapshots

        archive = Archive(store, self._settings.identity, self._workspace.own, durable.check_fence)
        return SnapshotFlow(self._settings, self._argv, self._workspace, self._record, archive, self._signals.wake)

    def _make_attempt_store(self, store: Store) -> AttemptStore:
        return AttemptStore(
            store,
            self._settings.identity,
            self._workspace.checkpoint,
            scratch=self._workspace.own,
            exclude=self._settings.exclude,
            processes=lambda: self._command.pids() if self._command is not None else (),
            open_rule=self._settings.open_rule,
        )

    def _prepare(self) -> Uploaded | None:
        """Restore, and fetch inputs; returns early when the attempt is interrupted.

        Returns the outputs if an earlier attempt's command succeeded and only their upload was left to finish.
        """
        limit, began = Limit.standing_still(self._settings.restore_seconds), time.monotonic()
        if self._attempt_store is None:
            say(f"{SPOTBATCH_ARTIFACTS_URL} is not set: the command runs, and nothing is saved")
        else:
            durable = self._attempt_store
            self._number(self._await(self._background.do(lambda: durable.look_back(limit)), limit, is_number=True))
            if (finished := self._await(self._background.do(lambda: self._claim(durable, limit)), limit)) is not None:
                return finished
            if self._interruptions.current is not None:
                return None
            self._workspace.take("checkpoint", self._workspace.checkpoint)
            restored = self._await(self._background.do(lambda: durable.restore(limit)), limit)
            if restored is None:
                return None
            self._take_up(restored)
        self._record.downloaded_bytes += self._await(self._background.do(lambda: self._fetch(limit)), limit) or 0
        if self._snapshots is not None:
            snapshots, newest = self._snapshots, self._record.resumed_from or ""
            received = self._await(self._background.do(lambda: snapshots.look(newest, limit)), limit)
            self._record.downloaded_bytes += received or 0
        self._record.restore_seconds = round(time.monotonic() - began, 3)
        self._began_at = time.time()
        self._put_record()
        return None

    def _claim(self, durable: AttemptStore, limit: Limit) -> Uploaded | None:
        """Become the only attempt at this work; then finish an interrupted upload, if there is one."""
        durable.claim(limit)
        if self._past.attempt == 1:
            return None
        kept = self._workspace.own / "kept-output"
        return durable.finish_upload(kept if self._workspace.take("output", kept) else None, limit)

    def _number(self, past: Past | None) -> None:
        """Before anything can fail: the record of an attempt that did not begin must not replace another's."""
        if past is not None:
            self._past = past
            self._record.attempt = past.attempt
            self._is_numbered = True

    def _take_up(self, restored: Restored) -> None:
        self._record.downloaded_bytes += restored.downloaded_bytes
        if restored.manifest is not None:
            self._record.resumed_from = restored.manifest.name
            self._record.checkpoint_bytes = restored.manifest.size
            say(f"resumed from checkpoint {restored.manifest.name} ({restored.manifest.files} files)")

    def _fetch(self, limit: Limit) -> int:
        if self._settings.code is not None:
            from spotbatch.runtime.code import fetch_code  # tarfile is not loaded at every start

            fetch_code(self._settings.code, self._store, self._workspace.code, limit)
        own = fetch_own_input(self._settings.identity, self._store, limit)
        if not (self._settings.inputs or own):
            return 0
        from spotbatch.runtime.inputs import fetch_inputs  # as above

        return fetch_inputs((*self._settings.inputs, *own), self._store, self._workspace.input, limit)

    def _not_begun(self, problem: Exception) -> int:
        """Without knowing the last checkpoint, starting over would throw work away: so do not begin."""
        where = "" if not isinstance(problem, OSError) or problem.filename else f" (in {self._workspace.scratch})"
        say(f"the command was not started: {problem}{where}")
        return self._end("not_restored", EXIT_INTERRUPTED if may_pass(problem) else EXIT_OURS)

    def _leave_unstarted(self) -> int:
        """Interrupted before the command began. Under a notice, wait until the host is taken: a host that does not
        drain is still offered to the next attempt, and exiting at once would use up all attempts on it.
        (ECS places on a noticed host unless ECS_ENABLE_SPOT_INSTANCE_DRAINING is set: the ECS developer guide,
        "Managing Amazon ECS Spot instances".)
        """
        why = self._interruptions.current
        code = self._end("interrupted", EXIT_INTERRUPTED)  # the record first: the host may be gone at any moment
        if why is None or why.cause != "notice" or self._interruptions.is_told_to_stop:
            return code
        until = time.monotonic() + min(why.left_seconds(), MOST_NOTICE_SECONDS) + AFTER_NOTICE_SECONDS
        say(
            "the host has a notice: the command is not started, and spotrun waits up to "
            f"{until - time.monotonic():.0f} s for the host to go, so that the next attempt is not placed on it again"
        )
        while time.monotonic() < until and not self._interruptions.is_told_to_stop:
            self._signals.wait(min(TICK_SECONDS, until - time.monotonic()))
            self._interruptions.look()
        return self._end("interrupted", EXIT_INTERRUPTED)

    def _supervisor(self, command: Command) -> Supervisor:
        durable, settings = self._attempt_store, self._settings
        progress = None
        if durable is not None:
            self._schedule = self._make_schedule(durable)
            progress = Progress(
                self._workspace.progress_file,
                lambda data: self._small.do(lambda: durable.put_progress(data)),
                self._record.attempt,
            )
        return Supervisor(
            command=command,
            settings=settings,
            workspace=self._workspace,
            signals=self._signals,
            interruptions=self._interruptions,
            health=Health(settings.health, self._workspace.heartbeat_file, command_variables(self._workspace)),
            monitor=ResourceMonitor(
                self._record, (self._workspace.checkpoint, self._workspace.output), publish=self._put_record
            ),
            schedule=self._schedule,
            progress=progress,
            unfinished=durable.unfinished if durable is not None else dict,
            snapshots=self._snapshots,
        )

    def _variables(self) -> dict[str, str]:
        """The command's. libuv uses io_uring where it may, which no dump has (libuv, `uv_loop_init`)."""
        more = {} if self._snapshots is None else {"UV_USE_IO_URING": "0"}
        return {**more, **command_variables(self._workspace)}

    def _make_schedule(self, durable: AttemptStore) -> SaveSchedule:
        return SaveSchedule(
            background=self._background,
            save=durable.save,
            warm_up=durable.warm_up,
            record=self._record,
            workspace=self._workspace,
            on_saved=self._put_record,
            fixed_seconds=self._settings.checkpoint_seconds,
            interruptions_per_hour=self._settings.interruptions_per_hour,
            restore_seconds=self._settings.restore_seconds,
        )

    # --- after

    def _finish(self, code: int, supervisor: Supervisor) -> int:
        if code == 0:
            return self._finish_well(supervisor)
        if self._interruptions.current is not None:
            self._save_last(supervisor)
            self._publish_snapshot(supervisor)
            return self._end("interrupted", EXIT_INTERRUPTED)
        if self._snapshots is not None and self._snapshots.is_badly_restored(supervisor.command.died_of):
            return self._end("not_restored", EXIT_INTERRUPTED)
        if supervisor.health.failed is not None:
            self._save_last(supervisor)
            self._keep_failed()
            if self._snapshots is not None:
                self._snapshots.is_unhealthy()
            return self._end("unhealthy", self._unhealthy_code())
        self._keep_failed()
        return self._end("failed", code)

    def _publish_snapshot(self, supervisor: Supervisor) -> None:
        """After the checkpoint: if the snapshot does not arrive, that is what the next attempt has."""
        durable, snapshots, dump = self._attempt_store, self._snapshots, supervisor.dump
        if durable is None or snapshots is None or dump is None:
            return
        left_seconds = max(0.0, self._interruptions.left_seconds(_LONG) - shutdown.MARGIN_SECONDS)
        limit = Limit.standing_still(self._settings.upload_seconds, left_seconds)
        ticket = self._background.do(lambda: snapshots.publish(dump, durable.newest_checkpoint, limit))
        with contextlib.suppress(StoreError):
            self._await(ticket, limit)
        if not ticket.is_done:
            say("the snapshot could not be stored in time: the last checkpoint counts")

    def _finish_well(self, supervisor: Supervisor) -> int:
        """The last state first: if the outputs do not arrive, the next attempt at least has that."""
        durable, seconds = self._attempt_store, self._settings.upload_seconds
        if durable is None:
            return self._end("succeeded", 0)
        self._save_last(supervisor)
        limit = Limit.standing_still(seconds, self._interruptions.left_seconds(_LONG))
        output = self._workspace.output
        try:
            uploaded = self._await(self._background.do(lambda: durable.upload_outputs(output, limit)), limit)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the outputs are not saved; it must be logged
            say(f"the outputs are NOT saved: {problem}")
            uploaded = None
            if not (may_pass(problem) or isinstance(problem, Missing)):  # it would fail the same way each time
                say(f"another attempt would end in the same way: exit code {EXIT_OUTPUTS_REFUSED}")
                if not isinstance(problem, Superseded):
                    self._keep_failed()
                return self._end("not_saved", EXIT_OUTPUTS_REFUSED)
        if uploaded is not None:
            return self._end_well(uploaded)
        self._workspace.keep("output", output)
        if self._interruptions.current is not None:
            return self._end("interrupted", EXIT_INTERRUPTED)
        say(f"the command succeeded, and its outputs could not be saved: exit code {EXIT_NOT_SAVED}")
        return self._end("not_saved", EXIT_NOT_SAVED)

    def _end_well(self, uploaded: Uploaded) -> int:
        self._record.output_files = len(uploaded.files)
        self._record.output_bytes = uploaded.size
        self._record.uploaded_bytes += uploaded.uploaded_bytes
        code = self._end("succeeded", 0)
        if self._snapshots is not None:
            self._snapshots.is_finished()
        return code

    def _unhealthy_code(self) -> int:
        if self._past.unhealthy < self._settings.health.attempts:
            return EXIT_UNHEALTHY
        say(f"{self._past.unhealthy} attempts before this one ended unhealthy too: given up")
        return EXIT_GIVEN_UP

    def _keep_failed(self) -> None:
        durable, command, number = self._attempt_store, self._command, self._record.attempt
        if durable is None or command is None:
            return
        limit = Limit.standing_still(self._settings.upload_seconds, self._interruptions.left_seconds(_LONG))
        ticket = self._background.do(
            lambda: durable.keep_failed(number, command.tail.text(), self._workspace.output, limit)
        )
        try:
            self._await(ticket, limit)
        except Exception as problem:  # noqa: BLE001 - the command's own exit code counts
            say(f"the last lines of this failed attempt could not be kept: {problem}")

    def _save_last(self, supervisor: Supervisor) -> None:
        if self._schedule is None:
            return
        if not supervisor.is_folder_at_rest:
            say("the command died, perhaps while it wrote a checkpoint file: the checkpoint before stays the last one")
            return
        left_seconds = max(0.0, self._interruptions.left_seconds(_LONG) - shutdown.MARGIN_SECONDS)
        limit = Limit.standing_still(self._settings.upload_seconds, left_seconds)
        ticket = self._schedule.last(limit, supervisor.half_written)
        with contextlib.suppress(Exception):  # logged and counted by settle()
            self._await(ticket, limit)
        self._schedule.settle()
        if not ticket.is_done:
            say("the last save did not end in time: the checkpoint before stays the last one")

    def _end(self, outcome: str, exit_code: int) -> int:
        saved_at = max(self._began_at, self._record.last_saved_at or 0.0)
        finish(self._record, outcome=outcome, exit_code=exit_code, began_at=saved_at)
        is_down = outcome in ("not_restored", "not_saved")  # probably the store: do not wait for it again
        limit = Limit(self._interruptions.left_seconds(1.0 if is_down else RECORD_SECONDS))
        ticket = self._put_record(limit)
        if ticket is not None:
            with contextlib.suppress(SpotbatchError):
                self._await(ticket, limit)
        return exit_code

    # --- waiting

    def _put_record(self, limit: Limit | None = None) -> Ticket[None] | None:
        durable = self._attempt_store
        return (
            None
            if durable is None or not self._is_numbered
            else self._small.do(lambda: durable.put_record(self._record, limit))
        )

    def _await(self, ticket: Ticket[T], limit: Limit, *, is_number: bool = False) -> T | None:
        """The ticket's result; None when an interruption leaves no more time.

        Before the command has started, any interruption ends the wait: there is nothing to save yet. But the attempt's
        own number, which is one small request, is waited for while there is time.

        Raises:
            StoreError: the limit is over; also raises what the work raised.
        """
        while not ticket.is_done:
            if limit.is_over():
                limit.cancel()
                raise StoreError("the store did not answer in time: nothing has moved for as long as is waited")
            self._signals.wait(min(TICK_SECONDS, limit.left_seconds()))
            self._interruptions.look()
            if self._command is not None:
                self._command.reap()
            is_early = self._command is None and self._interruptions.current is not None and not is_number
            if (is_early and self._record.ended_at is None) or self._interruptions.is_time_over():
                limit.cancel()
                return None
        return ticket.result()


def _new_record(settings: Settings) -> AttemptRecord:
    identity = settings.identity
    return AttemptRecord(
        run_id=identity.run_id,
        job_id=identity.job_id,
        array_index=identity.array_index,
        attempt=identity.attempt or 1,
        instance_type=identity.instance_type or host_fact(settings.notice_file, HOST_TYPE_FILE),
        zone=identity.zone or host_fact(settings.notice_file, HOST_ZONE_FILE),
        started_at=time.time(),
    )
