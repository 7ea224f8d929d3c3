"""The stack's own controller in the local region, from the synthesized template alone: its function does it all.

The function is also called here as its schedule does each minute, so that a test takes no minutes.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cli_world import IMAGES, CliWorld
from tests.contract.controller.region import ended, places, story
from tests.contract.local_api_region import running, until

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[3]
SETTINGS = {"controller": True, "on_demand_queue": True, "egress": "public", "monitoring": False}
SAVES = 'if [ -e "$SPOTBATCH_CHECKPOINT_DIR/n" ]; then exit 0; fi; echo 1 > "$SPOTBATCH_CHECKPOINT_DIR/n"; sleep 600'
ON_DEMAND_ONLY = 'case "$AWS_BATCH_JQ_NAME" in OnDemand*) exit 0;; esac; sleep 600'
EATS = "import time; x = bytearray(150 << 20); x[::4096] = b'x' * len(x[::4096]); time.sleep(1)"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    folder = tmp_path_factory.mktemp("region")
    environ = {**os.environ, "CDK_OUTDIR": str(folder / "out"), "CDK_CONTEXT_JSON": json.dumps({"spotbatch": SETTINGS})}
    subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=environ, check=True, timeout=120)
    [template] = (folder / "out").glob("*.template.json")
    (folder / "images.toml").write_text(IMAGES)
    home = folder / "home"
    options = ("--template", str(template), "--images", str(folder / "images.toml"), "--boot-seconds", "0.2")
    with running(home, *options) as region:
        yield CliWorld(region=region, home=home)


def submit(world: CliWorld, *arguments: str) -> str:
    return world.submit("--memory", "300", *arguments)


def test_what_was_killed_for_memory_comes_back_with_more_at_once(world: CliWorld) -> None:
    """No tick is needed: the event of its end calls the function."""
    run_id = world.submit("--memory", "100", "--grow-memory", "2x", "--", sys.executable, "-c", EATS)
    until(lambda: len(story(world, run_id)["parts"]) > 1, seconds=40)
    assert places(story(world, run_id))[:2] == [("SPOT", 100), ("SPOT", 200)]
    found = ended(world, run_id)
    assert (found["outcome"], found["learnt_mib"]) == ("succeeded", 200)
    assert "give --memory 200 the next time" in world.run("show", run_id).out


ODD_ONES_EAT = """
import os, pathlib, time
index = int(os.environ["AWS_BATCH_JOB_ARRAY_INDEX"])
if index % 2:
    x = bytearray(150 << 20)
    x[::4096] = b"x" * len(x[::4096])
    time.sleep(1)
pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "index").write_text(str(index))
"""


def test_the_children_of_an_array_grow_each_for_itself_and_keep_their_indexes(world: CliWorld, tmp_path: Path) -> None:
    own = ("--memory", "100", "--grow-memory", "2x", "--array", "6", "--deadline", "2h", "--work", "10s")
    run_id = world.submit(*own, "--", sys.executable, "-c", ODD_ONES_EAT)
    found = ended(world, run_id)
    assert (found["outcome"], found["succeeded"], found["learnt_mib"]) == ("succeeded", 6, 200), found
    again = [each for part in found["parts"][1:] for each in part["indexes"].split(",")]
    assert sorted(again) == ["1", "3", "5"]
    assert {part["memory_mib"] for part in found["parts"][1:]} == {200}
    world.run("results", run_id, str(tmp_path))
    assert [(tmp_path / f"{index:05d}" / "index").read_text() for index in range(6)] == list("012345")


def test_what_was_lost_as_often_as_it_may_goes_on_on_demand(world: CliWorld) -> None:
    run_id = submit(world, "--on-demand-after", "1", "--", "sh", "-c", ON_DEMAND_ONLY)
    reclaim_under(world, story(world, run_id)["parts"][0]["job_id"])
    found = ended(world, run_id)
    assert found["outcome"] == "succeeded", found
    assert places(found) == [("SPOT", 300), ("ON_DEMAND", 300)]
    assert "lost 1 times on Spot" in found["parts"][1]["why"]


def reclaim_under(world: CliWorld, job_id: str) -> None:
    """EC2 takes the host of a job that runs."""
    batch = world.region.client("batch")
    until(lambda: batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] == "RUNNING")
    [host] = [one for one in world.admin.hosts() if one.running and one.is_spot and one.ended_at is None]
    world.admin.interrupt(instance_ids=[host.instance_id], notice_seconds=2)


def test_a_job_whose_deadline_comes_near_is_moved_on_demand_and_meets_it(world: CliWorld) -> None:
    options = ("--deadline", "610s", "--work", "20s", "--changeover", "5s")
    run_id = submit(world, *options, "--", "sh", "-c", ON_DEMAND_ONLY)
    found = ended(world, run_id)
    assert found["outcome"] == "succeeded", found
    assert [place for place, _ in places(found)] == ["SPOT", "ON_DEMAND"]
    assert "could now cost the deadline" in found["parts"][1]["why"]
    assert found["ended_at"] < found["deadline_at"]
    assert world.run("watch", run_id).code == 0


def test_a_run_is_stopped_by_its_budget_and_goes_on_with_a_new_one(world: CliWorld) -> None:
    hint = world.run("submit", "--dry-run", "--memory", "300", "--", "true").err
    match = re.search(r"about ([0-9.]+) USD on Spot", hint)
    assert match, hint
    most = float(match[1]) * 310 / 3600  # five minutes are held back, so some seconds are left
    run_id = submit(world, "--max-usd", f"{most:.7f}", "--", "sh", "-c", SAVES)
    found = ended(world, run_id)
    assert (found["outcome"], found["stopped"]) == ("stopped", 1), found
    assert float(found["spent_usd"]) < most
    assert "retry" in world.run("watch", run_id, code=1).err
    world.run("retry", run_id, "--max-usd", "1")
    found = ended(world, run_id)
    assert (found["outcome"], len(found["parts"])) == ("succeeded", 2), found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--deadline", "5m", "--work", "1m"), "cannot be promised"),
        (("--deadline", "5h"), "--work"),
        (("--deadline", "5h", "--work", "1m", "--array", "100", "--vcpus", "4"), "at most 64"),
        (("--max-usd", "0.0001"), "too little"),
        (("--grow-memory", "2x:100"), "not to 100"),
        (("--grow-memory", "0.5x"), "above 1x"),
        (("--on-demand-after", "11"), "1 to 10"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_it_is_promised(
    world: CliWorld, options: tuple[str, ...], said: str
) -> None:
    answer = world.run("submit", "--memory", "300", *options, "--", "true", code=2)
    assert said in answer.err


def test_a_second_load_and_an_update_keep_its_runs_and_the_stack_goes_with_its_controller(world: CliWorld) -> None:
    """The whole template, as deployed again unchanged, deployed with a change, and removed."""
    tables, functions, events = (world.region.client(name) for name in ("dynamodb", "lambda", "events"))
    [table] = tables.list_tables()["TableNames"]
    kept = tables.scan(TableName=table)["Count"]
    assert kept > 0
    [path] = (world.home.parent / "out").glob("*.template.json")
    name, body = path.name.removesuffix(".template.json"), json.loads(path.read_text())
    world.admin.load_stack(name, body, file=str(path))
    assert tables.scan(TableName=table)["Count"] == kept
    [function] = [one for one in body["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    function["Properties"]["MemorySize"] = 1024
    world.admin.load_stack(name, body, file=str(path))
    assert tables.list_tables()["TableNames"] == [table]
    assert tables.scan(TableName=table)["Count"] == kept
    assert [one["MemorySize"] for one in functions.list_functions()["Functions"]] == [1024]
    assert ended(world, submit(world, "--grow-memory", "2x", "--", "true"))["outcome"] == "succeeded"
    world.region.client("cloudformation").delete_stack(StackName=name)
    until(lambda: not functions.list_functions()["Functions"], seconds=120)
    assert tables.list_tables()["TableNames"] == []
    assert not [rule for rule in events.list_rules()["Rules"] if "controller" in rule["Name"]]
