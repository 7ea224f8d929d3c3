"""What the runtime measures for its attempt's record (`batch.attempt_record` defines the fields)."""

import os
import resource
import time
from collections.abc import Iterable

from spotbatch.batch.attempt_record import MOST_USAGE, AttemptRecord, RecordedOutcome
from spotbatch.runtime.process.process_tree import Member

MOST_WARNINGS = 20


def finish(record: AttemptRecord, *, outcome: str, exit_code: int, began_at: float) -> None:
    """Fill in what is known at the end. `began_at` is the time of the work's last saved state, or the start."""
    record.ended_at = time.time()
    record.outcome = outcome
    record.exit_code = exit_code
    measure(record)
    if outcome != RecordedOutcome.SUCCEEDED:
        record.work_lost_seconds = round(max(0.0, record.ended_at - began_at), 3)


def warn(record: AttemptRecord, text: str) -> None:
    """Add a warning, up to a limit."""
    if len(record.warnings) < MOST_WARNINGS:
        record.warnings.append(text)


def measure(record: AttemptRecord, living: Iterable[Member] = ()) -> None:
    """Measure the command's CPU and memory so far: ended processes as counted by the kernel, plus those still alive."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = used.ru_utime + used.ru_stime + sum(member.cpu_seconds for member in living)
    record.cpu_seconds = round(max(record.cpu_seconds, cpu_seconds), 3)
    scale = 1024 if os.uname().sysname == "Linux" else 1024 * 1024  # ru_maxrss is KiB, on macOS bytes
    record.peak_memory_mib = round(max(record.peak_memory_mib, used.ru_maxrss / scale), 1)


class Usage:
    """CPU and memory over time, in at most `MOST_USAGE` points: a full series is halved and its interval doubled.

    A point stands for the time since the one before it: its cores are the average, its memory is the most.
    """

    def __init__(self, record: AttemptRecord, every_seconds: float) -> None:
        self._record = record
        self._every_seconds = every_seconds
        self._before_seconds = max(0.0, time.time() - record.started_at) if record.started_at else 0.0
        self._began = time.monotonic()
        self._at: float | None = None  # of the last point, monotonic
        self._cpu_seconds = 0.0
        self._memory_mib = 0.0

    def add(self, memory_mib: float, now: float) -> None:
        """Take `record.cpu_seconds` and the memory in use at a monotonic time; a point once the interval is over."""
        cpu_seconds = self._record.cpu_seconds
        self._memory_mib = max(self._memory_mib, memory_mib)
        if self._at is None:
            self._at, self._cpu_seconds = now, cpu_seconds
            return
        passed = now - self._at
        if passed < self._every_seconds * 0.75:  # looks are not exactly on time
            return
        cores = max(0.0, cpu_seconds - self._cpu_seconds) / passed
        since_start = round(self._before_seconds + now - self._began, 1)
        self._record.usage.append([since_start, round(cores, 2), round(self._memory_mib, 1)])
        self._at, self._cpu_seconds, self._memory_mib = now, cpu_seconds, memory_mib
        if len(self._record.usage) >= MOST_USAGE:
            self._record.usage = halved(self._record.usage)  # a new list: another thread may be writing the record
            self._every_seconds *= 2


def halved(points: list[list[float]]) -> list[list[float]]:
    """Each two points as one. The first of them began at the start, or where that is unknown, lasted as long."""
    found = []
    for at in range(1, len(points), 2):
        (first_at, first_cores, first_mib), (last_at, last_cores, last_mib) = points[at - 1], points[at]
        before = points[at - 2][0] if at > 1 else max(0.0, 2 * first_at - last_at)
        whole = last_at - before or 1.0
        cores = (first_cores * (first_at - before) + last_cores * (last_at - first_at)) / whole
        found.append([last_at, round(cores, 2), max(first_mib, last_mib)])
    return found + ([points[-1]] if len(points) % 2 else [])
