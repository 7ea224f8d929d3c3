"""Which instance types are cheapest for the work: what fits a host, the cost per job-hour, the interruption rate."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.catalogue import InstanceType
from spotbatch.pricing.checkpoint import best_interval_seconds, expected_seconds

# The Advisor reports the share of interrupted instances in bands, and AWS publishes no hourly rate.
# We take each band's upper end as the chance within a day of running, which is cautious: AWS's figure covers a month.
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
    """One instance type, evaluated for one kind of job. USD are per hour of one job's own work."""

    type: InstanceType
    jobs_per_host: int
    interruptions_per_hour: float
    spot_usd_per_hour: Decimal | None
    spot_usd_per_job_hour: Decimal | None  # including the cost of interruptions and checkpoints
    on_demand_usd_per_job_hour: Decimal

    @property
    def saving_percent(self) -> float | None:
        """What Spot saves on this type, interruptions counted."""
        if self.spot_usd_per_job_hour is None:
            return None
        return float(100 - self.spot_usd_per_job_hour * 100 / self.on_demand_usd_per_job_hour)


def interruptions_per_hour(kind: InstanceType) -> float:
    """The assumed rate of a type (see RATE_ASSUMPTION); the highest rate if the band is not known."""
    chance = _CHANCE_A_DAY.get(kind.interruption_band or "", UNKNOWN_CHANCE_A_DAY)
    return -math.log(1 - chance) / 24


def measured_rate(reclaims: int, host_hours: float) -> float:
    """Interruptions per host hour from a run: Jeffreys' estimate, so no reclaims does not mean a rate of zero.

    Raises InvalidInput if no host ran.
    """
    if host_hours <= 0 or reclaims < 0:
        raise InvalidInput(f"a rate needs host hours above 0, not {reclaims} reclaims in {host_hours} h")
    return (reclaims + 0.5) / host_hours


def jobs_per_host(kind: InstanceType, need: Need) -> int:
    """How many such jobs fit on a host of a type at the same time, by usable memory rather than nominal memory."""
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
    """The types that can hold the job, cheapest per job-hour first (by the Spot price if it is known).

    Spare room that `jobs` jobs leave on the last host is paid for, so large types are expensive for few jobs.

    Every vCPU counts the same here, which is a simplification: generations differ by a third or more, and an arm64 or
    AMD vCPU of a newer generation is a full core. Measure before choosing on a difference of a few per cent.
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
    """The factor by which interruptions and checkpoints at the best interval lengthen a job."""
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
