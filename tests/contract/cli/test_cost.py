"""Money of a real run: an array on simulated hosts, one of them reclaimed, its bill, and an estimate made from it."""

import json
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from spotbatch.batch.errors import InvalidInput
from tests.contract.cli_world import CliWorld, cli_world, run
from tests.contract.local_api_region import until

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


def test_the_volumes_of_the_hosts_have_a_line_of_their_own(world: CliWorld, job: str, bill: Any) -> None:
    [volumes] = bill["other"]
    assert volumes["item"] == "ebs_gp3_gib"
    assert Decimal(volumes["usd"]) > 0
    assert "EBS gp3 volume" in world.run("cost", job).out


@pytest.fixture(scope="module")
def cost_explorer(world: CliWorld, job: str) -> Iterator[str]:
    """A Cost Explorer that billed 1.25 USD on the day of the run."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    day = time.strftime("%Y-%m-%d", time.gmtime(world.run("show", job, "--json").json["created_at"]))
    billed = {"TimePeriod": {"Start": day, "End": day}, "Total": {"UnblendedCost": {"Amount": "1.25"}}}
    results = [{"ResultsByTime": [{**billed, "Groups": [], "Estimated": False}]} for _ in range(2)]
    body = json.dumps({"results": results}).encode()
    url = f"http://{host}:{port}/moto-api/static/ce/cost-and-usage-results"
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST"), timeout=10):
        pass
    yield f"http://{host}:{port}"
    server.stop()


def test_what_aws_billed_stands_beside_what_is_reckoned(world: CliWorld, job: str, cost_explorer: str) -> None:
    home = {"SPOTBATCH_HOME": str(world.home)}
    environ = {**world.region.info.environment(), "AWS_ENDPOINT_URL_COST_EXPLORER": cost_explorer, **home}
    said = run("cost", job, "--reconcile", "--tag", "team=x", environ=environ)
    assert said.code == 0, said.err
    assert "AWS BILLED" in said.out
    assert "1.25 USD" in said.out
    [day] = run("cost", job, "--reconcile", "--tag", "team=x", "--json", environ=environ).json["billed"]
    assert day["billed_usd"] == "1.250000000"
    assert day["is_close"] is False


def test_a_tag_without_reconcile_is_refused(world: CliWorld, job: str) -> None:
    assert "give --reconcile too" in world.run("cost", job, "--tag", "a=b", code=InvalidInput.exit_code).err


def test_an_estimate_is_made_from_the_run(world: CliWorld, job: str) -> None:
    said = world.run("estimate", "--sample", job, "--jobs", "400", "--samples", "50", "--json")
    assert 6 <= said.json["work_seconds"] < 30, "sixty steps of 0.1 s each"
    assert "too short to tell how often" in said.err, "a rehearsal's interruptions are no rate of AWS's"
