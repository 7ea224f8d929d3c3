"""The checkpoint folder while it is being restored: folders first, then files, then links, modes and times.

A marker lies in the folder until all is done. A folder with the marker holds nothing but what a restore wrote that was
cut off, since the command is started only afterwards: so it is used again, each piece judged by its checksum.
"""

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from spotbatch.runtime.checkpoints.manifest import Chunk, Manifest, SavedFile
from spotbatch.runtime.errors import local_error
from spotbatch.runtime.log import say

MARKER = ".spotbatch-restore-under-way"


class Piece(NamedTuple):
    """Where one chunk of a file belongs."""

    file: SavedFile
    offset: int
    chunk: Chunk


@dataclass(kw_only=True)
class Pending:
    """What is still to be fetched, by pack."""

    folder: str
    pieces: dict[str, list[Piece]] = field(default_factory=dict)
    found_bytes: int = 0  # already there, and right
    has_holes: bool = True  # files begin as holes, so zeros need not be written

    def path(self, file: SavedFile) -> str:
        return f"{self.folder}/{file.path}"


def make_room(folder: Path) -> None:
    """An empty folder, or what an earlier restore into it left; anything else that stood there is moved aside, never
    deleted.

    Raises:
        InvalidSetting: the folder cannot be made or emptied. HostFault: not on this host.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not is_restore_under_way(folder):
            aside = _free_name(folder)
            folder.rename(aside)
            folder.mkdir()
            say(f"{folder} was not empty: what was in it is now in {aside}")
    except OSError as error:
        text = f"the checkpoint folder {folder} must be writable, and empty or such that it can be moved aside: {error}"
        raise local_error(text, error) from error


def is_restore_under_way(folder: Path) -> bool:
    try:
        return stat.S_ISREG((folder / MARKER).lstat().st_mode)
    except OSError:
        return False


def prepare(folder: Path, manifest: Manifest | None) -> Pending:
    """Make the folders and the empty files of a checkpoint, and say which pieces are to be fetched.

    None: there is none, and the folder becomes empty.

    Raises:
        OSError.
    """
    pending = Pending(folder=str(folder))
    if manifest is None:
        _clear(folder, keep=frozenset())
        (folder / MARKER).unlink(missing_ok=True)
        return pending
    pending.has_holes = not is_restore_under_way(folder)
    (folder / MARKER).touch()
    if not pending.has_holes:
        _make_writable(folder)
        _clear(folder, keep=frozenset(each.path for each in manifest.files), folders=frozenset(dict(manifest.folders)))
    for path, _ in manifest.folders:
        os.makedirs(f"{folder}/{path}", mode=0o700, exist_ok=True)  # noqa: PTH103 - a text is faster, for many
    for file in manifest.files:
        _plan(pending, file)
    if pending.found_bytes:
        say(f"{pending.found_bytes} bytes of an earlier restore are whole, and are not fetched again")
    return pending


def finish(folder: Path, manifest: Manifest) -> None:
    """Links, modes and times last: a file must be complete before it may become read-only."""
    for path, target in manifest.links:
        os.symlink(target, f"{folder}/{path}")  # noqa: PTH211 - as above
    for file in manifest.files:
        path = f"{folder}/{file.path}"
        os.chmod(path, file.mode)  # noqa: PTH101 - as above
        os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
    (folder / MARKER).unlink(missing_ok=True)
    for path, mode in reversed(manifest.folders):
        os.chmod(f"{folder}/{path}", mode)  # noqa: PTH101 - as above


def _plan(pending: Pending, file: SavedFile) -> None:
    """A file that begins as a hole of its size; where one is left of an earlier restore, what of it is right stays."""
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_EXCL if pending.has_holes else 0)
    descriptor = os.open(pending.path(file), flags, 0o600)
    try:
        has_content = not pending.has_holes and os.fstat(descriptor).st_size > 0
        if file.chunks or has_content:
            os.ftruncate(descriptor, file.size)
        offset = 0
        for chunk in file.chunks:
            if has_content and _is_there(descriptor, offset, chunk):
                pending.found_bytes += chunk.length
            else:
                pending.pieces.setdefault(chunk.pack, []).append(Piece(file, offset, chunk))
            offset += chunk.length
    finally:
        os.close(descriptor)


def _is_there(descriptor: int, offset: int, chunk: Chunk) -> bool:
    data = os.pread(descriptor, chunk.length, offset)
    return len(data) == chunk.length and hashlib.sha256(data).hexdigest() == chunk.digest


def _make_writable(folder: Path) -> None:
    """Modes that the cut-off restore may have set already."""
    for top, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(top, name)
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)


def _clear(folder: Path, *, keep: frozenset[str], folders: frozenset[str] = frozenset(), below: str = "") -> None:
    """Remove what a restore of ours has written, but the regular files and the folders that are named."""
    for entry in list(os.scandir(folder)):
        path = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if path in folders:
                _clear(Path(entry.path), keep=keep, folders=folders, below=f"{path}/")
            else:
                shutil.rmtree(entry.path)
        elif path != MARKER and not (path in keep and entry.is_file(follow_symlinks=False)):
            Path(entry.path).unlink()


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return aside
