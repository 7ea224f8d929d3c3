"""What a queue could never run is refused before it is sent; a folder of code goes along with the job."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cli_world import CliWorld, cli_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("checks")) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a program of its own."""
    (tmp_path / "count.py").write_text(
        "import os, pathlib, helper\n"
        "out = pathlib.Path(os.environ['SPOTBATCH_OUTPUT_DIR'], 'n')\n"
        "out.write_text(helper.word + os.environ.get('SPOTBATCH_INPUT', ''))\n"
    )
    (tmp_path / "helper.py").write_text("word = 'counted '\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--vcpus", "64", "--", "true"), "no instance type of this queue has 64 vCPUs"),
        (("--memory", "900G", "--", "true"), "no instance type of this queue has 921600 MiB for jobs"),
        (("--gpus", "8", "--", "true"), "no instance type of this queue has 8 GPUs"),
        (("--env", f"LONG={'x' * 9000}", "--", "true"), "at most 8192 characters together"),
        (("--", "echo", "x" * 9000), "at most 8192 characters together"),
    ],
)
def test_what_no_host_could_run_is_refused_with_the_value(
    world: CliWorld, asked: tuple[str, ...], said: str, dry: tuple[str, ...]
) -> None:
    answer = world.run("submit", *dry, *asked, code=2)
    assert said in answer.err
    assert answer.out == ""


def test_who_knows_better_may_send_it_all_the_same(world: CliWorld) -> None:
    job = world.submit("--no-check", "--vcpus", "64", "--", "true")
    assert world.run("show", job, "--json").json["status"] in ("SUBMITTED", "RUNNABLE")
    world.run("cancel", job, "--yes", code=None)


def test_a_program_of_this_folder_is_refused_with_the_way_to_send_it(world: CliWorld, home: Path) -> None:
    answer = world.run("submit", "--", "python", "count.py", code=2)
    assert "count.py is a file of this folder, and a job does not run here: `--code .` sends this folder" in answer.err


def test_a_folder_goes_along_and_is_kept_for_a_retry(world: CliWorld, home: Path, tmp_path: Path) -> None:
    (home / "lines").write_text("one\ntwo\n")
    job = world.submit("--code", ".", "--inputs", "lines", "--", "python", "count.py")
    assert world.wait(job) == "SUCCEEDED"
    world.run("results", job, str(tmp_path / "out"))
    written = sorted(path.read_text() for path in (tmp_path / "out").rglob("n"))
    assert written == ["counted one", "counted two"]
    (home / "helper.py").write_text("raise SystemExit(9)\n")
    failed = world.submit("--code", ".", "--", "python", "count.py")
    assert world.wait(failed) == "FAILED"
    assert world.run("show", failed, "--json").json["exit_code"] == 9


def test_a_folder_that_cannot_go_along_is_told_before_anything_is_sent(world: CliWorld, home: Path) -> None:
    (home / "out").symlink_to("/etc/passwd")
    assert "out is a link to /etc/passwd" in world.run("submit", "--code", ".", "--", "true", code=2).err
    assert "there is no such folder" in world.run("submit", "--code", "none", "--", "true", code=3).err


def test_a_deadline_without_an_on_demand_queue_says_how_to_get_one_here(world: CliWorld) -> None:
    answer = world.run("submit", "--deadline", "30m", "--work", "3s", "--", "true", code=3)
    assert 'set "on_demand_queue": true under "spotbatch" in cdk.json' in answer.err
    assert "spotbatch local load cdk.out/Tested.template.json" in answer.err


def test_a_pattern_without_quotes_is_noticed(world: CliWorld, home: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (home / name).write_text("x")
    answer = world.run("submit", "--inputs", "a.txt", "--code", ".", "--", "b.txt", "python", "count.py", code=2)
    assert "was a pattern of --inputs without quotes? --inputs '*.txt' -- COMMAND" in answer.err


def test_a_retry_runs_the_code_that_was_sent_or_what_was_mended_since(
    world: CliWorld, home: Path, tmp_path: Path
) -> None:
    (home / "data").mkdir()
    for name in ("one", "two"):
        (home / "data" / name).write_text(name)
    (home / "helper.py").write_text("raise SystemExit(9)\n")
    job = world.submit("--name", "mended", "--code", ".", "--inputs", "data/*", "--", "python", "count.py")
    assert world.wait(job) == "FAILED"
    assert "data/one" in world.run("logs", "mended", "--failed").out, "the input by the user's own name"
    (home / "helper.py").write_text("word = 'counted '\n")
    again = world.run("retry", job)
    assert "it runs the code that was sent along at first; --code FOLDER" in again.err
    assert world.wait(again.out.split()[0]) == "FAILED"
    assert world.wait(world.run("retry", "mended", "--code", ".").out.split()[0]) == "SUCCEEDED"
    world.run("results", "mended", str(tmp_path / "out"))
    assert len(list((tmp_path / "out").rglob("n"))) == 2
