"""A command that counts, killed at random moments while its storage fails, always comes to the exact result.

Each life is short: three attempts that something happens to, then some that only the storage disturbs. One in ten is a
job of a local region whose hosts are interrupted as `spotbatch local interrupt` does it. `make slow` lives 300 of them.
"""

import hashlib
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.location import open_store
from tests.contract.fault_proxy import BY_CHANCE, DOWN, LYING, NONE, Faults, Request
from tests.contract.local.test_engine_processes import prepare
from tests.contract.local_api_region import RunningRegion, running
from tests.contract.runtime_world import BUCKET, Run, Spot, moto_s3, s3_environment, spot, wait_for

STEPS = 60
SOME = (0, 1, 2, 5)  # 5: with `local interrupt`
ALL = range(300)
DISTURBED_ATTEMPTS = 3
MOST_ATTEMPTS = 12  # where the storage alone disturbs, the first one nearly always ends well
HAPPENINGS = (
    "SIGTERM",
    "SIGKILL",
    "notice then kill",
    "storage down at the start",
    "storage down in the middle",
    "storage down at the end",
    "nothing",
)
QUICK = ("--boot-seconds", "0.05", "--notice-seconds", "1", "--stop-grace-seconds", "1", "--draining", "on")
RETRIED = [  # as the stack's job definition has it
    {"action": "RETRY", "onStatusReason": "Host EC2*"},
    {"action": "RETRY", "onExitCode": "21*"},
    {"action": "EXIT", "onReason": "*"},
]

COUNT = """
import hashlib, json, os, sys, time
from pathlib import Path

folder, steps = Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"]), int(sys.argv[1])

def write(name, data):
    (folder / (name + ".tmp")).write_bytes(data)
    (folder / (name + ".tmp")).replace(folder / name)

n, chain = 0, ""
if (folder / "state.json").exists():
    state = json.loads((folder / "state.json").read_text())
    n, chain = state["n"], state["chain"]
    block = (folder / "block").read_bytes()
    assert block == block[:8] * 40000, "a torn block"
    assert n <= int(block[:8]) <= n + 1, f"block {block[:8]} beside state {n}: never true at one moment"
print("start", n, flush=True)
while n < steps:
    n += 1
    chain = hashlib.sha256(f"{chain}{n}".encode()).hexdigest()
    write("block", b"%08d" % n * 40000)
    write("state.json", json.dumps({"n": n, "chain": chain}).encode())
    time.sleep(0.004)
Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "result").write_text(chain)
"""


def chain_of(n: int) -> str:
    chain = ""
    for each in range(1, n + 1):
        chain = hashlib.sha256(f"{chain}{each}".encode()).hexdigest()
    return chain


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with moto_s3() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment(url).items():
            patch.setenv(name, value)
        yield url


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home", *QUICK) as one:
        prepare(one)
        yield one


def published(url: str, folder: Path) -> int:
    """The count in the newest whole checkpoint, seen past the faults."""
    folder.mkdir()
    found = restore(open_store(url), "runs/work/job/checkpoints", folder, Limit(30))
    if found.manifest is None:
        return 0
    assert not found.corrupt
    state = json.loads((folder / "state.json").read_text(encoding="ascii"))
    assert state["chain"] == chain_of(state["n"]), "a state that never was"
    return int(state["n"])


def disturb(run: Run, what: str, faults: Faults, chance: random.Random) -> None:
    """One of the things that happen to hosts, at a random moment."""
    if what == "storage down at the start":
        ended_within(run, chance.uniform(0.1, 0.5))
        faults.is_down = False
    elif chance.random() < 0.2:  # anywhere, also before the command begins
        if not ended_within(run, chance.uniform(0.05, 0.5)):
            strike(run, what, faults, chance)
    elif has_begun(run) and not ended_within(run, chance.uniform(0.0, 0.4)):
        strike(run, what, faults, chance)
    run.wait()
    faults.is_down, faults.plan = False, None


def strike(run: Run, what: str, faults: Faults, chance: random.Random) -> None:
    if what == "SIGTERM":
        run.terminate()
    elif what == "SIGKILL":
        run.kill()
    elif what == "notice then kill":
        lead_seconds = chance.uniform(0.3, 1.0)
        run.give_notice(lead_seconds)
        if not ended_within(run, lead_seconds):
            run.kill()
    elif what == "storage down in the middle":
        faults.is_down = True
        if not ended_within(run, chance.uniform(0.1, 0.5)) and chance.random() < 0.5:
            run.kill()
        faults.is_down = False
    elif what == "storage down at the end":
        reached = threading.Event()
        faults.plan = lambda request: down_from_outputs_on(request, reached)
        while not reached.is_set() and run.process.poll() is None:
            reached.wait(0.01)
        if chance.random() < 0.5 and not ended_within(run, 0.1):
            run.kill()
        faults.plan = None


def down_from_outputs_on(request: Request, reached: threading.Event) -> str:
    if request.method == "PUT" and "/output" in request.path:
        reached.set()
    return DOWN if reached.is_set() else NONE


def ended_within(run: Run, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if run.process.poll() is not None:
            return True
        time.sleep(0.005)
    return False


def has_begun(run: Run) -> bool:
    """Wait until the command has; False where spotrun ends without."""
    wait_for(lambda: started_at(run) is not None or run.process.poll() is not None, "a beginning or an end")
    return run.process.poll() is None


def started_at(run: Run) -> int | None:
    """Where the command began; None if it was never started."""
    for line in run.text().splitlines():
        if line.startswith("start "):
            return int(line.split()[1])
    return None


def attempts_until_done(world: Spot, faults: Faults, chance: random.Random, folder: Path) -> int:
    program = folder / "count.py"
    program.write_text(COUNT, encoding="ascii")
    reached = 0
    for attempt in range(1, MOST_ATTEMPTS + 1):
        what = chance.choice(HAPPENINGS) if attempt <= DISTURBED_ATTEMPTS else "nothing"
        faults.is_down = what == "storage down at the start"
        run = world.start(sys.executable, str(program), str(STEPS))
        disturb(run, what, faults, chance)
        assert "Traceback" not in run.text(), run.text()
        began = started_at(run)
        assert began in (None, reached), f"began at {began}, the newest checkpoint was {reached}:\n{run.text()}"
        before, reached = reached, published(world.url, folder / f"seen-{attempt}")
        assert reached >= before
        if run.process.returncode == 0:
            return attempt
        if run.process.returncode == -15:  # so early that Python itself was not up yet
            assert run.text() == ""
            continue
        assert run.process.returncode in (210, 212, -9), run.text()
    raise AssertionError(f"not done after {MOST_ATTEMPTS} attempts:\n{world.runs[-1].text()}")


def one_life(seed: int, s3: str, folder: Path) -> None:
    chance = random.Random(seed)
    url = f"s3://{BUCKET}/seed-{seed}-{folder.name}"
    with (
        Faults(s3, seed=seed, share=0.1, kinds=(*BY_CHANCE, *LYING)) as faults,
        spot(folder, url, **s3_environment(faults.url)) as world,
    ):
        world.environment |= {"SPOTBATCH_RESTORE_SECONDS": "20", "SPOTBATCH_UPLOAD_SECONDS": "20"}
        attempts = attempts_until_done(world, faults, chance, folder)
        print(f"seed {seed}: {attempts} attempts, faults {faults.injected}")  # noqa: T201 - shown when it fails
    assert_result(url)


def assert_result(url: str) -> None:
    assert open_store(url).get("runs/work/job/output/result").decode() == chain_of(STEPS)
    assert json.loads(open_store(url).get("runs/work/job/output.json"))["files"][0]["path"] == "result"


def one_life_in_a_region(seed: int, s3: str, region: RunningRegion, folder: Path) -> None:
    """The same as a job whose hosts are interrupted: the region gives the notice, stops and retries."""
    chance = random.Random(seed)
    program = folder / "count.py"
    program.write_text(COUNT, encoding="ascii")
    url = f"s3://{BUCKET}/seed-{seed}-{folder.name}"
    batch = region.client("batch")
    with Faults(s3, seed=seed, share=0.1, kinds=(*BY_CHANCE, *LYING)) as faults:
        ours = s3_environment(faults.url) | {
            "SPOTBATCH_ARTIFACTS_URL": url,
            "SPOTBATCH_RUN_ID": "work",
            "SPOTBATCH_CHECKPOINT_SECONDS": "0.1",
        }
        command = ["env", *(f"{name}={value}" for name, value in ours.items())]
        command += [sys.executable, "-m", "spotbatch.runtime", "--", sys.executable, str(program), str(STEPS)]
        submitted = batch.submit_job(
            jobName="j",
            jobQueue="q",
            jobDefinition="d",
            containerOverrides={"command": command},
            retryStrategy={"attempts": 10, "evaluateOnExit": RETRIED},
        )["jobId"]
        job = interrupted_until_ended(region, batch, submitted, chance)
        print(f"seed {seed}: {len(job['attempts'])} attempts, faults {faults.injected}")  # noqa: T201 - as above
        assert job["status"] == "SUCCEEDED", job
    assert_result(url)


def interrupted_until_ended(region: RunningRegion, batch: Any, job_id: str, chance: random.Random) -> dict[str, Any]:
    give_up, left = time.monotonic() + 120, DISTURBED_ATTEMPTS
    at = time.monotonic() + chance.uniform(0.3, 1.5)
    while time.monotonic() < give_up:
        job: dict[str, Any] = batch.describe_jobs(jobs=[job_id])["jobs"][0]
        if job["status"] in ("SUCCEEDED", "FAILED"):
            return job
        if left and job["status"] == "RUNNING" and time.monotonic() >= at:
            region.admin.interrupt(count=1)
            left, at = left - 1, time.monotonic() + chance.uniform(0.3, 1.5)
        time.sleep(0.05)
    raise AssertionError("the job did not end")


def is_in_region(seed: int) -> bool:
    return seed % 10 == 5


def live(seed: int, s3: str, request: pytest.FixtureRequest, folder: Path) -> None:
    if is_in_region(seed):
        one_life_in_a_region(seed, s3, request.getfixturevalue("region"), folder)
    else:
        one_life(seed, s3, folder)


@pytest.mark.parametrize("seed", SOME)
def test_a_count_goes_on_from_the_last_whole_checkpoint_whatever_is_killed(
    seed: int, s3: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    live(seed, s3, request, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [each for each in ALL if each not in SOME])
def test_the_same_for_three_hundred_seeds(seed: int, s3: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    live(seed, s3, request, tmp_path)
