"""Where snapshots enter an attempt: what is asked of them before the command, at a notice, and afterwards."""

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.light_dataclass import as_dict
from spotbatch.runtime.background import Background, Ticket
from spotbatch.runtime.checkpoints.open_rule import Unfinished
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.log import say
from spotbatch.runtime.process.command import Command
from spotbatch.runtime.settings import Settings
from spotbatch.runtime.snapshot.archive import Archive
from spotbatch.runtime.snapshot.document import Snapshot
from spotbatch.runtime.snapshot.refusal import NoSnapshot
from spotbatch.runtime.snapshot.snapshots import Dump, Snapshots
from spotbatch.runtime.workspace import Workspace

_MARK_SECONDS = 20.0
_DROP_SECONDS = 10.0
# A restored program that dies of one of these was most likely not restored well.
_NOT_WELL = (signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS)
_MIB = 1 << 20


class SnapshotFlow:
    """The snapshots of one attempt. Without an agent (`why_not`) the attempt runs as if none were asked for."""

    def __init__(
        self,
        settings: Settings,
        argv: Sequence[str],
        workspace: Workspace,
        record: AttemptRecord,
        archive: Archive,
        wake: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._record = record
        self._own = workspace.own
        self._background = Background(wake)  # not behind a save that is under way
        self._found: Snapshot | None = None  # to go on from, and fetched
        self._has_any = False  # whether the store has one, of whatever worth
        self._snapshots: Snapshots | None = None
        try:
            self._snapshots = Snapshots(settings, argv, workspace, record)
        except NoSnapshot as no:
            self._refuse(f"snapshots are off: {no}")

    def look(self, newest_checkpoint: str, limit: Limit) -> int:
        """The inputs are there: find the snapshot to go on from, and fetch it; returns the bytes received.

        Raises:
            StoreError, OSError: whether there is one is not known.
        """
        if self._snapshots is None:
            return 0
        try:
            self._snapshots.prepare()
        except OSError as problem:
            self._snapshots = None
            self._refuse(f"snapshots are off: the files of this host cannot be listed: {problem}")
            return 0
        found = self._archive.find(limit)
        if found is None:
            return 0
        self._has_any = True
        if why := self._snapshots.why_unusable(found, newest_checkpoint):
            say(f"the snapshot of attempt {found.attempt} is not used: {why}")
            return 0
        try:
            received = self._archive.fetch(found, self._own / "fetched", limit)
        except NoSnapshot as no:  # nothing has been touched: the command begins as without a snapshot
            self._mark_bad(found, str(no))
            return 0
        self._found = found
        return received

    @property
    def is_restoring(self) -> bool:
        """Whether `start` goes on from a snapshot."""
        return self._found is not None

    def start(self, argv: Sequence[str], variables: Mapping[str, str], folder: Path | None) -> Command:
        """The command, restored or new.

        Raises:
            NoSnapshot: it could not be restored, and this container must not be used any more.
            OSError: a new one cannot be started.
        """
        if self._found is not None and self._snapshots is not None:
            try:
                return self._snapshots.restore(self._found, self._own / "fetched")
            except (NoSnapshot, OSError, ValueError) as problem:
                self._mark_bad(self._found, str(problem))
                raise NoSnapshot(str(problem)) from problem
        if self._snapshots is not None:
            try:
                self._snapshots.begin()
            except NoSnapshot as no:
                self._snapshots = None
                self._refuse(f"snapshots are off: {no}")
        return Command(argv, variables, folder, is_dumpable=self._snapshots is not None)

    def dump(
        self, command: Command, left_seconds: float, unfinished: Callable[[], Mapping[str, Unfinished]]
    ) -> Ticket[Dump] | None:
        """Begin to dump and kill the command; None if that is not possible here."""
        snapshots = self._snapshots
        if snapshots is None:
            return None
        prefix = self._archive.new_prefix(self._record.attempt)
        return self._background.do(lambda: snapshots.dump(command, left_seconds, unfinished, prefix))

    def dumped(self, ticket: Ticket[Dump]) -> Dump | None:
        """The finished dump; None if it was refused, which is logged and recorded.

        Raises:
            NoSnapshot: it failed, and the command must not run on.
        """
        try:
            dump = ticket.result()
        except NoSnapshot as no:
            self._refuse(f"no snapshot: {no}")
            if no.is_broken:
                raise
            return None
        except Exception as problem:
            self._refuse(f"no snapshot: {problem!r}")
            raise NoSnapshot(repr(problem), is_broken=True) from problem
        self._record.snapshot_seconds = dump.snapshot.seconds
        say(
            f"the command was dumped: {dump.snapshot.memory_bytes / _MIB:.0f} MiB of memory in "
            f"{dump.snapshot.seconds:.1f} s, and {dump.snapshot.file_bytes / _MIB:.0f} MiB of files"
        )
        return dump

    def publish(self, dump: Dump, newest_checkpoint: str, limit: Limit) -> None:
        """Store a dump; one that cannot be stored is logged, and the last checkpoint counts."""
        snapshot = Snapshot(**{**as_dict(dump.snapshot), "checkpoint": newest_checkpoint})
        try:
            sent = self._archive.publish(snapshot, dump.images, dump.files, limit)
        except (SpotbatchError, OSError) as problem:
            self._refuse(f"the snapshot could not be stored: {problem}")
            return
        self._record.uploaded_bytes += sent
        self._record.snapshot_bytes = snapshot.memory_bytes + snapshot.file_bytes
        self._record.last_saved_at = dump.at
        say(f"the snapshot is stored ({sent / _MIB:.0f} MiB compressed)")
        self._archive.drop(snapshot.prefix, Limit(min(_DROP_SECONDS, limit.left_seconds())))

    def is_badly_restored(self, died_of: int | None) -> bool:
        """Whether a restored command died in a way that a new one may not; its snapshot is then not used again."""
        if self._found is None or died_of not in _NOT_WELL:
            return False
        self._mark_bad(self._found, f"the restored command died of {signal.Signals(died_of).name}")
        return True

    def is_unhealthy(self) -> None:
        """The command did not become healthy: if it was restored, another one may."""
        if self._found is not None:
            self._mark_bad(self._found, "the restored command was unhealthy")

    def is_finished(self) -> None:
        """The work is done: its snapshots are deleted."""
        if self._has_any:
            self._archive.drop(None, Limit(_DROP_SECONDS))

    def _refuse(self, text: str) -> None:
        say(text)
        self._record.snapshot_refused = text

    def _mark_bad(self, snapshot: Snapshot, why: str) -> None:
        say(f"the snapshot of attempt {snapshot.attempt} cannot be used, and is not tried again: {why}")
        self._record.snapshot_refused = why
        try:
            self._archive.mark_bad(snapshot, why[:1000], Limit(_MARK_SECONDS))
        except SpotbatchError as problem:
            say(f"that could not be recorded in the store: {problem}")
