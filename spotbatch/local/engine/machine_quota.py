"""The quota that nobody asked for, by the machine's size: it bounds what runs at once, and keeps no job waiting."""

from collections.abc import Callable, Iterable

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment

EnvironmentsOf = Callable[[str], Iterable[ComputeEnvironment]]


class MachineQuota:
    """Grows to the smallest host that a job fits on. `environments_of` names a queue's environments."""

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
        """What was known of queues may be another thing now."""
        self._known.clear()


def smallest_host_vcpus(environments: Iterable[ComputeEnvironment], needs: ResourceRequirements) -> int:
    """vCPUs of the smallest host that an environment may launch for such a job; 0 where it fits on none."""
    return min(
        (
            pool.vcpus
            for environment in environments
            for pool in environment.pools
            if pool.fits(needs) and pool.vcpus <= environment.max_vcpus
        ),
        default=0,
    )
