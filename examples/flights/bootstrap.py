"""One child of the array: bootstrap the median departure delay of each carrier in one month.

It resumes from its checkpoint folder and keeps its state there about every second: what it has drawn so far and the
generator's state. An interrupted and resumed run draws the same numbers in the same order as an uninterrupted
one, so its result is identical to the last bit.
"""

import json
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

from .data import Delays, delays_of_month

RESAMPLES = int(os.environ.get("FLIGHTS_RESAMPLES", "2000"))
CHUNK = 25  # resamples between two looks at the clock
SAVE_SECONDS = 1.0
SEED = 2013
CONFIDENCE = 0.95


@dataclass
class State:
    """The progress of one month."""

    done: int = 0  # resamples of every carrier
    medians: dict[str, list[float]] = field(default_factory=dict)
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))

    def to_json(self) -> str:
        return json.dumps({"done": self.done, "medians": self.medians, "generator": self.generator.bit_generator.state})

    @classmethod
    def from_json(cls, text: str) -> "State":
        saved = json.loads(text)
        state = cls(done=saved["done"], medians=saved["medians"])
        state.generator.bit_generator.state = saved["generator"]
        return state


def load(folder: Path, month: int) -> State:
    """Load the last attempt's state, or create a new one."""
    file = folder / "state.json"
    if file.exists():
        state = State.from_json(file.read_text(encoding="utf-8"))
        print(f"month {month}: resumed at {state.done} of {RESAMPLES} resamples", flush=True)
        return state
    return State(generator=np.random.default_rng([SEED, month]))


def save(folder: Path, state: State) -> None:
    """Write to a temporary file and rename it into place, so that no one ever sees a partial file."""
    write(folder / "state.json", state.to_json())


def write(file: Path, text: str) -> None:
    beside = file.with_name(f".{file.name}.tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


def draw(state: State, delays: Delays, count: int) -> None:
    """Add `count` resampled medians for every carrier."""
    for carrier, minutes in delays.items():
        picks = state.generator.integers(0, minutes.size, size=(count, minutes.size))
        state.medians.setdefault(carrier, []).extend(np.median(minutes[picks], axis=1).tolist())
    state.done += count


def summary(month: int, delays: Delays, state: State) -> dict[str, object]:
    """Median and confidence interval by carrier."""
    tail = (1 - CONFIDENCE) / 2
    rows = []
    for carrier, minutes in delays.items():
        low, high = np.quantile(state.medians[carrier], [tail, 1 - tail])
        rows.append(
            {
                "carrier": carrier,
                "flights": int(minutes.size),
                "median_minutes": float(np.median(minutes)),
                "low_minutes": float(low),
                "high_minutes": float(high),
                "bootstrap_mean_minutes": float(np.mean(state.medians[carrier])),
            }
        )
    return {"month": month, "resamples": state.done, "carriers": rows}


def main() -> None:
    month = int(os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "0")) + 1
    checkpoints = Path(os.environ.get("SPOTBATCH_CHECKPOINT_DIR", "checkpoint"))
    outputs = Path(os.environ.get("SPOTBATCH_OUTPUT_DIR", "output"))
    checkpoints.mkdir(parents=True, exist_ok=True)
    outputs.mkdir(parents=True, exist_ok=True)
    asked_to_stop = False

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the face of a signal handler
        nonlocal asked_to_stop
        asked_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    delays = delays_of_month(month)
    state = load(checkpoints, month)
    saved_at = time.monotonic()
    while state.done < RESAMPLES:
        draw(state, delays, min(CHUNK, RESAMPLES - state.done))
        if asked_to_stop or time.monotonic() - saved_at >= SAVE_SECONDS:
            save(checkpoints, state)
            saved_at = time.monotonic()
            print(f"month {month}: {state.done} of {RESAMPLES} resamples", flush=True)
        if asked_to_stop:
            raise SystemExit(143)
    write(outputs / f"month-{month:02d}.json", json.dumps(summary(month, delays, state), indent=1))
    print(f"month {month}: done", flush=True)


if __name__ == "__main__":
    main()
