"""The checkpoint folder during a restore: folders first, then files, then links, modes and times.

A marker stays in the folder until all is done. A folder with the marker holds only what an interrupted restore
wrote, since the command is started only afterwards: so it is reused, each piece verified by its checksum.
"""

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spotbatch.runtime.checkpoints.blocks import CHUNK, UNSURE, Piece, chunks_in
from spotbatch.runtime.checkpoints.folder import fields_of, is_file, look_of
from spotbatch.runtime.checkpoints.room import MARKER, is_of_the_file_system, is_restore_under_way
from spotbatch.runtime.checkpoints.trust import CLOCK_TICK_NS, FileSystems, is_too_young
from spotbatch.runtime.log import say

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

LOOKS_AT_ONCE = 1000
NO_TIME_NS = -1  # version 1 manifests had no times for folders and links


@dataclass(kw_only=True)
class Pending:
    """A folder being filled."""

    folder: bytes
    found_bytes: int = 0  # already present and correct
    has_holes: bool = True  # files start out as holes, so zeros need not be written

    def path(self, key: bytes) -> bytes:
        return self.folder + b"/" + key


def prepare(folder: Path, index: "Index | None") -> Pending:
    """Create the folders of a checkpoint, and record in the index which pieces of files must be fetched.

    None: there is no checkpoint, and the folder is emptied.

    Raises:
        OSError.
    """
    pending = Pending(folder=os.fsencode(folder))
    if index is None:
        _clear(folder, None)
        (folder / MARKER).unlink(missing_ok=True)
        return pending
    pending.has_holes = not is_restore_under_way(folder)
    (folder / MARKER).touch()
    if not pending.has_holes:
        _make_writable(folder)
        _clear(folder, index)
    index.want(piece for key, look, body in index.entries() for piece in _plan(pending, key, look, body))
    if pending.found_bytes:
        say(f"{pending.found_bytes} bytes of an earlier restore are whole, and are not fetched again")
    return pending


def finish(folder: Path, index: "Index", pending: Pending) -> None:
    """Links, modes and times last: a file must be complete before it may be read-only. Records looks in the index."""
    file_systems, kind = FileSystems(), os.fspath(folder)
    looks: list[tuple[bytes, int, bytes]] = []

    def learn(key: bytes, found: os.stat_result) -> None:
        # judged as of one tick from now, which is waited for below: nobody writes before the command is started
        is_sure = not is_too_young(found, time.time_ns() + CLOCK_TICK_NS)
        is_sure = is_sure and file_systems.tells_of_writes(found.st_dev, kind)
        looks.append((look_of(found), 0 if is_sure else UNSURE, key))
        if len(looks) >= LOOKS_AT_ONCE:
            index.set_looks(looks)
            looks.clear()

    for key, look, body in index.entries():
        _, mtime_ns, _, _, _, mode = fields_of(look)
        path = pending.path(key)
        if stat.S_ISLNK(mode):
            os.symlink(body, path)  # noqa: PTH211 - bytes, and possibly a hundred thousand of them
            _set_time(path, mtime_ns)
        elif stat.S_ISREG(mode):
            os.chmod(path, stat.S_IMODE(mode))  # noqa: PTH101 - as above
            _set_time(path, mtime_ns)
        else:
            continue
        learn(key, os.lstat(path))
    (folder / MARKER).unlink(missing_ok=True)
    for key, look in index.folders_from_below():
        _, mtime_ns, _, _, _, mode = fields_of(look)
        path = pending.path(key)
        try:
            os.chmod(path, stat.S_IMODE(mode))  # noqa: PTH101 - as above
            _set_time(path, mtime_ns)
        except PermissionError as error:
            if key:
                raise
            say(f"{folder} belongs to somebody else, and keeps its mode and time ({error.strerror})")
        learn(key, os.stat(path))  # noqa: PTH116 - as above
    index.set_looks(looks)
    time.sleep(CLOCK_TICK_NS / 1e9)
    if index.published_look(b"") is None:  # version 1 manifests did not list the folder itself
        index.load([(b"", look_of(os.stat(folder)), 0, b"")])  # noqa: PTH116 - as above


def _set_time(path: bytes, mtime_ns: int) -> None:
    if mtime_ns != NO_TIME_NS:
        os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def _plan(pending: Pending, key: bytes, look: bytes, body: bytes) -> Iterator[Piece]:
    """A file starts as a hole of its full size; of one left by an earlier restore, the correct pieces stay."""
    size, _, _, _, _, mode = fields_of(look)
    path = pending.path(key)
    if stat.S_ISDIR(mode):
        os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103 - as above
        return
    if not stat.S_ISREG(mode):
        return
    if len(body) == CHUNK.size and pending.has_holes:  # created when its single piece arrives: most files are small
        digest, pack, start, length = CHUNK.unpack(body)
        yield Piece(pack, start, length, digest, key, 0)
        return
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_EXCL if pending.has_holes else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        has_content = not pending.has_holes and os.fstat(descriptor).st_size > 0
        if body or has_content:
            os.ftruncate(descriptor, size)
        at = 0
        for digest, pack, start, length in chunks_in(body):
            if has_content and _is_there(descriptor, at, length, digest):
                pending.found_bytes += length
            else:
                yield Piece(pack, start, length, digest, key, at)
            at += length
    finally:
        os.close(descriptor)


def _is_there(descriptor: int, at: int, length: int, digest: bytes) -> bool:
    data = os.pread(descriptor, length, at)
    return len(data) == length and hashlib.sha256(data).digest() == digest


def _make_writable(folder: Path) -> None:
    """Undo modes that the interrupted restore may already have set."""
    for top, folders, names in os.walk(folder):
        if Path(top) == folder:
            own = [entry.name for entry in os.scandir(folder) if is_of_the_file_system(folder, entry)]
            folders[:] = [name for name in folders if name not in own]
        for name in folders + names:
            path = Path(top, name)
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)


def _clear(folder: Path, index: "Index | None", below: bytes = b"") -> None:
    """Remove what one of our restores has written, except the regular files and folders that the index has."""
    for entry in list(os.scandir(os.fsencode(folder))):
        key = below + entry.name
        if not below and is_of_the_file_system(folder, entry):
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        known = index.known_of(key + b"/" if is_folder else key) if index is not None else None
        if is_folder:
            if known is not None:
                _clear(Path(os.fsdecode(entry.path)), index, key + b"/")
            else:
                shutil.rmtree(entry.path)
        elif key != os.fsencode(MARKER):
            is_kept = known is not None and is_file(known.look) and entry.is_file(follow_symlinks=False)
            if not is_kept:
                os.unlink(entry.path)  # noqa: PTH108 - as above
