"""A local region whose stack has no controller: its own, the same function, keeps deadlines and grows memory."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spotbatch import Client
from spotbatch.batch.errors import InvalidInput, Unavailable
from spotbatch.batch.status import JobStatus
from spotbatch.web.poller import Poller
from spotbatch.web.render import Pages
from spotbatch.web.scope import Scope
from spotbatch.web.state import State
from spotbatch.web.target import Target
from tests.contract.cli_world import STACK, CliWorld, Said, cli_world
from tests.contract.cli_world import run as run_command
from tests.contract.controller.region import add_on_demand_queue, ended, places, story, tick, ticking
from tests.contract.local_api_region import running, until
from tests.contract.web_world import local_settings

COUNT = """
import os, pathlib, sys, time
folder, total = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"]), int(sys.argv[1])
state = folder / "n"
n = int(state.read_text()) if state.exists() else 0
print("from", n, flush=True)
while n < total:
    if os.environ["AWS_BATCH_JQ_NAME"] != "paid" and n >= total / 2:
        time.sleep(600)  # on Spot it comes no further
    time.sleep(0.05)
    n += 1
    (folder / "n.tmp").write_text(str(n))
    (folder / "n.tmp").rename(state)
pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "n").write_text(str(n))
"""
EATS = "import time; x = bytearray(150 << 20); x[::4096] = b'x' * len(x[::4096]); time.sleep(1)"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("region")) as made:
        add_on_demand_queue(made)
        yield made


def test_a_region_killed_in_the_middle_of_a_move_finishes_it_and_loses_nothing(tmp_path: Path) -> None:
    """The run's table and its schedule survive with the region, and its checkpoint with the run."""
    options = ("--boot-seconds", "0.05", "--notice-seconds", "0.3", "--stop-grace-seconds", "2", "--draining", "on")
    script = tmp_path / "count.py"
    script.write_text(COUNT)
    with cli_world(tmp_path) as world:
        add_on_demand_queue(world)
        # 435 s for a move by the controller, and 135 s until it is seen again: there is time for Spot for a few seconds
        terms = ("--deadline", "600s", "--work", "20s", "--changeover", "5s", "--on-demand-queue", "paid")
        env = ("--env", "SPOTBATCH_CHECKPOINT_SECONDS=0.2")
        run_id = world.submit(*terms, *env, "--name", "count", "--", sys.executable, str(script), "20")
        manifests = world.home / "artifacts/runs" / run_id / "job/checkpoints/manifests"
        until(lambda: manifests.exists() and any(manifests.iterdir()))

        batch = world.region.client("batch")

        def is_moved() -> bool:
            tick(world)
            [job] = batch.describe_jobs(jobs=[story(world, run_id)["parts"][0]["job_id"]])["jobs"]
            return bool(job["isTerminated"])

        until(is_moved, seconds=60)
        os.kill(world.region.process.pid, signal.SIGKILL)
        world.region.process.wait()
    with running(world.home, *options, "--images", str(tmp_path / "images.toml")) as region:
        again = CliWorld(region=region, home=world.home)
        found = ended(again, run_id)
        assert (found["outcome"], [place for place, _ in places(found)]) == ("succeeded", ["SPOT", "ON_DEMAND"])
        rules = region.client("events").list_rules(NamePrefix="SpotbatchController-controller-tick")["Rules"]
        assert [rule["State"] for rule in rules] == ["DISABLED"]  # nothing is left to look at
        done = region.client("batch").list_jobs(jobQueue="paid", jobStatus="SUCCEEDED")["jobSummaryList"]
        assert len(done) == 1
        out = again.run("logs", done[0]["jobId"]).out
        assert "from 10" in out


def test_a_program_follows_what_grows_and_the_dashboard_shows_each_move_and_why(
    world: CliWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed for memory, it comes back with more at once: the event of its end calls the function."""
    monkeypatch.setenv("SPOTBATCH_HOME", str(world.home))
    client = Client(local=True)
    run = client.submit([sys.executable, "-c", EATS], memory="100", grow_memory="2x", max_usd=1, name="eats")
    with ticking(world):
        looks = list(run.follow(timeout=100))
    assert [look.is_last for look in looks] == [False] * (len(looks) - 1) + [True]
    assert run.wait(timeout=10).counts[JobStatus.SUCCEEDED] == 1
    told = run.control()
    assert told is not None
    assert (told.outcome, told.learnt_mib, told.max_usd) == ("succeeded", 200, Decimal(1))
    assert [(each.place, each.memory_mib, each.why) for each in told.placements] == [
        ("SPOT", 100, "submitted"),
        ("SPOT", 200, "killed for memory with 100 MiB"),
    ]
    assert len(run.job_ids) == 2
    plain = client.submit(["true"])
    assert plain.control() is None
    with local_settings(world.home):
        poller = Poller(state=State(), scope=Scope(stack=STACK))
        target = Target(kind="run", id=run.id)
        poller.load(target)
        poller.fetcher.control(target, poller.state.members(target)[-1])
        page = Pages(state=poller.state, scope=poller.scope).regions(target)
    assert "succeeded, about 0.00 of 1 USD" in page["control"]
    assert "with 200 MiB: killed for memory with 100 MiB" in page["control"]


def test_a_job_that_fails_by_itself_is_not_moved_and_not_tried_again(world: CliWorld) -> None:
    terms = ("--deadline", "1h", "--work", "5s", "--on-demand-queue", "paid")
    found = ended(world, world.submit(*terms, "--", "sh", "-c", "exit 3"))
    assert (found["outcome"], len(found["parts"])) == ("failed", 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--deadline", "1h"), "needs --work"),
        (("--work", "1h"), "belong to a --deadline"),
        (("--on-demand-queue", "paid"), "belongs to --deadline"),
        (("--deadline", "60s", "--work", "1h", "--on-demand-queue", "paid"), "cannot be promised"),
        (("--deadline", "5h", "--work", "1m", "--array", "90", "--on-demand-queue", "paid"), "at most 16"),
    ],
)
def test_what_cannot_be_promised_is_refused_with_the_reason(
    world: CliWorld, options: tuple[str, ...], said: str
) -> None:
    assert said in world.run("submit", *options, "--", "true", code=InvalidInput.exit_code).err


def test_without_an_on_demand_queue_the_error_names_the_setting(world: CliWorld) -> None:
    said = world.run("submit", "--deadline", "1h", "--work", "5m", "--", "true", code=None)
    assert said.code != 0
    assert 'set "on_demand_queue": true' in said.err


def test_on_aws_the_stack_is_looked_at_before_anything_is_promised(tmp_path: Path) -> None:
    """Only the stack tells whether it has a controller; here no AWS answers."""
    environ: dict[str, Any] = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    options = ("--queue", "q", "--definition", "d", "--deadline", "1h", "--work", "5m", "--on-demand-queue", "p")
    said = run_command("submit", *options, "--", "true", environ={"HOME": str(tmp_path), **environ})
    assert said.code == Unavailable.exit_code
    assert said.out == ""


def test_a_run_that_only_the_controllers_table_has_can_be_watched(world: CliWorld, tmp_path: Path) -> None:
    """Its first job may still be to come, or not be listed yet."""
    go_on = tmp_path / "go"
    run_id = world.submit(
        "--max-usd", "5", "--name", "soon", "--", "sh", "-c", f"until [ -e {go_on} ]; do sleep 0.1; done"
    )
    left = world.home / "artifacts" / "runs" / run_id
    kept = [file for file in left.rglob("*.json") if "attempts" not in file.parts]
    assert kept
    for file in kept:
        file.unlink()  # neither its manifest nor its story
    watching = threading.Thread(target=lambda: said.append(world.run("watch", run_id, code=None)))
    said: list[Said] = []
    watching.start()
    go_on.touch()

    def is_told() -> bool:
        tick(world)
        return (left / "controller.json").exists()  # at the next change: the end of the job

    until(is_told, seconds=60)
    ended(world, run_id)
    watching.join(timeout=60)
    assert [one.code for one in said] == [0], said
    assert "there is no job of the name 'nobody'" in world.run("watch", "nobody", code=3).err
