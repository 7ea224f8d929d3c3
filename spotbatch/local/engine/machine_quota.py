"""The default quota, derived from the machine's size: it limits what runs concurrently, but blocks no job."""

from collections.abc import Callable, Iterable
from math import ceil

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment

EnvironmentsOf = Callable[[str], Iterable[ComputeEnvironment]]


class MachineQuota:
    """Grows to the smallest host that a job fits on. `environments_of` returns a queue's environments."""

    def __init__(self, vcpus: int, environments_of: EnvironmentsOf) -> None:
        self.vcpus = vcpus
        self._environments_of = environments_of
        self._known: set[tuple[str, ResourceRequirements]] = set()

    def takes(self, queue: str, needs: ResourceRequirements) -> bool:
        """Make room for such a job; True if the quota grew for it."""
        if (queue, needs) in self._known:
            return False
        self._known.add((queue, needs))
        needed = smallest_host_vcpus(self._environments_of(queue), needs)
        if needed <= self.vcpus:
            return False
        self.vcpus = needed
        return True

    def environments_changed(self) -> None:
        """What was known about queues may have changed."""
        self._known.clear()


def smallest_host_vcpus(environments: Iterable[ComputeEnvironment], needs: ResourceRequirements) -> int:
    """vCPUs of the smallest host that an environment may launch for such a job; 0 if it fits on none."""
    least = min(
        (
            pool.vcpus
            for environment in environments
            for pool in environment.pools_for(needs)
            if pool.vcpus <= environment.max_vcpus
        ),
        default=0,
    )
    return ceil(least)
