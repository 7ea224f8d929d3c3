"""Where stat shows whether a file was written, and where only its content does.

A write through a shared memory map changes a file's times when one of its clean pages becomes dirty: on disk file
systems, which are notified of that (`page_mkwrite`, the kernel's Documentation/filesystems/locking.rst). tmpfs and
ramfs are not, and what others do is unknown: there the content is compared at every save. A mapped file is read at
every save in any case, and once more after it is unmapped, since writes to already dirty pages leave no trace.
"""

import os
from pathlib import Path

TELL_OF_WRITES = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "overlay", "zfs"))
CLOCK_TICK_NS = 20_000_000  # file times come from a clock with a resolution of 1 to 10 ms
COARSE_TICK_NS = 2_000_000_000  # where times are whole seconds (FAT: two)
_SECOND_NS = 1_000_000_000


class FileSystems:
    """The type of the file system on a device, from /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    def __init__(self, mounts: Path = Path("/proc/self/mountinfo")) -> None:
        self._mounts = mounts
        self._known: dict[int, str] = {}

    def kind(self, device: int, path: str) -> str:
        """Empty if unknown. `path` decides for a device that is not listed (btrfs's subvolumes)."""
        if device not in self._known:
            self._known[device] = self._look_up(device, path)
        return self._known[device]

    def tells_of_writes(self, device: int, path: str) -> bool:
        return self.kind(device, path) in TELL_OF_WRITES

    def _look_up(self, device: int, path: str) -> str:
        number = f"{os.major(device)}:{os.minor(device)}"
        best, found = -1, ""
        try:
            lines = self._mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            return ""
        for line in lines:
            head, _, tail = line.partition(" - ")
            fields, kind = head.split(), tail.partition(" ")[0]
            if len(fields) < 5:
                continue
            if fields[2] == number:
                return kind
            point = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
            if len(point) > best and (path == point or path.startswith(point.rstrip("/") + "/")):
                best, found = len(point), kind
        return found


def is_too_young(found: os.stat_result, now_ns: int) -> bool:
    """Whether a later write could leave the same times: they are within one tick of the clock that sets them."""
    newest = max(found.st_mtime_ns, found.st_ctime_ns)
    is_coarse = found.st_mtime_ns % _SECOND_NS == 0 and found.st_ctime_ns % _SECOND_NS == 0
    return now_ns - newest < (COARSE_TICK_NS if is_coarse else CLOCK_TICK_NS)
