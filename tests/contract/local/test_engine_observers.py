"""Who observes an engine hears of all that happens to jobs, attempts, hosts and queues, once it is on disk."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import BlockedReason, ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.retry import spot_safe
from spotbatch.batch.scheduler.events import JobSubmitted, ResolvedDependency
from spotbatch.batch.status import JobStatus
from spotbatch.local.changes import AttemptChange, AttemptState, Change, HostChange, HostState, JobChange, QueueBlocked
from spotbatch.local.contract import ContainerSpec, EngineSettings, Submission
from spotbatch.local.engine import open_engine
from spotbatch.local.engine.engine import LocalEngine

POOL = Pool(instance_type="c5.large", zone="us-east-1a", vcpus=2, memory_mib=3_600, usd_per_hour=0.1)
LIMIT_SECONDS = 60.0
S = JobStatus


@dataclass(kw_only=True)
class Observed:
    """What was handed on, and a way to wait for more."""

    changes: list[Change] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, changes: Sequence[Change]) -> None:
        assert changes
        self.changes += changes
        self.came.set()

    async def until(self, is_it: Callable[[Change], bool]) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not any(is_it(change) for change in self.changes):
                self.came.clear()
                await self.came.wait()

    def story(self, job_id: str, child: int | None = None) -> list[JobStatus]:
        """The statuses of a job, or of one of its children."""
        return [
            change.status
            for change in self.changes
            if isinstance(change, JobChange)
            and change.job_id == job_id
            and (change.children is None if child is None else change.children is not None and child in change.children)
        ]

    def of_hosts(self) -> list[HostState]:
        return [change.state for change in self.changes if isinstance(change, HostChange)]

    def of_attempts(self) -> list[AttemptChange]:
        return [change for change in self.changes if isinstance(change, AttemptChange)]


def job_id(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def observed(
    home: Path, work: Callable[[LocalEngine, Observed], Awaitable[None]], *, draining: bool = True
) -> Observed:
    """What was handed on while an engine did this."""
    (home / "artifacts").mkdir(exist_ok=True)

    async def run() -> Observed:
        heard = Observed()
        settings = EngineSettings(
            home=home,
            artifacts=home / "artifacts",
            boot_seconds=0.0,
            stop_grace_seconds=0.2,
            seed=1,
            draining="on" if draining else "off",
            observers=(heard,),
        )
        engine = await open_engine(settings)
        try:
            await work(engine, heard)
        finally:
            await engine.close()
        return heard

    return asyncio.run(run())


async def submit(engine: LocalEngine, number: int, command: str, **rules: object) -> None:
    environment = ComputeEnvironment(name="e", pools=(POOL,), max_vcpus=2)
    await engine.put_resource("compute-environment", "e", {}, rules=environment)
    await engine.put_resource("job-queue", "q", {}, rules=JobQueue(name="q", environments=("e",)))
    needs = rules.pop("requirements", ResourceRequirements(vcpus=1, memory_mib=64))
    dependencies = rules.get("dependencies", ())
    assert isinstance(dependencies, tuple)
    await engine.submit(
        Submission(
            job_id=job_id(number),
            name="job",
            queue="q",
            created_at=time.time(),
            rules=JobSubmitted(job_no=0, queue="q", requirements=needs, **rules),  # type: ignore[arg-type]
            container=ContainerSpec(image="busybox", command=("sh", "-c", command), memory_mib=64),
            described={"jobDefinition": "d:1"},
            depends_on_ids=tuple("" if one.type is DependencyType.SEQUENTIAL else job_id(1) for one in dependencies),
        )
    )


def ended(number: int) -> Callable[[Change], bool]:
    def is_it(change: Change) -> bool:
        is_whole_job = isinstance(change, JobChange) and change.job_id == job_id(number) and change.children is None
        return is_whole_job and change.status.is_terminal  # type: ignore[union-attr]

    return is_it


def test_a_job_is_told_of_from_its_submission_to_its_end_with_its_attempt_and_its_host(tmp_path: Path) -> None:
    async def work(engine: LocalEngine, heard: Observed) -> None:
        await submit(engine, 1, "exit 3")
        await heard.until(ended(1))
        view = engine.view(job_id(1))
        first, second, last = heard.of_attempts()
        assert [first.state, second.state, last.state] == [*AttemptState]
        assert (last.exit_code, last.status_reason) == (3, view.attempts[0].status_reason)
        assert {one.instance_id for one in heard.of_attempts()} == {view.attempts[0].instance_id}
        assert {f"d/default/{one.task_id}" for one in heard.of_attempts()} == {view.attempts[0].log_stream}
        assert last.at == view.stopped_at

    heard = observed(tmp_path, work)
    assert heard.story(job_id(1)) == [S.SUBMITTED, S.RUNNABLE, S.STARTING, S.RUNNING, S.FAILED]
    assert heard.of_hosts() == [HostState.LAUNCHED, HostState.STARTED]


def test_children_and_their_parent_are_told_of_and_who_waits_is_pending(tmp_path: Path) -> None:
    async def work(engine: LocalEngine, heard: Observed) -> None:
        await submit(engine, 1, "true", size=3)
        await submit(engine, 2, "true", dependencies=(ResolvedDependency(),))
        await submit(engine, 3, "true", size=2, dependencies=(ResolvedDependency(type=DependencyType.SEQUENTIAL),))
        for number in (1, 2, 3):
            await heard.until(ended(number))

    heard = observed(tmp_path, work)
    lived = [S.RUNNABLE, S.STARTING, S.RUNNING, S.SUCCEEDED]
    assert heard.story(job_id(1)) == heard.story(job_id(3)) == [S.SUBMITTED, S.PENDING, S.SUCCEEDED]
    assert [heard.story(job_id(1), child) for child in range(3)] == [[S.SUBMITTED, *lived]] * 3
    assert heard.story(job_id(2)) == [S.SUBMITTED, S.PENDING, *lived]
    assert [heard.story(job_id(3), child) for child in range(2)] == [[S.SUBMITTED, S.PENDING, *lived]] * 2
    whole = [change for change in heard.changes if isinstance(change, JobChange) and change.children == range(3)]
    assert [change.status for change in whole] == [S.SUBMITTED, S.RUNNABLE]  # an array of any size, in a few


def test_a_reclaim_is_told_of_as_a_notice_a_draining_and_an_end_and_its_attempt_is_tried_again(tmp_path: Path) -> None:
    async def work(engine: LocalEngine, heard: Observed) -> None:
        await submit(engine, 1, "sleep 60", retry=spot_safe(3))
        await heard.until(lambda change: isinstance(change, JobChange) and change.status is S.RUNNING)
        (instance,) = await engine.interrupt(count=1, notice_seconds=0.1)
        await heard.until(lambda change: isinstance(change, HostChange) and change.state is HostState.ENDED)
        (last,) = (one for one in heard.of_attempts() if one.state is AttemptState.STOPPED)
        assert (last.instance_id, last.exit_code) == (instance, None)

    heard = observed(tmp_path, work)
    first = next(change.host.instance_id for change in heard.changes if isinstance(change, HostChange))
    of_first = [
        change.state for change in heard.changes if isinstance(change, HostChange) and change.host.instance_id == first
    ]
    assert of_first == [
        HostState.LAUNCHED,
        HostState.STARTED,
        HostState.NOTICED,
        HostState.DRAINING,
        HostState.ENDED,
    ]
    assert heard.story(job_id(1))[:5] == [S.SUBMITTED, S.RUNNABLE, S.STARTING, S.RUNNING, S.RUNNABLE]


def test_a_blocked_head_is_told_of_once(tmp_path: Path) -> None:
    async def work(engine: LocalEngine, heard: Observed) -> None:
        await submit(engine, 1, "true", requirements=ResourceRequirements(vcpus=8, memory_mib=64))
        await heard.until(lambda change: isinstance(change, QueueBlocked))
        await submit(engine, 2, "true")

    heard = observed(tmp_path, work)
    (blocked,) = (change for change in heard.changes if isinstance(change, QueueBlocked))
    assert (blocked.queue, blocked.job_id) == ("q", job_id(1))
    assert blocked.reason in BlockedReason


def test_what_was_lost_with_an_earlier_run_is_told_of_at_the_next_start(tmp_path: Path) -> None:
    async def first(engine: LocalEngine, heard: Observed) -> None:
        await submit(engine, 1, "sleep 60")
        await heard.until(lambda change: isinstance(change, JobChange) and change.status is S.RUNNING)

    async def second(engine: LocalEngine, heard: Observed) -> None:
        await heard.until(ended(1))

    instance = observed(tmp_path, first).of_attempts()[0].instance_id
    heard = observed(tmp_path, second)
    assert heard.story(job_id(1)) == [S.FAILED]
    (lost,) = heard.of_attempts()
    assert (lost.state, lost.instance_id, lost.exit_code) == (AttemptState.STOPPED, instance, None)
