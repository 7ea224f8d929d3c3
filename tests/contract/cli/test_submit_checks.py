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
