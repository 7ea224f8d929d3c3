"""Looking at the checkpoint folder: what is in it, and reading a file so that a torn one is noticed."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from spotbatch.batch.errors import Torn

MIB = 1024 * 1024
SMALLEST_CHUNK_BYTES = MIB // 4
LARGEST_CHUNK_BYTES = 8 * MIB  # a chunk is never larger than a pack: memory stays bounded for files of any size
MOST_CHUNKS = 2048  # of one file up to 16 GiB, so that a manifest stays small beside what it lists
CLOCK_TICK_SECONDS = 0.02  # file times come from a clock that steps every 1 to 10 ms


class Look(NamedTuple):
    """What stat says of a file; two equal looks mean that it was not written between them."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    mode: int


@dataclass(kw_only=True)
class Listing:
    """The folder's content by path below it."""

    files: dict[str, Look] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # sockets, pipes, devices: not saved


def list_folder(top: str, exclude: tuple[str, ...]) -> Listing:
    """Everything below a folder but the excluded names. What vanishes while we look was not there."""
    listing = Listing()
    _list_into(listing, top, "", exclude)
    return listing


def _list_into(listing: Listing, folder: str, below: str, exclude: tuple[str, ...]) -> None:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if any(fnmatchcase(entry.name, pattern) for pattern in exclude):
            continue
        path = f"{below}{entry.name}"
        try:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                listing.files[path] = look_of(found)
            elif stat.S_ISDIR(found.st_mode):
                listing.folders[path] = stat.S_IMODE(found.st_mode)
                _list_into(listing, entry.path, f"{path}/", exclude)
            elif stat.S_ISLNK(found.st_mode):
                listing.links[path] = str(Path(entry.path).readlink())
            else:
                listing.others.append(path)
        except FileNotFoundError:
            continue


def look_of(found: os.stat_result) -> Look:
    return Look(
        found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, stat.S_IMODE(found.st_mode)
    )


def chunk_bytes(file_size: int) -> int:
    """Chunks grow in powers of two with the file, so that most sizes keep the same cuts when the file grows."""
    size = SMALLEST_CHUNK_BYTES
    while size * MOST_CHUNKS < file_size and size < LARGEST_CHUNK_BYTES:
        size *= 2
    return size


@dataclass(kw_only=True)
class OpenFile:
    """A file being read for a checkpoint; holding it open pins this version, whatever is renamed over its name."""

    path: str
    descriptor: int
    look: Look

    def spans(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of each chunk, up to the size that the file had when it was opened."""
        step = chunk_bytes(self.look.size)
        for offset in range(0, self.look.size, step):
            yield offset, min(step, self.look.size - offset)

    def read(self, offset: int, length: int) -> bytes:
        """One span of the content.

        Raises:
            Torn: the file became shorter.
        """
        data = os.pread(self.descriptor, length, offset)
        while len(data) < length:
            more = os.pread(self.descriptor, length - len(data), offset + len(data))
            if not more:
                raise Torn(f"{self.path} became shorter while it was read")
            data += more
        return data

    def was_written(self) -> bool:
        """Whether anybody wrote it since it was opened. A rename over it changes its ctime only, and is no write."""
        now = os.fstat(self.descriptor)
        return (now.st_size, now.st_mtime_ns) != (self.look.size, self.look.mtime_ns)


@contextmanager
def open_for_saving(top: str, path: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[OpenFile]:
    """Open a file whose time lies a clock tick back, so that any later write changes its time.

    Raises:
        FileNotFoundError: it is gone.
    """
    descriptor = os.open(Path(top, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        age_seconds = time.time() - os.fstat(descriptor).st_mtime
        if -1 < age_seconds < CLOCK_TICK_SECONDS:
            sleep(CLOCK_TICK_SECONDS)
        yield OpenFile(path=path, descriptor=descriptor, look=look_of(os.fstat(descriptor)))
    finally:
        os.close(descriptor)
