"""The shipped catalogue: its facts, its families, its errors, and its weight."""

import subprocess
import sys
from decimal import Decimal

import pytest

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.pricing.catalogue import catalogue, read_types, usable_memory_mib


def test_the_families_that_the_default_stack_asks_for_are_there_with_prices() -> None:
    for family in ("c5", "m5", "r5"):
        for each in catalogue().family(family):
            assert each.on_demand_usd_per_hour > 0
            assert each.spot_usd_per_hour is not None
            assert 0 < each.spot_usd_per_hour < each.on_demand_usd_per_hour


def test_a_type_states_its_price_with_its_day() -> None:
    found = catalogue().get("c5.large")
    assert (found.vcpus, found.memory_mib, found.architecture, found.gpus) == (2, 4096, "x86_64", 0)
    assert found.on_demand_usd_per_hour == Decimal("0.085")
    assert found.on_demand_date == "2026-07-20"
    assert found.spot_usd_per_hour == Decimal("0.085") * 41 / 100
    assert found.spot_date == "2025-06-28"


@pytest.mark.parametrize(
    ("name", "gpus"),
    [("g4dn.12xlarge", 4), ("g5.xlarge", 1), ("g6e.48xlarge", 8), ("p5.48xlarge", 8), ("inf2.xlarge", 0)],
)
def test_accelerated_types_state_their_gpus_and_a_dated_price(name: str, gpus: int) -> None:
    found = catalogue().get(name)
    assert found.gpus == gpus
    assert found.on_demand_usd_per_hour > Decimal("0.2")
    assert (found.on_demand_date, found.spot_date) == ("2026-07-20", "2025-06-28")


def test_every_type_stands_once_and_every_family_has_one_architecture() -> None:
    assert len(catalogue()) == len({each.name for each in catalogue()}) == 708
    for family in catalogue().families.values():
        assert len({each.architecture for each in family}) == 1, family[0].family


def test_a_family_is_listed_from_small_to_large() -> None:
    sizes = [each.vcpus for each in catalogue().family("m7g")]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1


def test_names_are_expanded_as_aws_batch_expands_them_and_each_type_comes_once() -> None:
    found = [each.name for each in catalogue().expand(["c5.large", "c5", "optimal"])]
    assert found[0] == "c5.large"
    assert len(found) == len(set(found))
    assert {name.partition(".")[0] for name in found} == {"c5", "c6i", "c7i", "m6i", "r6i"}


def test_the_arm_bundle_holds_arm_types_only() -> None:
    assert {each.architecture for each in catalogue().expand(["default_arm64"])} == {"arm64"}


@pytest.mark.parametrize(("name", "near"), [("c5.lagre", "c5.large"), ("m5.xlarg", "m5.xlarge")])
def test_an_unknown_type_is_answered_with_the_names_that_come_near(name: str, near: str) -> None:
    with pytest.raises(NotFound, match=near):
        catalogue().get(name)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(NotFound, match="instance family 'zz9'"):
        catalogue().expand(["zz9"])


def test_an_advisor_saving_of_nought_means_that_the_spot_price_is_not_known() -> None:
    (found,) = read_types(["header", "c9.large,2,4096,x86_64,0,0.1,2026-07-20,0,>20%,2025-06-28"])
    assert found.spot_usd_per_hour is None
    assert found.interruption_band is None


@pytest.mark.parametrize("row", ["c9.large,2,4096", "c9.large,two,4096,x86_64,0,0.1,2026-07-20,0,>20%,2025-06-28"])
def test_a_broken_row_is_refused_with_its_line(row: str) -> None:
    with pytest.raises(InvalidInput, match="line 2 of the catalogue"):
        read_types(["header", row])


def test_usable_memory_is_less_than_the_label_and_below_the_figure_that_aws_publishes() -> None:
    assert usable_memory_mib(8192) <= 7985 - 32  # AWS Batch user guide: an m4.large, less ECS_RESERVED_MEMORY
    for each in catalogue():
        assert 0.8 * each.memory_mib < each.usable_memory_mib < each.memory_mib


def test_the_catalogue_loads_without_any_library_outside_the_standard_one() -> None:
    code = (
        "import sys; from spotbatch.pricing.catalogue import catalogue; catalogue();"
        "ours = {'spotbatch'}; known = sys.stdlib_module_names | ours | set(sys.builtin_module_names);"
        "print([n for n in {m.partition('.')[0] for m in sys.modules} - before if n not in known])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; before = {{m.partition('.')[0] for m in sys.modules}}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
