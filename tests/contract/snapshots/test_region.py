"""Snapshots in the local region: a job that asks for them, on hosts that are reclaimed."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local.test_engine_processes import ended, job, lines, prepare, submit
from tests.contract.local_api_region import RunningRegion, running, until
from tests.snapshot_host import needs_criu

ROOT = Path(__file__).resolve().parents[3]
FAST = ("--boot-seconds", "0.05", "--notice-seconds", "60", "--draining", "on")


def submit_snapshotted(batch: Any, program: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "spotbatch.runtime", "--", sys.executable, "-c", program, *arguments]
    variables = {"SPOTBATCH_SNAPSHOT": "on-notice", "PYTHONPATH": str(ROOT)}
    environment = [{"name": name, "value": value} for name, value in variables.items()]
    return submit(batch, "", containerOverrides={"command": command, "environment": environment})


def log_of(region: RunningRegion, attempt: dict[str, Any]) -> list[str]:
    return lines(region, {"container": attempt["container"]})


_COUNT = """
import os, sys, time
for i in range(40):
    print("line", i, flush=True)
    while i == 20 and not os.path.exists(sys.argv[1]): time.sleep(0.02)
print("from attempt", os.environ["AWS_BATCH_JOB_ATTEMPT"])
memory = b"x" * int(sys.argv[2])
print("done")
"""


@needs_criu
def test_a_reclaimed_job_goes_on_on_another_host_in_the_attempt_that_it_knows(tmp_path: Path) -> None:
    with running(tmp_path / "home", *FAST) as region:
        batch = prepare(region)
        job_id = submit_snapshotted(batch, _COUNT, str(tmp_path / "go"), "1000")
        logs = tmp_path / "home" / "logs"
        until(lambda: any("line 20" in each.read_text() for each in logs.rglob("*.log")), seconds=60)
        region.admin.interrupt(count=1)
        until(lambda: job(batch, job_id)["attempts"], seconds=60)
        (tmp_path / "go").touch()
        done = ended(batch, job_id, "SUCCEEDED")
        first, second = (log_of(region, attempt) for attempt in done["attempts"])
        said = [line for line in [*first, *second] if not line.startswith("spotrun: ")]
        assert said == [*(f"line {i}" for i in range(40)), "from attempt 1", "done"]
        assert any("goes on from its snapshot of attempt 1" in line for line in second)


@needs_criu
def test_a_restored_job_that_overruns_its_memory_is_killed_with_awss_reason(tmp_path: Path) -> None:
    with running(tmp_path / "home", *FAST) as region:
        batch = prepare(region)
        job_id = submit_snapshotted(batch, f"{_COUNT}\ntime.sleep(60)", str(tmp_path / "go"), "400_000_000")
        logs = tmp_path / "home" / "logs"
        until(lambda: any("line 20" in each.read_text() for each in logs.rglob("*.log")), seconds=60)
        region.admin.interrupt(count=1)
        until(lambda: job(batch, job_id)["attempts"], seconds=60)
        (tmp_path / "go").touch()
        until(lambda: len(job(batch, job_id)["attempts"]) >= 2, seconds=60)
        second = job(batch, job_id)["attempts"][1]
        assert second["container"]["reason"].startswith("OutOfMemoryError")


def test_where_there_is_no_criu_one_line_says_so_and_the_job_runs_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "empty"))
    with running(tmp_path / "home", *FAST) as region:
        batch = prepare(region)
        done = ended(batch, submit_snapshotted(batch, "print('done')"), "SUCCEEDED")
        said = lines(region, done)
        assert said[-1] == "done"
        why = "CRIU is not in" if os.geteuid() == 0 else "the region does not run as root"
        assert why in next(line for line in said if line.startswith("spotrun: snapshots are off"))
