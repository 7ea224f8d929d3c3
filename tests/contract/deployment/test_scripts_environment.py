"""scripts/environment.sh makes .venv whole whatever an interrupted run left of it, and leaves a whole one alone."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.local_api_region import until
from tests.root import ROOT

LIMIT_SECONDS = 120


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that needs no package, so that nothing is fetched."""
    folder = tmp_path / "check out"  # with a space in its name
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "environment.sh", folder / "scripts")
    for lock in ("requirements.txt", "requirements-demo.txt"):
        (folder / lock).write_text("# nothing\n")
    return folder


def run(checkout: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(checkout / "scripts" / "environment.sh"), *arguments],
        env={**os.environ, "PYTHON": sys.executable, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )


def is_whole(checkout: Path) -> bool:
    python = checkout / ".venv" / "bin" / "python"
    asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False, timeout=LIMIT_SECONDS)
    return asked.returncode == 0 and (checkout / ".venv" / ".installed").exists()


def test_an_interrupted_installation_is_repaired_and_a_whole_one_is_left_alone(checkout: Path) -> None:
    process = subprocess.Popen(
        [str(checkout / "scripts" / "environment.sh")],
        env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until((checkout / ".venv" / "bin" / "python").exists, seconds=60)  # pip comes seconds later
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert not (checkout / ".venv" / ".installed").exists()
    repaired = run(checkout)
    assert repaired.returncode == 0, repaired.stderr
    assert ".venv is not whole" in repaired.stderr
    assert is_whole(checkout)
    again = run(checkout)
    assert (again.returncode, again.stderr) == (0, "")
    (checkout / "requirements.txt").touch()  # a newer lock: installed into what is there
    newer = run(checkout)
    assert newer.returncode == 0
    assert "installing" in newer.stderr
    assert "not whole" not in newer.stderr
    (checkout / "requirements.txt").write_text("./no-such-folder\n")
    for _ in range(2):  # what could not be installed does not count as installed the next time
        failed = run(checkout)
        assert failed.returncode == 4
        assert "the requirements could not be installed" in failed.stderr


def test_the_demo_needs_no_development_tools_and_everything_includes_what_the_demo_needs(checkout: Path) -> None:
    (checkout / "requirements.txt").write_text("./no-such-folder\n")
    assert run(checkout, "demo").returncode == 0  # asked for the other list only
    assert run(checkout, "demo").stderr == ""
    assert run(checkout).returncode == 4
    (checkout / "requirements.txt").write_text("# nothing\n")
    assert run(checkout).returncode == 0
    (checkout / "requirements-demo.txt").touch()
    assert run(checkout, "demo").stderr == ""


def test_an_environment_whose_python_has_gone_is_made_anew(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    (checkout / ".venv" / ".installed").touch()
    repaired = run(checkout)
    assert repaired.returncode == 0, repaired.stderr
    assert ".venv is not whole" in repaired.stderr
    assert is_whole(checkout)


@pytest.mark.parametrize(
    ("python", "words"),
    [("/nowhere/python3", "/nowhere/python3 is missing"), ("old", "Python 3.11 or newer is needed, Python 3.9.1")],
)
def test_a_python_that_is_missing_or_too_old_is_named_with_the_fix(checkout: Path, python: str, words: str) -> None:
    old = checkout / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" || exit 1\n')
    old.chmod(0o755)
    failed = run(checkout, PYTHON=str(old) if python == "old" else python)
    assert failed.returncode == 4
    assert words in failed.stderr
    assert not (checkout / ".venv").exists()
