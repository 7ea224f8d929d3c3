"""What a user calls a job or a run, against a real local region: a name is the whole run, an id is that job."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.batch.errors import NotFound
from tests.contract.cli_world import CliWorld, cli_world

FAILS_ONCE = "[ -e {fixed} ] || [ $AWS_BATCH_JOB_ARRAY_INDEX -lt 3 ] && echo done > $SPOTBATCH_OUTPUT_DIR/out"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("lookup")) as made:
        yield made


@pytest.fixture(scope="module")
def repaired(world: CliWorld, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An array of five, of which two FAILED, and the job that ran these again: their ids. Its name is `repaired`."""
    fixed = tmp_path_factory.mktemp("repaired") / "fixed"
    script = FAILS_ONCE.format(fixed=fixed)
    first = world.submit("--name", "repaired", "--array", "5", "--", "sh", "-c", script)
    assert world.wait(first) == "FAILED"
    fixed.touch()
    again = world.run("retry", "repaired").out.strip()
    assert world.wait(again) == "SUCCEEDED"
    return first, again


def test_after_a_retry_by_name_the_results_by_name_are_of_the_whole_run(
    world: CliWorld, repaired: tuple[str, str], tmp_path: Path
) -> None:
    found = world.run("results", "repaired", str(tmp_path), "--json").json
    assert (found["files"], found["units_without_outputs"]) == (5, [])


def test_after_a_retry_the_cost_by_name_is_of_all_its_jobs(world: CliWorld, repaired: tuple[str, str]) -> None:
    assert world.run("cost", "repaired", "--json").json["job_ids"] == list(repaired)


def test_after_a_retry_watch_and_show_by_name_are_of_all_its_jobs(world: CliWorld, repaired: tuple[str, str]) -> None:
    assert list(world.run("watch", "repaired", "--json").events[-1]["jobs"]) == list(repaired)
    shown = world.run("show", "repaired", "--json").json
    assert [each["job_id"] for each in shown["jobs"]] == list(repaired)
    assert shown["failed"] == [], "what FAILED was run again"


def test_an_index_of_a_name_is_one_of_the_run(world: CliWorld, repaired: tuple[str, str]) -> None:
    first, again = repaired
    assert world.run("show", "repaired:1", "--json").json["job_id"] == f"{first}:1"
    assert world.run("show", "repaired:4", "--json").json["job_id"] == f"{again}:1", "the newest that stands for it"


def test_an_id_is_that_job_alone(world: CliWorld, repaired: tuple[str, str]) -> None:
    first, again = repaired
    assert world.run("cost", again, "--json").json["job_ids"] == [again]
    assert world.run("show", first, "--json").json["job_id"] == first


def test_a_later_run_of_the_same_name_is_another_run(world: CliWorld) -> None:
    earlier = world.submit("--name", "nightly", "--array", "2", "--", "true")
    later = world.submit("--name", "nightly", "--array", "2", "--", "true")
    assert {world.wait(earlier), world.wait(later)} == {"SUCCEEDED"}
    assert list(world.run("watch", "nightly", "--json").events[-1]["jobs"]) == [later]


def test_a_run_of_three_arrays_is_cancelled_whole_by_its_name(
    world: CliWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spotbatch.runs.submit.MAX_ARRAY_SIZE", 3)  # else it takes more than 10,000 children
    (tmp_path / "lines").write_text("".join(f"{number}\n" for number in range(9)))
    world.run("submit", "--name", "long", "--inputs", str(tmp_path / "lines"), "--", "sleep", "600")
    assert len(world.run("show", "long", "--json").json["jobs"]) == 3
    assert len(world.run("cancel", "long", "--yes", "--json").json["stopped"]) == 3


def test_what_waits_for_a_repaired_run_does_not_fail_for_its_first_array(
    world: CliWorld, repaired: tuple[str, str]
) -> None:
    job = world.submit("--name", "after-it", "--after", "repaired", "--", "true")
    assert world.wait(job) == "SUCCEEDED"


def test_a_job_is_found_by_the_first_digits_of_its_id(world: CliWorld, repaired: tuple[str, str]) -> None:
    first, _ = repaired
    assert world.run("show", first[:8], "--json").json["job_id"] == first
    assert world.run("show", f"{first[:13]}:2", "--json").json["job_id"] == f"{first}:2"


def test_a_child_beyond_the_array_says_how_many_there_are(world: CliWorld, repaired: tuple[str, str]) -> None:
    first, _ = repaired
    by_id = world.run("show", f"{first}:9999", code=NotFound.exit_code).err
    assert re.search(r"has 5 children, with indexes 0 to 4: there is no 9999", by_id)
    by_name = world.run("show", "repaired:9999", code=NotFound.exit_code).err
    assert "its indexes are 0 to 4" in by_name
