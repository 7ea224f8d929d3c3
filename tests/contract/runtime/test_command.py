"""spotrun as a user meets it: real processes, real signals, a folder as the store."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.runtime_world import Spot, record, spot, wait_for

COUNT_TO = """
n=$(cat "$SPOTBATCH_CHECKPOINT_DIR/n" 2>/dev/null || echo 0)
echo "start $n"
while [ "$n" -lt {limit} ]; do
  n=$((n + 1))
  echo "$n" > "$SPOTBATCH_CHECKPOINT_DIR/n.tmp" && mv "$SPOTBATCH_CHECKPOINT_DIR/n.tmp" "$SPOTBATCH_CHECKPOINT_DIR/n"
  echo "at $n"
  sleep 0.02
done
echo "$n" > "$SPOTBATCH_OUTPUT_DIR/result"
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Spot]:
    with spot(tmp_path) as made:
        yield made


def count_to(limit: int) -> tuple[str, str, str]:
    return "sh", "-c", COUNT_TO.format(limit=limit)


def python(text: str) -> tuple[str, str, str]:
    return sys.executable, "-c", text


def output(world: Spot, name: str = "result") -> str:
    return (world.folder / "store/runs/work/job/output" / name).read_text(encoding="ascii").strip()


def test_a_command_keeps_its_exit_code_and_its_output(world: Spot) -> None:
    code, text = world.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert code == 7
    assert "out\n" in text
    assert "err\n" in text


def test_outputs_are_there_with_their_marker_when_the_command_succeeds(world: Spot) -> None:
    code, _ = world.run(*count_to(3))
    assert code == 0
    assert output(world) == "3"
    marker = json.loads((world.folder / "store/runs/work/job/output.json").read_text(encoding="ascii"))
    assert [file["path"] for file in marker["files"]] == ["result"]


def test_a_failed_command_leaves_its_last_lines_and_no_outputs(world: Spot) -> None:
    code, _ = world.run("sh", "-c", 'echo half > "$SPOTBATCH_OUTPUT_DIR/result"; echo last words; exit 3')
    unit = world.folder / "store/runs/work/job"
    assert code == 3
    assert not (unit / "output.json").exists()
    assert b"last words" in (unit / "failed/01/log.txt").read_bytes()
    assert (unit / "failed/01/output/result").read_text(encoding="ascii") == "half\n"


def test_after_sigterm_the_next_attempt_goes_on_where_the_last_one_stopped(world: Spot) -> None:
    first = world.start(*count_to(60))
    first.wait_for_text("at 10\n")
    first.terminate()
    assert first.wait() == 210
    reached = [line for line in first.text().splitlines() if line.startswith("at ")][-1].split()[1]
    code, text = world.run(*count_to(60))
    assert code == 0
    assert text.split("start ")[1].split()[0] in (reached, str(int(reached) + 1))
    assert output(world) == "60"


def test_after_a_sudden_death_the_next_attempt_starts_from_the_last_save(world: Spot) -> None:
    first = world.start(*count_to(60))
    manifests = world.folder / "store/runs/work/job/checkpoints/manifests"
    wait_for(lambda: manifests.exists() and len(list(manifests.iterdir())) >= 2, "two saves")
    first.kill()
    code, text = world.run(*count_to(60))
    assert code == 0
    assert int(text.split("start ")[1].split()[0]) > 0
    assert output(world) == "60"


def test_a_notice_ends_the_command_in_time_and_leaves_210(world: Spot) -> None:
    run = world.start(*count_to(10_000))
    run.wait_for_text("at 3\n")
    noticed = time.monotonic()
    run.give_notice(3.0)
    assert run.wait() == 210
    assert time.monotonic() - noticed < 3.0
    found = record(world.folder, 1)
    assert found["outcome"] == "interrupted"
    assert found["interruption_cause"] == "notice"
    assert 2.0 < found["notice_lead_seconds"] <= 3.0
    assert found["work_lost_seconds"] < 1.0


def test_a_command_that_keeps_nothing_loses_all_its_work_though_the_folder_was_looked_at(world: Spot) -> None:
    run = world.start("sh", "-c", "echo ready; while :; do sleep 0.05; done", SPOTBATCH_CHECKPOINT_SECONDS="0.1")
    run.wait_for_text("ready")
    began = time.monotonic()
    while time.monotonic() - began < 1.0:  # it works for a second
        time.sleep(0.05)
    run.give_notice(3.0)
    assert run.wait() == 210
    found = record(world.folder, 1)
    assert found["checkpoints_saved"] == 0
    assert found["last_saved_at"] is None
    assert found["work_lost_seconds"] > 1.0


def test_a_command_that_ignores_the_signal_is_killed_and_its_state_saved_before_the_host_ends(world: Spot) -> None:
    stubborn = 'trap "" TERM; echo kept > "$SPOTBATCH_CHECKPOINT_DIR/x"; echo ready; while :; do sleep 0.05; done'
    run = world.start("sh", "-c", stubborn, SPOTBATCH_CHECKPOINT_SECONDS="60")
    run.wait_for_text("ready")
    noticed = time.monotonic()
    run.give_notice(2.0)
    assert run.wait() == 210
    assert time.monotonic() - noticed < 2.0
    _, text = world.run("sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/x"')
    assert "kept" in text


def test_a_command_that_ends_well_within_the_grace_has_succeeded(world: Spot) -> None:
    finish = 'trap "echo whole > $SPOTBATCH_OUTPUT_DIR/result; exit 0" TERM; echo ready; while :; do sleep 0.02; done'
    run = world.start("sh", "-c", finish)
    run.wait_for_text("ready")
    run.give_notice(5.0)
    assert run.wait() == 0
    assert output(world) == "whole"


def test_another_stop_signal_and_a_hook_can_be_set(world: Spot) -> None:
    listens = 'trap "exit 9" INT; trap "echo hooked; exit 8" USR1; echo ready; while :; do sleep 0.02; done'
    run = world.start("sh", "-c", listens, SPOTBATCH_STOP_SIGNAL="INT")
    run.wait_for_text("ready")
    run.terminate()
    assert run.wait() == 210
    assert record(world.folder, 1)["command_exit_code"] == 9
    hook = "kill -USR1 $(pgrep -P $(ps -o ppid= -p $$))"
    hooked = world.start("sh", "-c", listens, SPOTBATCH_STOP_HOOK=hook)
    hooked.wait_for_text("ready")
    hooked.terminate()
    assert hooked.wait() == 210
    assert record(world.folder, 2)["command_exit_code"] == 8


def test_a_file_that_is_open_for_writing_when_the_command_is_killed_is_not_published(world: Spot) -> None:
    slow = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
(folder / "state").write_text("whole")
while not os.path.exists("torn-now"):
    time.sleep(0.01)
file = open(folder / "state", "w")
file.write("to")
file.flush()
print("torn", flush=True)
time.sleep(100)
"""
    run = world.start(*python(slow))
    manifests = world.folder / "store/runs/work/job/checkpoints/manifests"
    wait_for(lambda: manifests.exists() and bool(list(manifests.iterdir())), "a save")
    (world.folder / "torn-now").touch()
    run.wait_for_text("torn\n")
    run.give_notice(3.0)
    assert run.wait() == 210
    assert "saved without the newest of state" in run.text()
    _, text = world.run("sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/state"')
    assert "whole" in text


def test_what_the_command_leaves_running_is_ended_with_it(world: Spot) -> None:
    code, text = world.run("sh", "-c", 'sleep 100 & echo "left $!"')
    assert code == 0
    left = int(text.split("left ")[1].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(left, 0)


def test_orphans_are_reaped(world: Spot) -> None:
    breed = """
import os, subprocess, time
for _ in range(5):
    subprocess.run(["sh", "-c", "sleep 0.01 &"])
time.sleep(0.6)
me = os.getppid()
states = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    except OSError:
        continue
    if int(fields[1]) == me:
        states.append(fields[0])
print("zombies", states.count("Z"))
"""
    _, text = world.run(*python(breed))
    assert "zombies 0" in text


def test_other_signals_are_passed_on(world: Spot) -> None:
    run = world.start("sh", "-c", 'trap "exit 5" USR1; echo ready; while :; do sleep 0.02; done')
    run.wait_for_text("ready")
    run.process.send_signal(signal.SIGUSR1)
    assert run.wait() == 5


def test_a_failing_health_command_ends_the_attempt_with_211_and_shows_where_it_hung(world: Spot) -> None:
    hang = "import time\ndef stuck():\n    time.sleep(100)\nstuck()"
    code, text = world.run(
        *python(hang),
        SPOTBATCH_HEALTH_COMMAND="exit 4",
        SPOTBATCH_HEALTH_INTERVAL_SECONDS="0.1",
        SPOTBATCH_HEALTH_RETRIES="2",
    )
    assert code == 211
    assert "the health command ended with 4 (2 of 2)" in text
    assert "in stuck" in text


def test_a_health_command_that_hangs_has_failed(world: Spot) -> None:
    slow = {"SPOTBATCH_HEALTH_INTERVAL_SECONDS": "0.1", "SPOTBATCH_HEALTH_TIMEOUT_SECONDS": "0.1"}
    code, text = world.run("sleep", "100", SPOTBATCH_HEALTH_COMMAND="sleep 50", SPOTBATCH_HEALTH_RETRIES="1", **slow)
    assert code == 211
    assert "took longer than 0.1 s" in text


def test_a_heartbeat_that_stops_ends_the_attempt_and_one_that_goes_on_does_not(world: Spot) -> None:
    beats = {"SPOTBATCH_HEARTBEAT_SECONDS": "0.5", "SPOTBATCH_HEALTH_INTERVAL_SECONDS": "0.1"}
    alive = 'for i in 1 2 3 4 5 6 7 8; do touch "$SPOTBATCH_HEARTBEAT_FILE"; sleep 0.1; done'
    assert world.run("sh", "-c", alive, **beats)[0] == 0
    code, text = world.run("sh", "-c", f"{alive}; sleep 100", **beats)
    assert code == 211
    assert "the last heartbeat is" in text


def test_an_unhealthy_command_is_retried_a_limited_number_of_times(world: Spot) -> None:
    sick = {
        "SPOTBATCH_HEALTH_COMMAND": "false",
        "SPOTBATCH_HEALTH_INTERVAL_SECONDS": "0.05",
        "SPOTBATCH_HEALTH_RETRIES": "1",
        "SPOTBATCH_UNHEALTHY_ATTEMPTS": "1",
    }
    assert world.run("sleep", "100", AWS_BATCH_JOB_ID="one", AWS_BATCH_JOB_ATTEMPT="1", **sick)[0] == 211
    assert world.run("sleep", "100", AWS_BATCH_JOB_ID="one", AWS_BATCH_JOB_ATTEMPT="2", **sick)[0] == 1
    again = world.run("sleep", "100", AWS_BATCH_JOB_ID="two", AWS_BATCH_JOB_ATTEMPT="1", **sick)[0]
    assert again == 211, "another job that takes the run up, as `spotbatch retry` submits it, counts from nothing"


def test_the_start_period_forgives_a_slow_start(world: Spot) -> None:
    slow_start = "sleep 0.5; touch ready; sleep 0.5"
    code, _ = world.run(
        "sh",
        "-c",
        slow_start,
        SPOTBATCH_HEALTH_COMMAND="test -e ready",
        SPOTBATCH_HEALTH_INTERVAL_SECONDS="0.1",
        SPOTBATCH_HEALTH_RETRIES="1",
        SPOTBATCH_HEALTH_START_PERIOD_SECONDS="10",
    )
    assert code == 0


def test_progress_reaches_the_store_from_a_shell_and_from_python(world: Spot) -> None:
    file = world.folder / "store/runs/work/job/progress.json"
    world.run("sh", "-c", 'echo 3/12 > "$SPOTBATCH_PROGRESS_FILE"')
    assert json.loads(file.read_bytes())["done"] == 3
    world.run(*python("from spotbatch.runtime import progress; progress(5, 5, 'all done')"))
    found = json.loads(file.read_bytes())
    assert (found["done"], found["total"], found["text"]) == (5, 5, "all done")


def test_a_program_can_ask_for_a_save_and_knows_when_it_is_done(world: Spot) -> None:
    asks = """
from spotbatch.runtime import checkpoint
checkpoint.write("n", b"41")
assert checkpoint.save()
checkpoint.write("n", b"42")
assert checkpoint.save()
import os, signal
os.killpg(0, signal.SIGKILL)
"""
    run = world.start(*python(asks), SPOTBATCH_CHECKPOINT_SECONDS="600")
    assert run.wait() == -signal.SIGKILL
    _, text = world.run(*python("from spotbatch.runtime import checkpoint; print('found', checkpoint.read('n'))"))
    assert "found b'42'" in text


def test_a_program_that_asks_learns_that_it_is_interrupted(world: Spot) -> None:
    polls = """
import sys, time
from spotbatch.runtime import checkpoint, interrupted
interrupted()
print("ready", flush=True)
while not interrupted():
    time.sleep(0.01)
checkpoint.write("last", b"saved in time")
sys.exit(9)
"""
    run = world.start(*python(polls))
    run.wait_for_text("ready")
    run.terminate()
    assert run.wait() == 210
    _, text = world.run("sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/last"')
    assert "saved in time" in text


def test_without_a_store_the_command_runs_and_is_told_once_that_nothing_is_saved(world: Spot) -> None:
    code, text = world.run(*count_to(3), SPOTBATCH_ARTIFACTS_URL="")
    assert code == 0
    assert text.count("nothing is saved") == 1


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SPOTBATCH_CHECKPOINT_SECONDS": "often"}, "SPOTBATCH_CHECKPOINT_SECONDS='often'"),
        ({"SPOTBATCH_ARTIFACTS_URL": "ftp://x"}, "'ftp://x' is no artifact store"),
        ({"SPOTBATCH_RUN_ID": "../up"}, "SPOTBATCH_RUN_ID='../up'"),
        ({"SPOTBATCH_STOP_SIGNAL": "SIGNOPE"}, "SPOTBATCH_STOP_SIGNAL"),
    ],
)
def test_a_wrong_setting_is_refused_before_the_command_starts(
    world: Spot, variables: dict[str, str], said: str
) -> None:
    code, text = world.run("sh", "-c", "echo started", **variables)
    assert code == 125
    assert said in text
    assert "started" not in text


def test_a_command_that_is_not_there_ends_with_127(world: Spot) -> None:
    assert world.run("no-such-command-here")[0] == 127
    assert world.run(str(world.folder))[0] == 126


def test_an_unreachable_store_does_not_let_the_work_begin_anew(world: Spot) -> None:
    code, text = world.run(
        "sh", "-c", "echo has begun",
        SPOTBATCH_ARTIFACTS_URL="s3://bucket/x", SPOTBATCH_RESTORE_SECONDS="0.5",
        AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_REGION="us-east-1", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
    )  # fmt: skip
    assert code == 210
    assert "has begun" not in text


def test_a_store_that_can_never_be_one_ends_the_work_at_once(world: Spot) -> None:
    blocked = world.folder / "file"
    blocked.write_text("no folder", encoding="ascii")
    code, text = world.run("sh", "-c", "echo has begun", SPOTBATCH_ARTIFACTS_URL=blocked.as_uri())
    assert code == 125
    assert str(blocked) in text
    assert "has begun" not in text


def test_inputs_are_fetched_before_the_command_starts(world: Spot) -> None:
    (world.folder / "data").mkdir()
    (world.folder / "data/a.txt").write_text("A", encoding="ascii")
    (world.folder / "one.txt").write_text("1", encoding="ascii")
    assert world.run("sh", "-c", 'echo made > "$SPOTBATCH_OUTPUT_DIR/made.txt"', SPOTBATCH_RUN_ID="before")[0] == 0
    inputs = f"{(world.folder / 'data').as_uri()}/ {(world.folder / 'one.txt').as_uri()} outputs:before"
    _, text = world.run(
        "sh", "-c", 'cd "$SPOTBATCH_INPUT_DIR" && cat a.txt one.txt job/made.txt', SPOTBATCH_INPUTS=inputs
    )
    assert "A1made" in text


def test_children_of_an_array_do_not_share_anything(world: Spot) -> None:
    for index in ("0", "12"):
        world.run("sh", "-c", 'echo mine > "$SPOTBATCH_OUTPUT_DIR/f"', AWS_BATCH_JOB_ARRAY_INDEX=index)
    units = sorted(each.name for each in (world.folder / "store/runs/work").iterdir())
    assert units == ["00000", "00012"]


def test_another_job_of_the_same_run_takes_up_the_work_and_keeps_the_records(world: Spot) -> None:
    world.start("sh", "-c", 'echo 5 > "$SPOTBATCH_CHECKPOINT_DIR/n"; echo ready; sleep 100', AWS_BATCH_JOB_ID="a")
    world.runs[0].wait_for_text("ready")
    world.runs[0].terminate()
    world.runs[0].wait()
    _, text = world.run(
        "sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/n"', AWS_BATCH_JOB_ID="b", AWS_BATCH_JOB_ATTEMPT="1"
    )
    assert "5" in text
    assert [record(world.folder, n)["job_id"] for n in (1, 2)] == ["a", "b"]


def test_a_folder_that_is_not_empty_is_moved_aside_and_not_overwritten(world: Spot) -> None:
    mine = world.folder / "mine"
    mine.mkdir()
    (mine / "precious").write_text("keep me", encoding="ascii")
    code, text = world.run("true", SPOTBATCH_CHECKPOINT_DIR=str(mine))
    assert code == 0
    assert "was not empty" in text
    assert (world.folder / "mine.before-1/precious").read_text(encoding="ascii") == "keep me"


def test_nothing_is_left_in_the_scratch_folder(world: Spot) -> None:
    world.run(*count_to(2))
    assert list((world.folder / "scratch").iterdir()) == []


def test_the_record_says_what_the_attempt_used(world: Spot) -> None:
    busy = "import time\nx = bytearray(50_000_000)\nwhile time.process_time() < 0.25: pass"
    world.run(*python(busy), SPOTBATCH_INSTANCE_TYPE="c5.large", SPOTBATCH_ZONE="us-east-1a")
    found = record(world.folder, 1)
    assert found["outcome"] == "succeeded"
    assert found["cpu_seconds"] >= 0.2
    assert found["peak_memory_mib"] > 45
    assert (found["instance_type"], found["zone"]) == ("c5.large", "us-east-1a")
    assert found["ended_at"] >= found["started_at"]


def can_be_first() -> bool:
    """Whether this machine lets us begin a new process namespace."""
    line = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"]
    return shutil.which("unshare") is not None and subprocess.run(line, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_be_first(), reason="this machine allows no new process namespace (unshare)")
def test_as_pid_1_it_reaps_orphans_and_hears_signals(world: Spot) -> None:
    inner = (
        "(sleep 0.05 &); sleep 0.3; echo parent $PPID; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l; "
        "trap 'exit 4' TERM; kill -TERM 1; while :; do sleep 0.02; done"
    )
    run = world.start("sh", "-c", inner, wrapper="unshare --user --map-root-user --pid --fork --mount-proc")
    assert run.wait() == 210
    lines = run.text().splitlines()  # those of the command and of spotrun may be mixed
    assert {"parent 1", "0"} <= set(lines)
