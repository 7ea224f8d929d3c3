"""One bill: what `watch`, `show` and the client say of a run's cost is what `cost` says."""

import csv
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from spotbatch import Client
from spotbatch.pricing.completeness import Completeness
from spotbatch.pricing.report import shown_usd
from tests.contract.cli_world import CliWorld, cli_world
from tests.contract.local_api_region import until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    """Its hosts go soon after their last job, so that what a run cost stands still."""
    with cli_world(tmp_path_factory.mktemp("bill"), "--idle-seconds", "0.5") as made:
        yield made


def wait_for_the_hosts_to_go(world: CliWorld) -> None:
    until(lambda: all(host.ended_at is not None for host in world.admin.hosts()), seconds=60)


def test_watch_show_cost_the_client_and_the_dashboard_have_one_figure_for_a_run_that_shared_its_hosts(
    world: CliWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = world.submit("--name", "other", "--array", "4", "--", "sleep", "1")
    run = world.submit("--name", "mine", "--array", "4", "--", "sleep", "1")
    world.wait(other)
    world.wait(run)
    wait_for_the_hosts_to_go(world)
    paid = Decimal(world.run("cost", "mine", "--json").json["paid_usd"])
    figure = shown_usd(paid)
    assert paid > 0
    assert figure in world.run("cost", "mine").out
    assert f"cost         {figure}," in world.run("show", "mine").out
    ending = world.run("watch", "mine").out.splitlines()[-1]
    assert f", {figure}," in ending, "and it says neither `so far` nor `at least`"
    monkeypatch.setenv("SPOTBATCH_HOME", str(world.home))
    bill = Client(local=True).run("mine").cost()
    assert (shown_usd(bill.paid_usd), bill.is_final) == (figure, True)
    assert bill.completeness == Completeness()
    charges = tmp_path / "focus.csv"
    world.run("cost", "mine", "--focus", str(charges), "--account", "123456789012")
    rows = list(csv.DictReader(charges.read_text(encoding="utf-8").splitlines()))
    assert {row["x_JobName"] for row in rows} <= {"mine", ""}
    assert abs(sum(Decimal(row["BilledCost"]) for row in rows) - paid) < Decimal("0.000001")
    _aws_allocates_the_same(world, rows, tmp_path / "cur.csv")
    page = tmp_path / "page.html"
    world.run("dashboard", "--run", run, "--export", str(page))
    number = figure.removesuffix(" USD")
    assert f"<dt>Paid</dt><dd>{number}<small>USD</small></dd>" in page.read_text(encoding="utf-8")


def _aws_allocates_the_same(world: CliWorld, charges: list[dict[str, str]], report: Path) -> None:
    """A Cost and Usage Report of the same charges, in the columns of CUR 2.0, agrees with the bill."""
    columns = (
        "line_item_usage_start_date", "line_item_currency_code", "split_line_item_parent_resource_id",
        "split_line_item_split_cost", "split_line_item_unused_cost",
    )  # fmt: skip
    with report.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in charges:
            costs = (row["BilledCost"], "0") if row["x_JobName"] else ("0", row["BilledCost"])
            writer.writerow((row["ChargePeriodStart"], "USD", row["ResourceId"], *costs))
    said = world.run("cost", "mine", "--cur", str(report), "--json").json
    assert said["allocated"]
    for host in said["allocated"]:
        assert Decimal(host["reckoned_usd"]) == pytest.approx(Decimal(host["split_usd"]) + Decimal(host["unused_usd"]))
    assert "AWS allocated " in world.run("cost", "mine", "--cur", str(report)).out
    assert "no Cost and Usage Report can be read" in world.run("cost", "mine", "--cur", "/none.csv", code=3).err


def test_a_figure_that_may_still_grow_says_so_far(world: CliWorld, tmp_path: Path) -> None:
    end = tmp_path / "end"
    run = world.submit("--", "sh", "-c", f"until [ -e {end} ]; do sleep 0.1; done")
    until(lambda: world.run("show", run, "--json").json["status"] == "RUNNING" and _cost_line(world, run), seconds=60)
    assert re.search(r"cost         \d\S* USD so far", world.run("show", run).out)
    end.touch()
    world.wait(run)


def _cost_line(world: CliWorld, run: str) -> bool:
    return "cost  " in world.run("show", run).out
