"""A region with many ended jobs: the cost of listing, describing and starting, and a job's size on disk.

The engine itself takes and ends `--jobs` jobs; only its processes and the time are simulated. There is no peer: AWS
forgets ended jobs after 7 days. Run: python bench/local_history.py [--jobs N] [--folder FOLDER]
"""

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final
from unittest import mock

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.retry import spot_safe
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import ContainerSpec, EngineSettings, JobFilter, JobPlace, Submission
from spotbatch.local.engine import open_engine, process_runner
from spotbatch.local.engine.engine import LocalEngine
from spotbatch.local.engine.helper_link import Calls, Start
from spotbatch.local.engine.journal import FILE_NAME

QUEUE: Final = "Queue-e5cf2d5033584608"
ARN: Final = "arn:aws:batch:us-east-1:123456789012"
FIRST_SECOND: Final = 1_780_000_000.0
ROUNDS: Final = 20
TOGETHER: Final = 500  # jobs submitted at once
WIDE: Final = 10_000
ARRAY: Final = "00000000-0000-4000-8000-000000000000"
POOL: Final = Pool(instance_type="m5.metal", zone="us-east-1a", vcpus=512, memory_mib=512 * 1024, usd_per_hour=4.0)
GOAL_LIST_MS: Final = 10.0
GOAL_START_SECONDS: Final = 5.0
GOAL_BYTES: Final = 1_000


class InstantLauncher:
    """Takes the place of the processes: each begins and ends within the turn of the loop in which it was started."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._started: list[Start] = []

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()

    def start(self, order: Start) -> None:
        if not self._started:
            self._loop.call_soon(self._end_all)
        self._started.append(order)

    def _end_all(self) -> None:
        orders, self._started = self._started, []
        self._calls.news_begins()
        for order in orders:
            self._calls.on_started(order.attempt_id, 1)
            self._calls.on_ended(order.attempt_id, int(order.plan.environment.get("FAILS", "0")))
        self._calls.news_ends()

    def signal(self, attempt_id: int, number: int) -> None:
        """There is nothing to signal."""

    async def close(self) -> None:
        """There is nothing to end."""


class NoScratch:
    """Takes the place of the folders that processes would have."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """There is no folder to make."""

    def take(self, attempt_id: int) -> str:
        return str(self._folder / str(attempt_id))

    def give_back(self, attempt_id: int, *, is_dead: bool) -> None:
        """There is no folder to empty."""

    def close(self) -> None:
        """There is no folder to remove."""


async def fill(home: Path, jobs: int) -> None:
    """Ended jobs of 15 definitions, 1,000 names and 7 shares, one in a hundred FAILED, and one wide array.

    The engine itself accepts, places, ends and stores them, on a clock on which a job is submitted every second.
    """
    moment = [FIRST_SECOND]
    settings = EngineSettings(
        home=home,
        artifacts=home / "artifacts",
        boot_seconds=0.0,
        seed=1,
        utc=lambda: moment[0],
        keep_jobs_seconds=None,
    )
    without_processes = mock.patch.object(process_runner, "Launcher", InstantLauncher)
    with without_processes, mock.patch("spotbatch.local.engine.engine.Scratch", NoScratch):
        engine = await open_engine(settings)
        environment = ComputeEnvironment(name="e", pools=(POOL,), max_vcpus=int(POOL.vcpus))
        await engine.put_resource("compute-environment", "e", {}, rules=environment)
        await engine.put_resource("job-queue", QUEUE, {}, rules=JobQueue(name=QUEUE, environments=("e",)))
        chance = random.Random(1)
        await engine.submit(submission(0, ARRAY, "wide", FIRST_SECOND, size=WIDE))
        for first in range(1, jobs, TOGETHER):
            some = range(first, min(first + TOGETHER, jobs))
            ids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in some]
            moment[0] = FIRST_SECOND + some[-1]
            await asyncio.gather(
                *(
                    engine.submit(submission(number, job_id, f"convert-{number % 1000:04}", FIRST_SECOND + number))
                    for number, job_id in zip(some, ids, strict=True)
                )
            )
            waiting = [ARRAY, *ids]
            while waiting:
                if engine.view(waiting[-1]).status.is_terminal:
                    waiting.pop()
                else:
                    await asyncio.sleep(0)
        await engine.close()


def submission(number: int, job_id: str, name: str, created_at: float, *, size: int = 0) -> Submission:
    """What SubmitJob makes of a job of the default stack."""
    definition, share = f"work-{number % 5}:{number % 3 + 1}", f"s{number % 7}"
    artifacts = "file:///home/me/.local/state/spotbatch/artifacts"
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/jobs:latest"
    rules = ev.JobSubmitted(
        job_no=0,
        queue=QUEUE,
        size=size,
        requirements=ResourceRequirements(vcpus=1, memory_mib=256),
        retry=spot_safe(),
        share=share,
    )
    fails = {"FAILS": "1"} if number % 100 == 99 else {}
    container = ContainerSpec(
        image=image,
        command=("python", "convert.py", name),
        environment={"SPOTBATCH_ARTIFACTS_URL": artifacts, "SPOTBATCH_RUN_ID": name, **fails},
        memory_mib=256,
        log_stream_prefix="work",
    )
    described = {
        "jobArn": f"{ARN}:job/{job_id}",
        "jobName": name,
        "jobId": job_id,
        "jobQueue": f"{ARN}:job-queue/{QUEUE}",
        "jobDefinition": f"{ARN}:job-definition/{definition}",
        "shareIdentifier": share,
        "tags": {"spotbatch-run": name},
        "propagateTags": False,
        "platformCapabilities": ["EC2"],
        "parameters": {},
        "retryStrategy": {"attempts": 10, "evaluateOnExit": [{"action": "retry", "onStatusReason": "Host EC2*"}]},
        "dependsOn": [],
        "container": {
            "command": ["python", "convert.py", name],
            "environment": [
                {"name": "SPOTBATCH_ARTIFACTS_URL", "value": artifacts},
                {"name": "SPOTBATCH_RUN_ID", "value": name},
            ],
            "mountPoints": [],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
            "secrets": [],
            "ulimits": [],
            "volumes": [],
            "image": image,
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/spotbatch/tested"}},
        },
    }
    return Submission(
        job_id=job_id,
        name=name,
        queue=QUEUE,
        created_at=created_at,
        rules=rules,
        container=container,
        described=described,
    )


def searches(jobs: int) -> dict[str, dict[str, object]]:
    """ListJobs' queries to the engine, by filter: with no, few and many matches."""
    middle = FIRST_SECOND + jobs / 2
    return {
        "name, nobody": {"where": JobFilter(member="name", value="nobody")},
        "name, one in 1,000": {"where": JobFilter(member="name", value="CONVERT-0007")},
        "name prefix, nobody": {"where": JobFilter(member="name", value="nob", is_prefix=True)},
        "name prefix, one in 100": {"where": JobFilter(member="name", value="convert-000", is_prefix=True)},
        "name prefix, all": {"where": JobFilter(member="name", value="conv", is_prefix=True)},
        "definition, nobody": {"where": JobFilter(member="definition", value="no:1")},
        "definition, one revision": {"where": JobFilter(member="definition", value="work-3:2")},
        "definition, all revisions": {"where": JobFilter(member="definition", value="work-3:", is_prefix=True)},
        "share, nobody": {"where": JobFilter(member="share", value="nobody")},
        "share, FAILED": {"where": JobFilter(member="share", value="s3"), "status": JobStatus.FAILED},
        "created before all": {"where": JobFilter(member="created_at", value=FIRST_SECOND)},
        "created before the middle": {"where": JobFilter(member="created_at", value=middle)},
        "created after all": {"where": JobFilter(member="created_at", value=middle * 2, is_after=True)},
        "status FAILED": {"status": JobStatus.FAILED},
        "status RUNNING": {"status": JobStatus.RUNNING},
    }


def median_ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


async def measure(home: Path, jobs: int) -> None:
    begun = time.perf_counter()
    opened = await open_engine(EngineSettings(home=home, artifacts=home / "artifacts", keep_jobs_seconds=None))
    start_seconds = time.perf_counter() - begun
    assert isinstance(opened, LocalEngine)
    engine = opened
    print(f"start                        {start_seconds:8.2f} s       (goal at a million: {GOAL_START_SECONDS:g} s)")
    for label, asked in searches(jobs).items():
        ms = median_ms(lambda asked=asked: engine.find_jobs(queue=QUEUE, limit=101, **asked))  # type: ignore[misc]
        print(f"list: {label:28} {ms:8.2f} ms      (goal: {GOAL_LIST_MS:g} ms)")
    ids = engine.find_jobs(queue=QUEUE, status=JobStatus.FAILED, limit=jobs)
    deep = JobPlace(job_id=ids[len(ids) // 2], created_at=0.0)
    where = JobFilter(member="name", value="conv", is_prefix=True)
    ms = median_ms(lambda: engine.find_jobs(queue=QUEUE, where=where, after=deep, limit=101))
    print(f"list: a page from the middle       {ms:8.2f} ms")
    chance = random.Random(2)
    ms = median_ms(lambda: engine.view(chance.choice(ids)))
    print(f"view of an ended job               {ms:8.3f} ms")
    ms = median_ms(lambda: engine.list_jobs(array_job_id=ARRAY, status=JobStatus.FAILED))
    print(f"children of {WIDE:,} by status     {ms:8.2f} ms      (goal: {GOAL_LIST_MS:g} ms)")
    await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / ".cache")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="history-", dir=given.folder))
    try:
        begun = time.perf_counter()
        asyncio.run(fill(home, given.jobs))
        print(f"made in {time.perf_counter() - begun:.0f} s")
        size = (home / FILE_NAME).stat().st_size
        print(f"{given.jobs:,} ended jobs: {size / given.jobs:,.0f} bytes a job on disk (goal: {GOAL_BYTES:,})")
        asyncio.run(measure(home, given.jobs))
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
