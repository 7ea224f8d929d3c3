"""Jobs of every kind while hosts are reclaimed and the region is killed: each ends once, with the right result."""

import random
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from spotbatch.batch.errors import SpotbatchError
from tests.contract.local_api_region import ENVIRONMENT_RESOURCES, RunningRegion, running, until

OPTIONS = ("--boot-seconds", "0.05", "--notice-seconds", "0.1", "--stop-grace-seconds", "0.5")
LIMIT_SECONDS = 240.0

# Each unit writes its result into place, as a careful program does. What it writes does not depend on the attempt.
SCRIPT = (
    'index="${AWS_BATCH_JOB_ARRAY_INDEX:-0}"; name="${AWS_BATCH_JOB_ID%%:*}-$index"; sleep "$WORK_SECONDS"; '
    'echo "$((index * index + FACTOR))" > "$RESULTS/$name.$AWS_BATCH_JOB_ATTEMPT.tmp"; '
    'mv "$RESULTS/$name.$AWS_BATCH_JOB_ATTEMPT.tmp" "$RESULTS/$name"'
)


@dataclass
class Chaos:
    """A seeded world: what was submitted, and what was done to it."""

    rng: random.Random
    home: Path
    results: Path
    submitted: dict[str, tuple[int, int]] = field(default_factory=dict)  # job id -> (array size or 0, factor)
    kills: int = 0
    reclaims: int = 0

    def prepare(self, region: RunningRegion) -> None:
        batch = region.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "ce"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        batch.register_job_definition(
            jobDefinitionName="d",
            type="container",
            retryStrategy={
                "attempts": 10,
                "evaluateOnExit": [
                    {"onStatusReason": "Host EC2*", "action": "RETRY"},
                    {"onReason": "*", "action": "EXIT"},
                ],
            },
            containerProperties={
                "image": "sh",
                "command": ["sh", "-c", SCRIPT],
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
            },
        )

    def submit(self, region: RunningRegion, units: int) -> None:
        """Singles, arrays, and chains of all three kinds, until there are so many units."""
        batch, made = region.client("batch"), 0
        while made < units:
            kind = self.rng.choice(["single", "array", "after", "n_to_n", "sequential"])
            size = self.rng.randint(2, 12)
            arrays = [job for job, (length, _) in self.submitted.items() if length == size]
            more: dict[str, Any] = {} if kind in ("single", "after") else {"arrayProperties": {"size": size}}
            if kind == "after" and self.submitted:
                more["dependsOn"] = [{"jobId": self.rng.choice(list(self.submitted))}]
            if kind == "n_to_n" and arrays:
                more["dependsOn"] = [{"jobId": self.rng.choice(arrays), "type": "N_TO_N"}]
            if kind == "sequential":
                more["dependsOn"] = [{"type": "SEQUENTIAL"}]
            made += self._submit_one(batch, more)

    def _submit_one(self, batch: Any, more: dict[str, Any]) -> int:
        factor = self.rng.randint(0, 10**6)
        values = {"FACTOR": factor, "RESULTS": self.results, "WORK_SECONDS": round(self.rng.uniform(0, 0.15), 3)}
        environment = [{"name": name, "value": str(value)} for name, value in values.items()]
        answer = batch.submit_job(
            jobName="j", jobQueue="q", jobDefinition="d", containerOverrides={"environment": environment}, **more
        )
        size = more.get("arrayProperties", {}).get("size", 0)
        self.submitted[answer["jobId"]] = (size, factor)
        return size or 1

    def disturb(self, region: RunningRegion) -> None:
        """Reclaim a host or two, at whatever moment this is."""
        try:
            self.reclaims += len(region.admin.interrupt(count=self.rng.randint(1, 2)))
        except SpotbatchError:
            return  # the region is just being killed, or has no host

    def is_over(self, region: RunningRegion) -> bool:
        batch, ids = region.client("batch"), list(self.submitted)
        try:
            jobs = [
                job
                for start in range(0, len(ids), 100)
                for job in batch.describe_jobs(jobs=ids[start : start + 100])["jobs"]
            ]
        except (BotoCoreError, ClientError):
            return False
        failed = [job for job in jobs if job["status"] == "FAILED"]
        assert not failed, failed[0]
        assert len(jobs) == len(ids), "an accepted job is gone"
        return all(job["status"] == "SUCCEEDED" for job in jobs)

    def kill(self, region: RunningRegion) -> None:
        region.process.send_signal(signal.SIGKILL)
        region.process.wait()
        self.kills += 1


def run(chaos: Chaos, *, units: int, kills: int) -> None:
    """Submit in parts, disturb all the time, kill again and again, and wait for the end."""
    share = units // (kills + 1) + 1
    for turn in range(kills + 1):
        with running(chaos.home, *OPTIONS) as region:
            if turn == 0:
                chaos.prepare(region)
            chaos.submit(region, share)
            if turn < kills:
                until_done = chaos.rng.randint(1, 4)
                for _ in range(until_done):
                    chaos.disturb(region)
                    _let_something_run(chaos, chaos.rng.randint(1, 10))
                chaos.kill(region)
                continue
            for _ in range(3):
                chaos.disturb(region)
            until(lambda region=region: chaos.is_over(region), seconds=LIMIT_SECONDS)  # type: ignore[misc]


def _let_something_run(chaos: Chaos, results: int) -> None:
    """Wait until a few more results are there, but not for ever: all may have ended."""
    before = sum(1 for _ in chaos.results.iterdir())
    total = sum(size or 1 for size, _ in chaos.submitted.values())
    wanted = min(before + results, total)
    until(lambda: sum(1 for _ in chaos.results.iterdir()) >= wanted or None, seconds=60.0)


def check(chaos: Chaos) -> None:
    """Every unit has its exact result, succeeded once, and was not run again after it had succeeded."""
    expected = {
        f"{job}-{index}": str(index * index + factor)
        for job, (size, factor) in chaos.submitted.items()
        for index in range(size or 1)
    }
    found = {file.name: file.read_text().strip() for file in chaos.results.iterdir() if file.suffix != ".tmp"}
    assert found == expected
    with closing(sqlite3.connect(f"file:{chaos.home}/journal.sqlite?mode=ro", uri=True)) as journal:
        successes = journal.execute(
            "SELECT job_no, idx, COUNT(*), MAX(attempt) FROM attempt WHERE exit_code = 0 GROUP BY job_no, idx"
        ).fetchall()
        last = {
            (job_no, index): attempt
            for job_no, index, attempt in journal.execute(
                "SELECT job_no, idx, MAX(attempt) FROM attempt GROUP BY job_no, idx"
            )
        }
    assert len(successes) == len(expected)
    assert all(count == 1 and last[job_no, index] == attempt for job_no, index, count, attempt in successes)


def survive(tmp_path: Path, *, seed: int, units: int, kills: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    results = tmp_path / "results"
    results.mkdir()
    chaos = Chaos(rng=random.Random(seed), home=tmp_path / "home", results=results)
    run(chaos, units=units, kills=kills)
    check(chaos)
    assert chaos.kills == kills
    assert chaos.reclaims > 0
    left = subprocess.run(["pgrep", "-f", str(chaos.home)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_sixty_units_survive_two_kills_of_the_region(tmp_path: Path) -> None:
    survive(tmp_path, seed=1, units=60, kills=2)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [11, 12])
def test_five_hundred_units_survive_ten_kills_of_the_region(tmp_path: Path, seed: int) -> None:
    survive(tmp_path, seed=seed, units=500, kills=10)
