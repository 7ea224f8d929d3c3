"""Ended jobs are forgotten 7 days after their end, unless the region was told otherwise (user guide, "Job states")."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import NotFound
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import EngineSettings
from spotbatch.local.engine import open_engine, retention
from spotbatch.local.engine.engine import LocalEngine
from tests.contract.local.test_engine_ended_jobs import POOL, ended, job_id_of, reached, submission
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, running, until

DAY = 86_400.0


class World:
    """A region whose UTC can be moved ahead."""

    def __init__(self, home: Path, keep_days: float | None = 7.0) -> None:
        self.home = home
        self.now = 1_800_000_000.0
        self.keep_seconds = None if keep_days is None else keep_days * DAY

    def run(self, work: Callable[[LocalEngine], Awaitable[None]]) -> None:
        async def whole() -> None:
            settings = EngineSettings(
                home=self.home,
                artifacts=self.home / "artifacts",
                boot_seconds=0.0,
                seed=1,
                utc=lambda: self.now,
                keep_jobs_seconds=self.keep_seconds,
            )
            engine = await open_engine(settings)
            assert isinstance(engine, LocalEngine)
            environment = ComputeEnvironment(name="e", pools=(POOL,), max_vcpus=4)
            await engine.put_resource("compute-environment", "e", {}, rules=environment)
            await engine.put_resource("job-queue", "q", {}, rules=JobQueue(name="q", environments=("e",)))
            try:
                await work(engine)
            finally:
                await engine.close()

        asyncio.run(whole())

    def rows(self) -> dict[str, int]:
        tables = ("job", "unit", "attempt", "stop", "host", "forgotten")
        with closing(sqlite3.connect(self.home / "journal.sqlite")) as connection:
            return {
                table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in tables
            }


def test_an_ended_job_is_known_for_seven_days_and_then_nothing_of_it_is_left(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def work(engine: LocalEngine) -> None:
        await engine.submit(submission(1, "echo hello; exit 1", size=3))
        await engine.submit(submission(2, "sleep 300"))
        await ended(engine, 1)
        await reached(engine, 2, lambda status: status is JobStatus.RUNNING)
        stream = engine.view(f"{job_id_of(1)}:0").attempts[0].log_stream
        assert list(tmp_path.glob("logs/*/*.log"))
        world.now += 7 * DAY - 60
        assert await engine.forget_ended_jobs() == 0
        assert engine.view(job_id_of(1)).status is JobStatus.FAILED
        world.now += 120
        assert await engine.forget_ended_jobs() == 1
        for unknown in (job_id_of(1), f"{job_id_of(1)}:0"):
            with pytest.raises(NotFound):
                engine.view(unknown)
        with pytest.raises(NotFound):
            engine.read_log(stream)
        assert engine.job_of_stream(stream) is None
        assert engine.list_jobs(queue="q") == [job_id_of(2)]
        assert engine.view(job_id_of(2)).status is JobStatus.RUNNING
        assert len(list(tmp_path.glob("logs/*/*.log"))) == 1
        rows = world.rows()
        assert (rows["job"], rows["unit"], rows["attempt"], rows["forgotten"]) == (1, 0, 1, 0)

    world.run(work)


def test_a_region_forgets_by_itself_at_its_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path)

    async def first(engine: LocalEngine) -> None:
        for number in range(1, 40):  # more than one piece
            await engine.submit(submission(number, "exit 0"))
        for number in range(1, 40):
            await ended(engine, number)

    async def second(engine: LocalEngine) -> None:
        async with asyncio.timeout(30):
            while any(world.rows().values()):
                await asyncio.sleep(0.01)
        assert engine.list_jobs(queue="q") == []

    world.run(first)
    world.now += 8 * DAY
    world.run(second)
    assert "39 now" in capfd.readouterr().err


def test_forever_keeps_what_seven_days_would_forget(tmp_path: Path) -> None:
    world = World(tmp_path, keep_days=None)

    async def work(engine: LocalEngine) -> None:
        await engine.submit(submission(1, "exit 0"))
        await ended(engine, 1)
        world.now += 1_000 * DAY
        assert await engine.forget_ended_jobs() == 0
        assert engine.view(job_id_of(1)).status is JobStatus.SUCCEEDED

    world.run(work)


def test_a_waiting_job_survives_the_one_it_depended_on_also_across_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def first(engine: LocalEngine) -> None:
        await engine.submit(submission(1, "exit 0"))
        await ended(engine, 1)
        await engine.submit(submission(2, "sleep 300", after=1))
        await reached(engine, 2, lambda status: status is JobStatus.RUNNING)
        world.now += 8 * DAY
        assert await engine.forget_ended_jobs() == 1
        with pytest.raises(NotFound):
            await engine.submit(submission(3, "exit 0", after=1))

    async def second(engine: LocalEngine) -> None:
        await engine.terminate(job_id_of(2), "enough")
        assert (await ended(engine, 2)).status is JobStatus.FAILED

    world.run(first)
    world.run(second)


def test_what_a_kill_left_of_a_forgotten_job_is_removed_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(retention, "_UNITS_AT_ONCE", 2)

    async def first(engine: LocalEngine) -> None:
        await engine.submit(submission(1, "exit 0", size=5))
        await ended(engine, 1)

    async def second(engine: LocalEngine) -> None:
        async with asyncio.timeout(30):
            while world.rows()["forgotten"]:
                await asyncio.sleep(0.01)
        await engine.submit(submission(2, "exit 0"))
        await ended(engine, 2)

    world.run(first)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:  # as a kill between two pieces leaves it
        connection.execute("INSERT INTO forgotten SELECT job_no FROM job")
        connection.execute("DELETE FROM job")
        connection.commit()
    assert world.rows()["unit"] == 5
    world.run(second)
    rows = world.rows()
    assert (rows["job"], rows["unit"], rows["attempt"], rows["forgotten"]) == (1, 1, 1, 0)


def test_other_callers_take_their_turns_while_much_is_forgotten(tmp_path: Path) -> None:
    """A big array goes in pieces: the loop is free between them."""
    world, turns = World(tmp_path), 0

    async def work(engine: LocalEngine) -> None:
        nonlocal turns
        await engine.submit(submission(1, "exit 0", size=2))
        await ended(engine, 1)
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.executemany("INSERT INTO unit VALUES (1, ?, 5, '', 0)", [(index,) for index in range(2, 10_000)])
            connection.commit()
        world.now += 8 * DAY
        forgetting = asyncio.create_task(engine.forget_ended_jobs())
        while not forgetting.done():
            turns += 1
            await asyncio.sleep(0)
        assert forgetting.result() == 1

    world.run(work)
    assert turns > 10_000 / retention._UNITS_AT_ONCE
    assert world.rows()["unit"] == 0


def test_no_answer_and_no_list_knows_a_forgotten_job(tmp_path: Path) -> None:
    options = ("--keep-jobs-days", str(2.0 / DAY), "--boot-seconds", "0.05")
    with running(tmp_path / "home", *options) as region:
        batch = region.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="e", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "e"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=CONTAINER)
        job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d")["jobId"]

        def described() -> Any:
            return batch.describe_jobs(jobs=[job_id])["jobs"]

        until(lambda: described()[0]["status"] == "SUCCEEDED" or None)
        until(lambda: not described() or None)
        assert batch.list_jobs(jobQueue="q", jobStatus="SUCCEEDED")["jobSummaryList"] == []
        assert batch.terminate_job(jobId=job_id, reason="late")["ResponseMetadata"]["HTTPStatusCode"] == 200
