"""What the runtime measures for its attempt's record (`batch.attempt_record` defines the fields)."""

import os
import resource
import time
from collections.abc import Iterable

from spotbatch.batch.attempt_record import AttemptRecord, RecordedOutcome
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
