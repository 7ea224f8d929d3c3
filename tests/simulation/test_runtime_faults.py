"""A command that counts, killed at random moments while its storage fails, always comes to the exact result."""

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.location import open_store
from tests.contract.fault_proxy import BY_CHANCE, EXPIRED, FLIP, HALF_ANSWER, NOT_THERE, Faults
from tests.contract.runtime_world import BUCKET, Run, Spot, moto_s3, s3_environment, spot

STEPS = 120
SOME = range(4)
ALL = range(300)
MOST_ATTEMPTS = 60
KINDS = (*BY_CHANCE, FLIP, HALF_ANSWER, NOT_THERE, EXPIRED)  # S3's listings are never stale: not among them

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


def disturb(run: Run, faults: Faults, chance: random.Random) -> None:
    """One of the things that happen to hosts, at a random moment."""
    what = chance.choice(["SIGTERM", "SIGKILL", "notice then kill", "storage down", "nothing"])
    if ended_within(run, chance.uniform(0.1, 0.7)):
        return
    if what == "SIGTERM":
        run.terminate()
    elif what == "SIGKILL":
        run.kill()
    elif what == "notice then kill":
        lead_seconds = chance.uniform(0.3, 1.5)
        run.give_notice(lead_seconds)
        if not ended_within(run, lead_seconds):
            run.kill()
    elif what == "storage down":
        faults.is_down = True
        back = threading.Timer(chance.uniform(0.2, 2.0), lambda: setattr(faults, "is_down", False))
        back.start()
        if chance.random() < 0.5 and not ended_within(run, 0.2):
            run.kill()
        back.join()
    run.wait()


def ended_within(run: Run, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if run.process.poll() is not None:
            return True
        time.sleep(0.005)
    return False


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
        run = world.start("python", str(program), str(STEPS))
        disturb(run, faults, chance)
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
        Faults(s3, seed=seed, share=0.15, kinds=KINDS) as faults,
        spot(folder, url, **s3_environment(faults.url)) as world,
    ):
        world.environment |= {"SPOTBATCH_RESTORE_SECONDS": "20", "SPOTBATCH_UPLOAD_SECONDS": "20"}
        attempts = attempts_until_done(world, faults, chance, folder)
        print(f"seed {seed}: {attempts} attempts, faults {faults.injected}")  # noqa: T201 - shown when it fails
    assert open_store(url).get("runs/work/job/output/result").decode() == chain_of(STEPS)
    assert json.loads(open_store(url).get("runs/work/job/output.json"))["files"][0]["path"] == "result"


@pytest.mark.parametrize("seed", SOME)
def test_a_count_goes_on_from_the_last_whole_checkpoint_whatever_is_killed(seed: int, s3: str, tmp_path: Path) -> None:
    one_life(seed, s3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [each for each in ALL if each not in SOME])
def test_the_same_for_three_hundred_seeds(seed: int, s3: str, tmp_path: Path) -> None:
    one_life(seed, s3, tmp_path)
