"""A command's processes as /proc shows them to the host: who they are, what they hold, and what no dump survives."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_DEVICES = re.compile(r"/dev/(nvidia|dri/|kfd|neuron|infiniband/|vfio/|kvm)")  # state that lives in a device
_ESTABLISHED = "01"  # include/net/tcp_states.h
_CLOSED = ("07", "0A")  # closed, listening: nobody is at the other end
_TIMES = re.compile(r"it_(value|interval): \((\d+), (\d+)\)")


class Holdings(NamedTuple):
    """What a dump of some processes has to deal with."""

    memory_bytes: int
    has_tcp: bool  # connections between two of them
    has_inotify: bool
    stuck_timers: int
    refusals: tuple[str, ...]  # why they cannot be dumped so that they would go on right


def namespace(pid: int, kind: str) -> str:
    """Raises OSError if there is no such process."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def is_init(pid: int) -> bool:
    """Whether a process is the first of a pid namespace of its own."""
    return _status(pid, "NSpid").split()[1:] == ["1"]


def inner_pid(pid: int) -> int:
    """A process's pid in its own namespace."""
    return int(_status(pid, "NSpid").split()[-1])


def children(pid: int) -> list[int]:
    """Direct children, of all its threads (proc_pid_task(5), `children`)."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, (_PROC / str(pid) / "task" / thread / "children").read_text().split())
    return found


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        found += children(each)
    return found


def child_with_inner_pid(parent: int, inner: int) -> int | None:
    """The child that has this pid inside its namespace."""
    for pid in children(parent):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if inner_pid(pid) == inner:
                return pid
    return None


def holdings(pids: Iterable[int]) -> Holdings:
    """Look at processes. One that ends in the meantime holds nothing."""
    pids = list(pids)
    refusals: list[str] = []
    sockets: set[str] = set()
    memory_bytes, has_inotify, stuck = 0, False, 0
    for pid in pids:
        memory_bytes += memory_bytes_of(pid)
        for number, target in _descriptors(pid):
            if match := _SOCKET.fullmatch(target):
                sockets.add(match[1])
            has_inotify |= target == "anon_inode:inotify"
            if target == "anon_inode:[timerfd]":
                stuck += is_stuck(_text(pid, f"fdinfo/{number}"))
            refusals += _refused_target(pid, target)
        for line in _text(pid, "maps").splitlines():
            parts = line.split(None, 5)
            refusals += _refused_target(pid, parts[5]) if len(parts) > 5 else []
        if _status(pid, "NoNewPrivs").strip() == "1":
            refusals.append(f"{_name(pid)} has no_new_privs, so it may be under Landlock, which no dump restores")
    inside, outside = _connections(pids[0], sockets) if pids and sockets else (False, [])
    refusals += [f"it has a TCP connection to {peer}, which would look closed or cut off" for peer in outside]
    return Holdings(memory_bytes, inside, has_inotify, stuck, tuple(dict.fromkeys(refusals)))


def is_stuck(fdinfo: str) -> bool:
    """Whether a timerfd is periodic and has no time left, from its fdinfo (proc_pid_fdinfo(5))."""
    times = {match[1]: (int(match[2]), int(match[3])) for match in _TIMES.finditer(fdinfo)}
    return times.get("interval", (0, 0)) != (0, 0) and times.get("value") == (0, 0)


def cgroup_files(pid: int) -> list[str]:
    """The files through which another process joins this one's cgroups (cgroups(7)), of version 1 and 2."""
    found = []
    for line in _text(pid, "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        places = [controllers.removeprefix("name="), *controllers.split(",")] if controllers else ["unified", "."]
        for place in places:
            file = os.path.normpath(f"/sys/fs/cgroup/{place}/{path}/cgroup.procs")
            if os.path.exists(file):
                found.append(file)
                break
    return found


def cgroups(pid: int) -> str:
    """Which cgroups a process is in."""
    return _text(pid, "cgroup")


def is_in_cgroups_of(pid: int, other: int) -> bool:
    """Whether a process is in another's cgroups. One that has ended, and is in none any more, counts as if it were."""
    return cgroups(pid) == cgroups(other) or not is_living(pid)


def _refused_target(pid: int, target: str) -> list[str]:
    """Why a dump with this file open or mapped would be refused: nothing, or one reason."""
    if _DEVICES.match(target):
        return [f"{_name(pid)} uses {target}, whose state no dump has"]
    if target.startswith("anon_inode:[io_uring]"):
        return [f"{_name(pid)} uses io_uring"]
    if target.startswith("/SYSV"):
        return [f"{_name(pid)} uses System V shared memory"]
    return []


def _connections(pid: int, sockets: set[str]) -> tuple[bool, list[str]]:
    """Whether some of these sockets are connected to each other by TCP, and the peers of those that are not."""
    ends: dict[tuple[str, str], str] = {}
    for name in ("tcp", "tcp6"):
        for line in _text(pid, f"net/{name}").splitlines()[1:]:
            parts = line.split()
            if len(parts) > 9 and parts[3] not in _CLOSED and parts[9] in sockets:
                ends[parts[1], parts[2]] = parts[3]
    outside = [address(remote) for (local, remote) in ends if (remote, local) not in ends]
    return len(outside) < len(ends), sorted(set(outside))


def address(text: str) -> str:
    """`0100007F:1F90` as 127.0.0.1:8080 (Documentation/networking/proc_net_tcp); IPv6 stays in hexadecimal."""
    host, _, port = text.partition(":")
    if len(host) == 8:
        host = ".".join(str(each) for each in reversed(bytes.fromhex(host)))
    return f"{host}:{int(port, 16)}"


def memory_bytes_of(pid: int) -> int:
    """What a dump of a process writes: its private and shared anonymous memory (proc_pid_smaps_rollup(5), shares)."""
    total = 0
    for line in _text(pid, "smaps_rollup").splitlines():
        if line.startswith(("Pss_Anon:", "Pss_Shmem:", "Swap:")):
            total += int(line.split()[1]) * 1024
    return total


def _descriptors(pid: int) -> list[tuple[str, str]]:
    found = []
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append((number, os.readlink(f"/proc/{pid}/fd/{number}")))
    return found


def _status(pid: int, name: str) -> str:
    for line in _text(pid, "status").splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2]
    return ""


def _text(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text(errors="replace")
    except OSError:
        return ""


def _name(pid: int) -> str:
    return f"{_text(pid, 'comm').strip() or 'a process'} ({(_status(pid, 'NSpid').split() or [str(pid)])[-1]})"


def is_living(pid: int) -> bool:
    """Whether it exists and has not ended."""
    return _status(pid, "State").split()[:1] not in ([], ["Z"], ["X"])


def parent(pid: int) -> int:
    """Raises ValueError if there is no such process."""
    return int(_status(pid, "PPid"))
