"""Real programs without checkpoints, interrupted at random moments: the result is the one of an undisturbed run.

`SPOTBATCH_SNAPSHOT_KILLS` is how often each program is interrupted in all (default 10), `SPOTBATCH_SNAPSHOT_SEED` the
seed of the moments. What a machine cannot run is skipped, and says what is missing.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.snapshot_host import SnapshotHost, needs_criu
from tests.snapshot_programs import PROGRAMS, Program

pytestmark = [needs_criu, pytest.mark.snapshots]
KILLS = int(os.environ.get("SPOTBATCH_SNAPSHOT_KILLS", "10"))
SEED = int(os.environ.get("SPOTBATCH_SNAPSHOT_SEED", "1"))
MOST_ATTEMPTS = 40
LONGEST_SECONDS = 120.0


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: each.name)
def test_a_program_interrupted_at_random_moments_has_the_result_of_an_undisturbed_run(
    program: Program, tmp_path: Path
) -> None:
    if program.missing:
        pytest.skip(f"not installed: {', '.join(program.missing)}")
    rng = random.Random(f"{SEED} {program.name}")
    wanted, seconds = undisturbed(program, tmp_path / "undisturbed")
    kills, dumps, life = 0, 0, 0
    while kills < KILLS:
        life += 1
        folder = tmp_path / f"life-{life}"
        folder.mkdir()
        interrupted, dumped, found = disturbed(program, folder, rng, seconds)
        assert found == wanted, f"seed {SEED}, life {life}, after {interrupted} interruptions"
        kills, dumps = kills + interrupted, dumps + dumped
        assert life <= 3 * KILLS, "it is always done before it can be interrupted"
    print(f"\n{program.name}: {kills} interruptions in {life} runs, {dumps} dumps, all exact (seed {SEED})")  # noqa: T201
    assert dumps, "not a single dump was made"


def undisturbed(program: Program, folder: Path) -> tuple[str, float]:
    """The right result, and how long it takes."""
    folder.mkdir()
    host = SnapshotHost(folder)
    began = time.monotonic()
    try:
        assert host.start(program.command).wait(LONGEST_SECONDS) == 0, host.log()
        return result(host), time.monotonic() - began
    finally:
        host.close()


def disturbed(program: Program, folder: Path, rng: random.Random, seconds: float) -> tuple[int, int, str]:
    """One life with up to three notices: how many interrupted it, how many dumps were made, and the result."""
    host, interruptions, dumps = SnapshotHost(folder), 0, 0
    try:
        for attempt in range(MOST_ATTEMPTS):
            process = host.start(program.command)
            if attempt < 3:
                deadline = time.monotonic() + rng.uniform(0.1, 0.9) * seconds
                while time.monotonic() < deadline and process.poll() is None:
                    time.sleep(0.005)
                host.notice()
            code = process.wait(LONGEST_SECONDS)
            if code == 0:
                return interruptions, dumps, result(host)
            assert code == 210, host.log()[-3000:]
            interruptions += 1
            dumps += "the snapshot is stored" in host.log()
        raise AssertionError("it never ended")
    finally:
        host.close()


def result(host: SnapshotHost) -> str:
    return (host.unit / "output" / "result").read_text()
