"""Trains a linear classifier on scikit-learn's handwritten digits with partial_fit, one checkpoint per epoch.

    spotrun -- python train.py 30

Model, generator and epoch are one file, renamed into place: an interrupted run ends with exactly the
weights of an uninterrupted one.
"""

import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from spotbatch.runtime import checkpoint, progress

BATCH = 64
CLASSES = np.arange(10)


def load() -> dict[str, Any]:
    """Load what the last attempt saved, or a new model. Pickle is safe here: only we write this file."""
    saved = checkpoint.read("model.pickle")
    if saved is None:
        model = SGDClassifier(loss="log_loss", random_state=0, shuffle=False)
        return {"epoch": 0, "model": model, "generator": np.random.default_rng(0)}
    state: dict[str, Any] = pickle.loads(saved)  # noqa: S301 - our own store, checked by checksum
    print(f"resumed after epoch {state['epoch']}", flush=True)
    return state


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    pause_seconds = float(os.environ.get("PAUSE_SECONDS", "0"))
    pictures, digits = load_digits(return_X_y=True)
    pictures = pictures / 16.0
    held_out = np.arange(len(digits)) % 5 == 0
    state = load()
    while state["epoch"] < epochs:
        order = state["generator"].permutation(np.flatnonzero(~held_out))
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            state["model"].partial_fit(pictures[batch], digits[batch], classes=CLASSES)
        state["epoch"] += 1
        checkpoint.write("model.pickle", pickle.dumps(state))
        progress(state["epoch"], epochs, "epochs")
        print(f"epoch {state['epoch']}", flush=True)
        time.sleep(pause_seconds)
    result = {
        "epochs": epochs,
        "accuracy": float(state["model"].score(pictures[held_out], digits[held_out])),
        "weights": [weight.hex() for weight in state["model"].coef_.ravel().tolist()],
    }
    folder = Path(os.environ.get("SPOTBATCH_OUTPUT_DIR", "."))
    (folder / "model.json").write_text(json.dumps(result), encoding="ascii")
    print(f"accuracy on held-out digits: {result['accuracy']:.3f}")


if __name__ == "__main__":
    main()
