"""Copies of files made while the command is frozen, and read once it resumes."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

FROZEN_SECONDS = 1.0  # longest freeze of the command
_PAGE_BYTES = 4096
_ROUND_BYTES = 16 * 1024 * 1024
_SPARE_SHARE = 2  # a copy takes at most half of the free space


class TooMuch(Exception):
    """It cannot be copied in the available time or space."""


class Copy(NamedTuple):
    """One file as it was; its content starts at `base` in the common file."""

    key: bytes
    found: os.stat_result
    base: int


class FrozenCopies:
    """One unnamed file that holds all the copies of one moment."""

    def __init__(self, scratch: Path | None, seconds: float = FROZEN_SECONDS) -> None:
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by __exit__
        self._end = 0
        self._until = time.monotonic() + seconds
        space = os.fstatvfs(self._file.fileno())
        self._room = space.f_bavail * space.f_frsize // _SPARE_SHARE
        self._copies: list[Copy] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def __iter__(self) -> Iterator[Copy]:
        return iter(self._copies)

    def check(self) -> None:
        """Raises TooMuch when the time is up."""
        if time.monotonic() >= self._until:
            raise TooMuch("it takes longer than the command may stand still")

    def add(self, key: bytes, descriptor: int) -> None:
        """Copy the file that a descriptor has open; holes stay holes.

        Raises:
            TooMuch: there is not enough time or space.
        """
        self.check()
        found = os.fstat(descriptor)
        at = 0
        while at < found.st_size:
            try:
                start = os.lseek(descriptor, at, os.SEEK_DATA)
                end = min(os.lseek(descriptor, start, os.SEEK_HOLE), found.st_size)
            except OSError:  # only a hole is left
                break
            self._copy(descriptor, start, end)
            at = end
        self._copies.append(Copy(key, found, self._end))
        self._end += -(-found.st_size // _PAGE_BYTES) * _PAGE_BYTES
        os.truncate(self.descriptor, self._end)

    def _copy(self, descriptor: int, start: int, end: int) -> None:
        self._room -= end - start
        if self._room < 0:
            raise TooMuch("there is no room for a copy where the scratch folder stands")
        while start < end:
            self.check()
            try:
                start += os.copy_file_range(
                    descriptor, self.descriptor, min(_ROUND_BYTES, end - start), start, self._end + start
                ) or _copied(descriptor, self.descriptor, min(_ROUND_BYTES, end - start), start, self._end + start)
            except OSError:  # different file systems, or one that does not support it
                start += _copied(descriptor, self.descriptor, min(_ROUND_BYTES, end - start), start, self._end + start)


def _copied(source: int, target: int, size: int, source_offset: int, target_offset: int) -> int:
    data = os.pread(source, min(size, _ROUND_BYTES // 16), source_offset)
    if not data:
        raise TooMuch("a file became shorter while it was copied")
    return os.pwrite(target, data, target_offset)
