"""Ended jobs are put away from memory, and are as they were whenever they are asked for."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import ContainerSpec, EngineSettings, Submission, UnitView
from spotbatch.local.engine import job_book, open_engine
from spotbatch.local.engine.engine import LocalEngine

POOL = Pool(instance_type="c5.xlarge", zone="us-east-1a", vcpus=4, memory_mib=7_600)
LIMIT_SECONDS = 60.0


def job_id_of(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def submission(number: int, script: str, *, size: int = 0, after: int | None = None) -> Submission:
    kind = DependencyType.N_TO_N if size else DependencyType.PLAIN
    waits = () if after is None else (ev.ResolvedDependency(type=kind),)
    return Submission(
        job_id=job_id_of(number),
        name=f"job-{number}",
        queue="q",
        created_at=time.time(),
        rules=ev.JobSubmitted(
            job_no=0,
            queue="q",
            size=size,
            requirements=ResourceRequirements(vcpus=1, memory_mib=64),
            dependencies=waits,
        ),
        container=ContainerSpec(image="busybox", command=("sh", "-c", script), memory_mib=64),
        described={"jobDefinition": "arn:aws:batch:us-east-1:123456789012:job-definition/d:1", "jobName": f"{number}"},
        depends_on_ids=() if after is None else (job_id_of(after),),
    )


async def opened(home: Path) -> LocalEngine:
    engine = await open_engine(EngineSettings(home=home, artifacts=home / "artifacts", boot_seconds=0.0, seed=1))
    assert isinstance(engine, LocalEngine)
    environment = ComputeEnvironment(name="e", pools=(POOL,), max_vcpus=4)
    await engine.put_resource("compute-environment", "e", {}, rules=environment)
    await engine.put_resource("job-queue", "q", {}, rules=JobQueue(name="q", environments=("e",)))
    return engine


async def ended(engine: LocalEngine, number: int) -> UnitView:
    await reached(engine, number, lambda status: status.is_terminal)
    return engine.view(job_id_of(number))


async def reached(engine: LocalEngine, number: int, is_it: Callable[[JobStatus], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not is_it(engine.view(job_id_of(number)).status):
            await asyncio.sleep(0.01)


def run(home: Path, work: Callable[[LocalEngine], Awaitable[None]]) -> None:
    async def whole() -> None:
        engine = await opened(home)
        try:
            await work(engine)
        finally:
            await engine.close()

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_book, "_ENDED_KEPT", 2)


def test_what_was_put_away_is_told_as_before(tmp_path: Path) -> None:
    async def work(engine: LocalEngine) -> None:
        first = list[UnitView]()
        for number in range(1, 7):
            await engine.submit(submission(number, f"echo hello; exit {number % 2}", size=2 if number == 3 else 0))
            first.append(await ended(engine, number))
        assert engine.jobs_in_memory() <= 3
        assert [engine.view(job_id_of(number)) for number in range(1, 7)] == first
        assert engine.jobs_in_memory() <= 3
        assert engine.list_jobs(queue="q") == [job_id_of(number) for number in range(6, 0, -1)]
        assert len(engine.list_jobs(array_job_id=job_id_of(3), status=JobStatus.FAILED)) == 2
        child = engine.view(f"{job_id_of(3)}:1")
        assert child.array_index == 1
        assert engine.job_of_stream(child.attempts[0].log_stream) == f"{job_id_of(3)}:1"
        assert [text for _, text in engine.read_log(child.attempts[0].log_stream)[0]] == ["hello"]
        await engine.terminate(job_id_of(2), "too late")
        assert engine.view(job_id_of(2)) == first[1]
        with pytest.raises(NotFound):
            engine.view(job_id_of(99))

    run(tmp_path, work)


def test_a_job_may_depend_on_one_that_was_put_away(tmp_path: Path) -> None:
    async def work(engine: LocalEngine) -> None:
        await engine.submit(submission(1, "exit 0"))
        await engine.submit(submission(2, "exit 1"))
        await engine.submit(submission(3, "exit $AWS_BATCH_JOB_ARRAY_INDEX", size=2))
        for number in (1, 2, 3):
            await ended(engine, number)
        for number in range(4, 8):
            await engine.submit(submission(number, "exit 0"))
            await ended(engine, number)
        await engine.submit(submission(11, "exit 0", after=1))
        await engine.submit(submission(12, "exit 0", after=2))
        await engine.submit(submission(13, "exit 0", size=2, after=3))
        assert (await ended(engine, 11)).status is JobStatus.SUCCEEDED
        assert (await ended(engine, 12)).status is JobStatus.FAILED
        await ended(engine, 13)
        assert engine.view(f"{job_id_of(13)}:0").status is JobStatus.SUCCEEDED
        assert engine.view(f"{job_id_of(13)}:1").status is JobStatus.FAILED

    run(tmp_path, work)


def test_a_restart_takes_up_what_has_not_ended_and_finds_the_rest(tmp_path: Path) -> None:
    before = list[UnitView]()

    async def first(engine: LocalEngine) -> None:
        for number in range(1, 5):
            await engine.submit(submission(number, f"exit {number % 2}"))
            before.append(await ended(engine, number))
        waits = submission(5, "sleep 300", after=4)
        await engine.submit(replace(waits, rules=replace(waits.rules, timeout_seconds=100)))
        await reached(engine, 5, lambda status: status is JobStatus.RUNNING)

    async def second(engine: LocalEngine) -> None:
        assert [engine.view(job_id_of(number)) for number in range(1, 5)] == before
        assert not engine.view(job_id_of(5)).status.is_terminal or engine.view(job_id_of(5)).attempts
        await engine.submit(submission(6, "exit 0", after=2))
        assert (await ended(engine, 6)).status is JobStatus.SUCCEEDED

    run(tmp_path, first)
    run(tmp_path, second)
