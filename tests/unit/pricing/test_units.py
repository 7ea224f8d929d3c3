"""Unit prices of everything but instances, and the idle cost made from them."""

from decimal import Decimal

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.units import PROVENANCE, host_quantities, idle_cost, total, unit_prices, usage_cost
from spotbatch.pricing.usage import HostLife


def test_every_unit_price_names_its_unit_its_period_and_its_source() -> None:
    for each in unit_prices().values():
        assert each.usd >= 0
        assert each.unit
        assert each.source.endswith("pricing")
    assert "not verified here" in PROVENANCE


def test_idle_cost_is_for_a_month_of_730_hours_the_dearest_first() -> None:
    lines = idle_cost({"alarm": 5, "nat_gateway": 1, "public_ipv4": 1, "s3_put_1k": 100})
    assert [(line.item, line.usd) for line in lines] == [
        ("nat_gateway", Decimal("32.85")),
        ("public_ipv4", Decimal("3.65")),
        ("alarm", Decimal("0.5")),
        ("s3_put_1k", Decimal(0)),
    ]
    assert total(lines) == Decimal("37.00")


def test_use_is_billed_by_the_quantity() -> None:
    (line,) = usage_cost({"nat_gateway": 10})
    assert (line.usd, line.unit) == (Decimal("0.45"), "gateway-hours")


@pytest.mark.parametrize(("counts", "words"), [({"unicorn": 1}, "known are: nat_gateway"), ({"alarm": -1}, "not -1")])
def test_unknown_items_and_counts_below_nought_are_refused(counts: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        idle_cost(counts)


def test_each_host_brings_its_volume_and_where_so_its_address() -> None:
    host = HostLife(instance_id="i", instance_type="c5.large", zone="z", vcpus=2, launched_at=0)
    found = host_quantities([host], until=730 * 3600, volume_gib=30, has_public_ipv4=True)
    assert found == {"ebs_gp3_gib": 30, "public_ipv4": 730}
    assert total(usage_cost(found)) == Decimal("2.40") + Decimal("3.65")
