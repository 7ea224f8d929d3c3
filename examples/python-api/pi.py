"""Estimates pi by drawing points, with the runtime's API: state, progress, heartbeat, and a graceful end.

    spotrun -- python pi.py 3000

The generator's state is in the checkpoint, so that an interrupted run draws exactly the points of an uninterrupted one.
"""

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from spotbatch.runtime import checkpoint, heartbeat, interrupted, progress

POINTS = 500  # of one round
SAVE_SECONDS = 1.0


def load() -> dict[str, Any]:
    """Load what the last attempt saved, or start anew."""
    saved = checkpoint.read("state.json")
    if saved is None:
        return {"rounds": 0, "inside": 0, "generator": random.Random(2013).getstate()}  # noqa: S311 - no secrets here
    state: dict[str, Any] = json.loads(saved)
    print(f"resumed after {state['rounds']} rounds", flush=True)
    return state


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    pause_seconds = float(os.environ.get("PAUSE_SECONDS", "0"))
    interrupted()  # from now on SIGTERM is a request, not an end
    state = load()
    chance = random.Random()  # noqa: S311 - as above
    version, internal, gauss = state["generator"]
    chance.setstate((version, tuple(internal), gauss))
    saved_at = time.monotonic()
    while state["rounds"] < rounds:
        state["inside"] += sum(chance.random() ** 2 + chance.random() ** 2 < 1 for _ in range(POINTS))
        state["rounds"] += 1
        progress(state["rounds"], rounds, "drawing points")
        heartbeat()
        time.sleep(pause_seconds)
        is_over = interrupted()  # checked once per round: the value may change between two lines
        if is_over or time.monotonic() - saved_at > SAVE_SECONDS:
            checkpoint.write("state.json", json.dumps({**state, "generator": chance.getstate()}).encode())
            saved_at = time.monotonic()
        if is_over:
            return 75  # any code but 0: not finished
    result = 4 * state["inside"] / (rounds * POINTS)
    folder = Path(os.environ.get("SPOTBATCH_OUTPUT_DIR", "."))
    (folder / "pi.json").write_text(json.dumps({"pi": result, "points": rounds * POINTS}), encoding="ascii")
    print(f"pi is about {result} ({rounds * POINTS:,} points)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
