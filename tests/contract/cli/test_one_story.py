"""A run of which a part FAILED and was run again is one run on every screen, by its user's name and indexes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.aws import session
from tests.contract.cli_world import CliWorld, cli_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("story")) as made:
        yield made


def test_a_part_that_failed_is_said_and_once_repaired_it_is_gone(world: CliWorld, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\nthree\nfour\n")
    (tmp_path / "bad").write_text("two\nfour\n")
    script = f'grep -qx "$SPOTBATCH_INPUT" {tmp_path}/bad && exit 7; echo "$SPOTBATCH_INPUT" > $SPOTBATCH_OUTPUT_DIR/n'
    inputs = ("--inputs", str(tmp_path / "lines"))
    assert world.wait(world.submit("--name", "words", *inputs, "--", "sh", "-c", script)) == "FAILED"
    _says_what_is_missing(world, tmp_path)
    (tmp_path / "bad").write_text("four\n")
    assert world.wait(world.run("retry", "words").out.strip()) == "FAILED"
    watched = world.run("watch", "words", code=1)
    assert "a run of 2 jobs, 4 children" in watched.out
    assert "child 3 (four) FAILED: exit code 7" in watched.out
    assert "child 1 " not in watched.out
    assert "1 of 4 children FAILED" in watched.err
    found = world.run("doctor", "words").out
    assert "1 of 4 children FAILED" in found
    assert "spotbatch logs words:3; once that is mended, then: spotbatch retry words" in found
    (tmp_path / "bad").write_text("")
    assert world.wait(world.run("retry", "words").out.strip()) == "SUCCEEDED"
    _says_that_it_is_whole(world, tmp_path)


def _says_what_is_missing(world: CliWorld, tmp_path: Path) -> None:
    fetched = world.run("results", "words", str(tmp_path / "out"), code=1)
    assert fetched.out.startswith("partial, 2 of 4 children: 2 files")
    assert "no outputs of 2 children: 1 (two), 3 (four), which FAILED: `spotbatch retry words`" in fetched.err
    assert "words has 4 children: name a child by its index, as words:0" in world.run("logs", "words", code=2).err
    listed = world.run("list").out
    assert "2 of 4 FAILED" in listed
    assert "Array Child Job failed" not in listed


def _says_that_it_is_whole(world: CliWorld, tmp_path: Path) -> None:
    assert "SUCCEEDED 4" in world.run("watch", "words").out
    said = world.run("doctor", "words").out
    assert "it has SUCCEEDED" in said
    assert "4 children, 2 of them after they were run again" in said
    assert world.run("results", "words", str(tmp_path / "out")).out.startswith("4 files")
    assert "2 of 4 FAILED, run again since" in world.run("list").out


def test_a_name_that_is_wrong_is_answered_with_those_that_are_like_it(world: CliWorld) -> None:
    world.wait(world.submit("--name", "thumbnails", "--", "true"))
    assert "did you mean thumbnails?" in world.run("show", "tumbnail", code=3).err
    assert "4 digits or more, not 2" in world.run("show", "a7", code=3).err


def test_what_one_child_cost_is_its_share_and_not_its_arrays(world: CliWorld) -> None:
    run = world.submit("--name", "shares", "--array", "2", "--", "sleep", "0.3")
    world.wait(run)
    whole, one = (float(world.run("cost", named, "--json").json["paid_usd"]) for named in (run, f"{run}:0"))
    assert 0 < one < whole * 0.9
    assert "its share of the hosts" in world.run("show", f"{run}:0").out


def test_what_is_said_of_ten_thousand_children_takes_few_calls(world: CliWorld) -> None:
    job = world.submit("--name", "many", "--array", "10000", "--", "sleep", "600")
    world.run("cancel", job, "--yes")
    assert world.wait(job) == "FAILED"
    for command in (("list",), ("show", job), ("show", "many"), ("logs", f"{job}:9999"), ("doctor", job)):
        before = session.calls_made()
        said = world.run(*command, code=None)
        assert said.code in (0, 3), said.err  # 3: a child that never ran has no log
        assert session.calls_made() - before < 40, command
