"""`submit --deadline` in a real region: Spot while there is time, on demand before it is too late, one exact result."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput, Unavailable
from tests.contract.cli_world import CliWorld, Said, cli_world, program, run
from tests.contract.local_api_region import running, until

COUNT = """
import os, pathlib, sys, time
from spotbatch.runtime import progress
folder, total = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"]), int(sys.argv[1])
state = folder / "n"
n = int(state.read_text()) if state.exists() else 0
print("from", n, flush=True)
while n < total:
    time.sleep(0.05)
    n += 1
    (folder / "n.tmp").write_text(str(n))
    (folder / "n.tmp").rename(state)
    progress(n, total)
pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "n").write_text(str(n))
"""
STEPS_A_SECOND = 20
ON_DEMAND = "paid"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CliWorld]:
    with cli_world(tmp_path) as made:
        add_on_demand_queue(made)
        yield made


def add_on_demand_queue(world: CliWorld) -> None:
    """A second environment and its queue, as the stack's setting on_demand_queue makes them."""
    batch = world.region.client("batch")
    spot = batch.describe_compute_environments()["computeEnvironments"][0]["computeResources"]
    own = {key: spot[key] for key in ("maxvCpus", "instanceTypes", "subnets", "securityGroupIds", "instanceRole")}
    resources = {**own, "type": "EC2", "allocationStrategy": "BEST_FIT_PROGRESSIVE"}
    batch.create_compute_environment(computeEnvironmentName="paid", type="MANAGED", computeResources=resources)
    order = [{"order": 1, "computeEnvironment": "paid"}]
    batch.create_job_queue(jobQueueName=ON_DEMAND, priority=1, computeEnvironmentOrder=order)


def submit(world: CliWorld, seconds: float, *options: str, deadline: str, name: str = "count") -> str:
    """A job that takes so many seconds on one host without interruption; its run id."""
    script = world.home.parent / "count.py"
    script.write_text(COUNT)
    steps = round(seconds * STEPS_A_SECOND)
    own = ("--name", name, "--deadline", deadline, "--work", f"{round(seconds)}s", "--on-demand-queue", ON_DEMAND)
    env = ("--env", "SPOTBATCH_CHECKPOINT_SECONDS=0.2", "--changeover", "2s")
    said = world.run("submit", *own, *env, *options, "--", sys.executable, str(script), str(steps))
    return said.out.strip()


def show(world: CliWorld, run_id: str) -> Any:
    return world.run("show", run_id, "--json").json


def story(world: CliWorld, run_id: str) -> Any:
    return show(world, run_id)["deadline"]


def ended(world: CliWorld, run_id: str) -> Any:
    return until(lambda: found if (found := story(world, run_id))["outcome"] != "running" else None, seconds=60)


def places(found: Any) -> list[str]:
    return [part["place"] for part in found["parts"]]


def disable_spot(world: CliWorld) -> None:
    """No Spot host comes any more."""
    batch = world.region.client("batch")
    environments = batch.describe_compute_environments()["computeEnvironments"]
    name = next(one["computeEnvironmentName"] for one in environments if one["computeResources"]["type"] == "SPOT")
    batch.update_compute_environment(computeEnvironment=name, state="DISABLED")


def result(world: CliWorld, run_id: str) -> str:
    folder = world.home.parent / "results"
    world.run("results", run_id, str(folder))
    return next(folder.rglob("n")).read_text()


def test_a_job_with_time_to_spare_stays_on_spot_through_a_reclaim(world: CliWorld) -> None:
    run_id = submit(world, 3, deadline="10m")
    until(lambda: world.admin.interrupt(count=1) if show(world, run_id)["status"] == "RUNNING" else None)
    found = ended(world, run_id)
    assert found["outcome"] == "met"
    assert places(found) == ["SPOT"]
    assert len(show(world, run_id)["attempts"]) == 2
    assert result(world, run_id) == "60"


def test_where_spot_never_comes_it_goes_on_demand_in_time(world: CliWorld) -> None:
    disable_spot(world)
    run_id = submit(world, 3, deadline="12s")
    found = ended(world, run_id)
    assert found["outcome"] == "met"
    assert places(found) == ["SPOT", "ON_DEMAND"]
    assert "the safety net" in found["parts"][1]["why"] or "no capacity" in found["parts"][1]["why"]
    assert result(world, run_id) == "60"


def test_a_job_that_loses_spot_takes_its_checkpoint_along_and_the_story_says_when_and_why(world: CliWorld) -> None:
    run_id = submit(world, 5, deadline="20s")
    part = until(lambda: show(world, run_id) if show(world, run_id)["status"] == "RUNNING" else None)
    until(lambda: (world.home / "artifacts/runs" / run_id / "job/checkpoints/manifests").exists())
    disable_spot(world)
    world.admin.interrupt(count=1)
    found = ended(world, run_id)
    assert found["outcome"] == "met"
    assert places(found) == ["SPOT", "ON_DEMAND"]
    moved = show(world, run_id)
    assert moved["job_id"] != part["job_id"]
    assert moved["attempts"][0]["record"]["resumed_from"]
    assert result(world, run_id) == "100"
    text = world.run("show", run_id).out
    assert "moved to on demand" in text
    assert "early" in text
    assert len(world.run("cost", run_id, "--json").json["job_ids"]) == 2
    first = world.run("show", part["job_id"])
    assert "moved to meet its deadline" in first.out


def test_a_region_killed_in_the_middle_of_it_finishes_the_move_and_loses_nothing(tmp_path: Path) -> None:
    options = ("--boot-seconds", "0.05", "--notice-seconds", "0.3", "--stop-grace-seconds", "2")
    with cli_world(tmp_path) as world:
        add_on_demand_queue(world)
        run_id = submit(world, 5, deadline="20s")
        until(lambda: show(world, run_id)["status"] == "RUNNING")
        disable_spot(world)
        world.admin.interrupt(count=1)
        until(lambda: story(world, run_id)["going"] or len(story(world, run_id)["parts"]) > 1, seconds=40)
        os.kill(world.region.process.pid, signal.SIGKILL)
        world.region.process.wait()
    with running(world.home, *options, "--images", str(tmp_path / "images.toml")) as region:
        again = CliWorld(region=region, home=world.home)
        found = ended(again, run_id)
        assert found["outcome"] in ("met", "late")  # the kill took time that nobody promised
        assert places(found) == ["SPOT", "ON_DEMAND"]
        batch = region.client("batch")
        assert len(batch.list_jobs(jobQueue=ON_DEMAND, jobStatus="SUCCEEDED")["jobSummaryList"]) == 1
        assert result(again, run_id) == "100"


def test_a_job_that_fails_by_itself_is_not_moved_and_not_tried_again(world: CliWorld) -> None:
    own = ("--deadline", "10m", "--work", "5s", "--on-demand-queue", ON_DEMAND)
    run_id = world.run("submit", "--name", "bad", *own, "--", "sh", "-c", "exit 3").out.strip()
    found = ended(world, run_id)
    assert found["outcome"] == "failed"
    assert places(found) == ["SPOT"]


def test_watch_tells_the_story_and_ends_with_it(world: CliWorld) -> None:
    run_id = submit(world, 2, deadline="10m")
    environ = {"SPOTBATCH_HOME": str(world.home), "SPOTBATCH_LOCAL": "1"}
    out, err = program("watch", run_id, environ=environ).communicate(timeout=60)
    assert "began" in out, err
    assert "on Spot" not in out.splitlines()[-1]
    assert "met" in out.splitlines()[-1]
    events = program("watch", run_id, "--json", environ=environ).communicate(timeout=60)[0].splitlines()
    assert '"ended"' in events[-1]


def refused(world: CliWorld, *options: str) -> Said:
    return world.run("submit", *options, "--on-demand-queue", ON_DEMAND, "--", "true", code=InvalidInput.exit_code)


def test_what_cannot_be_promised_is_refused_with_the_reason(world: CliWorld) -> None:
    assert "needs --work" in refused(world, "--deadline", "1h").err
    assert "belong to a --deadline" in refused(world, "--work", "1h").err
    assert "not for an array" in refused(world, "--deadline", "1h", "--work", "5m", "--array", "3").err
    too_short = refused(world, "--deadline", "60s", "--work", "1h")
    assert "do not fit into a deadline of 60 s" in too_short.err
    assert not world.run("list", "--json").json


def test_without_an_on_demand_queue_the_error_names_the_setting(world: CliWorld) -> None:
    said = world.run("submit", "--deadline", "1h", "--work", "5m", "--", "true", code=None)
    assert said.code != 0
    assert 'set "on_demand_queue": true' in said.err


def test_on_aws_the_stack_is_looked_at_before_anything_is_promised(tmp_path: Path) -> None:
    """Only the stack tells whether it has a controller; here no AWS answers."""
    environ = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    options = ("--queue", "q", "--definition", "d", "--deadline", "1h", "--work", "5m", "--on-demand-queue", "p")
    said = run("submit", *options, "--", "true", environ={"HOME": str(tmp_path), **environ})
    assert said.code == Unavailable.exit_code
    assert said.out == ""
