"""Fargate in the rulebook: each unit is its own capacity, exactly as large as it needs, and gone with it."""

import pytest

from spotbatch.batch.attempt_outcome import AttemptOutcome, outcome_of
from spotbatch.batch.errors import InvalidJob
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import BlockedReason, Pool
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import SPOT_TASK_INTERRUPTED, JobStatus
from tests.world import World

ZONE = Pool(instance_type="FARGATE_SPOT", zone="us-east-1a", vcpus=0, memory_mib=0)
RUNNABLE, STARTING, SUCCEEDED = JobStatus.RUNNABLE, JobStatus.STARTING, JobStatus.SUCCEEDED


def fargate(max_vcpus: int) -> World:
    world = World()
    world.put(ZONE, max_vcpus=max_vcpus, is_fargate=True)
    return world


def launches(world: World) -> list[float]:
    return [command.pool.vcpus for command in world.commands if isinstance(command, ev.LaunchHost)]


def end_what_was_told(world: World, commands: list[ev.Command]) -> None:
    for command in commands:
        if isinstance(command, ev.TerminateHost):
            assert command.cause is ev.HostEndCause.TASK_ENDED
            end_what_was_told(world, world.do(ev.HostEnded(host_no=command.host_no)))


def test_each_job_has_capacity_of_its_own_size_up_to_max_vcpus() -> None:
    world = fargate(max_vcpus=1)
    jobs = [world.submit(vcpus=0.25, memory_mib=512) for _ in range(5)]
    world.boot()
    assert launches(world) == [0.25] * 4
    assert [world.status(job) for job in jobs] == [STARTING] * 4 + [RUNNABLE]
    end_what_was_told(world, world.finish(jobs[0]))
    world.boot()
    assert world.status(jobs[4]) is STARTING
    assert len(world.scheduler.host_numbers()) == 4


def test_capacity_ends_with_its_task_and_takes_no_other() -> None:
    world = fargate(max_vcpus=8)
    first = world.submit(vcpus=4, memory_mib=8192)
    world.boot()
    second = world.submit(vcpus=1, memory_mib=2048)
    assert launches(world) == [4, 1]
    end_what_was_told(world, world.finish(first))
    assert len(world.scheduler.host_numbers()) == 1
    assert world.status(second) is RUNNABLE


def test_capacity_whose_job_was_cancelled_before_it_came_ends_when_it_comes() -> None:
    world = fargate(max_vcpus=8)
    world.do(ev.JobCancelled(job_no=world.submit(vcpus=4, memory_mib=8192), reason="no"))
    other = world.submit(vcpus=1, memory_mib=2048)
    assert launches(world) == [4, 1]
    end_what_was_told(world, world.boot())
    assert (len(world.scheduler.host_numbers()), world.status(other)) == (1, STARTING)


def test_an_interrupted_task_is_retried_on_new_capacity() -> None:
    world = fargate(max_vcpus=8)
    job = world.submit(vcpus=1, memory_mib=2048)
    world.boot()
    world.do(ev.HostNoticed(host_no=1))
    ended = world.do(
        ev.AttemptEnded(job_no=job, index=0, attempt=1, exit_code=210, status_reason=SPOT_TASK_INTERRUPTED)
    )
    end_what_was_told(world, ended)
    assert launches(world) == [1, 1]
    world.boot()
    assert world.status(job) is STARTING


def test_a_task_that_ends_with_zero_after_the_warning_has_succeeded() -> None:
    world = fargate(max_vcpus=8)
    job = world.submit(vcpus=1, memory_mib=2048)
    world.boot()
    world.do(ev.HostNoticed(host_no=1))
    world.do(ev.AttemptEnded(job_no=job, index=0, attempt=1, exit_code=0, status_reason=SPOT_TASK_INTERRUPTED))
    assert world.status(job) is SUCCEEDED


def test_a_job_larger_than_max_vcpus_and_one_with_gpus_can_never_run() -> None:
    world = fargate(max_vcpus=2)
    world.submit(vcpus=4, memory_mib=8192)
    assert world.scheduler.blocked("q") is BlockedReason.ENVIRONMENT_MAX
    with pytest.raises(InvalidJob, match=r"not 0\.3 vCPUs"):
        ResourceRequirements(vcpus=0.3)


def test_an_attempt_that_fargate_spot_took_counts_as_interrupted() -> None:
    for exit_code in (137, 210, None):
        found = outcome_of(exit_code=exit_code, status_reason=SPOT_TASK_INTERRUPTED)
        assert found is AttemptOutcome.INTERRUPTED
    assert outcome_of(exit_code=0, status_reason=SPOT_TASK_INTERRUPTED) is AttemptOutcome.SUCCEEDED
