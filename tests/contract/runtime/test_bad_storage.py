"""spotrun on storage that lies, crawls, or is away at the wrong moment: no work is lost, nothing wrong is believed."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spotbatch.batch.errors import Missing
from spotbatch.runtime.storage.location import open_store
from tests.contract import fault_proxy as faults_of
from tests.contract.fault_proxy import Faults, Plan, Request
from tests.contract.runtime_world import BUCKET, Spot, moto_s3, s3_environment, spot

MIB = 1024 * 1024
STATE = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
found = sorted(path.name for path in folder.iterdir())
print("found", len(found), flush=True)
for number in range(int(sys.argv[1])):
    beside = folder / f"{number}.tmp"
    beside.write_bytes(os.urandom(int(sys.argv[2])))
    beside.rename(folder / f"state-{number}")
    from spotbatch.runtime import checkpoint
    assert checkpoint.save()
sys.exit(int(sys.argv[3]))
"""
OUTPUTS = """
import os, pathlib, sys
from spotbatch.runtime import checkpoint
print("state", checkpoint.read("n"), flush=True)
checkpoint.write("n", b"done")
for number in range(int(sys.argv[1])):
    pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], f"out-{number}").write_bytes(bytes([number]) * int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_s3() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment(url).items():
            patch.setenv(name, value)
        yield url


@contextmanager
def behind(faults: Faults, folder: Path, **variables: str) -> Iterator[Spot]:
    """Attempts that reach S3 through the proxy."""
    with faults, spot(folder, f"s3://{BUCKET}/{folder.name}", **s3_environment(faults.url), **variables) as world:
        yield world


def make(files: int, size: int, code: int = 3) -> tuple[str, ...]:
    return sys.executable, "-c", STATE, str(files), str(size), str(code)


def outputs(files: int, size: int) -> tuple[str, ...]:
    return sys.executable, "-c", OUTPUTS, str(files), str(size)


def manifests(world: Spot) -> list[str]:
    return sorted(key for key, _ in open_store(world.url).list("runs/work/job/checkpoints/manifests/"))


def first_get_of(part: str, what: str) -> Plan:
    def plan(request: Request) -> str:
        is_meant = request.method == "GET" and part in request.path and not request.is_list and request.nth == 1
        return what if is_meant else faults_of.NONE

    return plan


def always(part: str, what: str) -> Plan:
    def plan(request: Request) -> str:
        is_meant = request.method == "GET" and part in request.path and not request.is_list
        return what if is_meant else faults_of.NONE

    return plan


@pytest.mark.parametrize("what", [faults_of.FLIP, faults_of.HALF_ANSWER, faults_of.NOT_THERE, faults_of.CUT_ANSWER])
@pytest.mark.parametrize("part", ["/packs/", "/manifests/"])
def test_what_comes_damaged_once_is_read_again_and_restored(
    endpoint: str, tmp_path: Path, what: str, part: str
) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        assert world.run(*make(2, 300_000))[0] == 3
        newest = manifests(world)[-1]
    with behind(Faults(endpoint, plan=first_get_of(part, what)), tmp_path) as world:
        code, text = world.run(*make(0, 0))
        assert code == 3
        assert "found 2" in text
        assert Path(newest).name in text
        assert "falling back" not in text


def test_a_host_that_sees_damage_everywhere_starts_nothing_deletes_nothing_and_says_which_bytes(
    endpoint: str, tmp_path: Path
) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        world.run(*make(2, 300_000))
        before = manifests(world)
    with behind(Faults(endpoint, plan=always("/packs/", faults_of.FLIP)), tmp_path) as world:
        code, text = world.run(*make(0, 0))
        assert code == 210
        assert "found" not in text
        assert "'state-0'" in text or "'state-1'" in text
        assert "SHA-256" in text
        assert "could be verified on this host" in text
    with behind(Faults(endpoint), tmp_path) as world:
        assert set(before) <= set(manifests(world))
        assert "found 2" in world.run(*make(0, 0))[1]


def test_what_three_attempts_see_as_damaged_is_believed_and_still_not_deleted(endpoint: str, tmp_path: Path) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        world.run(*make(1, 1000))
        before = manifests(world)
    with behind(Faults(endpoint, plan=always(before[0], faults_of.FLIP)), tmp_path) as world:
        codes = [world.run(*make(0, 0))[0] for _ in range(2)]
        code, text = world.run(*make(3, 1000))
        assert codes == [210, 210]
        assert code == 3
        assert "starting from the beginning" in text
        assert set(before) <= set(manifests(world))


def test_a_restore_goes_on_as_long_as_bytes_arrive(endpoint: str, tmp_path: Path) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        world.run(*make(5, 9 * MIB))
    faults = Faults(endpoint, delay_seconds=1.0, plan=lambda _: faults_of.DELAY)
    with behind(faults, tmp_path, SPOTBATCH_RESTORE_SECONDS="3") as world:
        code, text = world.run(*make(0, 0))
        assert "found 5" in text
        assert code == 3


def test_a_restore_that_was_cut_off_is_gone_on_with_by_the_next_attempt(endpoint: str, tmp_path: Path) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        world.run(*make(5, 9 * MIB))
    answered = 0

    def half(request: Request) -> str:
        nonlocal answered
        if request.method == "GET" and "/packs/" in request.path and not request.is_list:
            answered += 1
            return faults_of.NONE if answered <= 3 else faults_of.THROTTLE
        return faults_of.NONE

    with behind(Faults(endpoint, plan=half), tmp_path, SPOTBATCH_RESTORE_SECONDS="2") as world:
        code, text = world.run(*make(0, 0))
        assert code == 210, text
    with behind(Faults(endpoint), tmp_path) as world:
        code, text = world.run(*make(0, 0))
        assert "found 5" in text
        assert "are not fetched again" in text
        faults_bytes = json.loads(open_store(world.url).get("runs/work/job/attempts/03.json"))["downloaded_bytes"]
        assert faults_bytes <= 4 * 9 * MIB  # three packs had arrived
    assert not list((tmp_path / "scratch").iterdir())


def test_outputs_are_sent_as_long_as_bytes_leave(endpoint: str, tmp_path: Path) -> None:
    faults = Faults(
        endpoint,
        delay_seconds=0.8,
        plan=lambda request: faults_of.DELAY if "/output/" in request.path and request.method == "PUT" else "none",
    )
    with behind(faults, tmp_path, SPOTBATCH_UPLOAD_SECONDS="2") as world:
        code, text = world.run(*outputs(20, 10))
        assert code == 0, text
        assert len(json.loads(open_store(world.url).get("runs/work/job/output.json"))["files"]) == 20


def down_after(count: int) -> Plan:
    """The store takes so many outputs, and then no request at all but of listings."""
    sent = 0

    def plan(request: Request) -> str:
        nonlocal sent
        if request.method == "PUT" and "/output/" in request.path:
            sent += 1
        return faults_of.RESET if sent > count else faults_of.NONE

    return plan


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_rerun_only_finishes_the_upload(endpoint: str, tmp_path: Path, count: int) -> None:
    with behind(Faults(endpoint, plan=down_after(count)), tmp_path, SPOTBATCH_UPLOAD_SECONDS="1") as world:
        code, text = world.run(*outputs(6, 100))
        assert code == 212, text
        with pytest.raises(Missing):
            open_store(world.url).get("runs/work/job/output.json")
    with behind(Faults(endpoint), tmp_path) as world:
        code, text = world.run(*outputs(6, 100))
        assert code == 0
        assert "state" not in text
        assert "not run again" in text
        store = open_store(world.url)
        assert len(json.loads(store.get("runs/work/job/output.json"))["files"]) == 6
        assert [store.get(f"runs/work/job/output/out-{number}") for number in range(6)] == [
            bytes([number]) * 100 for number in range(6)
        ]
        with pytest.raises(Missing):
            store.get("runs/work/job/output.pending.json")
    assert not list((tmp_path / "scratch").iterdir())


def test_outputs_that_are_gone_with_their_host_are_made_again_from_the_last_state(
    endpoint: str, tmp_path: Path
) -> None:
    with behind(Faults(endpoint, plan=down_after(3)), tmp_path, SPOTBATCH_UPLOAD_SECONDS="1") as world:
        assert world.run(*outputs(6, 100), SPOTBATCH_SCRATCH_DIR=str(tmp_path / "one host"))[0] == 212
    with behind(Faults(endpoint), tmp_path) as world:
        code, text = world.run(*outputs(6, 100), SPOTBATCH_SCRATCH_DIR=str(tmp_path / "another"))
        assert code == 0
        assert "state b'done'" in text
        assert "runs again from its last state" in text


def test_a_run_that_was_finished_and_is_started_again_runs_again(endpoint: str, tmp_path: Path) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        assert world.run(*outputs(1, 1))[0] == 0
        code, text = world.run(*outputs(1, 1))
        assert code == 0
        assert "state b'done'" in text


def test_a_full_disk_at_the_start_is_another_hosts_chance_and_a_wrong_folder_is_nobodys(tmp_path: Path) -> None:
    with spot(tmp_path) as world:
        code, text = world.run("true", SPOTBATCH_CHECKPOINT_DIR="/proc/none/here")
        assert code == 125, text
        assert "Traceback" not in text
