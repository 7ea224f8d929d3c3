"""The daily loop against a real local region: submit, watch, understand, fix, collect, and know the money."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local import region_file
from tests.contract.cli_world import STACK, CliWorld, cli_world, on_terminal, program, run, template
from tests.contract.local_api_region import until

WRITE = 'echo "line of $AWS_BATCH_JOB_ARRAY_INDEX"; echo out > $SPOTBATCH_OUTPUT_DIR/out.txt'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("cli")) as made:
        yield made


def test_a_command_is_submitted_watched_to_its_end_and_its_outputs_are_fetched(world: CliWorld, tmp_path: Path) -> None:
    job = world.submit("--name", "one", "--", "sh", "-c", WRITE)
    world.wait(job)
    watched = world.run("watch", job)
    assert watched.out.splitlines()[-1].startswith("SUCCEEDED in ")
    assert "line of" in world.run("logs", job).out
    said = world.run("results", job, str(tmp_path / "out"))
    assert (tmp_path / "out" / "out.txt").read_text() == "out\n"
    assert "1 file, 4 B, verified" in said.out
    again = world.run("results", job, str(tmp_path / "out"), "--json").json
    assert (again["files"], again["fetched_files"]) == (1, 0)


def test_a_file_that_was_damaged_here_is_fetched_again(world: CliWorld, tmp_path: Path) -> None:
    job = world.submit("--", "sh", "-c", WRITE)
    world.wait(job)
    world.run("results", job, str(tmp_path))
    (tmp_path / "out.txt").write_text("bad\n")
    assert world.run("results", job, str(tmp_path), "--json").json["fetched_files"] == 1
    assert (tmp_path / "out.txt").read_text() == "out\n"


def test_a_file_that_was_damaged_in_the_store_is_refused(world: CliWorld, tmp_path: Path) -> None:
    job = world.submit("--", "sh", "-c", WRITE)
    world.wait(job)
    (world.home / "artifacts" / "runs" / job / "job" / "output" / "out.txt").write_text("bad\n")
    said = world.run("results", job, str(tmp_path), code=4)
    assert "its checksum differs" in said.err
    assert list(tmp_path.iterdir()) == []


def test_submit_gives_only_the_id_to_pipes_and_one_event_to_programs(world: CliWorld) -> None:
    said = world.run("submit", "--", "true")
    assert len(said.out.strip()) == 36
    assert "spotbatch watch" in said.err
    event = world.run("submit", "--name", "x", "--json", "--", "true").json
    assert event["event"] == "submitted"
    assert event["run_id"] == event["job_id"]


def test_a_dry_run_shows_the_request_and_sends_nothing(world: CliWorld) -> None:
    before = len(world.run("list", "--limit", "1000", "--json").json)
    assert "an hour of one such job: about 0." in world.run("submit", "--dry-run", "--", "true").err
    asked = ("--name", "dry", "--array", "3", "--vcpus", "2", "--memory", "1G", "--env", "A=b", "--retries", "2")
    shape = world.run("submit", "--dry-run", *asked, "--tag", "k=v", "--timeout", "5m", "--", "echo", "hi").json
    assert shape["arrayProperties"] == {"size": 3}
    assert shape["containerOverrides"]["command"] == ["echo", "hi"]
    assert {"type": "MEMORY", "value": "1024"} in shape["containerOverrides"]["resourceRequirements"]
    assert shape["containerOverrides"]["environment"] == [{"name": "A", "value": "b"}]
    assert shape["retryStrategy"]["attempts"] == 3
    assert (shape["tags"], shape["timeout"]) == ({"k": "v"}, {"attemptDurationSeconds": 300})
    assert len(world.run("list", "--limit", "1000", "--json").json) == before


def test_a_dry_run_that_knows_how_long_a_job_takes_estimates_the_whole_run(world: CliWorld) -> None:
    asked = ("submit", "--dry-run", "--array", "300", "--work", "30m")
    said = world.run(*asked, "--", "true")
    assert said.json["arrayProperties"] == {"size": 300}
    assert "spot " in said.err
    assert "on-demand " in said.err
    found = world.run(*asked, "--json", "--", "true").json
    assert len(found["requests"]) == 1
    scenarios = found["estimate"]["scenarios"]
    assert scenarios["spot"]["cost_usd"]["p50"] < scenarios["on-demand"]["cost_usd"]["p50"]


def test_a_failed_child_is_told_explained_and_run_again_under_the_same_run(world: CliWorld, tmp_path: Path) -> None:
    inputs = tmp_path / "names.txt"
    inputs.write_text("apple\nbanana\ncherry pie\n")
    fixed = tmp_path / "fixed"
    script = f'echo "$SPOTBATCH_INPUT" > $SPOTBATCH_OUTPUT_DIR/name; [ -e {fixed} ] || [ "$SPOTBATCH_INPUT" != banana ]'
    job = world.submit("--name", "fruit", "--inputs", str(inputs), "--", "sh", "-c", script)
    world.wait(job)
    watched = world.run("watch", job, code=1)
    assert "child 1 (banana) FAILED: exit code 1" in watched.out
    assert f"spotbatch retry {job}" in watched.err
    assert "banana" in world.run("show", job).out
    assert "(banana) FAILED with exit code 1" in world.run("logs", job, "--failed").out
    children = world.run("list", "--array", job, "--json").json
    assert [(child["status"], child["input"]) for child in children] == [
        ("SUCCEEDED", "apple"),
        ("FAILED", "banana"),
        ("SUCCEEDED", "cherry pie"),
    ]
    assert world.run("retry", job, "--dry-run", "--json").json["indexes"] == [1]
    fixed.touch()
    again = world.run("retry", job).out.strip()
    assert world.wait(again) == "SUCCEEDED"
    world.run("results", job, str(tmp_path / "out"))
    names = [(tmp_path / "out" / f"{index:05d}" / "name").read_text() for index in range(3)]
    assert names == ["apple\n", "banana\n", "cherry pie\n"]
    run_id = world.run("show", job, "--json").json["run_id"]
    assert world.run("watch", run_id, "--json").events[-1]["jobs"].keys() == {job, again}, "what was retried is well"
    assert "nothing of" in world.run("retry", run_id, code=NotFound.exit_code).err


def test_a_run_of_several_arrays_is_one_thing_under_one_id(
    world: CliWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spotbatch.runs.submit.MAX_ARRAY_SIZE", 3)  # else it takes more than 10,000 children
    inputs = tmp_path / "numbers.txt"
    inputs.write_text("".join(f"number {index}\n" for index in range(7)))
    fixed = tmp_path / "fixed"
    script = (
        f'echo "$SPOTBATCH_INPUT" | tee $SPOTBATCH_OUTPUT_DIR/name; '
        f"[ -e {fixed} ] || case $SPOTBATCH_INPUT in *1|*6) exit 4;; esac"
    )
    run_id = world.submit("--name", "seven", "--inputs", str(inputs), "--", "sh", "-c", script)
    jobs = [each["job_id"] for each in world.run("show", run_id, "--json").json["jobs"]]
    assert len(jobs) == 3
    assert {world.wait(job) for job in jobs} == {"FAILED", "SUCCEEDED"}
    watched = world.run("watch", run_id, code=1)
    assert "2 of 7 children FAILED" in watched.err
    assert f"`spotbatch retry {run_id}` runs them again" in watched.err, "the whole run, not its first array"
    failures = [each for each in world.run("watch", run_id, "--json", code=1).events if each["event"] == "failure"]
    assert sorted(each["input"] for each in failures) == ["number 1", "number 6"]
    shown = world.run("show", run_id).out
    assert "0-2" in shown
    assert " USD" in shown
    assert "number 6" in shown
    assert world.run("logs", f"{run_id}:4").out == "number 4\n"
    failed = world.run("logs", run_id, "--failed")
    assert [line for line in failed.out.splitlines() if not line.startswith("==>")] == ["number 1", "number 6"]
    assert "name a child by its index" in world.run("logs", run_id, code=InvalidInput.exit_code).err
    assert world.run("cost", run_id, "--json").json["attempts"]["count"] == 7
    fixed.touch()
    assert "1 (number 1), 6 (number 6)" in world.run("results", run_id, str(tmp_path / "some"), code=1).err
    again = world.run("retry", run_id).out.split()
    assert [world.wait(job) for job in again] == ["SUCCEEDED"] * 2
    assert f"{run_id}, index 6" in world.run("show", again[1]).out
    world.run("watch", run_id)
    assert world.run("logs", f"{run_id}:6").out == "number 6\n"
    assert "7 files" in world.run("results", run_id, str(tmp_path / "out")).out
    names = (tmp_path / "out/inputs.tsv").read_text().splitlines()
    assert (len(names), names[6]) == (7, "00006\tnumber 6")
    assert "ended already" in world.run("cancel", run_id, "--yes").out


def test_an_array_beyond_ten_thousand_is_refused_with_the_way_that_takes_more(world: CliWorld) -> None:
    said = world.run("submit", "--array", "10001", "--", "true", code=2).err
    assert "at most 10,000 children, not 10,001: --inputs FILE takes more lines" in said


def test_files_by_a_pattern_go_into_the_store_and_to_their_child(world: CliWorld, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"part {number}%.dat").write_text(f"data {number}")
    job = world.submit("--inputs", f"{tmp_path}/*.dat", "--", "sh", "-c", 'cat "$SPOTBATCH_INPUT_DIR"/*')
    world.wait(job)
    assert [world.run("logs", f"{job}:{index}").out for index in range(2)] == ["data 0\n", "data 1\n"]


def test_objects_below_a_bucket_are_inputs(world: CliWorld) -> None:
    s3 = world.region.client("s3")
    s3.create_bucket(Bucket="inputs")
    for key in ("raw/a.txt", "raw/b.txt", "other/c.txt"):
        s3.put_object(Bucket="inputs", Key=key, Body=key.encode())
    job = world.submit("--inputs", "s3://inputs/raw/", "--", "sh", "-c", 'cat "$SPOTBATCH_INPUT_DIR"/*')
    world.wait(job)
    assert [world.run("logs", f"{job}:{index}").out for index in range(2)] == ["raw/a.txt\n", "raw/b.txt\n"]


def test_objects_are_named_by_a_folder_by_how_they_begin_or_by_a_pattern(world: CliWorld) -> None:
    s3 = world.region.client("s3")
    s3.create_bucket(Bucket="named")
    for key in ("raw/2025-a.csv", "raw/2026-a.csv", "raw/2026-b.txt", "raw-old/c.csv"):
        s3.put_object(Bucket="named", Key=key, Body=b"x")

    def sent(written: str) -> str:
        return world.run("submit", "--dry-run", "--inputs", f"s3://named/{written}", "--", "true").err.splitlines()[0]

    assert sent("raw").startswith("3 inputs")  # the folder, not raw-old
    assert sent("raw/2026-").startswith("2 inputs")
    assert sent("raw/*.csv").startswith("2 inputs")
    nothing = world.run("submit", "--inputs", "s3://named/none/", "--", "true", code=3)
    assert "nothing is there" in nothing.err
    missing = world.run("submit", "--inputs", "s3://nobucket/x", "--", "true", code=3)
    assert missing.err.startswith("error: --inputs s3://nobucket/x: ")


def test_an_interrupted_child_resumes_and_its_story_says_so(world: CliWorld, tmp_path: Path) -> None:
    go_on = tmp_path / "go"
    script = f"echo x > $SPOTBATCH_CHECKPOINT_DIR/state; while [ ! -e {go_on} ]; do sleep 0.05; done"
    job = world.submit("--name", "long", "--", "sh", "-c", script)
    until(lambda: world.run("show", job, "--json").json["status"] == "RUNNING")
    chosen = world.run("local", "interrupt", "1", "--json").json["instance_ids"]
    assert len(chosen) == 1
    until(lambda: len(world.run("show", job, "--json").json["attempts"]) == 2)
    go_on.touch()
    watched = world.run("watch", job)
    assert "1 interruption, 1 retry" in watched.out
    story = world.run("show", job).out
    assert chosen[0] in story
    assert "interrupted: " in story
    assert "attempt 2 of 5: succeeded" in story
    report = world.run("cost", job, "--json").json
    assert report["attempts"]["interrupted"] == 1
    assert report["hosts"]["reclaimed"] == 1
    assert "where it went" in world.run("cost", job, "--by", "job").out


def test_watch_as_events_ends_with_the_counts(world: CliWorld) -> None:
    job = world.submit("--array", "3", "--", "true")
    events = world.run("watch", job, "--json").events
    assert events[-1]["event"] == "ended"
    assert events[-1]["counts"]["SUCCEEDED"] == 3


def test_the_cost_of_a_large_run_is_told_by_a_part_of_it(world: CliWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.submit("--array", "12", "--", "true")
    assert world.wait(job) == "SUCCEEDED"
    assert "at least" not in world.run("watch", job).out
    monkeypatch.setattr("spotbatch.cli.output.facts._MONEY_LIVE", 5)
    monkeypatch.setattr("spotbatch.cli.output.facts._MONEY_AT_END", 5)
    assert re.search(r"at least 0\.\d+ USD, \d+ % less than on demand", world.run("watch", job).out)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(world: CliWorld) -> None:
    job = world.submit("--", "sleep", "60")
    watching = program("watch", job, environ={"SPOTBATCH_HOME": str(world.home), "SPOTBATCH_LOCAL": "1"})
    assert watching.stdout is not None
    assert job in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert f"spotbatch watch {job}" in err
    assert world.run("show", job, "--json").json["status"] in ("RUNNABLE", "STARTING", "RUNNING")
    world.run("cancel", job)


def test_cancel_asks_before_it_stops_an_array(world: CliWorld) -> None:
    job = world.submit("--array", "3", "--", "sleep", "60")
    assert "--yes" in world.run("cancel", job, code=2).err
    assert world.run("cancel", job, "--yes", "--json").json["stopped"] == [job]
    assert world.wait(job) == "FAILED"
    assert world.run("cancel", job, "--yes", "--json").json["already_ended"] == [job]


def test_logs_follow_to_the_end_and_find(world: CliWorld) -> None:
    job = world.submit("--", "sh", "-c", "for n in 1 2 3; do echo tick $n; sleep 0.1; done; echo last")
    assert world.run("logs", job, "-f").out == "tick 1\ntick 2\ntick 3\nlast\n"
    assert world.run("logs", job, "--grep", "tick [23]").out == "tick 2\ntick 3\n"
    assert world.run("logs", job, "--tail", "1").out == "last\n"
    assert json.loads(world.run("logs", job, "--tail", "1", "--json").out)["text"] == "last"


def test_logs_follow_from_the_last_lines_on(world: CliWorld, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"seq 1 50; while [ ! -e {go} ]; do sleep 0.1; done; echo end"
    job = world.submit("--", "sh", "-c", script)
    until(lambda: world.run("logs", job, code=None).out.endswith("50\n"))
    go.touch()
    assert world.run("logs", job, "-f", "--tail", "2").out.split()[-1] == "end"
    assert world.run("logs", job, "-f", "--tail", "2").out == "50\nend\n"
    assert "leave out" in world.run("logs", job, "-f", "--attempt", "1", code=2).err
    assert "leave out" in world.run("logs", job, "--failed", "-f", code=2).err


def test_logs_of_an_array_ask_which_child(world: CliWorld) -> None:
    job = world.submit("--array", "2", "--", "true")
    assert f"{job}:0" in world.run("logs", job, code=2).err


def test_a_job_is_found_by_its_name_and_a_missing_one_is_exit_code_3(world: CliWorld) -> None:
    job = world.submit("--name", "by-name", "--", "true")
    assert world.run("show", "by-name", "--json").json["job_id"] == job
    missing = world.run("show", "nobody", code=3)
    assert "'nobody'" in missing.err
    assert "there is no job" in world.run("watch", "00000000-0000-0000-0000-000000000000", code=3).err


def test_a_job_waits_for_another_by_name_and_fails_with_it(world: CliWorld) -> None:
    world.submit("--name", "first", "--", "false")
    second = world.submit("--after", "first", "--", "true")
    assert world.wait(second) == "FAILED"
    assert "Dependent Job failed" in world.run("watch", second, code=1).out


def test_a_job_file_does_the_same_as_options(world: CliWorld, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('name = "from-file"\ncommand = ["true"]\nvcpus = 2\nmemory = "300M"\n')
    shape = world.run("submit", "-f", str(path), "--vcpus", "1", "--dry-run").json
    assert shape["jobName"] == "from-file"
    assert {"type": "VCPU", "value": "1"} in shape["containerOverrides"]["resourceRequirements"]


def test_the_stack_is_found_by_name_and_a_wrong_one_is_exit_code_3(world: CliWorld) -> None:
    assert world.run("list", "--stack", STACK).code == 0
    assert "'Nope'" in world.run("list", "--stack", "Nope", code=3).err


def test_local_env_is_what_other_tools_need(world: CliWorld) -> None:
    lines = world.run("local", "env").out.splitlines()
    assert f"export AWS_ENDPOINT_URL={world.region.info.endpoint}" in lines
    assert world.run("local", "env", "--json").json["AWS_REGION"] == "us-east-1"
    assert world.run("local", "status", "--json").json["is_running"] is True


def test_watching_takes_less_than_one_call_a_second(world: CliWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    describe = Jobs.describe

    def counted(self: Jobs, ids: list[str]) -> object:
        calls.append(time.monotonic())
        return describe(self, ids)

    monkeypatch.setattr(Jobs, "describe", counted)
    monkeypatch.setattr("spotbatch.cli.output.facts.Facts.__call__", lambda *_: "")
    job = world.submit("--array", "3", "--", "sleep", "4")
    began = time.monotonic()
    world.run("watch", job)
    assert len(calls) <= time.monotonic() - began + 2  # the first look, and the one that ended it


def test_without_a_region_every_command_says_how_to_start_one(tmp_path: Path) -> None:
    said = run("list", "--local", environ={"SPOTBATCH_HOME": str(tmp_path)})
    assert said.code == 3
    assert "spotbatch local up" in said.err


def test_a_jobs_own_report_of_its_progress_is_shown(world: CliWorld, tmp_path: Path) -> None:
    go_on = tmp_path / "go"
    script = f"echo 30/40 > $SPOTBATCH_PROGRESS_FILE; while [ ! -e {go_on} ]; do sleep 0.05; done"
    job = world.submit("--", "sh", "-c", script)
    until(lambda: (world.home / "artifacts" / "runs" / job / "job" / "progress.json").exists())
    watching = program("watch", job, environ={"SPOTBATCH_HOME": str(world.home), "SPOTBATCH_LOCAL": "1"})
    assert watching.stdout is not None
    watching.stdout.readline()
    assert "[###############.....] 75 % by its own report" in watching.stdout.readline()
    go_on.touch()
    watching.communicate(timeout=30)
    assert watching.returncode == 0


def test_on_a_terminal_the_picture_is_painted_over_and_the_end_stays(world: CliWorld) -> None:
    job = world.submit("--name", "seen", "--array", "2", "--", "sleep", "0.5")
    shown = on_terminal("watch", job, environ={"SPOTBATCH_HOME": str(world.home), "SPOTBATCH_LOCAL": "1"})
    assert "\x1b[2K" in shown
    assert "█" * 60 in shown
    assert shown.count("SUCCEEDED in ") == 1


def test_no_color_means_no_colour_on_a_terminal(world: CliWorld) -> None:
    home = {"SPOTBATCH_HOME": str(world.home), "SPOTBATCH_LOCAL": "1"}
    world.submit("--name", "plain", "--", "true")
    assert "\x1b[" in on_terminal("list", environ=home)
    assert "\x1b[" not in on_terminal("list", environ={**home, "NO_COLOR": "1"})


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_watch_goes_on_when_the_region_goes_away_and_comes_back(tmp_path: Path, is_killed: bool) -> None:
    home = {"SPOTBATCH_HOME": str(tmp_path / "home"), "SPOTBATCH_LOCAL": "1"}
    stack = tmp_path / "Mine.template.json"
    stack.write_text(json.dumps(template()))
    up = ("local", "up", "--template", str(stack), "--boot-seconds", "0.05", "--stop-grace-seconds", "1")
    run(*up, environ=home)
    try:
        go_on = tmp_path / "go"
        script = f"while [ ! -e {go_on} ]; do sleep 0.05; done"
        job = run("submit", "--", "sh", "-c", script, environ=home).out.strip()
        watching = program("watch", job, environ=home)
        assert watching.stdout is not None
        assert watching.stderr is not None
        watching.stdout.readline()
        if is_killed:
            os.kill(region_file.read(tmp_path / "home").pid or 0, signal.SIGKILL)
        else:
            run("local", "down", environ=home)
        assert "asking again in" in watching.stderr.readline()
        run(*up, environ=home)
        go_on.touch()
        watching.communicate(timeout=60)
        assert watching.returncode == 0
    finally:
        run("local", "down", environ=home)
