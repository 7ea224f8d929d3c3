"""Each example, interrupted and resumed, gives exactly the result of a run in one go."""

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.contract.runtime_world import spot, wait_for
from tests.root import ROOT

EXAMPLES = ROOT / "examples"
HAS_SKLEARN = importlib.util.find_spec("sklearn") is not None


def outputs(folder: Path) -> dict[str, bytes]:
    found = folder / "store/runs/work/job/output"
    return {file.name: file.read_bytes() for file in found.iterdir()}


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        pytest.param(("sh", str(EXAMPLES / "counting-shell/count.sh"), "60"), "", id="shell"),
        pytest.param((sys.executable, str(EXAMPLES / "python-api/pi.py"), "60"), "", id="python"),
        pytest.param(
            (sys.executable, str(EXAMPLES / "partial-fit/train.py"), "12"),
            "epoch 3",
            id="scikit-learn",
            marks=pytest.mark.skipif(not HAS_SKLEARN, reason="scikit-learn is not installed: pip install scikit-learn"),
        ),
    ],
)
def test_an_interrupted_example_ends_exactly_like_one_in_one_go(
    command: tuple[str, ...], shown: str, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    with spot(tmp_path / "whole", PAUSE_SECONDS="0") as world:
        assert world.run(*command)[0] == 0
    with spot(tmp_path / "parts", PAUSE_SECONDS="0.05") as world:
        gentle = world.start(*command)
        first_progress = tmp_path / "parts/store/runs/work/job/progress.json"
        wait_for(lambda: first_progress.exists() and shown in gentle.text(), "progress")
        gentle.give_notice(3.0)
        assert gentle.wait() == 210
        assert world.start(*command, PAUSE_SECONDS="0").wait() == 0
        assert "resumed a" in world.runs[-1].text()
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
