"""Runs under control, as tests of the controller's rules want them."""

from dataclasses import replace
from typing import Any

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.controller.run import Move, Need, Place, Run, Wishes

NOW = 1_000_000.0


def need(place: Place = Place.SPOT, memory_mib: int = 1000, losses: int = 0) -> Need:
    return Need(place=place, memory_mib=memory_mib, losses=losses)


def a_run(size: int = 0, *, wishes: Wishes | None = None, request: dict[str, Any] | None = None) -> Run:
    """A run that was just put under control: all of it is wanted on Spot."""
    first = Move(number=1, indexes=ArrayIndexes.span(0, max(1, size)), need=need(), at=NOW, why="submitted")
    return Run(
        run_id="run-1",
        name="work",
        created_at=NOW,
        size=size,
        spot_queue="spot",
        on_demand_queue="on-demand",
        request=request or {"jobName": "work", "jobDefinition": "d:1"},
        wishes=wishes or Wishes(),
        memory_mib=1000,
        moves=(first,),
        next_number=2,
    )


def begun(run: Run) -> Run:
    """The same with its first move done: job-1 runs all of it, under spotrun."""
    return replace(run.submitted(run.moves[0], "job-1", NOW), is_recorded=True)
