"""Memory, disk and zombies of the attempt: noticed in time, logged once, and kept in its record."""

import os
import time
from collections.abc import Callable, Iterable

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.runtime.background import Ticket
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say
from spotbatch.runtime.process.process_tree import Member
from spotbatch.runtime.record import Usage, measure, warn

LOOK_SECONDS = 2.0
NEARLY_FULL = 0.9
MANY_ZOMBIES = 20
FIRST_PUBLISHED_SECONDS = 10.0
PUBLISHED_GROWTH = 1.5  # the pauses grow with the attempt's age: 14 requests in the first hour
LONGEST_PUBLISHED_SECONDS = 600.0
MIB = 1024 * 1024
_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60  # version 1 represents "no limit" as a huge number


class ResourceMonitor:
    """Checks periodically; a warning is logged when a threshold is crossed, not at every check."""

    def __init__(
        self,
        record: AttemptRecord,
        folders: Iterable[Path],
        cgroup: Path = _CGROUP,
        publish: Callable[[], Ticket[None] | None] = lambda: None,  # write the record where the dashboard reads it
    ) -> None:
        self._record = record
        self._folders = tuple(folders)
        self._cgroup = cgroup
        self._next_at = 0.0
        self._usage = Usage(record, LOOK_SECONDS)
        self._publish = publish
        self._began = time.monotonic()
        self._publish_at = self._began + FIRST_PUBLISHED_SECONDS
        self._published: Ticket[None] | None = None
        self._said: set[str] = set()
        limit = memory_limit_bytes(cgroup)
        record.memory_limit_mib = None if limit is None else round(limit / MIB, 1)
        self._limit_bytes = limit
        self._kills = kills_for_memory(cgroup)

    def tick(self, members: Callable[[], list[Member]]) -> None:
        """Check, if it is time. `members` may include processes that have ended but have not been reaped."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + LOOK_SECONDS
        found = members()
        measure(self._record, found)
        self._memory(found)
        self._zombies([member for member in found if member.state == "Z"], found)
        for folder in self._folders:
            self._disk(folder)
        self._publish_usage()

    def _publish_usage(self) -> None:
        """Now and then, so that CPU and memory can be seen while the command runs; never two requests at once."""
        now = time.monotonic()
        if now < self._publish_at or (self._published is not None and not self._published.is_done):
            return
        age = now - self._began
        self._publish_at = now + min(LONGEST_PUBLISHED_SECONDS, age * (PUBLISHED_GROWTH - 1))
        self._published = self._publish()

    def look_back(self) -> None:
        """After the command has ended: the kernel keeps a trace of memory that ran out faster than we check."""
        kills = kills_for_memory(self._cgroup) - self._kills
        if self._limit_bytes is not None and kills > 0:
            text = (
                f"memory: it ran out at {self._limit_bytes // MIB} MiB, and the kernel killed {kills} of the processes"
            )
            self._warn("kills", 1.0, text)

    def _memory(self, members: list[Member]) -> None:
        used = sum(member.resident_bytes for member in members)
        self._usage.add(used / MIB, time.monotonic())
        self._record.peak_memory_mib = round(max(self._record.peak_memory_mib, used / MIB), 1)
        charged = memory_used_bytes(self._cgroup) if self._limit_bytes is not None else None
        if charged is None or self._limit_bytes is None:
            return
        share = charged / self._limit_bytes
        text = f"memory: {charged // MIB} of {self._limit_bytes // MIB} MiB ({share:.0%}) are in use"
        self._warn("memory", share, text)

    def _zombies(self, ended: list[Member], members: list[Member]) -> None:
        """Those whose parent is the command or one of its children: only that parent can reap them."""
        parents: dict[int, int] = {}
        for member in ended:
            parents[member.parent] = parents.get(member.parent, 0) + 1
        name = {member.pid: member.name for member in members}
        parent, count = max(parents.items(), key=lambda each: each[1], default=(0, 0))
        text = f"zombies: {count} ended processes are not collected by their parent {parent} ({name.get(parent, '?')})"
        self._warn("zombies", NEARLY_FULL * count / MANY_ZOMBIES, text)

    def _disk(self, folder: Path) -> None:
        try:
            found = os.statvfs(folder)
        except OSError:
            return
        size = found.f_blocks * found.f_frsize
        if size:
            free = found.f_bavail * found.f_frsize
            text = f"disk: {free // MIB} of {size // MIB} MiB are free where {folder} stands"
            self._warn(f"disk {found.f_fsid}", 1 - free / size, text)

    def _warn(self, topic: str, share: float, text: str) -> None:
        if share < NEARLY_FULL:
            self._said.discard(topic)
        elif topic not in self._said:
            self._said.add(topic)
            say(text)
            warn(self._record, text)


def memory_limit_bytes(cgroup: Path) -> int | None:
    """The container's limit, from cgroup version 2 or 1; None if there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        found = _number(cgroup / name)
        if found is not None and found < _NO_LIMIT_BYTES:
            return found
    return None


def memory_used_bytes(cgroup: Path) -> int | None:
    """What counts towards the limit, without file pages that the kernel can drop at once."""
    for used_name, stat_name, inactive in (
        ("memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        used = _number(cgroup / used_name)
        if used is not None:
            return max(0, used - _field(cgroup / stat_name, inactive))
    return None


def kills_for_memory(cgroup: Path) -> int:
    """How many processes the kernel has killed for lack of memory, from cgroup version 2 or 1."""
    return _field(cgroup / "memory.events", "oom_kill") + _field(cgroup / "memory/memory.oom_control", "oom_kill")


def _number(file: Path) -> int | None:
    try:
        return int(file.read_bytes())
    except (OSError, ValueError):
        return None  # missing, or "max"


def _field(file: Path, name: str) -> int:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ".encode())), 0)
