"""Which files processes hold open for writing or mapped, from /proc: proc_pid_fdinfo(5), proc_pid_maps(5)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

FileId = tuple[int, int]  # device, inode
_DELETED = b" (deleted)"


class Held(NamedTuple):
    """How a file is held open for writing, over all its writers."""

    appends: bool  # all only append: at any moment it is complete up to its current length
    is_stream: bool  # one of them has written up to the end and its offset is there: more may follow
    is_read: bool  # all may also read it, as do databases and stores that keep their files open
    path: bytes


@dataclass(kw_only=True)
class OpenFiles:
    """The result of inspecting some processes."""

    writers: dict[FileId, Held] = field(default_factory=dict)
    mapped: set[FileId] = field(default_factory=set)  # shared and writable: no timestamp shows when they are written
    mapped_paths: set[bytes] = field(default_factory=set)  # the same by name: overlay file systems change inodes
    is_blind: bool = False  # a process could not be inspected: it may be writing anything

    @property
    def mapped_inodes(self) -> set[int]:
        return {inode for _, inode in self.mapped}

    def is_mapped(self, device: int, inode: int, path: bytes) -> bool:
        return (device, inode) in self.mapped or path in self.mapped_paths


def look_at(pids: Iterable[int]) -> OpenFiles:
    """What these processes hold open. One that ends in the meantime holds nothing."""
    found = OpenFiles()
    for pid in pids:
        try:
            _descriptors(pid, found)
            _maps(pid, found)
        except PermissionError:
            found.is_blind = True
        except OSError:
            continue  # it has ended, or there is no /proc
    return found


def _descriptors(pid: int, found: OpenFiles) -> None:
    for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - we want names, not paths
        try:
            lines = Path(f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii").splitlines()
            said = dict(line.split(":", 1) for line in lines[:3])
            flags = int(said["flags"], 8)
            if flags & os.O_ACCMODE == os.O_RDONLY:
                continue
            link = f"/proc/{pid}/fd/{number}"
            target, path = Path(link).stat(), os.readlink(os.fsencode(link))  # noqa: PTH115 - on bytes
        except (FileNotFoundError, ProcessLookupError, KeyError, ValueError):
            continue
        key = (target.st_dev, target.st_ino)
        appends = bool(flags & os.O_APPEND)
        is_stream = not appends and int(said["pos"]) >= target.st_size
        is_read = flags & os.O_ACCMODE == os.O_RDWR
        before = found.writers.get(key)
        if before is not None:
            appends, is_stream = appends and before.appends, is_stream or before.is_stream
            is_read = is_read and before.is_read
        found.writers[key] = Held(appends, is_stream, is_read, path.removesuffix(_DELETED))


def _maps(pid: int, found: OpenFiles) -> None:
    """Lines such as `7f..-7f.. rw-s 00000000 fe:00 1234   /path`."""
    for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
        parts = line.split(None, 5)
        if len(parts) < 6 or parts[1][1:2] != b"w" or parts[1][3:4] != b"s":
            continue
        major, _, minor = parts[3].partition(b":")
        found.mapped.add((os.makedev(int(major, 16), int(minor, 16)), int(parts[4])))
        found.mapped_paths.add(parts[5].removesuffix(_DELETED).replace(b"\\012", b"\n"))
