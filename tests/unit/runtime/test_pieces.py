"""The runtime's small parts: settings, notices, the interval, the grace, progress, and when memory or disk run out."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import BadName, Corrupt, InvalidSetting, Refused, StoreError
from spotbatch.runtime.array_index import apply_array_index
from spotbatch.runtime.checkpoints.interval import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    daly_seconds,
    next_interval_seconds,
)
from spotbatch.runtime.checkpoints.manifest import Chunk, Manifest, SavedFile, from_bytes, to_bytes
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.outputs import Keys, upload_outputs
from spotbatch.runtime.process.health import Health
from spotbatch.runtime.process.notice import NOTICE_SECONDS, read_notice
from spotbatch.runtime.process.process_tree import command_line
from spotbatch.runtime.process.progress_report import read_progress
from spotbatch.runtime.process.resource_monitor import MIB, ResourceMonitor, memory_limit_bytes, memory_used_bytes
from spotbatch.runtime.process.shutdown import MARGIN_SECONDS, grace_seconds
from spotbatch.runtime.settings import HealthSettings, read_settings
from spotbatch.runtime.storage.location import open_store
from spotbatch.runtime.storage.store import FolderStore

OUTPUT_KEYS = Keys(prefix="o", marker="o.json", pending="o.pending.json")


def test_the_run_is_named_by_the_job_without_its_index() -> None:
    read = read_settings({"AWS_BATCH_JOB_ID": "abc:7", "AWS_BATCH_JOB_ARRAY_INDEX": "7", "AWS_BATCH_JOB_ATTEMPT": "2"})
    assert (read.identity.run_id, read.identity.array_index, read.identity.attempt) == ("abc", 7, 2)
    named = read_settings({"AWS_BATCH_JOB_ID": "abc:7", "SPOTBATCH_RUN_ID": "mine"})
    assert named.identity.run_id == "mine"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read_settings({"SPOTBATCH_ARTIFACTS_URL": " ", "SPOTBATCH_GRACE_SECONDS": ""}).store_url is None


@pytest.mark.parametrize(
    "variables",
    [
        {"SPOTBATCH_ARTIFACTS_URL": "file:///x"},
        {"SPOTBATCH_GRACE_SECONDS": "-1"},
        {"SPOTBATCH_GRACE_SECONDS": "nan"},
        {"SPOTBATCH_HEALTH_RETRIES": "1.5"},
        {"SPOTBATCH_HEALTH_COMMAND": "echo 'unclosed"},
        {"AWS_BATCH_JOB_ARRAY_INDEX": "first"},
    ],
)
def test_a_wrong_value_is_refused_by_name(variables: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(variables))):
        read_settings(variables)


@pytest.mark.parametrize("url", ["s3://", "/folder", "file://host/x", "https://bucket/x", "file:relative"])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting, match="is no artifact store"):
        open_store(url)


def test_a_key_cannot_leave_the_stores_folder(tmp_path: Path) -> None:
    with pytest.raises(BadName):
        FolderStore(tmp_path).put("a/../../b", b"")


def test_a_notice_in_ec2s_form_gives_its_time(tmp_path: Path) -> None:
    file = tmp_path / "notice"
    assert read_notice(file, 0.0) is None
    file.write_text("", encoding="ascii")
    assert read_notice(file, 0.0) is None
    file.write_text('{"action": "terminate", "time": "1970-01-01T00:02:00Z"}', encoding="ascii")
    found = read_notice(file, 0.0)
    assert found is not None
    assert (found.action, found.at) == ("terminate", 120.0)


@given(st.text().filter(lambda text: text.strip() != ""))
def test_a_notice_that_cannot_be_understood_still_means_leave(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as top:
        file = Path(top, "notice")
        file.write_bytes(text.encode("utf-8", errors="replace"))
        found = read_notice(file, 1000.0)
        assert found is not None
        assert found.at == 1000.0 + NOTICE_SECONDS


def test_dalys_interval_is_near_the_best_of_all_intervals() -> None:
    def lost_share(interval: float, cost: float, mean: float) -> float:
        """Time per useful second with exponential interruptions: Daly's own model, restart free."""
        import math

        return mean * (math.exp((interval + cost) / mean) - 1) / interval - 1

    for cost, mean in ((1.0, 3600.0), (60.0, 3600.0), (5.0, 100.0)):
        ours = lost_share(daly_seconds(cost, mean), cost, mean)
        best = min(lost_share(mean * step / 2000, cost, mean) for step in range(1, 4000))
        assert ours <= best * 1.01


def shown_of(pid: int) -> str:
    """Once the process has its own words: for a moment after it began there are none."""
    give_up = time.monotonic() + 10
    while not (shown := command_line(pid)) and time.monotonic() < give_up:
        pass
    return shown


def test_what_is_shown_of_a_process_holds_no_arguments_that_may_be_secret() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read line", "s3cret"], stdin=subprocess.PIPE) as shell:
        assert shown_of(shell.pid) == "/bin/sh ..."
        shell.kill()
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        assert shown_of(sleeping.pid) == "sleep 60"
        sleeping.kill()


def test_a_clock_that_jumps_does_not_make_a_living_command_unhealthy(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    health = Health(HealthSettings(heartbeat_seconds=60, interval_seconds=1e-9, retries=1), file, {})
    for at in (1_000_000_000, 2_000_000_000, 1_000_000_000):  # a beat, then the clock an hour or years away
        file.touch()
        os.utime(file, (at, at))
        health.tick()
        assert health.failed is None


def test_a_heartbeat_that_stopped_is_seen_whatever_time_the_file_has(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    file.touch()
    os.utime(file, (4_000_000_000, 4_000_000_000))
    health = Health(HealthSettings(heartbeat_seconds=0.05, interval_seconds=1e-9, retries=1), file, {})
    give_up = time.monotonic() + 10
    while health.failed is None and time.monotonic() < give_up:
        health.tick()
    assert health.failed is not None
    assert "the last heartbeat is" in health.failed


def test_the_interval_stays_within_its_bounds() -> None:
    assert next_interval_seconds(1e-9, 3600) == SHORTEST_SECONDS
    assert next_interval_seconds(1000, 0.001) == LONGEST_SECONDS
    assert next_interval_seconds(None, 1) < LONGEST_SECONDS


@given(st.floats(0, 200), st.floats(0.05, 600), st.floats(0, 300))
def test_the_grace_never_outlives_the_host_nor_what_was_promised(left: float, wanted: float, save: float) -> None:
    grace = grace_seconds(left, wanted, save)
    assert grace <= max(wanted, 0.1)
    assert grace <= max(0.1, left - MARGIN_SECONDS)
    if left > 2 * save + wanted + 1.5:
        assert grace == max(wanted, 0.1)


@pytest.mark.parametrize(
    ("text", "done", "total"),
    [('{"done": 3, "total": 10}', 3, 10), ("3/10\n", 3, 10), ("3 10", 3, 10), ("30%", 30, 100)],
)
def test_progress_is_read_in_every_documented_form(text: str, done: float, total: float) -> None:
    found = read_progress(text)
    assert found is not None
    assert (found["done"], found["total"]) == (done, total)


@pytest.mark.parametrize("text", ["", "soon", "3/0", "-1/4", "nan/4", '{"done": 3}', "1 2 3", "[1, 2]", '"3/4"'])
def test_what_is_no_progress_is_left_out(text: str) -> None:
    assert read_progress(text) is None


def test_retrying_stops_at_its_limit_and_never_repeats_what_was_refused() -> None:
    calls = []

    def down() -> None:
        calls.append(1)
        raise StoreError("down")

    began = time.monotonic()
    with pytest.raises(StoreError):
        retrying(down, Limit(0.5))
    assert time.monotonic() - began < 0.6
    assert len(calls) >= 2
    calls.clear()

    def refuse() -> None:
        calls.append(1)
        raise Refused("no")

    with pytest.raises(Refused):
        retrying(refuse, Limit(5))
    assert len(calls) == 1


def test_a_manifest_survives_the_way_through_bytes_and_no_damage_passes() -> None:
    chunk = Chunk("ab" * 32, "000001-aa-000001", 5, 7)
    manifest = Manifest(
        epoch=1,
        sequence=2,
        writer="aa",
        saved_at=3.5,
        files=(SavedFile(path="a/b", mode=0o644, mtime_ns=9, chunks=(chunk,)),),
        folders=(("a", 0o755),),
        links=(("l", "a/b"),),
        packs={"000001-aa-000001": 12},
    )
    data = to_bytes(manifest)
    assert from_bytes(data) == manifest
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(Corrupt):
            from_bytes(bytes(damaged))


def test_outputs_sent_twice_are_sent_once_and_strays_of_a_cut_off_upload_go(tmp_path: Path) -> None:
    store, folder = FolderStore(tmp_path / "store"), tmp_path / "output"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a").write_text("1", encoding="ascii")
    (folder / "b").write_text("2", encoding="ascii")
    store.put("o/stray", b"of an attempt before")
    first = upload_outputs(store, OUTPUT_KEYS, folder, Limit(5))
    assert first.uploaded_bytes == 2
    assert sorted(key for key, _ in store.list("o/")) == ["o/b", "o/deep/a"]
    assert upload_outputs(store, OUTPUT_KEYS, folder, Limit(5)).uploaded_bytes == 0
    (folder / "b").write_text("3", encoding="ascii")
    assert upload_outputs(store, OUTPUT_KEYS, folder, Limit(5)).uploaded_bytes == 1
    assert store.get("o/b") == b"3"


class DiesBeforeMarker(FolderStore):
    """Cut off just before the marker."""

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        if key == OUTPUT_KEYS.marker:
            raise StoreError("cut off")
        super().put(key, data)


def test_outputs_are_not_visible_while_they_are_half_sent(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "a").write_text("new", encoding="ascii")
    whole = FolderStore(tmp_path / "store")
    whole.put("o.json", json.dumps({"files": [{"path": "a", "bytes": 3, "sha256": "other"}]}).encode())
    with pytest.raises(StoreError):
        upload_outputs(DiesBeforeMarker(tmp_path / "store"), OUTPUT_KEYS, folder, Limit(0.1))
    assert "o.json" not in [key for key, _ in whole.list("")]


def a_record() -> AttemptRecord:
    return AttemptRecord(run_id="r", job_id="", array_index=None, attempt=1, instance_type="", zone="", started_at=0.0)


def make_cgroup(top: Path, limit: str, used: int, inactive: int) -> Path:
    (top / "memory.max").write_text(limit, encoding="ascii")
    (top / "memory.current").write_text(f"{used}\n", encoding="ascii")
    (top / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n", encoding="ascii")
    return top


def test_memory_near_its_limit_is_said_once_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cgroup, found = make_cgroup(tmp_path, f"{100 * MIB}", 95 * MIB, 0), a_record()
    watch = ResourceMonitor(found, [], cgroup)
    for _ in range(3):
        watch._next_at = 0.0
        watch.tick(list)
    assert capsys.readouterr().err.count("95 of 100 MiB") == 1
    assert len(found.warnings) == 1
    assert found.memory_limit_mib == 100.0


@pytest.mark.parametrize("file", ["memory.events", "memory/memory.oom_control"])
def test_memory_that_ran_out_between_two_looks_is_said_afterwards(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cgroup, found = make_cgroup(tmp_path, f"{300 * MIB}", MIB, 0), a_record()
    (cgroup / file).parent.mkdir(exist_ok=True)
    (cgroup / file).write_text("oom 1\noom_kill 2\n", encoding="ascii")
    watch = ResourceMonitor(found, [], cgroup)
    watch.look_back()
    assert found.warnings == []
    (cgroup / file).write_text("oom 2\noom_kill 3\n", encoding="ascii")
    watch.look_back()
    assert "memory: it ran out at 300 MiB, and the kernel killed 1 of the processes" in capsys.readouterr().err
    assert len(found.warnings) == 1


def test_pages_that_the_kernel_can_drop_do_not_count_as_used_memory(tmp_path: Path) -> None:
    cgroup = make_cgroup(tmp_path, "max", 95 * MIB, 90 * MIB)
    assert memory_limit_bytes(cgroup) is None
    assert memory_used_bytes(cgroup) == 5 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "spotbatch-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_nearly_full_is_said_once_recorded_and_said_again_after_it_had_room(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = a_record()
    watch = ResourceMonitor(found, [small_disk])

    def look() -> str:
        watch._next_at = 0.0
        watch.tick(list)
        return capsys.readouterr().err

    assert look() == ""
    (small_disk / "checkpoint").write_bytes(bytes(3 * MIB + 800 * 1024))
    said = look()
    assert "disk: 0 of 4 MiB are free" in said
    assert str(small_disk) in said
    assert look() == ""
    (small_disk / "checkpoint").unlink()
    assert look() == ""
    (small_disk / "checkpoint").write_bytes(bytes(4 * MIB))
    assert "disk: 0 of 4 MiB are free" in look()
    assert len(found.warnings) == 2


def test_nothing_secret_is_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    assert b"do-not-tell" not in a_record().to_json()


def test_spotrun_imports_nothing_heavy() -> None:
    """How long it takes is a matter for bench/cli_start.py."""
    script = (
        "import sys; import spotbatch.runtime.cli, spotbatch.runtime.api; "
        "heavy = {'obstore', 'boto3', 'pydantic', 'rich', 'aws_cdk', 'moto', 'asyncio', 'numpy'} & set(sys.modules); "
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "child", "index"),
    [("3,17,40-45", "0", "3"), ("3,17,40-45", "4", "42"), ("17,3", "1", "3"), ("7", None, "7")],
)
def test_a_child_of_an_array_stands_for_an_index_of_the_run(text: str, child: str | None, index: str) -> None:
    variables = {"SPOTBATCH_ARRAY_INDEXES": text} | ({} if child is None else {"AWS_BATCH_JOB_ARRAY_INDEX": child})
    apply_array_index(variables)
    assert variables == {"AWS_BATCH_JOB_ARRAY_INDEX": index}


@pytest.mark.parametrize(("text", "child"), [("3-", "0"), ("3", "1"), ("1-2", "x"), ("1,1", "0"), ("1", "²")])
def test_indexes_that_cannot_be_read_or_do_not_reach_are_a_wrong_setting(text: str, child: str) -> None:
    with pytest.raises(InvalidSetting, match="SPOTBATCH_ARRAY_INDEXES"):
        apply_array_index({"SPOTBATCH_ARRAY_INDEXES": text, "AWS_BATCH_JOB_ARRAY_INDEX": child})
