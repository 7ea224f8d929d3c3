"""Every Python block of docs/python.md is run, in their order in one program, in a local region."""

import re
import subprocess
import sys
from pathlib import Path

from tests.contract.cli_world import cli_world
from tests.contract.docs.test_commands import environment
from tests.root import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGE = ROOT / "docs" / "python.md"
MARK = "/tmp/spotbatch-docs-fixed"


def test_the_page_about_python_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    written = "\n".join(blocks)
    assert MARK in written
    program = written.replace(MARK, str(tmp_path / "fixed"))
    with cli_world(tmp_path) as world:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path, env=environment(world.home), capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout.splitlines()
    assert said[0] == "2", "the files of the first block's results"
    assert "part 2" in done.stdout
    assert "None  1" in done.stdout, "what failed, with its exit code"
    assert (tmp_path / "out" / "00001" / "name").read_text() == "pear\n"
