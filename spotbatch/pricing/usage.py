"""What a bill is made from: the lives of hosts and the attempts on them. Callers turn their own records into these."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.errors import InvalidInput


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLife:
    """One EC2 instance (or simulated host) from launch to end. Times are UTC epoch seconds; None: not yet."""

    instance_id: str
    instance_type: str
    zone: str
    vcpus: int
    memory_mib: int = 0  # available to jobs; 0: not known, shares then depend on vCPUs alone
    is_spot: bool = True
    launched_at: float
    started_at: float | None = None  # when it could accept attempts
    ended_at: float | None = None
    is_reclaimed: bool = False  # EC2 ended it, not us

    def __post_init__(self) -> None:
        if self.vcpus < 1:
            raise InvalidInput(f"host {self.instance_id}: a host has 1 vCPU or more, not {self.vcpus}")
        if self.ended_at is not None and self.ended_at < self.launched_at:
            raise InvalidInput(f"host {self.instance_id} ends ({self.ended_at}) before its launch ({self.launched_at})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """The fields of the runtime's attempt record that affect cost. None: the record does not say."""

    lost_seconds: float | None = None  # since the last complete checkpoint, if the attempt was cut off
    restore_seconds: float | None = None  # restoring the checkpoint before any work
    save_seconds: float | None = None  # spent on saving checkpoints, excluding the command's own time
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
    vcpus: float  # requested
    memory_mib: int  # requested
    started_at: float
    stopped_at: float | None = None
    outcome: AttemptOutcome
    observed: Observed | None = None

    @property
    def unit(self) -> str:
        """The job or the child, as AWS Batch names it."""
        return self.job_id if self.array_index is None else f"{self.job_id}:{self.array_index}"
