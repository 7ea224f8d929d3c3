"""Snapshots of one attempt's command: taken at a notice, stored, found by the next attempt, and gone on with."""

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.light_dataclass import dataclass
from spotbatch.runtime.checkpoints.open_rule import Unfinished
from spotbatch.runtime.log import say
from spotbatch.runtime.process import freeze
from spotbatch.runtime.process.command import Command
from spotbatch.runtime.settings import Settings
from spotbatch.runtime.snapshot import budget
from spotbatch.runtime.snapshot.agent_link import AgentLink
from spotbatch.runtime.snapshot.archive import FILES, IMAGES
from spotbatch.runtime.snapshot.carried import (
    READ,
    Carried,
    check_read,
    digest_of,
    digests,
    read_files,
    written_outside,
)
from spotbatch.runtime.snapshot.document import Snapshot
from spotbatch.runtime.snapshot.refusal import NoSnapshot
from spotbatch.runtime.workspace import Workspace
from spotbatch.snapshots.processes import memory_bytes_of, tree

_RESTORE_SECONDS = 300.0  # for the agent, once everything is on this host
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Dump:
    """A dumped command: it has been killed, and its images and files lie on this host."""

    images: str
    files: Path
    snapshot: Snapshot
    half_written: Mapping[str, Unfinished]  # checkpoint files, when it was stopped
    at: float  # UTC epoch seconds


class Snapshots:
    """Used by one thread at a time; methods that ask the agent or the store block."""

    def __init__(self, settings: Settings, argv: Sequence[str], workspace: Workspace, record: AttemptRecord) -> None:
        """Raises NoSnapshot if there can be none here."""
        if settings.notice_file is None or settings.store_url is None:
            raise NoSnapshot("they need a store and a notice file")
        self._host_folder = settings.notice_file.parent
        AgentLink(self._host_folder).close()  # raises if there is none
        if os.getpid() != 1:
            raise NoSnapshot("spotrun is not the first process (PID 1) of its container")
        if not workspace.is_fixed:
            raise NoSnapshot(f"{workspace.scratch} is not where the next attempt's folder would be")
        self._workspace = workspace
        self._record = record
        self._argv = tuple(argv)
        self._command_digest = hashlib.sha256(json.dumps(list(argv)).encode(errors="surrogateescape")).hexdigest()
        self._inputs = ""
        self._link: AgentLink | None = None
        folders = [workspace.checkpoint, workspace.output]
        self._carried = Carried(settings.snapshot_roots, whole=[*map(str, folders)], without=[str(workspace.own)])

    def prepare(self) -> None:
        """The inputs are there, and the command is about to begin."""
        self._inputs = digest_of_folders([self._workspace.input, self._workspace.code])
        self._carried.remember()

    def begin(self) -> None:
        """A new command is about to be started. Raises NoSnapshot."""
        link = AgentLink(self._host_folder)
        try:
            link.begin()
        finally:
            link.close()

    # --- dump

    def dump(
        self, command: Command, left_seconds: float, unfinished: Callable[[], Mapping[str, Unfinished]], prefix: str
    ) -> Dump:
        """Dump the command and kill it. Nothing else may stop or resume its processes meanwhile.

        Raises:
            NoSnapshot: it runs on as before, unless it says that the command is broken.
        """
        give_up = time.monotonic() + left_seconds - budget.RESERVE_SECONDS / 2
        try:
            self._check_size(command.pid, left_seconds)
        except OSError as error:
            raise NoSnapshot(f"its size is not known: {error}") from error
        link = AgentLink(self._host_folder)
        self._link = link  # the images exist as long as it is open
        with freeze.alone():
            facts, images = link.dump(command.pid, max(1.0, give_up - time.monotonic()))
            half_written = unfinished()
            pids = tree(command.pid)
            outside = written_outside(pids, self._carried)
            read = read_files(pids, self._carried)
            if outside:
                command.send_all(signal.SIGCONT)
                raise NoSnapshot(_outside(outside))
            command.send_all(signal.SIGKILL)
        at = time.time()
        files = self._workspace.own / "dumped"
        files.mkdir()
        try:
            file_bytes = self._carried.pack(files)
            (files / READ).write_text(json.dumps(digests(read)), encoding="utf-8")
        except OSError as error:
            raise NoSnapshot(f"its files could not be kept: {error}", is_broken=True) from error
        snapshot = Snapshot(
            attempt=self._record.attempt,
            prefix=prefix,
            checkpoint="",
            command=self._command_digest,
            inputs=self._inputs,
            places=self._places(),
            pid=command.pid,
            pipes=[[name, target] for name, target in command.pipes],
            memory_bytes=int(facts["bytes"]),
            file_bytes=file_bytes,
            seconds=float(facts["seconds"]),
        )
        return Dump(images=f"/proc/self/fd/{images}", files=files, snapshot=snapshot, half_written=half_written, at=at)

    def _check_size(self, pid: int, left_seconds: float) -> None:
        """Raises NoSnapshot if it would not fit the time left, or could not be complete."""
        pids = tree(pid)
        if outside := written_outside(pids, self._carried):
            raise NoSnapshot(_outside(outside))
        memory_bytes = sum(map(memory_bytes_of, pids))
        file_bytes = sum(look.size for look in self._carried.changed().values())
        record = self._record
        speed = budget.upload_speed(record.checkpoint_uploaded_bytes, record.checkpoint_seconds)
        if why := budget.too_large(memory_bytes, file_bytes, left_seconds, speed):
            raise NoSnapshot(why)

    def _places(self) -> list[str]:
        space = self._workspace
        return [os.getcwd(), *map(str, (space.scratch, space.checkpoint, space.output, space.input))]  # noqa: PTH109

    # --- restore

    def why_unusable(self, snapshot: Snapshot, newest_checkpoint: str) -> str | None:
        """Why a snapshot that was found is not gone on with; None if it is. Nothing has been touched yet."""
        if snapshot.bad:
            return f"it could not be restored before: {snapshot.bad}"
        if snapshot.checkpoint != newest_checkpoint:
            return f"checkpoint {newest_checkpoint} is newer"
        if snapshot.command != self._command_digest:
            return "it is of another command"
        if snapshot.inputs != self._inputs:
            return "the inputs or the code are not those that it began with"
        if snapshot.places != self._places():
            return f"its folders had other names ({', '.join(snapshot.places)})"
        return None

    def restore(self, snapshot: Snapshot, fetched: Path) -> Command:
        """Put files and memory back, and become the parent of the command. Raises NoSnapshot, OSError."""
        began = time.monotonic()
        check_read(fetched / FILES)
        self._carried.unpack(fetched / FILES)
        pipes = [os.pipe() for _ in snapshot.pipes]
        images = os.open(fetched / IMAGES, os.O_RDONLY | os.O_DIRECTORY)
        link = AgentLink(self._host_folder)
        try:
            named = [(str(name), write) for (name, _), (_, write) in zip(snapshot.pipes, pipes, strict=True)]
            answer = link.restore(images, named, _RESTORE_SECONDS)
        finally:
            link.close()
            os.close(images)
            for _, write in pipes:
                os.close(write)
        shutil.rmtree(fetched, ignore_errors=True)
        if answer.get("pid") != snapshot.pid:
            raise NoSnapshot(f"the restored command has pid {answer.get('pid')} instead of {snapshot.pid}")
        self._record.snapshot_restore_seconds = round(time.monotonic() - began, 3)
        say(
            f"the command goes on from its snapshot of attempt {snapshot.attempt} "
            f"({snapshot.memory_bytes / _MIB:.0f} MiB of memory, {snapshot.file_bytes / _MIB:.0f} MiB of files), "
            f"restored in {time.monotonic() - began:.1f} s"
        )
        targets = [2 if target == 2 else 1 for _, target in snapshot.pipes]
        reads = [read for read, _ in pipes]
        return Command.restored(snapshot.pid, self._argv, list(zip(reads, targets, strict=True)))


def digest_of_folders(folders: Sequence[Path]) -> str:
    """One SHA-256 over the names and contents of all files below some folders. Raises OSError."""
    whole = hashlib.sha256()
    for folder in folders:
        for top, inner, names in os.walk(folder):
            inner.sort()
            for name in sorted(names):
                path = f"{top}/{name}"
                content = os.readlink(path) if os.path.islink(path) else digest_of(path)  # noqa: PTH114, PTH115
                whole.update(f"{path}\0{content}\0".encode(errors="surrogateescape"))
    return whole.hexdigest()


def _outside(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"it has {paths[0]}{more} open for writing, which no snapshot would carry"
