"""What to simulate: the jobs, the fleet, and the cost of interruptions. Plain values with their limits."""

import math
from dataclasses import dataclass, field, fields

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import AllocationStrategy, Pool
from spotbatch.simulate.spot_capacity import Calm, SpotCapacity


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """Identical jobs, in `arrays` of at most 10,000; work varies log-normally by `work_spread`."""

    count: int
    work_seconds: float
    work_spread: float = 0.0  # standard deviation of the logarithm; 0.5 is uneven work
    vcpus: int = 1
    memory_mib: int = 1024
    attempts: int = 10
    failure_rate: float = 0.0  # of an attempt, through the user's own fault

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 100_000_000:
            raise InvalidInput(f"jobs: 1 to 100,000,000 can be simulated, not {self.count}")
        if not (math.isfinite(self.work_seconds) and self.work_seconds > 0 and 0 <= self.work_spread <= 3):
            raise InvalidInput(
                f"work must last more than 0 s ({self.work_seconds}) and its spread be 0 to 3 ({self.work_spread})"
            )
        if not 0 <= self.failure_rate < 1:
            raise InvalidInput(f"the failure rate must be 0 to below 1, not {self.failure_rate}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Seconds during which the job makes no progress."""

    boot_seconds: float = 60.0
    start_seconds: float = 5.0  # image and container
    restore_seconds: float = 10.0  # only if there is a checkpoint to restore
    checkpoint_every_seconds: float = 600.0  # of work; 0: only on the notice
    checkpoint_seconds: float = 2.0  # cost of saving one
    is_saved_on_notice: bool = True
    notice_seconds: float = 120.0
    reclaim_spread_seconds: float = 180.0  # within which the hosts of a pool go
    refusal_seconds: float = 1.0  # until EC2 reports that it has none

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not isinstance(value, bool) and not (math.isfinite(value) and value >= 0):
                raise InvalidInput(f"{each.name} must be 0 or more, not {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One world. The same scenario and seed give the same run, event by event."""

    jobs: Jobs
    pools: tuple[Pool, ...]
    max_vcpus: int = 256
    idle_seconds: float = 60.0
    is_spot: bool = True
    strategy: AllocationStrategy = AllocationStrategy.SPOT_CAPACITY_OPTIMIZED
    timings: Timings = field(default_factory=Timings)
    capacity: SpotCapacity = field(default_factory=Calm)
    seed: int = 0
    most_days: float = 365.0  # a longer run is aborted

    def __post_init__(self) -> None:
        if not self.pools:
            raise InvalidInput("a fleet needs at least one pool: an instance type in a zone")
        fitting = [each for each in self.pools if each.vcpus >= self.jobs.vcpus]
        if not any(each.memory_mib >= self.jobs.memory_mib for each in fitting):
            most = max(self.pools, key=lambda each: (each.vcpus, each.memory_mib))
            raise InvalidInput(
                f"no pool takes a job of {self.jobs.vcpus} vCPUs and {self.jobs.memory_mib} MiB; the largest, "
                f"{most.instance_type}, offers {most.vcpus} and {most.memory_mib} MiB: "
                "ask for less, or name larger types"
            )
        if min(each.vcpus for each in fitting if each.memory_mib >= self.jobs.memory_mib) > self.max_vcpus:
            raise InvalidInput(f"max_vcpus {self.max_vcpus} is less than the smallest host that takes a job")
