"""How long a move of the controller takes in the local region: from a child's end on Spot to its start on demand.

Each round is an array under a deadline that is about to become unsafe: all its children are moved at once. The local
region boots hosts in a twentieth of a second and its schedule is called each half second here, so this is the
controller's own share: the event of the end, the new submission, the placement. AWS adds its own times, which were
not measured.

    python -m bench.changeover --rounds 3
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.contract.cli_world import CliWorld, cli_world
from tests.contract.controller.region import add_on_demand_queue, story, ticking
from tests.contract.local_api_region import until

CHILDREN = 16
WORK = 'echo 1 > "$SPOTBATCH_CHECKPOINT_DIR/n"; case "$AWS_BATCH_JQ_NAME" in paid) sleep 1; exit 0;; esac; sleep 600'


def round_of(world: CliWorld) -> list[float]:
    """Seconds from the end of each child on Spot, which the controller asked for, to its start on demand."""
    terms = ("--deadline", "605s", "--work", "20s", "--changeover", "5s", "--on-demand-queue", "paid")
    run_id = world.submit(*terms, "--array", str(CHILDREN), "--vcpus", "1", "--memory", "100", "--", "sh", "-c", WORK)
    with ticking(world):
        until(lambda: story(world, run_id)["outcome"] != "running", seconds=120)
    found = story(world, run_id)
    first, *moved = found["parts"]
    batch = world.region.client("batch")

    def children(part: dict[str, Any]) -> dict[int, dict[str, Any]]:
        held = [int(one) for each in part["indexes"].split(",") for one in _span(each)]
        ids = [f"{part['job_id']}:{child}" if len(held) > 1 else part["job_id"] for child in range(len(held))]
        return dict(zip(held, batch.describe_jobs(jobs=ids)["jobs"], strict=True))

    before, after = children(first), {key: job for part in moved for key, job in children(part).items()}
    return [(job["startedAt"] - before[index]["stoppedAt"]) / 1000 for index, job in after.items()]


def _span(text: str) -> range:
    low, _, high = text.partition("-")
    return range(int(low), int(high or low) + 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, cli_world(Path(folder)) as world:
        add_on_demand_queue(world)
        seconds = sorted(each for _ in range(rounds) for each in round_of(world))
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    sys.stdout.write(f"{len(seconds)} moves: p50 {cuts[9]:.1f} s, p95 {cuts[18]:.1f} s, longest {seconds[-1]:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
