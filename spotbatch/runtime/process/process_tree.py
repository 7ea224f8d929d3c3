"""The command and everything that it started, as /proc shows them. Without /proc the tree looks empty."""

import os
from collections.abc import Iterator

from spotbatch.batch.light_types import NamedTuple
from spotbatch.runtime.light_path import Path

_PROC = Path("/proc")
_MOST_BYTES = 4096  # limit for a line of /proc/<pid>/stat: a name of 15 characters and some 50 numbers
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Member(NamedTuple):
    """One process, from /proc/<pid>/stat."""

    pid: int
    parent: int
    name: str
    state: str  # R running, S sleeping, D waiting on a device, Z zombie, T stopped
    resident_bytes: int
    cpu_seconds: float  # its own, and that of its children that it has reaped


def members(of_pid: int) -> list[Member]:
    """Every descendant of a process, parents before children."""
    if of_pid == os.getpid() and not _has_children():
        return []
    children: dict[int, list[Member]] = {}
    for member in _all():
        children.setdefault(member.parent, []).append(member)
    found, waiting = [], [of_pid]
    while waiting:
        born = children.get(waiting.pop(), [])
        found += born
        waiting += [member.pid for member in born]
    return found


def _has_children() -> bool:
    """Whether we have any, living or ended. Checked before all of /proc is read: a process that adopts its orphans
    (PID 1, a subreaper) and that has no child has no descendants.
    """
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def waiting_in(pid: int) -> str:
    """Where in the kernel a process waits, as far as we are allowed to see."""
    try:
        return (_PROC / str(pid) / "wchan").read_text(encoding="ascii").strip("0\n") or "-"
    except OSError:
        return "-"


def command_line(pid: int) -> str:
    """The program and the next word unless it is an option; no more, since arguments may hold secrets."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return ""
    shown = words[:1] if len(words) > 1 and words[1].startswith("-") else words[:2]
    return " ".join([*shown, *["..."][: len(words) - len(shown)]])[:200]


def _all() -> Iterator[Member]:
    try:
        names = os.listdir(_PROC)  # noqa: PTH208 - we want names, not paths
    except OSError:
        return
    for name in names:
        if name.isdigit():
            try:
                yield _member(int(name), _stat_of(name))
            except (OSError, ValueError, IndexError):
                continue  # it has ended


def _stat_of(pid: str) -> bytes:
    """A single read: the kernel generates the line on open, and pathlib would take longer than that."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def _member(pid: int, line: bytes) -> Member:
    """The name is in parentheses and may itself contain parentheses and spaces: look for the last one."""
    opened, closed = line.index(b"("), line.rindex(b")")
    fields = line[closed + 2 :].split()
    return Member(
        pid=pid,
        parent=int(fields[1]),
        name=line[opened + 1 : closed].decode(errors="replace"),
        state=fields[0].decode(),
        resident_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_seconds=sum(map(int, fields[11:15])) / _TICKS_PER_SECOND,
    )


def state_of(pid: int) -> str:
    """One letter, as in `Member.state`; X for a process that no longer exists."""
    try:
        return _member(pid, _stat_of(str(pid))).state
    except (OSError, ValueError, IndexError):
        return "X"
