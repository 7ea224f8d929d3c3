"""How large a region this machine supports: the default limit on what runs concurrently."""

import os
from dataclasses import dataclass
from typing import Final

_VCPUS_PER_CORE: Final = 2  # jobs that wait for disk or network leave room for others
_GIB_PER_VCPU: Final = 1.0
_LEAST_VCPUS: Final = 4  # two of the smallest hosts: one that leaves, and its replacement


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What this process may use: the cores that it may run on, and the available memory."""

    cores: int
    memory_gib: float

    @property
    def vcpu_quota(self) -> int:
        """The total vCPUs of all hosts that this machine supports."""
        return max(_LEAST_VCPUS, min(_VCPUS_PER_CORE * self.cores, int(self.memory_gib / _GIB_PER_VCPU)))

    def __str__(self) -> str:
        return f"{self.cores} core{'s' if self.cores > 1 else ''} and {self.memory_gib:.1f} GiB of memory"


def this_machine() -> Machine:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores=cores, memory_gib=memory_bytes / 2**30)
