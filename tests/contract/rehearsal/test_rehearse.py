"""Rehearsals of real commands, each in a private local region."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.contract.cli_world import Said, run

COUNT = """
import os, pathlib, time
folder = pathlib.Path(os.environ["SPOTBATCH_CHECKPOINT_DIR"])
state = folder / "n"
n = int(state.read_text()) if state.exists() else 0
while n < 20:
    time.sleep(0.1)
    n += 1
    (folder / "n.tmp").write_text(str(n))
    (folder / "n.tmp").rename(state)
pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "n").write_text(str(n))
"""
FORGETS = """
import os, pathlib, time
time.sleep(2)
pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "at").write_text(str(time.time_ns()))
"""
COUNTS_ATTEMPTS = """
import os, pathlib, time
time.sleep(2)
attempt = os.environ["AWS_BATCH_JOB_ATTEMPT"]
pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "log").write_text(f"header\\nattempt {attempt}\\n")
"""
WRITES_THE_TIME = """
pathlib.Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "made at").write_text(str(time.time_ns()))
"""


def rehearse(folder: Path, script: str, *options: str) -> Said:
    path = folder / "work.py"
    path.write_text(script)
    arguments = ("--sample", "2", "--rounds", "1", "--notice", "1s", *options)
    return run("rehearse", *arguments, "--", sys.executable, str(path), environ={"HOME": str(folder)})


def test_a_command_that_resumes_is_spot_safe_and_the_page_says_what_it_costs(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = rehearse(tmp_path, COUNT, "--json", "--of", "500", "--html", str(page)).json
    assert found["is_spot_safe"] is True
    assert found["interruptions"] >= 1
    assert found["resumed_attempts"] >= 1
    assert found["differing_units"] == []
    assert found["save_seconds"] > 0
    assert found["checkpoint_interval_seconds"] > 0
    assert found["peak_memory_mib"] > 1
    assert found["full_run"]["spot_usd"] < found["full_run"]["on_demand_usd"]
    assert "<title>Rehearsal: Spot-safe</title>" in page.read_text()
    assert "work.py" in page.read_text()


def test_at_a_chosen_rate_hosts_go_by_chance_until_the_job_is_through(tmp_path: Path) -> None:
    found = rehearse(tmp_path, COUNT, "--rate", "3000", "--seed", "4", "--sample", "1", "--json").json
    assert found["reclaims"] == "3000 reclaims per host and hour (seed 4)"
    assert found["interruptions"] >= 1
    assert found["is_spot_safe"] is True


def test_under_a_recorded_trace_a_job_waits_out_what_the_trace_had_no_capacity_for(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    gap = [1] * 3 + [0] * 3  # a hundred seconds each: at this speed three seconds of capacity, three without
    trace.write_text(json.dumps({"metadata": {"gap_seconds": 100}, "availability": gap * 100}))
    options = ("--trace-file", str(trace), "--trace-speed", "100", "--sample", "1", "--json")
    found = rehearse(tmp_path, COUNT.replace("n < 20", "n < 30"), *options).json
    assert found["interruptions"] >= 1
    assert found["is_spot_safe"] is True
    assert found["disturbed_seconds"] > found["undisturbed_seconds"]


def test_a_wrong_trace_or_rate_is_refused_before_anything_runs(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    assert "trace.json cannot be read" in rehearse(tmp_path, COUNT, "--trace-file", str(trace)).err
    trace.write_text(json.dumps({"metadata": {"gap_seconds": 300}, "data": [1, 0]}))
    assert "--trace-polarity" in rehearse(tmp_path, COUNT, "--trace-file", str(trace)).err
    assert "one of them" in rehearse(tmp_path, COUNT, "--trace-file", str(trace), "--rate", "3").err
    assert "there is no folder" in rehearse(tmp_path, COUNT, "--html", str(tmp_path / "none" / "x.html")).err
    assert "above 0, not 0" in rehearse(tmp_path, COUNT, "--rate", "0").err


def test_a_command_whose_result_depends_on_interruptions_is_not_and_the_file_is_named(tmp_path: Path) -> None:
    said = rehearse(tmp_path, COUNTS_ATTEMPTS)
    assert said.code == 1
    assert "no: under interruptions log of child 0 differs in line 2: " in said.out
    assert "'attempt 1'" in said.out


def test_what_differs_from_run_to_run_by_itself_says_nothing_about_interruptions(tmp_path: Path) -> None:
    found = rehearse(tmp_path, COUNT + WRITES_THE_TIME, "--json").json
    assert found["is_spot_safe"] is True
    assert found["differences"] == []
    assert {each["path"] for each in found["differs_by_itself"]} == {"made at"}
    only = rehearse(tmp_path, FORGETS)
    assert only.code == 1
    assert "not shown: every output differs between undisturbed runs too (at of child 0 differs in line 1: " in only.out


def test_a_command_that_fails_anyway_is_told_first(tmp_path: Path) -> None:
    said = rehearse(tmp_path, "raise SystemExit(3)")
    assert said.code == 1
    assert "FAILED without any interruption" in said.err


def test_the_settings_of_aws_are_put_back_and_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    rehearse(tmp_path, "raise SystemExit(3)")
    assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
