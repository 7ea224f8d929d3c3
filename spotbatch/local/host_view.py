"""A host as the region reports it: apart from the contract, since a client of the region needs nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """A simulated EC2 instance, from its launch to its end."""

    instance_id: str
    instance_type: str
    zone: str
    environment: str
    is_spot: bool
    vcpus: int
    memory_mib: int
    launched_at: float
    started_at: float | None
    noticed_at: float | None
    ended_at: float | None
    end_cause: str | None  # RECLAIMED, IDLE, ENVIRONMENT, REGION_STOPPED, NEVER_JOINED
    running: int  # attempts currently on it
