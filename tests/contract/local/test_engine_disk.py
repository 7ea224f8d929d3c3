"""A disk that refuses: nothing is accepted that is not on it, the error says what to do, and nothing is lost."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from spotbatch.local.engine.journal import FILE_NAME
from tests.contract.local.test_engine_processes import FAST, ended, job, prepare, submit
from tests.contract.local_api_region import RunningRegion, refusal, running, until
from tests.root import ROOT


def limit_file_size(region: RunningRegion, size: int) -> None:
    """From now on the region's files end at so many bytes: its writes fail, as on a disk that is full."""
    hard = resource.prlimit(region.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(region.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def listed(batch: Any) -> set[str]:
    statuses = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]
    pages = [batch.list_jobs(jobQueue="q", jobStatus=status)["jobSummaryList"] for status in statuses]
    return {each["jobId"] for page in pages for each in page}


def log_of(home: Path) -> str:
    return (home.parent / f"{home.name}.log").read_text()


def test_what_cannot_be_written_is_refused_and_the_region_goes_on_once_it_can_be(tmp_path: Path) -> None:
    home, gate = tmp_path / "home", tmp_path / "gate"
    with running(home, *FAST) as region:
        batch = prepare(region)
        runs = submit(batch, f"until [ -e {gate} ]; do sleep 0.02; done")
        until(lambda: job(batch, runs)["status"] == "RUNNING")
        limit_file_size(region, 0)
        ran = tmp_path / "ran"
        order = [{"order": 1, "computeEnvironment": "ce"}]
        refused = [
            refusal(batch.submit_job, jobName="no", jobQueue="q", jobDefinition="d",
                    containerOverrides={"command": ["touch", str(ran)]}),
            refusal(batch.terminate_job, jobId=runs, reason="too late"),
            refusal(batch.create_job_queue, jobQueueName="no", priority=1, computeEnvironmentOrder=order),
        ]  # fmt: skip
        for each in refused:
            assert each.startswith("ServerException: "), each
            assert str(home / FILE_NAME) in each
            assert "nothing that was accepted is lost" in each
        gate.touch()  # the attempt ends, and its end cannot be written: no answer may tell of it
        until(lambda: "ServerException" in refusal_or_nothing(batch, runs))
        limit_file_size(region, resource.RLIM_INFINITY)
        done = ended(batch, runs, "SUCCEEDED")
        assert not done.get("isTerminated")
        after = submit(batch, "true")
        ended(batch, after, "SUCCEEDED")
        assert listed(batch) == {runs, after}
        assert batch.describe_job_queues(jobQueues=["no"])["jobQueues"] == []
        assert not ran.exists()
    with running(home, *FAST) as region:
        assert listed(region.client("batch")) == {runs, after}


def refusal_or_nothing(batch: Any, job_id: str) -> str:
    try:
        return refusal(batch.describe_jobs, jobs=[job_id])
    except AssertionError:
        return ""


def test_a_job_that_a_kill_follows_on_a_full_disk_is_there_only_if_it_was_accepted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as region:
        batch = prepare(region)
        accepted = submit(batch, "true", dependsOn=[{"jobId": submit(batch, "sleep 0.1")}])
        limit_file_size(region, 0)
        refusal(batch.submit_job, jobName="no", jobQueue="q", jobDefinition="d")
        region.process.kill()
        region.process.wait()
    with running(home, *FAST) as region:
        batch = region.client("batch")
        ended(batch, accepted, "SUCCEEDED")
        assert len(listed(batch)) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of a few megabytes cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return ballast


def test_a_disk_that_is_really_full_is_said_and_room_on_it_is_used_again(small_disk: Path) -> None:
    home = small_disk
    with running(home, *FAST) as region:
        batch = prepare(region)
        before = submit(batch, "true")
        ended(batch, before, "SUCCEEDED")
        ballast = fill(small_disk)
        said = until(lambda: refusal_of_submit(batch))
        assert "database or disk is full; free some space" in said
        ballast.unlink()
        ended(batch, submit(batch, "true"), "SUCCEEDED")
    assert "until then no job is taken and no attempt starts" in log_of(home)
    assert "can be written again: going on" in log_of(home)


def refusal_of_submit(batch: Any) -> str | None:
    """The journal's own pages may take a few more jobs on a full disk; one that waits for ever runs nothing."""
    try:
        return refusal(
            batch.submit_job, jobName="no", jobQueue="q", jobDefinition="d", dependsOn=[{"type": "SEQUENTIAL"}],
            arrayProperties={"size": 2}, containerOverrides={"command": ["true", "x" * 4000]},
        )  # fmt: skip
    except AssertionError:
        return None


def start_that_fails(home: Path) -> str:
    command = [sys.executable, "-m", "spotbatch.local", "--home", str(home)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 4, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_damaged_journal_stops_the_start_with_a_way_out_and_is_left_as_it_was(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as region:
        batch = prepare(region)
        ended(batch, submit(batch, "true"), "SUCCEEDED")
    file = home / FILE_NAME
    size = file.stat().st_size
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(os.urandom(size - 4096))
    damaged = file.read_bytes()
    said = start_that_fails(home)
    assert "malformed" in said
    assert ".recover" in said
    assert file.read_bytes() == damaged


def test_a_journal_that_is_damaged_while_it_is_used_stops_the_region_with_the_reason(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as region:
        batch = prepare(region)
        ended(batch, submit(batch, "true"), "SUCCEEDED")
        with closing(sqlite3.connect(home / FILE_NAME, isolation_level=None)) as other:  # the tree of a table is gone
            other.execute("PRAGMA writable_schema = ON")
            other.execute("UPDATE sqlite_master SET rootpage = 4000000 WHERE name = 'job'")
            other.execute("PRAGMA schema_version = 1000")
        assert ".recover" in refusal(batch.submit_job, jobName="no", jobQueue="q", jobDefinition="d")
        assert region.process.wait(20) == 4
    assert ".recover" in log_of(home)
    assert "Traceback" not in log_of(home)


def test_a_folder_that_may_only_be_read_stops_the_start_with_a_way_out(small_disk: Path) -> None:
    home = small_disk
    with running(home, *FAST) as region:
        prepare(region)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "read-only: choose another --home" in start_that_fails(home)
