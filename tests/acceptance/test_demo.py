"""`make demo`, as a user runs it: reclaims happen, nothing is lost, the result is exact, and nothing is left behind."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_SECONDS = 280
COMMAND = [sys.executable, "-m", "examples.flights.demo"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A demo that has ended: its output, its results, and the journal of its region."""

    output: str
    home: Path
    results: Path

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{self.home}/journal.sqlite?mode=ro", uri=True)) as journal:
            return journal.execute(query).fetchall()

    @property
    def port(self) -> int:
        endpoint = json.loads((self.home / "region.json").read_text())["endpoint"]
        return int(endpoint.rpartition(":")[2])


def processes_that_name(folder: Path) -> list[str]:
    """The command lines of living processes that have a folder in their arguments or their environment."""
    mark, own, found = str(folder).encode(), os.getpid(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        try:
            arguments = (entry / "cmdline").read_bytes()
            if mark in arguments or mark in (entry / "environ").read_bytes():
                found.append(arguments.replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended while we looked, or is another user's
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("demo")
    home, results = folder / "home", folder / "results"
    run = subprocess.run(
        [*COMMAND, "--home", str(home), "--results", str(results)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
        env={**os.environ, "CDK_OUTDIR": str(folder / "cdk.out")},
    )
    assert run.returncode == 0, run.stdout
    return Finished(output=run.stdout, home=home, results=results)


def test_hosts_are_reclaimed_under_running_jobs_and_attempts_are_made_again(demo: Finished) -> None:
    [(reclaimed,)] = demo.rows("SELECT COUNT(*) FROM host WHERE end_cause = 'RECLAIMED'")
    [(attempts,)] = demo.rows("SELECT COUNT(*) FROM attempt JOIN job USING (job_no) WHERE job.name = 'flights'")
    assert isinstance(reclaimed, int)
    assert reclaimed >= 2
    assert isinstance(attempts, int)
    assert attempts > 12


def test_every_child_and_the_gathering_job_succeeded(demo: Finished) -> None:
    statuses = demo.rows("SELECT job.name, unit.status, COUNT(*) FROM unit JOIN job USING (job_no) GROUP BY 1, 2")
    succeeded = 5  # the place of SUCCEEDED in STATUSES
    assert sorted(statuses, key=str) == [("flights", succeeded, 12), ("gather", succeeded, 1)]


def test_interrupted_children_have_bit_for_bit_the_result_of_an_uninterrupted_run(
    demo: Finished, tmp_path: Path
) -> None:
    interrupted = [
        row[0]
        for row in demo.rows(
            "SELECT idx FROM attempt JOIN job USING (job_no) WHERE job.name = 'flights' "
            "GROUP BY idx HAVING COUNT(*) > 1"
        )
    ]
    assert interrupted
    for index in interrupted:
        assert isinstance(index, int)
        alone = run_alone(index, tmp_path / str(index))
        (resumed,) = (demo.results / "months").rglob(alone.name)
        assert resumed.read_bytes() == alone.read_bytes()


def run_alone(index: int, folder: Path) -> Path:
    """One child with nothing around it: no region, no runtime, no interruption."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "examples"),
        "AWS_BATCH_JOB_ARRAY_INDEX": str(index),
        "SPOTBATCH_CHECKPOINT_DIR": str(folder / "checkpoint"),
        "SPOTBATCH_OUTPUT_DIR": str(folder / "output"),
    }
    subprocess.run(
        [sys.executable, "-m", "flights.bootstrap"], env=environment, check=True, timeout=120, capture_output=True
    )
    return folder / "output" / f"month-{index + 1:02d}.json"


def test_an_interrupted_child_went_on_from_its_checkpoint(demo: Finished) -> None:
    resumed = [file for file in (demo.home / "logs").rglob("*.log") if "resumed at" in file.read_text()]
    assert resumed


def test_the_table_has_every_month_and_the_picture_is_a_picture(demo: Finished) -> None:
    lines = (demo.results / "delays.csv").read_text().splitlines()
    assert lines[0] == "month,carrier,name,flights,median_minutes,low_minutes,high_minutes"
    assert {line.partition(",")[0] for line in lines[1:]} == {str(month) for month in range(1, 13)}
    assert (demo.results / "delays.png").read_bytes().startswith(b"\x89PNG")


def test_the_bill_stands_beside_its_on_demand_twin_with_the_prices_day(demo: Finished) -> None:
    bill = demo.output.partition("6/6")[2]
    assert "on demand" in bill
    assert "reclaimed" in bill
    assert "as of 20" in bill
    assert "simulated" in bill


def test_no_process_and_no_port_is_left(demo: Finished) -> None:
    assert processes_that_name(demo.home) == []
    with socket.socket() as knock, pytest.raises(ConnectionRefusedError):
        knock.connect(("127.0.0.1", demo.port))


@pytest.mark.parametrize("moment", ["$ spotbatch local up", "RUNNING"])
def test_ctrl_c_leaves_no_process_behind(tmp_path: Path, moment: str) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [*COMMAND, "--home", str(home), "--results", str(tmp_path / "results")],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "CDK_OUTDIR": str(tmp_path / "cdk.out"), "FLIGHTS_RESAMPLES": "200000"},  # long enough
    )
    watchdog = threading.Timer(LIMIT_SECONDS, process.kill)
    watchdog.start()
    assert process.stdout is not None
    try:
        seen = ""
        for line in process.stdout:
            seen += line
            if moment in line:
                os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
                break
        seen += process.stdout.read()
        assert process.wait(60) == 130, seen
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    assert processes_that_name(home) == []
