"""A host as the region reports it: apart from the contract, since a client of the region needs nothing else."""

from dataclasses import dataclass
from typing import Final

# Instead of `i-`: a Fargate task's capacity is a host for the rules, but neither EC2 nor ECS has an instance of it.
FARGATE_PREFIX: Final = "fargate-"


def is_fargate(instance_id: str) -> bool:
    """Whether an id is that of a Fargate task's capacity rather than of an EC2 instance."""
    return instance_id.startswith(FARGATE_PREFIX)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """A simulated EC2 instance, from its launch to its end."""

    instance_id: str
    instance_type: str
    zone: str
    environment: str
    is_spot: bool
    vcpus: int | float  # a fraction on Fargate only
    memory_mib: int
    launched_at: float
    started_at: float | None
    noticed_at: float | None
    ended_at: float | None
    end_cause: str | None  # RECLAIMED, IDLE, TASK_ENDED, ENVIRONMENT, REGION_STOPPED, NEVER_JOINED
    running: int  # attempts currently on it
    is_agent_connected: bool = True

    @property
    def is_fargate(self) -> bool:
        """Whether it is the capacity of one Fargate task."""
        return is_fargate(self.instance_id)
