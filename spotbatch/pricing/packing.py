"""What idle capacity is made of: jobs whose size leaves room on a host that is too small for another job."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from spotbatch.pricing.ledger import Entry, Part
from spotbatch.pricing.usage import AttemptUse, HostLife

_MEMORY_STEP_MIB: Final = 64
_LEAST_USD: Final = Decimal("0.000001")
_MOST_LINES: Final = 5
_TIMES: Final = {1: "once", 2: "twice"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """Jobs of one name on one instance type: how many fit on a host, and the size at which one more would fit.

    `idle_usd` is the cost of the unused room beside these jobs: an upper bound on what a smaller size could fill.
    """

    job_name: str
    instance_type: str
    resource: str  # "memory" or "vCPUs": what prevents one more from fitting
    asked: float  # MiB or vCPUs
    offered: float  # of a host, for jobs
    fits: int
    smaller: float  # at this size, one more fits
    idle_usd: Decimal

    @property
    def text(self) -> str:
        """The finding as a sentence."""
        asked, offered, smaller = (self._size(each) for each in (self.asked, self.offered, self.smaller))
        return (
            f"idle capacity: a job of {asked} ({self.job_name}) fits {_times(self.fits)} on a "
            f"{self.instance_type}, which has {offered} for jobs; one of {smaller} would "
            f"fit {_times(self.fits + 1)} (up to {self.idle_usd:.6f} USD of this run)"
        )

    def _size(self, amount: float) -> str:
        unit = "MiB" if self.resource == "memory" else "vCPU" if amount == 1 else "vCPUs"
        return f"{amount:,g} {unit}"

    def to_json(self) -> dict[str, object]:
        return {
            "job_name": self.job_name,
            "instance_type": self.instance_type,
            "resource": self.resource,
            "asked": self.asked,
            "offered": self.offered,
            "fits": self.fits,
            "smaller": self.smaller,
            "idle_usd": f"{self.idle_usd:.9f}",
            "text": self.text,
        }


def packings(entries: Iterable[Entry]) -> tuple[Packing, ...]:
    """For hosts that ran jobs of one size only: what prevents one more from fitting, highest cost first.

    A size below the highest observed use of any of these jobs is not useful advice and is left out.
    """
    idle: dict[str, Decimal] = defaultdict(Decimal)
    ran: dict[str, list[AttemptUse]] = defaultdict(list)
    hosts: dict[str, HostLife] = {}
    for each in entries:
        hosts[each.host.instance_id] = each.host
        if each.attempt is not None:
            ran[each.host.instance_id].append(each.attempt)
        elif each.part is Part.IDLE:
            idle[each.host.instance_id] += each.paid_usd
    found: dict[tuple[object, ...], Packing] = {}
    for instance_id, host in hosts.items():
        sizes = {(use.job_name, use.vcpus, use.memory_mib) for use in ran[instance_id]}
        if len(sizes) != 1 or idle[instance_id] < _LEAST_USD:
            continue
        one = _packing(ran[instance_id], host, idle[instance_id])
        if one is not None:
            key = (one.job_name, one.instance_type, one.asked)
            before = found[key].idle_usd if key in found else Decimal(0)
            found[key] = replace(one, idle_usd=before + one.idle_usd)
    return tuple(sorted(found.values(), key=lambda each: -each.idle_usd)[:_MOST_LINES])


def _packing(uses: list[AttemptUse], host: HostLife, idle_usd: Decimal) -> Packing | None:
    use = uses[0]
    if host.memory_mib <= 0 or use.memory_mib <= 0 or use.vcpus <= 0:
        return None
    by_memory, by_vcpus = host.memory_mib // use.memory_mib, int(host.vcpus // use.vcpus)
    fits = min(by_memory, by_vcpus)
    if fits < 1 or by_memory == by_vcpus:
        return None  # both are full, or neither leaves room for the other
    if by_memory < by_vcpus:
        smaller: float = host.memory_mib // (fits + 1) // _MEMORY_STEP_MIB * _MEMORY_STEP_MIB
        peaks = [each.observed.peak_memory_mib or 0.0 for each in uses if each.observed is not None]
        resource, asked, offered, seen = (
            "memory",
            float(use.memory_mib),
            float(host.memory_mib),
            max(peaks, default=0.0),
        )
    else:
        smaller = host.vcpus // (fits + 1)
        resource, asked, offered, seen = "vCPUs", use.vcpus, float(host.vcpus), 0.0
    if smaller <= 0 or smaller < seen:
        return None
    return Packing(
        job_name=use.job_name,
        instance_type=host.instance_type,
        resource=resource,
        asked=asked,
        offered=offered,
        fits=fits,
        smaller=smaller,
        idle_usd=idle_usd,
    )


def _times(count: int) -> str:
    return _TIMES.get(count, f"{count} times")
