"""Processes that outlive what they belong to: found by a cookie in their environment, ended through a pidfd.

A pid alone is never trusted: at a thousand jobs a second pids wrap in half a minute.
"""

import contextlib
import hashlib
import os
import select
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from spotbatch.batch.environment import AWS_BATCH_JOB_ATTEMPT, AWS_BATCH_JOB_ID

COOKIE_VARIABLE: Final = "SPOTBATCH_REGION_COOKIE"
_PROC: Final = Path("/proc")
_END_SECONDS: Final = 5.0


@lru_cache
def cookie_of(home: Path) -> str:
    """What marks the processes of the region in this folder, and of no other."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:32]


def end_orphans(home: Path) -> int:
    """SIGKILL every process that carries the region's cookie; returns how many. Needs /proc."""
    mark = _mark(home)
    ended = 0
    for _ in range(100):  # a process may start another while we look: go round until none is left
        pids = [pid for pid, variables in _processes() if mark in variables]
        if not pids:
            break
        ended += sum(_end(pid, mark) for pid in pids)
    return ended


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """A process of one of a region's attempts, by what its environment says."""

    pid: int
    job_id: str  # of the child, where there is an array
    attempt: str


def carriers(home: Path) -> list[Carrier]:
    """The processes of a region's attempts, in whatever group or session. Needs /proc."""
    mark = _mark(home)
    return [
        Carrier(
            pid=pid,
            job_id=_value(variables, AWS_BATCH_JOB_ID),
            attempt=_value(variables, AWS_BATCH_JOB_ATTEMPT),
        )
        for pid, variables in _processes()
        if mark in variables
    ]


def end_carriers(home: Path, chosen: Iterable[Carrier]) -> None:
    """SIGKILL processes that `carriers` found, if they are the same still."""
    cookie = _mark(home)
    for one in chosen:
        job_id = f"{AWS_BATCH_JOB_ID}={one.job_id}".encode()
        attempt = f"{AWS_BATCH_JOB_ATTEMPT}={one.attempt}".encode()
        _end(one.pid, cookie, job_id, attempt)


def _mark(home: Path) -> bytes:
    return f"{COOKIE_VARIABLE}={cookie_of(home)}".encode()


def _value(variables: Iterable[bytes], name: str) -> str:
    prefix = f"{name}=".encode()
    return next((each[len(prefix) :].decode(errors="replace") for each in variables if each.startswith(prefix)), "")


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    """Every other process whose environment may be read, and that environment."""
    if not _PROC.is_dir():
        return
    own = os.getpid()
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != own:
            yield int(entry.name), _environment(entry)


def _environment(entry: Path) -> list[bytes]:
    with contextlib.suppress(OSError):
        return (entry / "environ").read_bytes().split(b"\0")
    return []


def _end(pid: int, *marks: bytes) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not set(marks) <= set(_environment(_PROC / str(pid))):  # the pidfd pins it: this cannot go stale
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], _END_SECONDS)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
