"""Money of a real run: an array on simulated hosts, one of them reclaimed, its bill, and an estimate made from it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.cli_world import CliWorld, cli_world
from tests.contract.local_api_region import until

pytestmark = pytest.mark.xdist_group("prices-cost")  # one region for the whole file

# Counts to 60 with a checkpoint at each step; resumes at the number it finds.
COUNT = (
    "f=$SPOTBATCH_CHECKPOINT_DIR/n; n=$(cat $f 2>/dev/null || echo 0);"
    "while [ $n -lt 60 ]; do n=$((n+1)); echo $n > $f.new; mv $f.new $f; sleep 0.1; done"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("money"), MaxvCpus=4) as made:
        yield made


@pytest.fixture(scope="module")
def job(world: CliWorld) -> str:
    """An array of four, of which a host was reclaimed while it ran; SUCCEEDED."""
    job = world.submit(
        "--name", "count", "--array", "4", "--env", "SPOTBATCH_CHECKPOINT_SECONDS=1", "--", "sh", "-c", COUNT
    )

    def have_saved() -> bool:
        run = world.home / "artifacts" / "runs" / job
        return sum(any(unit.glob("checkpoints/manifests/*")) for unit in run.glob("0*")) == 4

    until(have_saved, seconds=60)
    world.run("local", "interrupt", "1")
    assert world.wait(job) == "SUCCEEDED"
    return job


@pytest.fixture(scope="module")
def bill(world: CliWorld, job: str) -> Any:
    return world.run("cost", job, "--json").json


def test_the_bill_of_a_run_adds_up_to_what_its_hosts_cost(bill: Any) -> None:
    by_line = sum(Decimal(line["paid_usd"]) for line in bill["hosts"]["lines"])
    by_part = sum(Decimal(amount) for amount in bill["parts_usd"].values()) - Decimal(bill["first_hour_credit_usd"])
    by_job = sum(Decimal(group["paid_usd"]) for group in bill["by"]["job"])
    for each in (by_line, by_part, by_job):
        assert abs(each - Decimal(bill["paid_usd"])) < Decimal("0.0000001")


def test_the_bill_shows_the_interruption_its_credit_and_the_twin(bill: Any) -> None:
    assert bill["is_simulated"]
    assert bill["hosts"]["reclaimed"] == 1
    assert bill["attempts"]["interrupted"] >= 1
    assert bill["attempts"]["count"] == 4 + bill["attempts"]["interrupted"]
    assert Decimal(bill["first_hour_credit_usd"]) > 0
    assert Decimal(bill["on_demand_usd"]) >= Decimal(bill["on_demand_undisturbed_usd"]) > Decimal(bill["paid_usd"])
    assert "simulated" in bill["notes"][0]


def test_the_records_say_what_the_interruption_cost(bill: Any) -> None:
    assert not any("no record" in note for note in bill["notes"])
    work, lost = (Decimal(bill["parts_usd"][part]) for part in ("work", "lost to interruptions"))
    assert lost < work / 2, "checkpoints kept most of it"


def test_an_estimate_is_made_from_the_run(world: CliWorld, job: str) -> None:
    said = world.run("estimate", "--sample", job, "--jobs", "400", "--samples", "50", "--json")
    assert 6 <= said.json["work_seconds"] < 30, "sixty steps of 0.1 s each"
    assert "too short to tell how often" in said.err, "a rehearsal's interruptions are no rate of AWS's"
