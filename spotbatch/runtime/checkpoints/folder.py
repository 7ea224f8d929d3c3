"""Listing the checkpoint folder: everything in it, in a fixed order, however many entries there are."""

import heapq
import os
import re
import stat
import struct
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import translate
from pathlib import Path
from typing import IO

from spotbatch.runtime.checkpoints.room import is_of_the_file_system

MIB = 1024 * 1024
SMALLEST_CHUNK_BYTES = MIB // 4
LARGEST_CHUNK_BYTES = 4 * MIB  # a chunk is never larger than a pack: memory is bounded for files of any size
MOST_CHUNKS = 2048  # of one file up to 8 GiB, so that a manifest stays small compared to its files
MOST_NAMES = 50_000  # of one folder held in memory; the rest is sorted on disk
_LOOK = struct.Struct("<QqqQQI")
_READ_BYTES = 64 * 1024


class Walk:
    """Everything below a folder except the excluded names, by key, in byte order.

    A key is the path below the folder; a folder's key ends with a slash, so that it sorts before its contents. The
    folder itself is the empty key. What vanishes during the walk is treated as absent.
    """

    def __init__(self, top: str, exclude: Sequence[str], scratch: Path | None = None) -> None:
        """`scratch` is where names of very large folders are sorted: the system's temporary folder may be read-only."""
        self._top = os.fsencode(top)
        self._scratch = scratch
        self._excluded = re.compile("|".join(map(translate, exclude))).match if exclude else None
        self.unreadable: list[tuple[bytes, str]] = []  # folders that could not be listed, with the reason
        self.others: list[bytes] = []  # sockets, pipes, devices: not saved

    def __iter__(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """(key, lstat result); for a folder, the state once its names are read.

        Raises:
            OSError: the folder itself does not exist, or cannot be read.
        """
        names = self._names(self._top)
        yield b"", os.stat(self._top)  # noqa: PTH116 - bytes, and a hundred thousand of them
        stack = [(b"", names)]
        while stack:
            below, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            key = below + name
            try:
                if name.endswith(b"/"):
                    inner = self._names_or_none(key)
                    yield key, os.lstat(self._path(key).rstrip(b"/"))
                    if inner is not None:
                        stack.append((key, inner))
                else:
                    found = os.lstat(self._path(key))
                    if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
                        yield key, found
                    elif not stat.S_ISDIR(found.st_mode):  # otherwise it replaced a file while we looked
                        self.others.append(key)
            except (FileNotFoundError, NotADirectoryError):
                continue

    def _path(self, key: bytes) -> bytes:
        return self._top + b"/" + key

    def _names_or_none(self, key: bytes) -> Iterator[bytes] | None:
        try:
            return self._names(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            self.unreadable.append((key, error.strerror or str(error)))
            return None

    def _names(self, folder: bytes) -> Iterator[bytes]:
        names: list[bytes] = []
        spilled: list[Iterator[bytes]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if self._excluded is not None and self._excluded(os.fsdecode(entry.name)):
                    continue
                if folder == self._top and is_of_the_file_system(folder, entry):
                    continue
                names.append(entry.name + b"/" if entry.is_dir(follow_symlinks=False) else entry.name)
                if len(names) >= MOST_NAMES:
                    spilled.append(_on_disk(sorted(names), self._scratch))
                    names = []
        names.sort()
        return heapq.merge(names, *spilled) if spilled else iter(names)


def look_of(found: os.stat_result) -> bytes:
    """What stat reports for a file; equal looks mean that it was not written in between, where stat can be trusted."""
    return _LOOK.pack(
        found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev & (1 << 64) - 1, found.st_mode
    )


def fields_of(look: bytes) -> tuple[int, int, int, int, int, int]:
    """(size, mtime_ns, ctime_ns, inode, device, mode)."""
    return _LOOK.unpack(look)


def is_file(look: bytes) -> bool:
    return stat.S_ISREG(fields_of(look)[5])


def made_look(*, size: int, mtime_ns: int, mode: int) -> bytes:
    """A look that no file has: for what a manifest says of a file that was not seen yet."""
    return _LOOK.pack(size, mtime_ns, 0, 0, 0, mode)


def chunk_bytes(file_size: int) -> int:
    """Chunk sizes grow in powers of two with the file, so that most boundaries stay the same when the file grows."""
    size = SMALLEST_CHUNK_BYTES
    while size * MOST_CHUNKS < file_size and size < LARGEST_CHUNK_BYTES:
        size *= 2
    return size


def _on_disk(names: list[bytes], scratch: Path | None) -> Iterator[bytes]:
    """The same names, read back from an unnamed file, each terminated by a NUL."""
    file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by whoever reads it to the end
    file.writelines(name + b"\0" for name in names)
    file.seek(0)
    return _read_back(file)


def _read_back(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        rest = b""
        while data := file.read(_READ_BYTES):
            *whole, rest = (rest + data).split(b"\0")
            yield from whole
