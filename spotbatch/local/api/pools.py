"""From an environment's instance types and subnets to the pools that its hosts are launched from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from spotbatch.batch.placement import Pool
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import Document

_ZONES: Final = "abcdef"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    vcpus: int
    memory_mib: int
    architecture: str
    usd_per_hour: float


@cache
def _types() -> dict[str, _Facts]:
    table = {}
    for family, per_vcpu, price in (("c5", 2048, 0.0425), ("m5", 4096, 0.048), ("r5", 8192, 0.063)):
        for size, vcpus in (("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16)):
            table[f"{family}.{size}"] = _Facts(
                vcpus=vcpus,
                memory_mib=int(per_vcpu * vcpus * 0.94),
                architecture="x86_64",
                usd_per_hour=price * vcpus * 0.35,
            )
    return table


def expanded(wanted: Sequence[str]) -> list[str]:
    """Type names: families become their sizes."""
    names: dict[str, None] = {}
    for one in wanted:
        chosen = [name for name in _types() if name == one or name.startswith(f"{one}.") or one in ("optimal",)]
        if not chosen:
            raise ClientException(f"instance type {one[:60]!r} is not known")
        names.update(dict.fromkeys(chosen))
    return list(names)


def architecture_of(resources: Document) -> str:
    """x86_64 or arm64."""
    return _types()[expanded(resources["instanceTypes"])[0]].architecture


def pools_of(resources: Document, region: str) -> tuple[Pool, ...]:
    """A pool for each type in each zone; subnets are taken to lie in the zones in their order."""
    zones = [f"{region}{letter}" for letter in _ZONES[: min(len(resources["subnets"]), len(_ZONES))]]
    return tuple(
        Pool(
            instance_type=name,
            zone=zone,
            vcpus=facts.vcpus,
            memory_mib=facts.memory_mib,
            usd_per_hour=facts.usd_per_hour,
        )
        for name in expanded(resources["instanceTypes"])
        for facts in (_types()[name],)
        for zone in zones
    )
