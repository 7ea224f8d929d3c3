"""Consumable resources: units wait at the head of their queue until they can have all that they need."""

import pytest

from spotbatch.batch.consumable import ConsumableNeed, ConsumableResource
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.placement import JobQueue
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import JobStatus
from tests.world import LARGE, World

RUNNABLE, STARTING, SUCCEEDED = JobStatus.RUNNABLE, JobStatus.STARTING, JobStatus.SUCCEEDED
ONE = (ConsumableNeed(name="licence", quantity=1),)


def world_with(total: int, *, is_replenishable: bool = True) -> World:
    world = World()
    world.put(LARGE, max_vcpus=8)
    world.do(
        ev.ConsumablePut(resource=ConsumableResource(name="licence", total=total, is_replenishable=is_replenishable))
    )
    return world


def in_use(world: World) -> int:
    found = world.scheduler.consumable("licence")
    assert found is not None
    return found[1]


def test_no_more_units_start_than_the_resource_has_and_the_next_follows_when_one_has_ended() -> None:
    world = world_with(2)
    jobs = [world.submit(consumables=ONE) for _ in range(3)]
    world.boot()
    assert [world.status(job) for job in jobs] == [STARTING, STARTING, RUNNABLE]
    assert in_use(world) == 2
    assert world.scheduler.status_reason(jobs[2]) == ""
    world.finish(jobs[0])
    assert world.status(jobs[2]) is STARTING
    assert in_use(world) == 2


def test_what_waits_for_a_resource_launches_no_host_and_holds_back_its_own_queue_only() -> None:
    world = world_with(0)
    world.do(ev.QueuePut(queue=JobQueue(name="low", environments=("e",), priority=0)))
    waiting, behind, other = world.submit(consumables=ONE), world.submit(), world.submit(queue="low")
    world.boot()
    assert [world.status(each) for each in (waiting, behind, other)] == [RUNNABLE, RUNNABLE, STARTING]
    world.do(ev.ConsumablePut(resource=ConsumableResource(name="licence", total=1)))
    assert [world.status(each) for each in (waiting, behind)] == [STARTING, STARTING]


def test_each_child_of_an_array_needs_its_own() -> None:
    world = world_with(2)
    array = world.submit(size=5, consumables=ONE)
    world.boot()
    assert world.scheduler.summary(array)[STARTING] == 2
    world.finish_all()
    assert world.status(array) is SUCCEEDED
    assert in_use(world) == 0


def test_a_unit_that_is_retried_keeps_what_it_holds() -> None:
    world = world_with(1)
    first, second = world.submit(consumables=ONE), world.submit(consumables=ONE)
    world.boot()
    world.reclaim(1)
    assert (world.status(first), world.status(second), in_use(world)) == (RUNNABLE, RUNNABLE, 1)
    world.boot()
    assert (world.status(first), world.status(second)) == (STARTING, RUNNABLE)


def test_what_a_started_unit_held_of_a_resource_that_is_not_replenishable_is_used_up() -> None:
    world = world_with(2, is_replenishable=False)
    never, first, second = (world.submit(consumables=ONE) for _ in range(3))
    world.do(ev.JobCancelled(job_no=never, reason="no"))
    world.boot()
    world.finish(first)
    world.finish(second, exit_code=1)
    used = [command.resource.consumed for command in world.commands if isinstance(command, ev.ResourceConsumed)]
    assert (used, in_use(world)) == ([1, 2], 2)
    late = world.submit(consumables=ONE)
    world.boot()
    assert world.status(late) is RUNNABLE
    world.do(ev.ConsumablePut(resource=ConsumableResource(name="licence", total=3, is_replenishable=False)))
    world.boot()
    assert (world.status(late), in_use(world)) == (STARTING, 3)


def test_a_resource_that_is_gone_starts_nothing_new() -> None:
    world = world_with(1)
    world.do(ev.ConsumableRemoved(name="licence"))
    job = world.submit(consumables=ONE)
    world.boot()
    assert world.status(job) is RUNNABLE
    assert world.scheduler.consumable("licence") is None
    with pytest.raises(NotFound, match="licence"):
        world.do(ev.ConsumableRemoved(name="licence"))


def test_a_total_is_never_negative() -> None:
    with pytest.raises(InvalidInput, match="0 or more, not -1"):
        ConsumableResource(name="x", total=-1)
