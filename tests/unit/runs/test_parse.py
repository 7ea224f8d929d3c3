"""What people write on a command line and in job files becomes values, or an error with the value and the fix."""

from pathlib import Path

import pytest

from spotbatch.batch.errors import InvalidInput, InvalidJob, NotFound
from spotbatch.runs import job_file, parse
from spotbatch.runs.inputs import find_inputs
from spotbatch.runs.request import JobOptions, name_for, request
from spotbatch.runs.submit import parts_of


@pytest.mark.parametrize(
    ("written", "mib"), [("2048", 2048), ("512M", 512), ("2G", 2048), ("1.5GiB", 1536), ("4 GB", 4096)]
)
def test_memory_is_mib_unless_it_says_more(written: str, mib: int) -> None:
    assert parse.memory_mib(written) == mib


@pytest.mark.parametrize("written", ["", "2T", "much", "-1"])
def test_memory_that_means_nothing_is_refused_with_its_value(written: str) -> None:
    with pytest.raises(InvalidInput, match=f"not '{written}'"):
        parse.memory_mib(written)


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1.5h", 5400), ("2d", 172800)]
)
def test_lengths_of_time_have_units(written: str, seconds: int) -> None:
    assert parse.seconds(written) == seconds


def test_a_variable_without_a_value_is_passed_on_from_the_shell() -> None:
    assert parse.variables(["A=1=2", "HOME"], {"HOME": "/h"}) == {"A": "1=2", "HOME": "/h"}
    with pytest.raises(InvalidInput, match="no such variable here"):
        parse.variables(["MISSING"], {})


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "-m", "flights.bootstrap"], "flights-bootstrap"),
        (["python3", "count.py", "--fast"], "count"),
        (["bash", "scripts/a.b.sh"], "a"),
        (["python3.12", "-c", "import os"], "python3-12"),
        (["sleep", "1"], "sleep-1"),
        (["/usr/bin/ffmpeg", "-i", "x y"], "ffmpeg"),
        (["sh", "-c", "rm -rf $HOME; echo"], "sh"),
        ([], "job"),
    ],
)
def test_a_job_is_named_after_its_program_and_never_after_a_shells_text(command: list[str], name: str) -> None:
    assert name_for(command) == name


def test_retries_send_the_rules_for_lost_hosts_along() -> None:
    made = request(JobOptions(command=("true",), retries=3), queue="q", definition="d")
    assert made.retry is not None
    assert made.retry.attempts == 4
    assert made.retry.evaluate_on_exit[0].on_status_reason == "Host EC2*"


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (JobOptions(retries=10), InvalidInput, "--retries is 0 to 9"),
        (JobOptions(array=1), InvalidJob, "2 to 10000 children, not 1"),
        (JobOptions(is_sequential=True), InvalidInput, "give --array too"),
        (JobOptions(after_each=("x",)), InvalidInput, "give --array too"),
        (JobOptions(name="no spaces"), InvalidJob, "'no spaces'"),
        (JobOptions(env={"AWS_BATCH_X": "1"}), InvalidJob, "AWS_BATCH_X"),
        (JobOptions(vcpus=0), InvalidInput, "--vcpus is at least 1, not 0"),
        (JobOptions(memory_mib=0), InvalidInput, "--memory is at least 4 MiB, not 0"),
        (JobOptions(gpus=-1), InvalidInput, "--gpus is at least 0, not -1"),
        (JobOptions(timeout_seconds=59), InvalidJob, "at least 60 seconds, not 59"),
    ],
)
def test_what_aws_batch_would_refuse_stops_here(asked: JobOptions, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        request(asked, queue="q", definition="d")


# ---- job files ----


def read(folder: Path, text: str) -> JobOptions:
    path = folder / "job.toml"
    path.write_text(text)
    return job_file.read(path)


def test_the_example_of_a_job_file_is_read(tmp_path: Path) -> None:
    asked = read(tmp_path, job_file.EXAMPLE)
    assert (asked.name, asked.array, asked.memory_mib, asked.timeout_seconds) == ("months", 12, 2048, 7200)
    assert asked.command == ("python", "-m", "flights.bootstrap")
    assert (asked.env, asked.tags, asked.after) == ({"RESAMPLES": "2000"}, {"team": "flights"}, ("prepare",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\nvcpu = 2\n', r"job.toml:2: 'vcpu' is unknown; did you mean 'vcpus'\?"),
        ('\n\nmemory = "lots"\n', "job.toml:3: memory: memory is written as"),
        ('command = "python x.py"\n', "job.toml:1: command: a list is wanted, one text a word"),
        ("array = true\n", "job.toml:1: array: a whole number is wanted, not True"),
        ('name = "a"\nvcpus = = 2\n', "job.toml:2: this is not TOML: invalid value"),
        ("a = [\n", "job.toml:1: this is not TOML: invalid value"),
        ('name = "x"\n[env]\nA = ["b"]\n', "job.toml:3: env.A: a text in quotes is wanted, not \\['b'\\]"),
        ('[env]\nA = "1"\n[tags]\nA = {}\n', "job.toml:4: tags.A: a text in quotes is wanted"),
        ('env = {"B" = "1", A = []}\n', "job.toml:1: env.A: a text in quotes is wanted"),
        ("env = 3\n", "job.toml:1: env: a table of texts is wanted, not 3"),
        ("\nvcpus = 0\n", "job.toml:2: vcpus: --vcpus is at least 1, not 0"),
        ('name = "a"\nretries = 12\n', "job.toml:2: retries: --retries is 0 to 9"),
        ('timeout = "30s"\n', "job.toml:1: timeout: a timeout is at least 60 seconds, not 30"),
        ('\nname = "no spaces"\n', "job.toml:2: name: a job name has"),
        ("array = 1\n", "job.toml:1: array: an array has 2 to 10000 children, not 1"),
        ('[env]\nAWS_BATCH_X = "1"\n', "job.toml:1: env: variables that begin with"),
    ],
)
def test_an_error_in_a_job_file_points_at_the_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read(tmp_path, text)


def test_options_win_over_a_job_file_and_tables_are_joined() -> None:
    file = JobOptions(name="a", vcpus=1, env={"A": "1", "B": "1"})
    both = JobOptions(vcpus=4, env={"B": "2"}).with_defaults(file)
    assert (both.name, both.vcpus, both.env) == ("a", 4, {"A": "1", "B": "2"})


def test_a_zero_on_the_command_line_wins_over_a_job_file() -> None:
    assert JobOptions(retries=0).with_defaults(JobOptions(retries=9)).retries == 0


# ---- inputs and runs ----


def test_each_line_that_is_not_blank_is_an_input(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("a b\n\n  \nc\r\n", encoding="utf-8")
    assert find_inputs(str(path)).lines == ("a b", "c")


def test_only_a_line_feed_ends_an_input(tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_bytes('{"a": "x\u2028y"}\r\nform\x0cfeed\n'.encode())
    assert find_inputs(str(listed)).lines == ('{"a": "x\u2028y"}', "form\x0cfeed")


def test_a_pattern_gives_files_in_order_and_no_folders(tmp_path: Path) -> None:
    for name in ("b.x", "a.x", "c.y"):
        (tmp_path / name).write_text("")
    (tmp_path / "d.x").mkdir()
    assert [path.name for path in find_inputs(f"{tmp_path}/*.x").files] == ["a.x", "b.x"]


def test_inputs_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for written in (tmp_path / "missing", tmp_path / "empty", tmp_path / "*.none"):
        with pytest.raises(NotFound):
            find_inputs(str(written))


def test_more_than_ten_thousand_inputs_become_several_arrays_of_one_run() -> None:
    wanted = request(JobOptions(command=("true",)), queue="q", definition="d")
    parts = list(parts_of(wanted, "run", 20_001))
    assert [part.array_size for part in parts] == [10_000, 10_000, None]
    assert [part.environment["SPOTBATCH_ARRAY_INDEXES"] for part in parts] == ["0-9999", "10000-19999", "20000"]
    assert {part.environment["SPOTBATCH_RUN_ID"] for part in parts} == {"run"}


def test_a_byte_order_mark_belongs_to_no_line_of_a_list_of_inputs(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbffirst\r\nsecond\r\n")
    assert find_inputs(str(tmp_path / "list.txt")).lines == ("first", "second")
