"""Processes that a killed region left behind: found by a cookie in their environment, ended through a pidfd.

A pid alone is never trusted: at a thousand jobs a second pids wrap in half a minute.
"""

import contextlib
import hashlib
import os
import select
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

COOKIE_VARIABLE: Final = "SPOTBATCH_REGION_COOKIE"
_PROC: Final = Path("/proc")
_END_SECONDS: Final = 5.0


@lru_cache
def cookie_of(home: Path) -> str:
    """What marks the processes of the region in this folder, and of no other."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:32]


def end_orphans(home: Path) -> int:
    """SIGKILL every process that carries the region's cookie; returns how many. Needs /proc."""
    mark = f"{COOKIE_VARIABLE}={cookie_of(home)}".encode()
    ended = 0
    for _ in range(100):  # a process may start another while we look: go round until none is left
        pids = list(_carriers(mark))
        if not pids:
            break
        ended += sum(_end(pid, mark) for pid in pids)
    return ended


def _carriers(mark: bytes) -> Iterator[int]:
    if not _PROC.is_dir():
        return
    own = os.getpid()
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != own and _carries(entry, mark):
            yield int(entry.name)


def _carries(entry: Path, mark: bytes) -> bool:
    with contextlib.suppress(OSError):
        return mark in (entry / "environ").read_bytes().split(b"\0")
    return False


def _end(pid: int, mark: bytes) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _carries(_PROC / str(pid), mark):  # the pidfd pins it now: this answer cannot go stale
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], _END_SECONDS)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
