"""Where artifacts are kept: the few operations that the runtime needs, on a folder (`file://`) or on S3 (`s3://`)."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from spotbatch.batch.errors import BadName, Missing, Refused, SpotbatchError, StoreError
from spotbatch.batch.light_types import Protocol
from spotbatch.runtime.errors import is_about_the_name
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.storage.download import Changed, Stream

_PART = ".part-"  # with process and number: the name of a file being written
COPY_BYTES = 8 * 1024 * 1024
OnBytes = Callable[[int], object]


def is_part(name: str) -> bool:
    """Whether a file's name is that of one being written. Not a regular expression: `re` takes 4 ms to import."""
    numbers = name[len(_PART) :].split("-")
    is_numbered = len(numbers) == 2 and all(each.isascii() and each.isdecimal() for each in numbers)
    return name.startswith(_PART) and is_numbered


def ignore(count: int) -> None:
    """The default callback: does nothing."""


class Draft(Protocol):
    """An object written in pieces, which does not exist until it is kept. Used by one thread at a time."""

    def write(self, data: memoryview) -> None:
        """Raises StoreError."""

    def read(self, offset: int, length: int) -> bytes:
        """Read back what was written. Raises StoreError."""

    def keep(self, key: str) -> None:
        """Publish it under this key and finish. Raises StoreError; it is then still a draft."""

    def drop(self) -> None:
        """Discard it. Never raises."""


class Store(Protocol):
    """Objects by key. Writes are atomic: nobody sees a partial object. Every call ends within the store's limits."""

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None: ...

    def put_file(self, key: str, file: Path, on_bytes: OnBytes = ignore) -> None:
        """Store a file of any size; `on_bytes` is called with the size of each piece as it is sent."""

    def draft(self, prefix: str) -> Draft | None:
        """A new draft below a prefix; None if the store supports only whole objects, or cannot create one now."""

    def get(self, key: str, on_bytes: OnBytes = ignore) -> bytes:
        """The whole object; `on_bytes` is called with the size of each piece as it arrives."""

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several (offset, length) ranges of one object."""

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        """An object from an offset on, in pieces (`download.Source`)."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """(key, bytes) of everything below a prefix, which ends with a slash."""

    def delete(self, keys: Iterable[str]) -> None:
        """Missing keys are ignored."""

    def clear_leftovers(self, prefix: str) -> int:
        """Remove what killed writers left half written below a prefix; returns the number removed."""


class FolderStore:
    """Objects as files below a folder; a write creates a temporary file next to its target and renames it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counter = 0
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        self._into_place(key, lambda part: _write_all(part, data))

    def put_file(self, key: str, file: Path, on_bytes: OnBytes = ignore) -> None:
        self._into_place(key, lambda part: _copy_into(file, part, on_bytes))

    def draft(self, prefix: str) -> Draft | None:
        folder = self._path(prefix.removesuffix("/"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _FileDraft(self, self._beside(folder))
        except OSError:
            return None  # the later whole-object write reports the reason

    def get(self, key: str, on_bytes: OnBytes = ignore) -> bytes:
        try:
            data = self._path(key).read_bytes()
        except OSError as error:
            raise _translated(error, self._root / key) from error
        on_bytes(len(data))
        return data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY)
            try:
                return [os.pread(descriptor, length, offset) for offset, length in ranges]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _translated(error, self._root / key) from error

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe must not block us
        except OSError as error:
            raise _translated(error, path) from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise Refused(f"{path} is no file")
        now = f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"
        if version not in ("", now):
            os.close(descriptor)
            raise Changed(f"{path} was written while it was read")
        return Stream(version=now, size=found.st_size, pieces=_pieces(descriptor, offset, path))

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        top = self._path(prefix.removesuffix("/")) if prefix else self._root
        skipped = len(os.fspath(self._root).rstrip("/")) + 1
        try:
            for folder, _, names in os.walk(os.fspath(top), onerror=_raise_unless_gone):
                for name in names:
                    if is_part(name):
                        continue
                    file = f"{folder}/{name}"
                    try:
                        yield file[skipped:], os.lstat(file).st_size
                    except FileNotFoundError:
                        continue  # pruned by another attempt while we looked
        except OSError as error:  # a folder that cannot be listed is not empty
            raise _translated(error, Path(error.filename or top)) from error

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                self._path(key).unlink(missing_ok=True)
            except OSError as error:
                raise _translated(error, self._root / key) from error

    def path_of(self, key: str) -> Path:
        """Raises BadName."""
        return self._path(key)

    def _beside(self, folder: Path) -> Path:
        with self._lock:
            self._counter += 1
            return folder / f"{_PART}{os.getpid()}-{self._counter}"

    def _path(self, key: str) -> Path:
        if "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
            raise BadName(f"the key {key!r} can be no file below {self._root}")
        return self._root / key

    def _into_place(self, key: str, write: Callable[[int], None]) -> None:
        target = self._path(key)
        beside = self._beside(target.parent)
        for is_last in (False, False, True):
            try:
                return _write_beside(target, beside, write)
            except FileNotFoundError as error:  # no folder yet; or a cleanup was quicker than our lock
                if is_last:
                    raise _translated(error, target) from error
                with contextlib.suppress(OSError):
                    target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _translated(error, target) from error
        return None

    def clear_leftovers(self, prefix: str) -> int:
        """Remove what killed writers left half written below a prefix; returns the number removed.

        A living writer holds a lock on its part, in whatever container or on whatever host it runs.
        """
        cleared = 0
        for folder, _, names in os.walk(self._path(prefix.removesuffix("/"))):
            for part in (Path(folder, name) for name in names if is_part(name)):
                with contextlib.suppress(OSError):
                    cleared += _removed_unless_locked(part)
        return cleared


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


class _FileDraft:
    """A file next to its target, locked as long as this process lives."""

    def __init__(self, store: FolderStore, beside: Path) -> None:
        self._store = store
        self._beside = beside
        self._descriptor = _open_beside(beside)

    def write(self, data: memoryview) -> None:
        try:
            _write_all(self._descriptor, data)
        except OSError as error:
            raise _translated(error, self._beside) from error

    def read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise _translated(error, self._beside) from error

    def keep(self, key: str) -> None:
        target = self._store.path_of(key)
        try:
            self._beside.replace(target)
        except OSError as error:
            raise _translated(error, target) from error
        os.close(self._descriptor)

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._beside.unlink()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _open_beside(beside: Path) -> int:
    descriptor = os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o666)
    with contextlib.suppress(OSError):  # a file system without locks: then it is merely younger than the others
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def _write_beside(target: Path, beside: Path, write: Callable[[int], None]) -> None:
    descriptor = _open_beside(beside)
    try:
        write(descriptor)
        beside.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    finally:
        os.close(descriptor)


def _removed_unless_locked(part: Path) -> bool:
    descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _copy_into(source: Path, descriptor: int, on_bytes: OnBytes) -> None:
    """Copy in pieces, each of them by the kernel where possible."""
    with source.open("rb", buffering=0) as opened:
        while count := _copied(opened.fileno(), descriptor):
            on_bytes(count)


def _copied(read: int, write: int) -> int:
    try:
        return os.sendfile(write, read, None, COPY_BYTES)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP):
            raise
    data = os.read(read, COPY_BYTES)  # a file system or an operating system without this call
    _write_all(write, data)
    return len(data)


def _pieces(descriptor: int, offset: int, path: Path) -> Iterator[bytes]:
    try:
        while piece := os.pread(descriptor, COPY_BYTES, offset):
            yield piece
            offset += len(piece)
    except OSError as error:
        raise _translated(error, path) from error
    finally:
        os.close(descriptor)


def _translated(error: OSError, file: Path) -> SpotbatchError:
    if is_about_the_name(error):
        return BadName(f"{file}: {error.strerror}")
    if isinstance(error, FileNotFoundError):
        return Missing(f"{file} is not there")
    if isinstance(error, PermissionError):
        return Refused(f"{file}: {error.strerror}: {error.filename}")
    return StoreError(f"{file}: {error}")
