"""A region with many ended jobs: the cost of listing, describing and starting, and a job's size on disk.

The rows are written as the engine would for jobs that ran once (`--jobs` of them); the rest is the real engine.
There is no peer: AWS forgets ended jobs after 7 days. Run: python bench/local_history.py [--jobs N] [--folder FOLDER]
"""

import argparse
import asyncio
import json
import random
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import JobQueue
from spotbatch.batch.retry import spot_safe
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import CONTAINER_EXITED, STATUSES, JobStatus
from spotbatch.local.contract import ContainerSpec, EngineSettings, JobFilter, JobPlace
from spotbatch.local.engine import codec, open_engine
from spotbatch.local.engine.engine import LocalEngine
from spotbatch.local.engine.journal import FILE_NAME, Journal
from spotbatch.local.engine.logs import task_id
from spotbatch.local.engine.packing import JobTexts, pack

QUEUE: Final = "Queue-e5cf2d5033584608"
ARN: Final = "arn:aws:batch:us-east-1:123456789012"
FIRST_SECOND: Final = 1_780_000_000.0
ROUNDS: Final = 20
GOAL_LIST_MS: Final = 10.0
GOAL_START_SECONDS: Final = 5.0
GOAL_BYTES: Final = 1_000


def fill(home: Path, jobs: int) -> None:
    """Ended jobs of 5 definitions, 1,000 names and 7 shares, one in a hundred FAILED."""
    chance = random.Random(1)
    journal = Journal(home)
    journal.write(
        "INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?)",
        ("job-queue", QUEUE, "{}", codec.encode(JobQueue(name=QUEUE, environments=()))),
    )
    for number in range(1, jobs + 1):
        _write_job(journal, number, chance)
        if number % 500 == 0:
            journal.commit()
        if journal.is_checkpoint_due:
            journal.checkpoint()
    journal.close()


def _write_job(journal: Journal, number: int, chance: random.Random) -> None:
    job_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    name, definition, share = f"convert-{number % 1000:04}", f"work-{number % 5}:{number % 3 + 1}", f"s{number % 7}"
    created = FIRST_SECOND + number
    status = JobStatus.FAILED if number % 100 == 0 else JobStatus.SUCCEEDED
    texts = _texts(number, job_id, name, definition, share)
    code, reason = STATUSES.index(status), CONTAINER_EXITED
    journal.write(
        "INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number, job_id, name, QUEUE, created, "/spotbatch/tested", definition, share, pack(texts),
            code, reason, created + 9.0, bytes([code]), b"\x01",
        ),
    )  # fmt: skip
    journal.write("INSERT INTO unit VALUES (?, 0, ?, ?, ?)", (number, code, reason, created + 9.0))
    task, host = task_id(job_id, number, 0, 1), f"i-{chance.getrandbits(68):017x}"
    row = (number, 0, 1, task, host, created, created + 1.0, created + 9.0, 0, "", reason)
    journal.write("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _texts(number: int, job_id: str, name: str, definition: str, share: str) -> JobTexts:
    """The texts that SubmitJob stores for a job of the default stack."""
    artifacts = "file:///home/me/.local/state/spotbatch/artifacts"
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/jobs:latest"
    rules = ev.JobSubmitted(
        job_no=number,
        queue=QUEUE,
        requirements=ResourceRequirements(vcpus=1, memory_mib=256),
        retry=spot_safe(),
        share=share,
    )
    container = ContainerSpec(
        image=image,
        command=("python", "convert.py", name),
        environment={"SPOTBATCH_ARTIFACTS_URL": artifacts, "SPOTBATCH_RUN_ID": name},
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
    return JobTexts(rules=codec.encode(rules), container=codec.encode(container), described=json.dumps(described))


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
    await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / ".cache")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="history-", dir=given.folder))
    try:
        fill(home, given.jobs)
        size = (home / FILE_NAME).stat().st_size
        print(f"{given.jobs:,} ended jobs: {size / given.jobs:,.0f} bytes a job on disk (goal: {GOAL_BYTES:,})")
        asyncio.run(measure(home, given.jobs))
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
