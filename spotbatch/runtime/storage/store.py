"""Where artifacts are kept: the few operations that the runtime needs, on a folder (`file://`) or on S3 (`s3://`)."""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from spotbatch.runtime.errors import InvalidSetting, Missing, Refused, StoreError


class Store(Protocol):
    """Objects by key. Writing is atomic: nobody sees half an object. Every call ends within the store's own limits."""

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None: ...

    def put_file(self, key: str, file: Path) -> None: ...

    def get(self, key: str) -> bytes: ...

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several (offset, length) of one object."""

    def get_file(self, key: str, file: Path) -> None: ...

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """(key, bytes) of everything below a prefix, which ends at a slash."""

    def delete(self, keys: Iterable[str]) -> None:
        """Missing keys are fine."""


class FolderStore:
    """Objects as files below a folder; a write goes beside and is renamed into place."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counter = 0
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        def write(beside: Path) -> None:
            with beside.open("wb", buffering=0) as out:
                out.write(data)

        self._into_place(key, write)

    def put_file(self, key: str, file: Path) -> None:
        self._into_place(key, lambda beside: _copy(file, beside))

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except OSError as error:
            raise _translated(error, self._root / key) from error

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY)
            try:
                return [os.pread(descriptor, length, offset) for offset, length in ranges]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _translated(error, self._root / key) from error

    def get_file(self, key: str, file: Path) -> None:
        try:
            _copy(self._path(key), file)
        except OSError as error:
            raise _translated(error, self._root / key) from error

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        top = self._path(prefix.rstrip("/")) if prefix.strip("/") else self._root
        for folder, _, names in os.walk(top):
            for name in names:
                if name.startswith(".part-"):
                    continue
                file = Path(folder, name)
                try:
                    yield file.relative_to(self._root).as_posix(), file.stat().st_size
                except OSError:
                    continue  # pruned by another attempt while we looked

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                self._path(key).unlink(missing_ok=True)
            except OSError as error:
                raise _translated(error, self._root / key) from error

    def _path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise Refused(f"the key {key!r} would leave the store's folder")
        return self._root / key

    def _into_place(self, key: str, write: Callable[[Path], None]) -> None:
        target = self._path(key)
        with self._lock:
            self._counter += 1
            beside = target.with_name(f".part-{os.getpid()}-{self._counter}")
        try:
            try:
                write(beside)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                write(beside)
            beside.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise _translated(error, self._root / key) from error


def open_store(url: str) -> Store:
    """The store that a URL names.

    Raises:
        InvalidSetting: another scheme than file or s3, or no bucket.
    """
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    if scheme == "file" and place in ("", "localhost") and rest != place:
        return FolderStore(Path("/", unquoted(path)))
    if scheme == "s3" and place:
        from spotbatch.runtime.storage.s3 import S3Store  # costs 30 ms, which a folder need not pay

        return S3Store(bucket=place, prefix=path.strip("/"))
    raise InvalidSetting(f"{url!r} is no artifact store: write s3://bucket/prefix or file:///absolute/folder")


def unquoted(text: str) -> str:
    """%20 as a space, and so on. The library is imported only where it is needed: it costs 10 ms."""
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _translated(error: OSError, file: Path) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return Missing(f"{file} is not there")
    if isinstance(error, PermissionError):
        return Refused(f"{file}: {error.strerror}: {error.filename}")
    return StoreError(f"{file}: {error}")
