"""Reclaims that nobody asks for by hand: from a trace file and at a seeded rate, with real processes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.contract.local.test_engine_processes import FAST, ended, job, prepare, submit
from tests.contract.local_api_region import running, until


def test_hosts_go_when_the_trace_says_so_and_none_can_be_had_until_it_has_capacity_again(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    # Up for 3 s of ours, then down for an hour.
    file.write_text(json.dumps({"metadata": {"gap_seconds": 300}, "availability": [1] + [0] * 1200}))
    trace = ["--trace-file", str(file), "--trace-speed", "100"]
    with running(tmp_path / "home", *FAST, *trace) as region:
        batch = prepare(region)
        job_id = submit(batch, "sleep 300")
        lost = until(lambda: [each for each in job(batch, job_id)["attempts"] if "stoppedAt" in each])
        assert lost[0]["statusReason"].startswith("Host EC2 (instance ")
        until(lambda: all(host.ended_at is not None for host in region.admin.hosts()))
        assert {host.end_cause for host in region.admin.hosts()} == {"RECLAIMED"}  # what never came is not there
        assert job(batch, job_id)["status"] == "RUNNABLE"


def test_a_host_comes_soon_after_a_fast_trace_has_capacity_again(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    # Down for 2 s of ours, then up for ever: at the clock's own speed the pool would be asked again after 30 s.
    file.write_text(json.dumps({"metadata": {"gap_seconds": 200}, "availability": [0] + [1] * 5000}))
    trace = ["--trace-file", str(file), "--trace-speed", "100"]
    with running(tmp_path / "home", *FAST, *trace) as region:
        batch = prepare(region)
        job_id = submit(batch, "exit 0")
        until(lambda: job(batch, job_id)["status"] == "SUCCEEDED", seconds=20)


def test_a_seeded_rate_reclaims_hosts(tmp_path: Path) -> None:
    rate = ["--reclaims-per-host-hour", "3600", "--seed", "5"]
    with running(tmp_path / "home", *FAST, *rate) as region:
        batch = prepare(region)
        job_id = submit(batch, '[ "$AWS_BATCH_JOB_ATTEMPT" -ge 2 ] || sleep 300', retryStrategy={"attempts": 10})
        done = ended(batch, job_id, "SUCCEEDED")
        assert done["attempts"][0]["statusReason"].startswith("Host EC2 (instance ")


def test_a_trace_that_does_not_say_what_its_ones_mean_is_refused_with_the_option_to_give(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    file.write_text(json.dumps({"metadata": {"gap_seconds": 300}, "data": [1, 0]}))
    command = [sys.executable, "-m", "spotbatch.local", "--home", str(tmp_path / "home"), "--trace-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "--trace-polarity available or --trace-polarity reclaimed" in done.stderr
    assert "Traceback" not in done.stderr
