"""From an environment's instance types and subnets to the pools in which its hosts are launched."""

from collections.abc import Sequence
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.placement import Pool
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import Document
from spotbatch.pricing.catalogue import InstanceType, catalogue

_ZONES: Final = "abcdef"
# Assumed spare capacity of a type, by the share of its instances that Spot reclaims in a month.
_DEPTHS: Final = {"<5%": 5.0, "5-10%": 4.0, "10-15%": 3.0, "15-20%": 2.0, ">20%": 1.0}
_UNKNOWN_DEPTH: Final = 1.0


def types_of(names: Sequence[str]) -> tuple[InstanceType, ...]:
    """The types that `instanceTypes` expands to, all of one architecture. Raises ClientException."""
    try:
        types = catalogue().expand(names)
    except NotFound as error:
        raise ClientException(f"Error executing request, Exception : {error}") from None
    architectures = sorted({one.architecture for one in types})
    if len(architectures) > 1:
        raise ClientException(f"instanceTypes must share one architecture, not {architectures}")
    return types


def architecture_of(resources: Document) -> str:
    """x86_64 or arm64."""
    return types_of(resources["instanceTypes"])[0].architecture


def pools_of(resources: Document, region: str) -> tuple[Pool, ...]:
    """A pool for each type in each zone. The subnets are assumed to be in the region's zones, in order."""
    zones = [f"{region}{letter}" for letter in _ZONES[: len(resources["subnets"])]]
    is_spot, named = resources["type"] == "SPOT", resources["instanceTypes"]
    ranks = _ranks(named)
    return tuple(_pool(one, zone, ranks[one.name], is_spot=is_spot) for one in types_of(named) for zone in zones)


def fargate_pools(resources: Document, region: str) -> tuple[Pool, ...]:
    """Where tasks may be; each is as large as its job."""
    zones = [f"{region}{letter}" for letter in _ZONES[: len(resources["subnets"])]]
    return tuple(Pool(instance_type=resources["type"], zone=zone, vcpus=0, memory_mib=0) for zone in zones)


def _ranks(named: Sequence[str]) -> dict[str, int]:
    """Each type's position in `instanceTypes`: its own if it is named itself, or that of its family or bundle.

    API reference, ComputeResource.allocationStrategy.
    """
    ranks = {name: place for place, name in reversed([*enumerate(named)]) if "." in name}
    for place, name in enumerate(named):
        for each in types_of([name]):
            ranks.setdefault(each.name, place)
    return ranks


def _pool(one: InstanceType, zone: str, rank: int, *, is_spot: bool) -> Pool:
    spot = one.spot_usd_per_hour if one.spot_usd_per_hour is not None else one.on_demand_usd_per_hour
    return Pool(
        instance_type=one.name,
        zone=zone,
        vcpus=one.vcpus,
        memory_mib=one.usable_memory_mib,
        gpus=one.gpus,
        usd_per_hour=float(spot if is_spot else one.on_demand_usd_per_hour),
        depth=_DEPTHS.get(one.interruption_band or "", _UNKNOWN_DEPTH),
        rank=rank,
    )
