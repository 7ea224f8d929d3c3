"""`spotbatch local`: a region in the background, from its start to its stop."""

import json
from pathlib import Path

from spotbatch.local import region_file
from tests.contract.cli_world import run, template
from tests.contract.local_api_region import until


def test_up_starts_it_once_and_down_leaves_nothing(tmp_path: Path) -> None:
    home = {"SPOTBATCH_HOME": str(tmp_path / "home"), "SPOTBATCH_LOCAL": "1"}
    stack = tmp_path / "Mine.template.json"
    stack.write_text(json.dumps(template()))
    first = run("local", "up", "--template", str(stack), "--boot-seconds", "0.05", "--json", environ=home).json
    try:
        info = region_file.read(tmp_path / "home")
        assert region_file.is_alive(info)
        again = run("local", "up", "--json", environ=home).json
        assert again["pid"] == first["pid"]
        refused = run("local", "up", "--seed", "1", environ=home)
        assert refused.code == 2
        assert "runs already" in refused.err
        assert run("list", environ=home).out == "no jobs\n"
        assert "Mine" in run("local", "load", str(stack), environ=home).out
        assert "no Spot host is up" in run("local", "interrupt", environ=home).out
    finally:
        down = run("local", "down", environ=home)
    assert down.out == "the local region has stopped\n"
    assert not region_file.is_alive(info)
    assert "no local region runs" in run("local", "down", environ=home).out
    assert run("local", "status", "--json", environ=home).json["is_running"] is False
    assert run("list", environ=home).code == 4


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    home = {"SPOTBATCH_HOME": str(tmp_path / "home")}
    said = run("local", "up", "--notice-seconds", "soon", environ=home)
    assert said.code == 4
    assert "ended at once, with exit code 2" in said.err
    assert "soon" in said.err


def test_a_start_that_takes_too_long_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    said = run("local", "up", "--wait-seconds", "0", environ={"SPOTBATCH_HOME": str(home)})
    assert said.code == 4
    assert "not ready within 0 s" in said.err
    until(lambda: not _holds(home), seconds=10)


def _holds(home: Path) -> bool:
    """Whether some process still has the region's folder on its command line."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(home).encode() in each.read_bytes():
                return True
        except OSError:
            continue
    return False


def test_a_template_that_is_not_there_is_exit_code_3(tmp_path: Path) -> None:
    said = run("local", "load", str(tmp_path / "none.json"), environ={"SPOTBATCH_HOME": str(tmp_path)})
    assert said.code == 3
    assert "cdk.out" in said.err
