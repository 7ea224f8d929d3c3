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


FAULTY = """
import pytest

@pytest.fixture(scope="session")
def spotbatch_faults():
    return {"pull_failures": 1.0, "draining_off": True}

def outcome(region):
    asked = dict(jobName="a", jobQueue=region.queue, jobDefinition=region.definition, retryStrategy={"attempts": 1})
    job = region.client("batch").submit_job(**asked, containerOverrides={"command": ["true"]})["jobId"]
    ended = region.wait(job)
    return ended["status"], ended["attempts"][0]["container"].get("reason", "")

def test_the_region_has_the_faults_of_the_fixture(spotbatch_region):
    status, reason = outcome(spotbatch_region)
    assert (status, reason.partition(":")[0]) == ("FAILED", "CannotPullContainerError")

def test_a_region_of_a_tests_own_has_its_own(spotbatch_new_region):
    assert outcome(spotbatch_new_region(faults="none"))[0] == "SUCCEEDED"

def test_wrong(spotbatch_new_region):
    spotbatch_new_region(faults={"pull_failure": 1.0})
"""


def test_faults_are_a_fixture_or_an_argument_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(FAULTY)
    done = ran(tmp_path, "test_a.py")
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "faults: there is no fault 'pull_failure', but rate_limits, throttled" in done.stdout
    listed = ran(tmp_path, "--spotbatch-faults", "nowhere.toml", "-k", "own", "--fixtures")
    assert "spotbatch_new_region" in listed.stdout
