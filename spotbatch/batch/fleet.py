"""The scheduler's book of hosts: what is launched where, what is free on it, and which units it holds."""

from enum import IntEnum
from typing import Final

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.ledger import JobRecord
from spotbatch.batch.placement import ComputeEnvironment, Pool, choose_pool

RELAUNCH_SECONDS: Final = 30.0  # a pool that had no capacity is asked again after this


class HostState(IntEnum):
    BOOTING = 0
    READY = 1
    DRAINING = 2  # noticed: it gets no new units
    ENDING = 3  # told to terminate


class Host:
    """A simulated or real EC2 instance. Units on a BOOTING host are bound to it, and still RUNNABLE."""

    __slots__ = ("fleet", "free_gpus", "free_mib", "free_vcpus", "host_no", "idle_since", "pool", "state", "units")

    def __init__(self, host_no: int, fleet: "Fleet", pool: Pool) -> None:
        self.host_no = host_no
        self.fleet = fleet
        self.pool = pool
        self.state = HostState.BOOTING
        self.free_vcpus = pool.vcpus
        self.free_mib = pool.memory_mib
        self.free_gpus = pool.gpus
        self.units: dict[int, JobRecord] = {}  # by the unit's key
        self.idle_since: float | None = None

    def fits(self, needs: ResourceRequirements) -> bool:
        return self.free_vcpus >= needs.vcpus and self.free_mib >= needs.memory_mib and self.free_gpus >= needs.gpus

    def hold(self, key: int, record: JobRecord) -> None:
        needs = record.needs
        self.units[key] = record
        self.free_vcpus -= needs.vcpus
        self.free_mib -= needs.memory_mib
        self.free_gpus -= needs.gpus
        self.idle_since = None

    def release(self, key: int) -> JobRecord:
        record = self.units.pop(key)
        needs = record.needs
        self.free_vcpus += needs.vcpus
        self.free_mib += needs.memory_mib
        self.free_gpus += needs.gpus
        return record


class Fleet:
    """The hosts of one compute environment."""

    __slots__ = ("_full_for", "_least_vcpus", "environment", "hosts", "is_removed", "pool_back_at", "vcpus")

    def __init__(self, environment: ComputeEnvironment) -> None:
        self.environment = environment
        self.hosts: dict[int, Host] = {}
        self.vcpus = 0  # of all hosts that have not ended
        self.is_removed = False
        self.pool_back_at: dict[Pool, float] = {}  # pools without capacity, and when to ask again
        self._full_for: set[ResourceRequirements] = set()  # needs that no host fits now
        self._least_vcpus: dict[ResourceRequirements, int] = {}  # the smallest host that fits, per needs

    def change(self, environment: ComputeEnvironment) -> None:
        self.environment = environment
        self.is_removed = False
        self.pool_back_at.clear()
        self._least_vcpus.clear()

    @property
    def is_open(self) -> bool:
        """Whether new units may be placed here."""
        return self.environment.is_enabled and not self.is_removed

    def find(self, needs: ResourceRequirements) -> Host | None:
        """A host with room: one that has booted before one that still boots, the oldest first."""
        if needs in self._full_for:
            return None
        booting: Host | None = None
        for host in self.hosts.values():
            if not host.fits(needs):
                continue
            if host.state is HostState.READY:
                return host
            if host.state is HostState.BOOTING and booting is None:
                booting = host
        if booting is None:
            self._full_for.add(needs)
        return booting

    def room_came(self, host: Host) -> None:
        """Something became free on a host: forget which needs did not fit, if they do now."""
        if host.free_vcpus and self._full_for:
            self._full_for = {needs for needs in self._full_for if not host.fits(needs)}

    def could_fit(self, needs: ResourceRequirements) -> bool:
        """Whether some pool of the environment could ever take such a unit."""
        return self._least(needs) <= self.environment.max_vcpus

    def launchable(self, needs: ResourceRequirements, waiting_vcpus: int, quota_left: int, now: float) -> Pool | None:
        """The pool to launch from so that a unit gets a host, or None where limits or capacity forbid."""
        headroom = min(self.environment.max_vcpus - self.vcpus, quota_left)
        if self._least(needs) > headroom:
            return None
        pools = self.environment.pools
        if self.pool_back_at:
            pools = tuple(pool for pool in pools if self.pool_back_at.get(pool, now) <= now)
        strategy = self.environment.strategy
        return choose_pool(strategy, pools, needs, waiting_vcpus=waiting_vcpus, headroom_vcpus=headroom)

    def add(self, host: Host) -> None:
        self.hosts[host.host_no] = host
        self.vcpus += host.pool.vcpus
        self.room_came(host)

    def remove(self, host: Host) -> None:
        del self.hosts[host.host_no]
        self.vcpus -= host.pool.vcpus

    def had_no_capacity(self, pool: Pool, now: float) -> float:
        """Remember that a launch failed; returns when the pool may be asked again."""
        back_at = now + RELAUNCH_SECONDS
        self.pool_back_at[pool] = back_at
        return back_at

    def _least(self, needs: ResourceRequirements) -> int:
        least = self._least_vcpus.get(needs)
        if least is None:
            least = min((pool.vcpus for pool in self.environment.pools if pool.fits(needs)), default=1 << 60)
            self._least_vcpus[needs] = least
        return least
