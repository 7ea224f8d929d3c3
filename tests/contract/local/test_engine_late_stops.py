"""A stop that the disk is still taking when its job moves on: it came too late, now and after a restart."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.scheduler.events import JobSubmitted
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import ContainerSpec, EngineSettings, Submission
from spotbatch.local.engine import open_engine
from spotbatch.local.engine.engine import LocalEngine
from spotbatch.local.engine.journal import Journal

JOB_ID = "00000001-0000-4000-8000-000000000000"
POOL = Pool(instance_type="c5.large", zone="us-east-1a", vcpus=2, memory_mib=3_600, usd_per_hour=0.1)
LIMIT_SECONDS = 30.0


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[LocalEngine]:
    (home / "artifacts").mkdir(exist_ok=True)
    settings = EngineSettings(home=home, artifacts=home / "artifacts", boot_seconds=0.0, seed=1)
    engine = await open_engine(settings)
    try:
        yield engine
    finally:
        await engine.close()


async def submit(engine: LocalEngine, command: str) -> None:
    environment = ComputeEnvironment(name="e", pools=(POOL,), max_vcpus=2)
    await engine.put_resource("compute-environment", "e", {}, rules=environment)
    await engine.put_resource("job-queue", "q", {}, rules=JobQueue(name="q", environments=("e",)))
    needs = ResourceRequirements(vcpus=1, memory_mib=64)
    await engine.submit(
        Submission(
            job_id=JOB_ID,
            name="job",
            queue="q",
            created_at=time.time(),
            rules=JobSubmitted(job_no=0, queue="q", requirements=needs),
            container=ContainerSpec(image="busybox", command=("sh", "-c", command), memory_mib=64),
            described={"jobDefinition": "d:1"},
        )
    )


async def until(engine: LocalEngine, status: JobStatus) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        async for _ in engine.changes():
            if engine.view(JOB_ID).status is status:
                return


@pytest.mark.parametrize(
    ("kind", "command", "arrives_at"),
    [
        ("terminate", 'until [ -e "$GO" ]; do sleep 0.01; done', JobStatus.SUCCEEDED),
        ("cancel", "sleep 60", JobStatus.RUNNING),
    ],
)
def test_what_was_stopped_too_late_does_not_count_as_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, command: str, arrives_at: JobStatus
) -> None:
    go, gate, is_slow = tmp_path / "go", threading.Event(), threading.Event()
    sync = Journal.sync

    def slow_sync(journal: Journal) -> None:
        assert not is_slow.is_set() or gate.wait(LIMIT_SECONDS)
        sync(journal)

    monkeypatch.setattr(Journal, "sync", slow_sync)

    async def scenario() -> None:
        async with opened(tmp_path) as engine:
            await submit(engine, command.replace("$GO", str(go)))
            if kind == "terminate":
                await until(engine, JobStatus.RUNNING)
            is_slow.set()
            stop = asyncio.create_task(getattr(engine, kind)(JOB_ID, "too late"))
            await asyncio.sleep(0)  # the stop is asked for before the job moves on
            go.touch()
            await until(engine, arrives_at)
            gate.set()
            await asyncio.wait_for(stop, LIMIT_SECONDS)
            view = engine.view(JOB_ID)
            assert (view.status, view.is_cancelled, view.is_terminated) == (arrives_at, False, False)

    async def afterwards() -> None:
        async with opened(tmp_path) as engine:
            view = engine.view(JOB_ID)
            assert (view.is_cancelled, view.is_terminated) == (False, False)

    asyncio.run(scenario())
    asyncio.run(afterwards())
