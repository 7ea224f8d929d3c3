"""Five hundred lives of runs under control, in a world where everything that may go wrong does."""

import random
from decimal import Decimal

import pytest

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.controller.run import Budget, Deadline, Growth, Move, Need, Outcome, Place, Run, Wishes
from tests.simulation.controller_world import (
    BOOT_SECONDS,
    SAVE_EVERY_SECONDS,
    START_SECONDS,
    Faults,
    Memory,
    WorkLoad,
    World,
)

CHANGEOVER_SECONDS = BOOT_SECONDS + START_SECONDS + SAVE_EVERY_SECONDS
LIVES = 500
PIECES = 20
DAY = 86_400.0


def a_run(rng: random.Random, now: float, wishes: Wishes, size: int) -> Run:
    whole = ArrayIndexes.span(0, max(1, size))
    first = Move(number=1, indexes=whole, need=Need(place=Place.SPOT, memory_mib=1000), at=now, why="submitted")
    return Run(
        run_id="run",
        name="work",
        created_at=now,
        size=size,
        spot_queue="spot",
        on_demand_queue="on-demand",
        request={"jobName": "work", "jobDefinition": "d"},
        wishes=wishes,
        memory_mib=1000,
        moves=(first,),
        next_number=2,
    )


def a_life(seed: int) -> tuple[World, Run]:
    """One run, lived to its end. Its wishes, its work and its world are drawn by the seed."""
    rng = random.Random(seed)
    size = rng.choice((0, 0, 0, 2, 5, 12))
    work = rng.uniform(1800, 2 * 3600)
    has_deadline = rng.random() < 0.5
    units = {
        index: WorkLoad(
            seconds=work * rng.uniform(0.8, 1.0), memory_mib=500 if has_deadline else rng.choice((500, 500, 1800, 3500))
        )
        for index in range(max(1, size))
    }
    faults = Faults(rng=random.Random(seed + 1), rate=rng.choice((0.0, 0.01, 0.03)))
    memory = Memory(faults=faults)
    world = World(
        seed=seed + 2,
        units=units,
        memory=memory,
        faults=faults,
        spot_up_seconds=rng.choice((1200, 3600, 9000)),
        spot_down_seconds=rng.choice((600, 1800, 5400)),
    )
    now = world.now
    deadline = None
    if has_deadline:
        own = Deadline(at=now, work_seconds=work, changeover_seconds=CHANGEOVER_SECONDS, price_ratio=3.0)
        least = work + own.terms(now - 1).changeover_seconds + 200
        deadline = Deadline(
            at=now + least * rng.choice((1.0, 1.02, 1.1, 1.2, 1.5, 2.5)),
            work_seconds=work,
            changeover_seconds=CHANGEOVER_SECONDS,
            price_ratio=3.0,
        )
    hours = work * max(1, size) / 3600
    wishes = Wishes(
        deadline=deadline,
        on_demand_after=rng.choice((None, 1, 2, 4)),
        growth=Growth(factor=rng.choice((1.5, 2.0)), most_mib=rng.choice((2000, 16_000))),
        budget=Budget(
            max_usd=Decimal(str(round(hours * rng.uniform(0.3, 3.0) + 0.5, 2))),
            spot_usd_per_hour=Decimal(1),
            on_demand_usd_per_hour=Decimal(3),
        )
        if not has_deadline and rng.random() < 0.5
        else None,
    )
    world.begin(a_run(rng, now, wishes, size))
    world.run_until(lambda: memory.runs["run"].is_over, now + 20 * DAY)
    return world, memory.runs["run"]


def check(seed: int) -> None:
    world, run = a_life(seed)
    story = "\n".join(f"{note.at - run.created_at:9.0f} {note.text}" for note in run.notes)
    told = f"seed {seed}, {run.wishes}:\n{story}"
    assert run.is_over, told
    assert not world.living, told  # that none lived twice is seen at each start
    everything = run.succeeded.union(run.failed).union(run.stopped)
    assert len(everything) == max(1, run.size) == len(run.succeeded) + len(run.failed) + len(run.stopped), told
    assert all(world.units[index].is_finished for index in run.succeeded), told
    if run.wishes.deadline is not None:
        assert run.outcome is Outcome.SUCCEEDED, told
        last = max(job.attempts[child][-1].stopped_at or 0 for job in world.jobs.values() for child in job.attempts)
        assert last <= run.wishes.deadline.at, f"late by {last - run.wishes.deadline.at:.0f} s: {told}"
    if run.wishes.budget is not None:
        most = float(run.wishes.budget.max_usd)
        assert world.cost <= most * 1.05, f"cost {world.cost:.2f}: {told}"
        assert (run.outcome is Outcome.STOPPED) == bool(len(run.stopped)), told
    else:
        assert run.outcome is not Outcome.STOPPED, told
    for index in run.failed:  # nothing fails but what needs more memory than it may have
        assert run.wishes.growth is not None
        assert world.units[index].memory_mib > run.wishes.growth.most_mib, told
    for part in run.parts:
        assert any(part.why in note.text for note in run.notes), told


@pytest.mark.parametrize("piece", range(PIECES))
def test_a_run_under_control_keeps_its_promises_whatever_fails(piece: int) -> None:
    for seed in range(piece, LIVES, PIECES):
        check(seed)
