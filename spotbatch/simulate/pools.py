"""Pools for a scenario, from the catalogue of instance types."""

from collections.abc import Iterable, Sequence

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import Pool
from spotbatch.pricing.catalogue import InstanceType


def pools_of(types: Iterable[InstanceType], zones: Sequence[str], *, is_spot: bool) -> tuple[Pool, ...]:
    """Every type in every zone, all equally deep. A type without a known price is left out.

    Raises InvalidInput if no type has a price.
    """
    found = tuple(
        _pool(each, zone, float(usd))
        for each in types
        if (usd := each.spot_usd_per_hour if is_spot else each.on_demand_usd_per_hour) is not None
        for zone in zones
    )
    if not found:
        raise InvalidInput("none of these instance types has a known price: see `spotbatch prices show`")
    return found


def _pool(each: InstanceType, zone: str, usd_per_hour: float) -> Pool:
    return Pool(
        instance_type=each.name,
        zone=zone,
        vcpus=each.vcpus,
        memory_mib=each.usable_memory_mib,
        gpus=each.gpus,
        usd_per_hour=usd_per_hour,
    )
