"""The record of one attempt: what cost, waste and right-sizing reports are made of."""

import json
import os
import resource
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from spotbatch.runtime.process.process_tree import Member

SCHEMA = 1


@dataclass(kw_only=True)
class Record:
    """Times are UTC epoch seconds. `ended_at` and `exit_code` are None while it runs, and stay so if it is killed."""

    schema: int = SCHEMA
    run_id: str
    job_id: str
    array_index: int | None
    attempt: int
    instance_type: str
    zone: str
    started_at: float
    ended_at: float | None = None
    outcome: str = "running"  # succeeded, failed, interrupted, unhealthy, not_saved, not_restored
    exit_code: int | None = None  # the runtime's own
    command_exit_code: int | None = None
    interruption_cause: str | None = None  # notice, SIGTERM, SIGINT
    noticed_at: float | None = None
    notice_lead_seconds: float | None = None  # from the notice to the announced end
    resumed_from: str | None = None  # the checkpoint's name
    restore_seconds: float | None = None
    checkpoints_saved: int = 0
    checkpoints_failed: int = 0
    checkpoint_bytes: int = 0  # of the last one, whole
    checkpoint_uploaded_bytes: int = 0
    checkpoint_seconds: float = 0.0  # spent saving, all together
    restore_estimate_seconds: float | None = None  # of the last checkpoint, at the bandwidth that its saves had
    last_saved_at: float | None = None
    work_lost_seconds: float | None = None  # from the last saved state to the end, unless it succeeded
    peak_memory_mib: float = 0.0
    memory_limit_mib: float | None = None
    cpu_seconds: float = 0.0
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    output_files: int = 0
    output_bytes: int = 0
    warnings: list[str] = field(default_factory=list)  # disk nearly full, memory near its limit, zombies; each once

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    def end(self, *, outcome: str, exit_code: int, began_at: float) -> None:
        """Fill in what is known at the end. `began_at` is when the work's last saved state was true, or the start."""
        self.ended_at = time.time()
        self.outcome = outcome
        self.exit_code = exit_code
        self.measure()
        if outcome != "succeeded":
            self.work_lost_seconds = round(max(0.0, self.ended_at - began_at), 3)

    def measure(self, living: Iterable[Member] = ()) -> None:
        """CPU and memory of the command so far: of what has ended as the kernel counted it, and of what still lives."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = used.ru_utime + used.ru_stime + sum(member.cpu_seconds for member in living)
        self.cpu_seconds = round(max(self.cpu_seconds, cpu_seconds), 3)
        scale = 1024 if os.uname().sysname == "Linux" else 1024 * 1024  # ru_maxrss is KiB, on macOS bytes
        self.peak_memory_mib = round(max(self.peak_memory_mib, used.ru_maxrss / scale), 1)
