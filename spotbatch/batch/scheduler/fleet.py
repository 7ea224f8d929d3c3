"""The scheduler's book of hosts: what is launched where, what is free on it, and which units it holds."""

from enum import IntEnum
from typing import Final

from spotbatch.batch.job import ResourceRequirements, Vcpus
from spotbatch.batch.placement import ComputeEnvironment, Pool, choose_available_pool
from spotbatch.batch.scheduler.job_record import JobRecord
from spotbatch.batch.scheduler.queue_order import QueueRecord

RELAUNCH_SECONDS: Final = 30.0  # a pool without capacity is retried after this


class HostState(IntEnum):
    BOOTING = 0
    READY = 1
    DRAINING = 2  # got its notice: it gets no new units
    ENDING = 3  # told to terminate


class Host:
    """A simulated or real EC2 instance. Units on a BOOTING host are bound to it, and still RUNNABLE."""

    __slots__ = ("fleet", "free_gpus", "free_mib", "free_vcpus", "host_no", "idle_since", "pool", "state", "units")

    def __init__(self, host_no: int, fleet: "Fleet", pool: Pool) -> None:
        self.host_no = host_no
        self.fleet = fleet
        self.pool = pool
        self.state = HostState.BOOTING
        self.free_vcpus: Vcpus = pool.vcpus
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

    __slots__ = (
        "_full_for",
        "_least_vcpus",
        "booting",
        "ending_vcpus",
        "environment",
        "hosts",
        "is_open",
        "is_removed",
        "pool_back_at",
        "queues",
        "vcpus",
    )

    def __init__(self, environment: ComputeEnvironment) -> None:
        self.environment = environment
        self.queues: list[QueueRecord] = []  # that use it, highest priority first: kept by `State.wire`
        self.hosts: dict[int, Host] = {}
        self.booting: dict[int, Host] = {}  # those still booting
        self.vcpus: Vcpus = 0  # of all hosts that have not ended
        self.ending_vcpus: Vcpus = 0  # of those told to terminate
        self.is_removed = False
        self.is_open = environment.is_enabled  # whether new units may be placed here
        self.pool_back_at: dict[Pool, float] = {}  # pools without capacity, and when to retry
        self._full_for: dict[int, ResourceRequirements] = {}  # shapes that currently fit no host
        self._least_vcpus: dict[int, Vcpus] = {}  # the smallest host that fits, per shape

    def change(self, environment: ComputeEnvironment) -> None:
        self.environment = environment
        self.is_removed = False
        self.is_open = environment.is_enabled
        self.pool_back_at.clear()
        self._least_vcpus.clear()

    def close(self) -> None:
        """The environment was removed: it takes nothing new and disappears with its last host."""
        self.is_removed = True
        self.is_open = False

    def find(self, record: JobRecord) -> Host | None:
        """A host with room: booted hosts before booting ones, oldest first."""
        if record.shape in self._full_for or self.environment.is_fargate:
            return None
        needs = record.needs
        booting: Host | None = None
        for host in self.hosts.values():
            if not host.fits(needs):
                continue
            if host.state is HostState.READY:
                return host
            if host.state is HostState.BOOTING and booting is None:
                booting = host
        if booting is None:
            self._full_for[record.shape] = needs
        return booting

    def has_host_for(self, record: JobRecord) -> bool:
        """Whether an existing host could take such a unit, now or once others have left it."""
        return any(
            host.state in (HostState.READY, HostState.BOOTING) and host.pool.fits(record.needs)
            for host in self.hosts.values()
        )

    def room_came(self, host: Host) -> None:
        """Room was freed on a host: forget the needs that did not fit but do now."""
        if host.free_vcpus and self._full_for:
            self._full_for = {shape: needs for shape, needs in self._full_for.items() if not host.fits(needs)}

    def could_fit(self, record: JobRecord) -> bool:
        """Whether some pool of the environment could ever take such a unit."""
        least = self._least_vcpus.get(record.shape)
        return (self._least(record) if least is None else least) <= self.environment.max_vcpus

    def launchable(self, record: JobRecord, waiting_vcpus: Vcpus, quota_left: Vcpus, now: float) -> Pool | None:
        """The pool to launch from so that a unit gets a host, or None if limits or capacity forbid it."""
        headroom = min(self.environment.max_vcpus - self.vcpus, quota_left)
        if self._least(record) > headroom:
            return None
        environment = self.environment
        pools = available = environment.pools_for(record.needs) if environment.is_fargate else environment.pools
        if self.pool_back_at:
            available = tuple(pool for pool in pools if self.pool_back_at.get(pool, now) <= now)
        return choose_available_pool(
            self.environment.strategy,
            pools,
            available,
            record.needs,
            waiting_vcpus=waiting_vcpus,
            headroom_vcpus=headroom,
        )

    def add(self, host: Host) -> None:
        self.hosts[host.host_no] = self.booting[host.host_no] = host
        self.vcpus += host.pool.vcpus
        self.room_came(host)

    def turn(self, host: Host, state: HostState) -> None:
        """A host is no longer booting: it is ready, will be reclaimed, or is being terminated."""
        self.ending_vcpus += host.pool.vcpus * ((state is HostState.ENDING) - (host.state is HostState.ENDING))
        host.state = state
        self.booting.pop(host.host_no, None)

    def remove(self, host: Host) -> None:
        del self.hosts[host.host_no]
        self.booting.pop(host.host_no, None)
        self.vcpus -= host.pool.vcpus
        if host.state is HostState.ENDING:
            self.ending_vcpus -= host.pool.vcpus

    def had_no_capacity(self, pool: Pool, now: float, relaunch_seconds: float | None = None) -> float:
        """Remember that a launch failed; returns when the pool may be retried."""
        back_at = now + (RELAUNCH_SECONDS if relaunch_seconds is None else relaunch_seconds)
        self.pool_back_at[pool] = back_at
        return back_at

    def _least(self, record: JobRecord) -> Vcpus:
        least = self._least_vcpus.get(record.shape)
        if least is None:
            least = min((pool.vcpus for pool in self.environment.pools_for(record.needs)), default=1 << 60)
            self._least_vcpus[record.shape] = least
        return least
