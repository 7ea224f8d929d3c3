"""spotrun at the edges: names, deaths and notices that nobody planned, several attempts at once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.runtime.storage.location import open_store
from tests.contract.runtime_world import BUCKET, Spot, moto_s3, record, s3_environment, spot, wait_for
from tests.rights import without_roots_rights
from tests.root import ROOT


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Spot]:
    with spot(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_s3() as url:
        yield url


@pytest.fixture
def on_s3(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spot]:
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    with spot(tmp_path, f"s3://{BUCKET}/{tmp_path.name}", **s3_environment(endpoint)) as made:
        yield made


def python(text: str) -> tuple[str, str, str]:
    return sys.executable, "-c", text


ODD_NAMES = ["a b", "ü", "#h", "q?x", "%41", "p+q", "~t", "tail ", "back\\slash", "..x", "a&b", "[br]", "*", "e\u0301"]


def test_outputs_with_odd_names_come_back_from_s3_under_their_names(on_s3: Spot) -> None:
    write = """
import json, os, pathlib
for name in json.loads(os.environ["NAMES"]):
    pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], name).write_text(name)
"""
    assert on_s3.run(*python(write), NAMES=json.dumps(ODD_NAMES))[0] == 0
    store = open_store(on_s3.url)
    listed = json.loads(store.get("runs/work/job/output.json"))["files"]
    assert sorted(file["path"] for file in listed) == sorted(ODD_NAMES)
    assert all(store.get(f"runs/work/job/output/{name}").decode() == name for name in ODD_NAMES)


@pytest.mark.parametrize("name", [b"two\nlines", b"\xff\xfe"])
def test_a_name_that_s3_cannot_take_ends_in_220_with_the_fix_and_nothing_claims_success(
    on_s3: Spot, name: bytes
) -> None:
    write = f"import os; open(os.environb[b'SPOTBATCH_OUTPUT_DIR'] + b'/' + {name!r}, 'w').close()"
    code, text = on_s3.run(*python(write))
    assert code == 220, text
    assert "Traceback" not in text
    assert "rename the file" in text
    store = open_store(on_s3.url)
    assert not [key for key, _ in store.list("runs/work/job/") if key.endswith("output.json")]
    assert json.loads(store.get("runs/work/job/attempts/01.json"))["outcome"] == "not_saved"


def test_one_odd_name_does_not_cost_a_failed_attempt_its_other_outputs(on_s3: Spot) -> None:
    code, text = on_s3.run(
        "sh", "-c", 'cd "$SPOTBATCH_OUTPUT_DIR"; printf x > "a$(printf "\\n.")b"; printf y > kept; exit 3'
    )
    assert code == 3, text
    assert "not kept" in text
    assert open_store(on_s3.url).get("runs/work/job/failed/01/output/kept") == b"y"


@pytest.mark.parametrize("endpoint_url", ["nonsense", "http://", "ftp://host"])
def test_an_endpoint_that_is_no_url_is_refused_by_name(world: Spot, endpoint_url: str) -> None:
    code, text = world.run("echo", "started", SPOTBATCH_ARTIFACTS_URL="s3://bucket", AWS_ENDPOINT_URL=endpoint_url)
    assert code == 125
    assert f"AWS_ENDPOINT_URL='{endpoint_url}'" in text
    assert "Traceback" not in text


WRITES_BESIDE = """
import os, pathlib, time
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
(folder / "s.tmp").write_text("whole")
(folder / "s.tmp").rename(folder / "state")
with open(folder / "next.tmp", "w") as beside:
    print("ready", flush=True)
    while True:
        beside.write("x")
        beside.flush()
        time.sleep(0.001)
"""


def test_a_long_write_beside_does_not_cost_the_last_save(world: Spot) -> None:
    run = world.start(*python(WRITES_BESIDE), SPOTBATCH_CHECKPOINT_SECONDS="600")
    run.wait_for_text("ready\n")
    run.terminate()
    assert run.wait() == 210
    _, text = world.run("sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/state"; ls "$SPOTBATCH_CHECKPOINT_DIR"')
    assert "whole" in text
    assert "next.tmp" not in text


DIES_WHILE_IT_WRITES = """
import os, pathlib, signal, time
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
def on_term(*_):
    with open(folder / "state", "w") as file:
        file.write("torn")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
(folder / "s.tmp").write_text("whole")
(folder / "s.tmp").rename(folder / "state")
signal.signal(signal.SIGTERM, on_term)
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


def test_a_command_that_the_kernel_kills_while_it_writes_its_last_state_leaves_the_one_before(world: Spot) -> None:
    run = world.start(*python(DIES_WHILE_IT_WRITES))
    manifests = world.folder / "store/runs/work/job/checkpoints/manifests"
    wait_for(lambda: manifests.exists() and bool(list(manifests.iterdir())), "a save")
    run.wait_for_text("ready\n")
    run.terminate()
    assert run.wait() == 210
    assert "perhaps while it wrote" in run.text()
    _, text = world.run("sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/state"')
    assert "whole" in text


def test_a_notice_of_a_time_that_has_passed_still_leaves_time_to_save(world: Spot) -> None:
    keep = "sleep 0.2; echo kept > $SPOTBATCH_CHECKPOINT_DIR/x; exit 3"
    keeps = f'trap "{keep}" TERM; echo ready; while :; do sleep 0.02; done'
    run = world.start("sh", "-c", keeps, SPOTBATCH_CHECKPOINT_SECONDS="600")
    run.wait_for_text("ready")
    run.give_notice(-3600.0)
    assert run.wait() == 210
    _, text = world.run("sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/x"')
    assert "kept" in text


def test_an_attempt_that_was_replaced_does_not_touch_the_outputs_of_its_successor(world: Spot) -> None:
    gate = world.folder / "gate"
    first = world.start(
        "sh", "-c", f'echo ready; while [ ! -e {gate} ]; do sleep 0.02; done; echo old > "$SPOTBATCH_OUTPUT_DIR/r"'
    )
    first.wait_for_text("ready")
    assert world.run("sh", "-c", 'echo new > "$SPOTBATCH_OUTPUT_DIR/r"')[0] == 0
    gate.touch()
    assert first.wait() == 220
    assert "a newer attempt of this work has begun" in first.text()
    assert (world.folder / "store/runs/work/job/output/r").read_text(encoding="ascii") == "new\n"
    assert (world.folder / "store/runs/work/job/output.json").exists()


def test_processes_that_the_command_never_collects_are_said_and_recorded(world: Spot) -> None:
    breeds = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        os._exit(0)
time.sleep(2.6)  # the watch looks every two seconds
"""
    code, text = world.run(*python(breeds))
    assert code == 0
    assert "zombies: 30 ended processes are not collected by their parent" in text
    assert any(each.startswith("zombies") for each in record(world.folder, 1)["warnings"])


def test_a_killed_attempt_leaves_what_it_had_used_by_its_last_save(world: Spot) -> None:
    busy = """
import os, pathlib, time
n = 0
while True:
    n += 1
    file = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"], "n.tmp")
    file.write_text(str(n))
    file.rename(file.with_suffix(""))
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
"""
    run = world.start(*python(busy))
    file = world.folder / "store/runs/work/job/attempts/01.json"
    wait_for(lambda: file.exists() and record(world.folder, 1)["cpu_seconds"] > 0, "CPU seconds in a record")
    run.kill()
    assert record(world.folder, 1)["outcome"] == "running"


def test_the_record_has_what_the_host_says_of_itself_beside_the_notice(world: Spot) -> None:
    (world.folder / "instance-type").write_text("m5.xlarge\n", encoding="ascii")
    (world.folder / "zone").write_text("eu-west-1b", encoding="ascii")
    world.run("true")
    found = record(world.folder, 1)
    assert (found["instance_type"], found["zone"]) == ("m5.xlarge", "eu-west-1b")


def test_two_processes_that_ask_for_a_save_at_once_are_both_answered(world: Spot) -> None:
    asks = """
import os
from spotbatch.runtime import checkpoint
pids = []
for n in range(4):
    if not (pid := os.fork()):
        checkpoint.write(f"n{n}", b"x")
        os._exit(0 if checkpoint.save() else 9)
    pids.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids], flush=True)
"""
    _, text = world.run(*python(asks), SPOTBATCH_CHECKPOINT_SECONDS="600")
    assert "[0, 0, 0, 0]" in text


def test_a_signal_that_comes_while_the_command_begins_is_passed_on_and_one_before_is_not() -> None:
    begins = """
import os, signal
from spotbatch.runtime.process.signals import Signals
signals, passed_on = Signals(), []
os.kill(os.getpid(), signal.SIGHUP)
signals.begin()
os.kill(os.getpid(), signal.SIGUSR1)
signals.forward_to(passed_on.append)
os.kill(os.getpid(), signal.SIGUSR2)
print([signal.Signals(number).name for number in passed_on])
"""
    done = subprocess.run(python(begins), capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "['SIGUSR1', 'SIGUSR2']"


def test_a_daemon_in_a_session_of_its_own_ends_with_the_command(world: Spot) -> None:
    daemon = 'setsid sh -c "trap \\"\\" TERM; echo daemon \\$\\$; while :; do sleep 0.05; done" & sleep 0.3'
    code, text = world.run("sh", "-c", daemon)
    assert code == 0
    pid = int(text.split("daemon ")[1].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_output_folder_that_cannot_be_read_is_not_success(world: Spot) -> None:
    hides = 'cd "$SPOTBATCH_OUTPUT_DIR" && mkdir d && echo x > d/f && chmod 0 d'
    run = world.start("sh", "-c", hides, wrapper=without_roots_rights())
    assert run.wait() == 220, run.text()
    assert "Permission denied" in run.text()
    assert list((world.folder / "scratch").iterdir()) == []


def test_a_signal_that_reaches_the_whole_group_is_no_reason_to_lose_the_last_state(world: Spot) -> None:
    run = world.start(
        "sh",
        "-c",
        'cd "$SPOTBATCH_CHECKPOINT_DIR"; echo 7 > x.tmp; mv x.tmp x; echo ready; while :; do sleep 0.02; done',
        SPOTBATCH_CHECKPOINT_SECONDS="600",
    )
    run.wait_for_text("ready")
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() == 210
    _, text = world.run("sh", "-c", 'cat "$SPOTBATCH_CHECKPOINT_DIR/x"')
    assert "7" in text
