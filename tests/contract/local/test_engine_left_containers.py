"""Containers that a killed region left behind, at the next start with processes. A stand-in answers for Docker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spotbatch.local.engine.docker import REGION_LABEL
from spotbatch.local.engine.leaked_processes import cookie_of
from tests.contract.local_api_region import running

# Keeps the ids of its containers in a file, and answers what the engine asks: version, ps, rm.
STAND_IN = """#!/bin/sh
echo "$@" >>"$0.asked"
[ -e "$0.down" ] && { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
case "$1" in
  version) echo 1.0 ;;
  ps) cat "$0.containers" ;;
  rm) : >"$0.containers" ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in's path; `.containers` beside it lists what runs, `.asked` what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    program.with_suffix(".containers").touch()
    program.with_suffix(".asked").touch()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


def killed_with_a_container(home: Path, engine: Path) -> None:
    with running(home, "--runner", "docker") as region:
        engine.with_suffix(".containers").write_text("c0ffee\n")
        region.process.kill()
        region.process.wait()
    engine.with_suffix(".asked").write_text("")


def test_a_start_with_processes_ends_the_containers_of_a_killed_start(tmp_path: Path, engine: Path) -> None:
    home = tmp_path / "home"
    killed_with_a_container(home, engine)
    with running(home, "--runner", "process"):
        asked = engine.with_suffix(".asked").read_text()
        assert f"label={REGION_LABEL}={cookie_of(home)}" in asked
        assert "rm --force --volumes c0ffee" in asked
    engine.with_suffix(".asked").write_text("")
    with running(home, "--runner", "process"):  # nothing is left to look for: Docker is not asked again
        assert engine.with_suffix(".asked").read_text() == ""


def test_where_no_engine_answers_the_start_says_what_may_still_run_and_how_to_end_it(
    tmp_path: Path, engine: Path
) -> None:
    home = tmp_path / "home"
    killed_with_a_container(home, engine)
    engine.with_suffix(".down").touch()
    with running(home, "--runner", "process"):
        said = (tmp_path / "home.log").read_text().splitlines()[-2:]
        (line,) = (each for each in said if "containers of an earlier start may still run" in each)
        assert "Cannot connect to the Docker daemon" in line
        assert "use --runner process" not in line
        assert f"label={REGION_LABEL}={cookie_of(home)}" in line
    try:  # until somebody has looked each start says so, and `local up` passes it on
        up = spotbatch_local("up", home)
        assert up.returncode == 0, up.stderr
        assert "containers of an earlier start may still run" in up.stderr
    finally:
        spotbatch_local("down", home)


def spotbatch_local(command: str, home: Path) -> "subprocess.CompletedProcess[str]":
    asked = [sys.executable, "-m", "spotbatch.cli.main", "local", command, "--home", str(home)]
    return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)


def test_a_region_that_never_ran_containers_does_not_ask_for_docker(tmp_path: Path, engine: Path) -> None:
    with running(tmp_path / "home"):
        assert engine.with_suffix(".asked").read_text() == ""
