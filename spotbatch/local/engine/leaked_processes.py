"""Processes that outlive their owner: found by a cookie in their environment, killed through a pidfd.

A pid alone is never trusted: at a thousand jobs per second, pids wrap around in half a minute.
"""

import asyncio
import contextlib
import hashlib
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from spotbatch.batch.environment import AWS_BATCH_JOB_ATTEMPT, AWS_BATCH_JOB_ID

COOKIE_VARIABLE: Final = "SPOTBATCH_REGION_COOKIE"
_PROC: Final = Path("/proc")
_END_SECONDS: Final = 5.0
SOON_SECONDS: Final = 0.2  # after an attempt that was stopped, or whose host was lost
LATER_SECONDS: Final = 10.0  # after one that ended on its own: a look costs a pass over all processes of the machine
_MOST_ROUNDS: Final = 10


@lru_cache
def cookie_of(home: Path) -> str:
    """Identifies the processes of the region in this folder, and of no other."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:32]


def end_orphans(home: Path) -> int:
    """SIGKILL every process that carries the region's cookie; returns how many. Needs /proc."""
    mark = _mark(home)
    ended = 0
    for _ in range(100):  # a process may start another while we look: repeat until none is left
        pids = [pid for pid, variables in _processes() if mark in variables]
        if not pids:
            break
        ended += sum(_end(pid, mark) for pid in pids)
    return ended


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """A process of one of a region's attempts, according to its environment."""

    pid: int
    job_id: str  # for a child of an array: its index
    attempt: str


def carriers(home: Path) -> list[Carrier]:
    """The processes of a region's attempts, in any group or session. Needs /proc.

    Not those in a pid namespace of their own: they end with its first process, and a command that was restored from a
    snapshot still has the variables of the attempt that it began in.
    """
    mark, ours = _mark(home), _namespace_of("self")
    return [
        Carrier(
            pid=pid,
            job_id=_value(variables, AWS_BATCH_JOB_ID),
            attempt=_value(variables, AWS_BATCH_JOB_ATTEMPT),
        )
        for pid, variables in _processes()
        if mark in variables and _namespace_of(pid) == ours
    ]


def _namespace_of(pid: int | str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - no path, the name of a namespace
    return ""


def end_carriers(home: Path, chosen: Iterable[Carrier]) -> None:
    """SIGKILL processes found by `carriers`, if they are still the same."""
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
    """Every other process whose environment is readable, and that environment."""
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
        if not set(marks) <= set(_environment(_PROC / str(pid))):  # the pidfd pins the process: this cannot go stale
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], _END_SECONDS)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


Chooser = Callable[[Sequence[Carrier]], Sequence[Carrier]]


class LeakSweep:
    """Finds what attempts left in process groups or sessions of their own, and kills it, as a container's end does.

    Runs some time after attempts ended, once for all that ended meanwhile; otherwise it sleeps.
    """

    def __init__(self, home: Path, are_over: Chooser) -> None:
        self._home = home
        self._are_over = are_over  # those of the carriers whose attempts are over
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def look_within(self, seconds: float) -> None:
        """An attempt has ended."""
        when = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._looking is None:
            self._looking = self._loop.create_task(self._look())
        else:
            self.look_within(SOON_SECONDS)

    async def _look(self) -> None:
        try:
            for _ in range(_MOST_ROUNDS):  # one may start another while we look
                found = await asyncio.to_thread(carriers, self._home)
                chosen = self._are_over(found)
                if not chosen:
                    return
                await asyncio.to_thread(end_carriers, self._home, chosen)
        finally:
            self._looking = None

    async def close(self) -> None:
        """Stop looking, and wait for any look in progress."""
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            await self._looking
