"""Which instance types do the work cheapest: what fits a host, what a job-hour costs, how often it is interrupted."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.catalogue import InstanceType
from spotbatch.pricing.checkpoint import best_interval_seconds, expected_seconds

# The Advisor gives the share of instances that were interrupted, in bands, and AWS publishes no rate by the hour.
# We take each band's upper end as the chance within a day of running: cautious, since AWS speaks of a month.
_CHANCE_A_DAY: Final = {"<5%": 0.05, "5-10%": 0.10, "10-15%": 0.15, "15-20%": 0.20, ">20%": 0.30}
UNKNOWN_CHANCE_A_DAY: Final = 0.30
RATE_ASSUMPTION: Final = (
    "interruption rates: the upper end of each type's Spot Instance Advisor band is taken as its chance of being "
    "interrupted within a day of running (AWS speaks of a month, and publishes no rate by the hour)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What one job asks for."""

    vcpus: int = 1
    memory_mib: int = 2048
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.vcpus < 1 or self.memory_mib < 1 or self.gpus < 0:
            raise InvalidInput(f"a job needs 1 vCPU and 1 MiB or more, not {self.vcpus} and {self.memory_mib}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One instance type, judged for one kind of job. USD are for an hour of one job's own work."""

    type: InstanceType
    jobs_per_host: int
    interruptions_per_hour: float
    spot_usd_per_hour: Decimal | None
    spot_usd_per_job_hour: Decimal | None  # with what interruptions and checkpoints add
    on_demand_usd_per_job_hour: Decimal

    @property
    def saving_percent(self) -> float | None:
        """What Spot saves on this type, interruptions counted."""
        if self.spot_usd_per_job_hour is None:
            return None
        return float(100 - self.spot_usd_per_job_hour * 100 / self.on_demand_usd_per_job_hour)


def interruptions_per_hour(kind: InstanceType) -> float:
    """The rate that we assume of a type (see RATE_ASSUMPTION); the highest where the band is not known."""
    chance = _CHANCE_A_DAY.get(kind.interruption_band or "", UNKNOWN_CHANCE_A_DAY)
    return -math.log(1 - chance) / 24


def measured_rate(reclaims: int, host_hours: float) -> float:
    """Interruptions per host hour from a run: Jeffreys' estimate, so that no reclaim in an hour is not taken for never.

    Raises InvalidInput if no host ran.
    """
    if host_hours <= 0 or reclaims < 0:
        raise InvalidInput(f"a rate needs host hours above 0, not {reclaims} reclaims in {host_hours} h")
    return (reclaims + 0.5) / host_hours


def jobs_per_host(kind: InstanceType, need: Need) -> int:
    """How many such jobs fit on a host of a type at the same time, by usable memory, not by the label."""
    fit = min(kind.vcpus // need.vcpus, kind.usable_memory_mib // need.memory_mib)
    return min(fit, kind.gpus // need.gpus) if need.gpus else fit


def choices(
    types: Iterable[InstanceType],
    need: Need,
    *,
    jobs: int,
    work_seconds: float,
    save_seconds: float,
    restart_seconds: float,
    rate_per_hour: float | None = None,
) -> tuple[Choice, ...]:
    """The types that can hold the job, the cheapest per job-hour first (Spot's price where it is known).

    Room that `jobs` of them leave on the last host is paid for, so few jobs make large types dear.

    A vCPU counts the same on every type, which is not true: generations differ by a third and more, and an arm64 or
    AMD vCPU of the newer ones is a core of its own. Measure before you choose by a few per cent.
    Raises InvalidInput if no type can hold the job.
    """
    offered = list(types)
    fitting = [(each, fit) for each in offered if (fit := jobs_per_host(each, need))]
    if not fitting:
        most = max(offered, key=lambda one: one.usable_memory_mib, default=None)
        largest = f"; the largest, {most.name}, offers {most.vcpus} and {most.usable_memory_mib} MiB" if most else ""
        raise InvalidInput(
            f"none of the {len(offered)} instance types can hold a job of {need.vcpus} vCPUs, {need.memory_mib} MiB "
            f"and {need.gpus} GPUs{largest}: ask for less, or name larger types"
        )
    found = []
    for kind, fit in fitting:
        rate = interruptions_per_hour(kind) if rate_per_hour is None else rate_per_hour
        stretch = _overhead(work_seconds, rate, save_seconds, restart_seconds)
        found.append(_choice(kind, fit, math.ceil(jobs / fit) / Decimal(jobs), rate, stretch))
    return tuple(sorted(found, key=_order))


def _overhead(work_seconds: float, rate: float, save_seconds: float, restart_seconds: float) -> float:
    """How many times longer a job takes with interruptions and with checkpoints at the best interval."""
    if rate <= 0 or work_seconds <= 0:
        return 1.0
    interval = best_interval_seconds(save_seconds=save_seconds, seconds_between_interruptions=3600 / rate)
    taken = expected_seconds(
        work_seconds,
        interruptions_per_hour=rate,
        restart_seconds=restart_seconds,
        save_seconds=save_seconds,
        interval_seconds=interval,
    )
    return taken / work_seconds


def _choice(kind: InstanceType, fit: int, hosts_per_job: Decimal, rate: float, stretch: float) -> Choice:
    spot = kind.spot_usd_per_hour
    return Choice(
        type=kind,
        jobs_per_host=fit,
        interruptions_per_hour=rate,
        spot_usd_per_hour=spot,
        spot_usd_per_job_hour=None if spot is None else spot * hosts_per_job * Decimal(f"{stretch:.9g}"),
        on_demand_usd_per_job_hour=kind.on_demand_usd_per_hour * hosts_per_job,
    )


def _order(choice: Choice) -> tuple[bool, Decimal, str]:
    spot = choice.spot_usd_per_job_hour
    return (spot is None, choice.on_demand_usd_per_job_hour if spot is None else spot, choice.type.name)
