"""The files that go with a snapshot: all that changed since the command began, packed and put back exactly.

CRIU restores open files by name and checks their presence and size, not their content. So what a command wrote goes
with its memory, and what it only reads (programs, libraries, inputs) must have the same checksum in the next attempt.
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spotbatch.runtime.snapshot.refusal import NoSnapshot

ARCHIVE, DELETED, READ = "files.tar", "deleted.json", "read.json"
_NEVER = ("/proc", "/sys", "/dev")
_READ_BYTES = 1 << 20
_DELETED_SUFFIX = " (deleted)"


class Look(NamedTuple):
    """How a file looked: if this has changed, so may have its content."""

    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Carried:
    """The folders whose changes are carried, and how they looked before the command began."""

    def __init__(self, roots: Sequence[str], *, whole: Sequence[str], without: Sequence[str]) -> None:
        """`whole` are folders carried with all their content; `without` are our own."""
        self.roots = _outermost([*roots, *whole])
        self._whole = tuple(map(os.path.realpath, whole))
        self._without = frozenset(map(os.path.realpath, without))
        self._before: dict[str, Look] = {}

    def remember(self) -> None:
        """The command is about to begin, with everything that the next attempt will find as well."""
        self._before = {path: look for path, look in self._walk() if not self._is_whole(path)}

    def covers(self, path: str) -> bool:
        """Whether a file is in one of the folders."""
        return any(is_below(path, root) for root in self.roots)

    def changed(self) -> dict[str, Look]:
        """What is new or may have changed since then."""
        return {path: look for path, look in self._walk() if self._before.get(path) != look}

    def is_as_before(self, path: str) -> bool:
        """Whether a file is not carried because it has not changed."""
        with contextlib.suppress(OSError):
            return self._before.get(path) == _look(os.lstat(path))
        return False

    def pack(self, folder: Path) -> int:
        """Write the changed files and the names of deleted ones to a folder; returns their bytes. Raises OSError."""
        changed = self.changed()
        present = set(changed) | {path for path in self._before if os.path.lexists(path)}
        deleted = sorted(path for path in self._before if path not in present)
        size = 0
        with tarfile.open(folder / ARCHIVE, "x", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(changed):
                archive.add(path, recursive=False)
                size += changed[path].size if stat.S_ISREG(changed[path].mode) else 0
        (folder / DELETED).write_text(json.dumps(deleted), encoding="utf-8")
        return size

    def unpack(self, folder: Path) -> None:
        """Make the folders what they were. Raises OSError, NoSnapshot; then they are neither as before nor after."""
        for top in self._whole:
            for entry in os.scandir(top):
                if os.path.realpath(top) not in self._without and entry.path not in self._without:
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
        for path in json.loads((folder / DELETED).read_bytes()):
            self._check(path)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        try:
            with tarfile.open(folder / ARCHIVE) as archive:
                members = archive.getmembers()
                for member in members:
                    self._check(f"/{member.name}")
                _extract(archive, members)
        except tarfile.TarError as error:
            raise NoSnapshot(f"its files cannot be unpacked: {error}") from error

    def _check(self, path: str) -> None:
        """Nothing outside the folders is touched, whatever the store returned."""
        if not self.covers(path) or ".." in path.split("/") or os.path.realpath(path) in self._without:
            raise NoSnapshot(f"it has a file where none may be: {path}")

    def _is_whole(self, path: str) -> bool:
        return any(is_below(path, top) for top in self._whole)

    def _walk(self) -> Iterator[tuple[str, Look]]:
        for root in self.roots:
            device = os.lstat(root).st_dev
            waiting = [root]
            while waiting:
                try:
                    entries = list(os.scandir(waiting.pop()))
                except OSError:
                    continue
                for entry in entries:
                    with contextlib.suppress(OSError):
                        found = entry.stat(follow_symlinks=False)
                        if found.st_dev != device or entry.path in self._without or entry.path in _NEVER:
                            continue
                        if stat.S_ISDIR(found.st_mode):
                            waiting.append(entry.path)
                        if not stat.S_ISSOCK(found.st_mode):
                            yield entry.path, _look(found)


def is_below(path: str, top: str) -> bool:
    """Whether a path is a folder, or below it."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def written_outside(pids: Iterable[int], carried: Carried) -> list[str]:
    """Files that processes have open for writing and that no snapshot would carry."""
    found = set()
    for pid in pids:
        for path, is_written in open_files(pid):
            if is_written and not carried.covers(path):
                found.add(path)
    return sorted(found)


def read_files(pids: Iterable[int], carried: Carried) -> list[str]:
    """Files that processes have open or mapped and that are not carried."""
    found = {path for pid in pids for path, _ in open_files(pid)}
    return sorted(path for path in found if not carried.covers(path) or carried.is_as_before(path))


def open_files(pid: int) -> Iterator[tuple[str, bool]]:
    """Regular files that a process has open or mapped, and whether it may write to them. Deleted ones have no name."""
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                link = f"/proc/{pid}/fd/{number}"
                found = os.stat(link)
                if stat.S_ISREG(found.st_mode) and found.st_nlink:
                    info = Path(f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii")
                    flags = int(info.partition("flags:")[2].split()[0], 8)
                    yield os.readlink(link), flags & os.O_ACCMODE != os.O_RDONLY
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            parts = line.split(None, 5)
            if len(parts) > 5 and parts[5].startswith("/") and not parts[5].endswith(_DELETED_SUFFIX):
                path = parts[5].replace("\\012", "\n")
                if os.path.isfile(path):
                    yield path, parts[1][1:2] == "w" and parts[1][3:4] == "s"


def digests(paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 by path. Raises OSError."""
    return {path: digest_of(path) for path in paths}


def digest_of(path: str) -> str:
    """SHA-256 of a file. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_read(folder: Path) -> None:
    """Raises NoSnapshot if a file that the command had open or mapped is missing or has other content now."""
    for path, wanted in json.loads((folder / READ).read_bytes()).items():
        try:
            found = digest_of(path)
        except OSError as error:
            raise NoSnapshot(f"{path}, which it had open, cannot be read: {error.strerror}") from error
        if found != wanted:
            raise NoSnapshot(f"{path}, which it had open, has other content now")


def _extract(archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo]) -> None:
    """As root with owners; as a user without. Folders' times last, since files are made in them."""
    for member in members:
        target = f"/{member.name}"
        if not member.isdir() and os.path.lexists(target):
            shutil.rmtree(target) if os.path.isdir(target) and not os.path.islink(target) else os.unlink(target)
        archive.extract(member, "/", numeric_owner=True, filter="fully_trusted")
    for member in reversed([each for each in members if each.isdir()]):
        os.utime(f"/{member.name}", (member.mtime, member.mtime))


def _look(found: os.stat_result) -> Look:
    """A folder's own size and times change with what is in it, and say nothing more."""
    if stat.S_ISDIR(found.st_mode):
        return Look(found.st_mode, 0, 0, 0, found.st_ino)
    return Look(found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _outermost(folders: Iterable[str]) -> list[str]:
    """Without those that lie in another."""
    found: list[str] = []
    for each in sorted({os.path.realpath(folder) for folder in folders}):
        if not any(is_below(each, other) for other in found):
            found.append(each)
    return found
