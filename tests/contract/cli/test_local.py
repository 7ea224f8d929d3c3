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


def test_a_start_that_is_refused_has_the_exit_code_of_its_reason_and_one_line(tmp_path: Path) -> None:
    home = {"SPOTBATCH_HOME": str(tmp_path / "home")}
    bad = tmp_path / "images.toml"
    bad.write_text("[[image]]\npattern = ")
    for typed, code, word in (
        (("--notice-seconds", "soon"), 2, "soon"),
        (("--foo",), 2, "--foo"),
        (("--images", str(bad)), 2, "not TOML"),
        (("--images", str(tmp_path / "none.toml")), 3, "none.toml"),
        (("--template", str(tmp_path / "none.json")), 3, "none.json"),
        (("--trace-file", str(tmp_path / "none.csv")), 3, "none.csv"),
    ):
        said = run("local", "up", *typed, environ=home)
        assert said.code == code, (typed, said.err)
        assert word in said.err
        assert "region.log" not in said.err
        assert "usage:" not in said.err
        assert len(said.err.strip().splitlines()) == 1, said.err


def test_what_is_said_next_names_the_home_that_was_given(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "a home", {"XDG_STATE_HOME": str(tmp_path)}
    stopped = run("local", "status", "--home", str(home), environ=elsewhere)
    assert f"spotbatch local up --home '{home}'" in stopped.out
    up = run("local", "up", "--home", str(home), environ=elsewhere)
    try:
        assert up.code == 0, up.err
        assert f"spotbatch local env --home '{home}'" in up.err
        assert f"SPOTBATCH_HOME='{home}'" in up.err
    finally:
        run("local", "down", "--home", str(home), environ=elsewhere)
    assert f"spotbatch local up --home '{home}'" in run("local", "env", "--home", str(home), environ=elsewhere).err


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
