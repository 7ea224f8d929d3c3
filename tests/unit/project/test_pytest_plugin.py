"""The pytest plugin, as another project has it: a region, its clients, a reclaim; and the example that uses it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.root import ROOT

PLUGIN = "spotbatch.testing.pytest_plugin"


def ran(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """pytest in a process and a folder of its own, with the plugin and without this project's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
    environ = {**kept, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=280, check=False)


def test_the_example_project_runs_with_the_plugin_alone(tmp_path: Path) -> None:
    example = shutil.copytree(ROOT / "examples" / "pytest-region", tmp_path / "example")
    done = ran(example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_a_scope_that_is_none_is_refused_and_the_fixtures_are_listed_with_their_sense(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_a(spotbatch_region): pass\n")
    listed = ran(tmp_path, "--fixtures", "test_a.py")
    for name in ("spotbatch_region", "spotbatch_environment", "spotbatch_batch", "spotbatch_s3"):
        assert name in listed.stdout
    (tmp_path / "pytest.ini").write_text("[pytest]\nspotbatch_region_scope = hour\n")
    refused = ran(tmp_path, "test_a.py")
    assert refused.returncode != 0
    assert "spotbatch_region_scope is one of session" in refused.stdout + refused.stderr
