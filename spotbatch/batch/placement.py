"""Which host takes which job, and which instance type is launched when none can."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import ResourceRequirements, Vcpus


class AllocationStrategy(StrEnum):
    """How an instance type is chosen (AWS Batch user guide, "Instance type allocation strategies")."""

    BEST_FIT = "BEST_FIT"
    BEST_FIT_PROGRESSIVE = "BEST_FIT_PROGRESSIVE"
    BEST_FIT_PROGRESSIVE_ORDERED = "BEST_FIT_PROGRESSIVE_ORDERED"
    SPOT_CAPACITY_OPTIMIZED = "SPOT_CAPACITY_OPTIMIZED"
    SPOT_PRICE_CAPACITY_OPTIMIZED = "SPOT_PRICE_CAPACITY_OPTIMIZED"
    SPOT_CAPACITY_OPTIMIZED_PRIORITIZED = "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """One instance type in one zone: the unit of EC2's spare capacity.

    `memory_mib` is what containers can use, not the nominal size: the ECS agent and the kernel take their share.
    `depth` says how much spare capacity the pool has; only its order among pools counts. `rank` is the position of its
    type, or of its family, in the environment's `instanceTypes`.
    """

    instance_type: str
    zone: str
    vcpus: Vcpus
    memory_mib: int
    gpus: int = 0
    usd_per_hour: float = 0.0
    depth: float = 1.0
    rank: int = 0

    def fits(self, needs: ResourceRequirements) -> bool:
        """Whether an empty host of this pool could take one such job."""
        return self.vcpus >= needs.vcpus and self.memory_mib >= needs.memory_mib and self.gpus >= needs.gpus


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeEnvironment:
    """Where and how many hosts may be launched."""

    name: str
    pools: tuple[Pool, ...]
    min_vcpus: int = 0
    max_vcpus: int = 256
    strategy: AllocationStrategy = AllocationStrategy.SPOT_CAPACITY_OPTIMIZED
    is_spot: bool = True
    is_enabled: bool = True
    idle_seconds: float = 60.0
    is_fargate: bool = False  # each job is its own capacity: `pools` only name the zones

    def pools_for(self, needs: ResourceRequirements) -> tuple[Pool, ...]:
        """The pools that can take such a job; on Fargate they are exactly as large as the job, which has no GPUs."""
        if not self.is_fargate:
            return tuple(pool for pool in self.pools if pool.fits(needs))
        if needs.gpus:
            return ()
        return tuple(replace(pool, vcpus=needs.vcpus, memory_mib=needs.memory_mib) for pool in self.pools)

    def __post_init__(self) -> None:
        if not 0 <= self.min_vcpus <= self.max_vcpus:
            raise InvalidInput(
                f"compute environment {self.name}: minvCpus must be 0 to maxvCpus "
                f"({self.max_vcpus}), not {self.min_vcpus}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareWeight:
    """A share identifier, or a prefix with a trailing `*`; a lower weight means a larger share."""

    identifier: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FairShare:
    """A scheduling policy (API reference, FairsharePolicy)."""

    shares: tuple[ShareWeight, ...] = ()
    decay_seconds: int = 0  # 0 means AWS Batch's minimum window, 600 s
    compute_reservation_percent: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StateTimeLimit:
    """A jobStateTimeLimitAction: cancel a job at the head that has been RUNNABLE this long for this reason."""

    reason: str
    max_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobQueue:
    """Jobs in order, and the environments that take them, in order."""

    name: str
    environments: tuple[str, ...]
    priority: int = 1
    is_enabled: bool = True
    fair_share: FairShare | None = None
    time_limits: tuple[StateTimeLimit, ...] = ()


class BlockedReason(StrEnum):
    """Why the head of a queue cannot start (user guide, "Resolve blocked job queues"), in AWS Batch's own wording."""

    NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
    ENVIRONMENT_MAX = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    REQUIREMENT = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


# User guide, "Jobs stuck in a RUNNABLE status"; the API reference (JobDetail.statusReason) words them differently.
_BLOCKED_IN_WORDS: Final = {
    BlockedReason.NO_CAPACITY: "Service cannot fulfill the capacity requested for instance type [{}]",
    BlockedReason.ENVIRONMENT_MAX: "CE(s) associated with the job queue cannot meet the CPU requirement of the job.",
    BlockedReason.REQUIREMENT: (
        "The job resource requirement (vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the "
        "job queue."
    ),
}


def blocked_in_words(
    reason: BlockedReason, environments: Sequence[ComputeEnvironment], needs: ResourceRequirements
) -> str:
    """The status reason of a job that is blocked at the head of its queue."""
    fitting = [pool for environment in environments for pool in environment.pools_for(needs)]
    smallest = min(fitting, key=lambda pool: (pool.vcpus, pool.instance_type), default=None)
    return f"{reason} - {_BLOCKED_IN_WORDS[reason].format(smallest.instance_type if smallest else '')}"


def choose_pool(
    strategy: AllocationStrategy,
    pools: Iterable[Pool],
    needs: ResourceRequirements,
    *,
    waiting_vcpus: Vcpus,
    headroom_vcpus: Vcpus,
) -> Pool | None:
    """The pool to launch one host from, or None if no pool fits both the job and the headroom.

    Among pools that can take the job, prefer hosts that the waiting work fills, then what the strategy prefers:
    the cheapest vCPU (BEST_FIT*), the deepest pool (capacity optimized), or both (price and capacity). The ordered
    strategies first choose the best rank, the prioritized one among the deepest pools, however large its hosts are. AWS
    does not publish its own rule; this one is deterministic and keeps what the user guide and the API reference
    (ComputeResource.allocationStrategy) promise for each strategy.
    """
    fitting = _preferred_ranks(strategy, [pool for pool in pools if pool.fits(needs) and pool.vcpus <= headroom_vcpus])
    if not fitting:
        return None
    filled = [pool for pool in fitting if pool.vcpus <= max(needs.vcpus, waiting_vcpus)]
    if not filled:
        smallest = min(pool.vcpus for pool in fitting)
        filled = [pool for pool in fitting if pool.vcpus == smallest]
    return min(filled, key=lambda pool: _preference(strategy, pool))


def choose_available_pool(
    strategy: AllocationStrategy,
    pools: Sequence[Pool],
    available: Sequence[Pool],
    needs: ResourceRequirements,
    *,
    waiting_vcpus: Vcpus,
    headroom_vcpus: Vcpus,
) -> Pool | None:
    """`choose_pool` among the pools that are available now; None if the job must wait.

    BEST_FIT waits for the type that it prefers; the others take another one (API reference,
    ComputeResource.allocationStrategy).
    """
    if strategy is AllocationStrategy.BEST_FIT and len(available) < len(pools):
        best = choose_pool(strategy, pools, needs, waiting_vcpus=waiting_vcpus, headroom_vcpus=headroom_vcpus)
        available = [pool for pool in available if best is not None and pool.instance_type == best.instance_type]
    return choose_pool(strategy, available, needs, waiting_vcpus=waiting_vcpus, headroom_vcpus=headroom_vcpus)


def _preferred_ranks(strategy: AllocationStrategy, pools: list[Pool]) -> list[Pool]:
    """Those of the first rank, for the strategies in which the user's order counts."""
    if strategy is AllocationStrategy.SPOT_CAPACITY_OPTIMIZED_PRIORITIZED:
        deepest = max((pool.depth for pool in pools), default=0.0)
        pools = [pool for pool in pools if pool.depth == deepest]
    elif strategy is not AllocationStrategy.BEST_FIT_PROGRESSIVE_ORDERED:
        return pools
    first = min((pool.rank for pool in pools), default=0)
    return [pool for pool in pools if pool.rank == first]


def _preference(strategy: AllocationStrategy, pool: Pool) -> tuple[float, float, str, str]:
    per_vcpu = pool.usd_per_hour / pool.vcpus
    name = (pool.instance_type, pool.zone)
    if strategy is AllocationStrategy.SPOT_CAPACITY_OPTIMIZED:
        return (-pool.depth, per_vcpu, *name)
    if strategy is AllocationStrategy.SPOT_PRICE_CAPACITY_OPTIMIZED:
        return (per_vcpu / max(pool.depth, 1e-9), per_vcpu, *name)
    return (per_vcpu, -pool.depth, *name)


def blocked_reason(environments: Sequence[ComputeEnvironment], needs: ResourceRequirements) -> BlockedReason:
    """Why a job that can be placed neither on a host nor by a launch is blocked at the head of its queue."""
    fitting = [(environment, pool) for environment in environments for pool in environment.pools_for(needs)]
    if not fitting:
        return BlockedReason.REQUIREMENT
    if all(pool.vcpus > environment.max_vcpus for environment, pool in fitting):
        return BlockedReason.ENVIRONMENT_MAX
    return BlockedReason.NO_CAPACITY
