"""What a bill is made from: the lives of hosts and the attempts on them. Callers turn their own records into these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from spotbatch.batch.errors import InvalidInput

_HOST_GONE: Final = "Host EC2"  # how the status reason of an attempt begins whose host was reclaimed
_TIMED_OUT: Final = "Job attempt duration exceeded timeout"


class AttemptEnd(StrEnum):
    """How an attempt ended, as far as money is concerned."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    INTERRUPTED = "INTERRUPTED"  # the host was reclaimed, or the runtime left because of its notice
    FAILED = "FAILED"  # the user's own failure: a bug, a full disk, an image that cannot be pulled
    STOPPED = "STOPPED"  # terminated, cancelled or timed out


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLife:
    """One EC2 instance (or simulated host) from launch to end. Times are UTC epoch seconds; None: not yet."""

    instance_id: str
    instance_type: str
    zone: str
    vcpus: int
    memory_mib: int = 0  # what jobs can have; 0: not known, shares then go by vCPUs alone
    is_spot: bool = True
    launched_at: float
    started_at: float | None = None  # when it could take attempts
    ended_at: float | None = None
    is_reclaimed: bool = False  # EC2 ended it, not we

    def __post_init__(self) -> None:
        if self.vcpus < 1:
            raise InvalidInput(f"host {self.instance_id}: a host has 1 vCPU or more, not {self.vcpus}")
        if self.ended_at is not None and self.ended_at < self.launched_at:
            raise InvalidInput(f"host {self.instance_id} ends ({self.ended_at}) before its launch ({self.launched_at})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What the runtime's record of an attempt says that money depends on. None: the record does not say."""

    lost_seconds: float | None = None  # since the last whole checkpoint, when the attempt was cut off
    restore_seconds: float | None = None  # bringing back the checkpoint before any work
    save_seconds: float | None = None  # spent on saving checkpoints, the command's own time aside
    peak_memory_mib: float | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptUse:
    """One attempt of a job or of a child of an array, on the host where it ran."""

    job_id: str  # without the array index
    job_name: str
    array_index: int | None = None
    attempt: int = 1
    queue: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    instance_id: str
    vcpus: float  # asked for
    memory_mib: int  # asked for
    started_at: float
    stopped_at: float | None = None
    end: AttemptEnd
    observed: Observed | None = None

    @property
    def unit(self) -> str:
        """The job or the child, as AWS Batch names it."""
        return self.job_id if self.array_index is None else f"{self.job_id}:{self.array_index}"


def end_of(
    *, exit_code: int | None, status_reason: str, interrupted_exit_code: int, is_running: bool, is_terminated: bool
) -> AttemptEnd:
    """How an attempt ended, from what DescribeJobs says of it.

    `interrupted_exit_code` is the runtime's (`batch.environment.EXIT_INTERRUPTED`); `is_terminated` is the job's
    `isTerminated` or `isCancelled`, and counts for its last attempt only.
    """
    if is_running:
        return AttemptEnd.RUNNING
    if exit_code == 0:
        return AttemptEnd.SUCCEEDED
    if exit_code == interrupted_exit_code or status_reason.startswith(_HOST_GONE):
        return AttemptEnd.INTERRUPTED
    if is_terminated or status_reason.startswith(_TIMED_OUT):
        return AttemptEnd.STOPPED
    return AttemptEnd.FAILED
