"""A hostile region and everything that a user does in it: each command, the client library, and the exact results."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spotbatch import Client, JobFailed
from spotbatch.batch.retry import spot_safe
from spotbatch.batch.status import JobStatus
from tests.acceptance.test_demo import run_alone
from tests.contract.cli_world import IMAGES, STACK, CliWorld, run, template
from tests.contract.local_api_region import running

ROOT = Path(__file__).resolve().parents[2]
UNKIND = ("--boot-seconds", "0.2", "--notice-seconds", "2", "--stop-grace-seconds", "1", "--faults", "hostile")
RECLAIMS = ("--reclaims-per-host-hour", "120")
LIMIT_SECONDS = 240.0
WRITE = (
    'sleep 1; n=$(cat "$SPOTBATCH_INPUT_DIR"/*); echo "line of $n"; echo $((n * n)) > "$SPOTBATCH_OUTPUT_DIR/square"'
)
COUNT = 8


@contextmanager
def hostile(folder: Path, seed: int) -> Iterator[CliWorld]:
    """A region with the stack's own retry strategy, which prints its seed."""
    print(f"seed {seed}: local up --faults hostile --seed {seed}")  # noqa: T201 - a failure can be played again
    home, images = folder / "home", folder / "images.toml"
    images.write_text(IMAGES, encoding="utf-8")
    body = template()
    entries = [
        {"Action": entry.action.value, "OnStatusReason": entry.on_status_reason, "OnReason": entry.on_reason}
        | {"OnExitCode": entry.on_exit_code}
        for entry in spot_safe().evaluate_on_exit
    ]
    strategy = {"Attempts": 10, "EvaluateOnExit": [{k: v for k, v in one.items() if v is not None} for one in entries]}
    body["Resources"]["Definition"]["Properties"]["RetryStrategy"] = strategy
    body["Resources"] |= _on_demand(body["Resources"])
    file = folder / f"{STACK}.template.json"
    file.write_text(json.dumps(body), encoding="utf-8")
    options = (*UNKIND, *RECLAIMS, "--seed", str(seed), "--images", str(images), "--template", str(file))
    with running(home, *options) as region:
        yield CliWorld(region=region, home=home)


def _on_demand(resources: dict[str, Any]) -> dict[str, Any]:
    """A second environment and its queue `paid`, where a deadline may move a run to."""
    environment, queue = (copy.deepcopy(resources[name]) for name in ("Environment", "Queue"))
    environment["Properties"]["ComputeResources"] |= {"Type": "EC2", "AllocationStrategy": "BEST_FIT_PROGRESSIVE"}
    del environment["Properties"]["ComputeResources"]["BidPercentage"]
    order = [{"ComputeEnvironment": {"Fn::GetAtt": ["PaidEnvironment", "ComputeEnvironmentArn"]}, "Order": 1}]
    queue["Properties"] |= {"JobQueueName": "paid", "ComputeEnvironmentOrder": order}
    return {"PaidEnvironment": environment, "PaidQueue": queue}


def numbers(folder: Path) -> Path:
    """A folder of inputs, one number a file."""
    inputs = folder / "numbers"
    inputs.mkdir()
    for number in range(COUNT):
        (inputs / f"{number}.txt").write_text(f"{number}\n", encoding="utf-8")
    return inputs


def check_squares(folder: Path) -> None:
    found = {int(file.parent.name): file.read_text(encoding="utf-8").strip() for file in folder.rglob("square")}
    assert found == {number: str(number**2) for number in range(COUNT)}


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_client_library_gets_the_exact_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    with hostile(tmp_path, seed) as world:
        monkeypatch.setenv("SPOTBATCH_HOME", str(world.home))
        client = Client(local=True)
        made = client.submit(
            ["sh", "-c", WRITE], name="squares", inputs=str(numbers(tmp_path) / "*.txt"), memory="256M", retries=9
        )
        ended = made.wait(timeout=LIMIT_SECONDS)
        assert ended.counts[JobStatus.SUCCEEDED] == COUNT
        assert made.failures() == []
        made.results(tmp_path / "out")
        check_squares(tmp_path / "out")
        assert [event.text for event in made.logs(index=3)][-1] == "line of 3"
        assert made.cost().on_demand_usd > 0  # paid may be 0: EC2 waives what it took within the first hour
        assert client.run("squares").job_ids == made.job_ids, "it was submitted once"

        failing = client.submit(["sh", "-c", 'exit "$AWS_BATCH_JOB_ARRAY_INDEX"'], name="some", array=3, memory="256M")
        with pytest.raises(JobFailed):
            failing.wait(timeout=LIMIT_SECONDS)
        assert [failed.index for failed in failing.failures()] == [1, 2]
        endless = client.submit(["sleep", "600"], name="endless", memory="256M")
        endless.cancel("enough")
        assert endless.wait(timeout=LIMIT_SECONDS, check=False).counts[JobStatus.FAILED] == 1


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [21, 22])
def test_each_command_does_what_it_says(tmp_path: Path, seed: int) -> None:
    with hostile(tmp_path, seed) as world:
        pattern = str(numbers(tmp_path) / "*.txt")
        out = world.run("submit", "--inputs", pattern, "--name", "squares", "--retries", "9", "--", "sh", "-c", WRITE)
        run_id = out.out.strip()
        assert world.run("watch", run_id, "--json").events[-1]["counts"]["SUCCEEDED"] == COUNT
        world.run("results", run_id, str(tmp_path / "out"))
        check_squares(tmp_path / "out")
        for command in ("show", "cost", "doctor", "logs"):
            named = f"{run_id}:3" if command == "logs" else run_id
            assert world.run(command, named).out
        assert "squares" in world.run("list").out
        failing = world.submit("--name", "bad", "--memory", "256M", "--", "sh", "-c", "echo oh no; exit 3")
        assert world.run("watch", failing, code=None).code == 1
        assert "exit" in world.run("doctor", failing, code=None).out
        again = world.run("retry", failing).out
        assert again
        endless = world.submit("--name", "endless", "--memory", "256M", "--", "sleep", "600")
        world.run("cancel", endless, "--yes")
        assert world.run("watch", endless, code=None).code == 1


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [23, 24])
def test_a_run_with_a_deadline_has_the_exact_results(tmp_path: Path, seed: int) -> None:
    with hostile(tmp_path, seed) as world:
        terms = ("--deadline", "30m", "--work", "10s", "--changeover", "10s", "--on-demand-queue", "paid")
        pattern = str(numbers(tmp_path) / "*.txt")
        out = world.run("submit", *terms, "--inputs", pattern, "--name", "squares", "--", "sh", "-c", WRITE)
        run_id = out.out.split()[-1]
        end = world.run("watch", run_id, "--json").events[-1]
        assert (end["event"], end["outcome"], end["succeeded"]) == ("ended", "succeeded", COUNT)
        world.run("results", run_id, str(tmp_path / "out"))
        check_squares(tmp_path / "out")


@pytest.mark.chaos
def test_the_demo_has_the_exact_table(tmp_path: Path) -> None:
    """The same months as without faults, to the byte: one is computed here, with nothing around it."""
    results = tmp_path / "results"
    command = [sys.executable, "-m", "examples.flights.demo", "--home", str(tmp_path / "home"), "--results"]
    done = subprocess.run(
        [*command, str(results), "--faults", "hostile", "--seed", "25"],
        cwd=ROOT,
        env={**os.environ, "CDK_OUTDIR": str(tmp_path / "cdk.out")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (results / "delays.csv").read_text(encoding="utf-8").splitlines()
    assert {line.partition(",")[0] for line in lines[1:]} == {str(month) for month in range(1, 13)}
    alone = run_alone(4, tmp_path / "alone")
    (found,) = (results / "months").rglob(alone.name)
    assert found.read_bytes() == alone.read_bytes()


@pytest.mark.chaos
def test_a_rehearsal_of_a_job_that_is_safe_says_so(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    script = 'echo "$AWS_BATCH_JOB_ARRAY_INDEX" > "$SPOTBATCH_OUTPUT_DIR/index"; sleep 6'
    world = {"SPOTBATCH_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}

    options = ("--faults", "hostile", "--seed", "31", "--rounds", "1", "--notice", "1s")
    said = run("rehearse", *options, "--", "sh", "-c", script, environ=world)
    assert said.code == 0, said.out + said.err
    assert "--faults hostile (seed 31)" in said.out
