"""The program under test: adds the numbers below its argument, saves its position, and resumes from there."""

import os
import sys
import time
from pathlib import Path


def main(limit: int) -> None:
    """Save each step, so that another host can continue; the sum is the output."""
    state = Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"], "state")
    at, total = (int(word) for word in state.read_text().split()) if state.exists() else (0, 0)
    print("resumed at" if at else "begun at", at, flush=True)
    while at < limit:
        total, at = total + at, at + 1
        beside = state.with_suffix(".new")
        beside.write_text(f"{at} {total}")
        beside.replace(state)
        time.sleep(0.02)
    Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "sum").write_text(f"{total}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
