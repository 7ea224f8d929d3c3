"""Many runs of one scenario, over seeds and windows of the traces, on all cores; the same seed gives the same bytes."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from multiprocessing import get_context
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.history import Prices
from spotbatch.simulate.engine import World
from spotbatch.simulate.observer import Watcher
from spotbatch.simulate.result import RunResult
from spotbatch.simulate.scenario import Scenario
from spotbatch.simulate.spot_capacity import Calm, CapacityByModel, CapacityFromTrace

MOST_RUNS: Final = 100_000
_SEED_STEP: Final = 1_000_003


@dataclass(frozen=True, kw_only=True, slots=True)
class MonteCarlo:
    """`runs` runs: run n has its own seed and, for a trace, the window that starts n / runs of its length later."""

    scenario: Scenario
    runs: int
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= MOST_RUNS:
            raise InvalidInput(f"1 to {MOST_RUNS} runs can be simulated, not {self.runs}")

    def scenario_of(self, number: int) -> Scenario:
        """The scenario of one run."""
        capacity = self.scenario.capacity
        if isinstance(capacity, CapacityFromTrace):
            seconds = min(each.seconds for each in capacity.traces.values())
            offset = capacity.offset_seconds + seconds * number / self.runs
            capacity = replace(capacity, offset_seconds=offset % seconds, _taken={})
        seed = self.scenario.seed * _SEED_STEP + number
        if isinstance(capacity, CapacityByModel):
            capacity = replace(capacity, common_seed=seed)
        return replace(self.scenario, capacity=capacity, seed=seed)


def run_many(
    plan: MonteCarlo, *, cores: int | None = None, on_progress: Callable[[int], None] | None = None
) -> list[RunResult]:
    """All runs, in order regardless of the core. `on_progress` is called with the number done."""
    base = undisturbed_usd(plan) if plan.prices is not None else None
    results: list[RunResult] = []
    wanted = min(cores or os.cpu_count() or 1, plan.runs)
    if wanted == 1:
        for number in range(plan.runs):
            results.append(_one((plan, number)))
            if on_progress:
                on_progress(len(results))
    else:
        with ProcessPoolExecutor(wanted, mp_context=get_context("spawn"), initializer=_begin, initargs=(plan,)) as pool:
            for result in pool.map(_numbered, range(plan.runs), chunksize=max(1, min(16, plan.runs // (4 * wanted)))):
                results.append(result)
                if on_progress:
                    on_progress(len(results))
    return [replace(each, undisturbed_usd=base) for each in results]


def undisturbed_usd(plan: MonteCarlo) -> Decimal:
    """What the jobs cost on demand, without interruptions: one run with the plan's first seed."""
    calm = replace(plan.scenario_of(0), capacity=Calm(), is_spot=False)
    return World(calm, Watcher(plan.prices, is_spot=False)).run().usd


_plan: list[MonteCarlo] = []  # of a worker process: sent once, not with every run


def _begin(plan: MonteCarlo) -> None:
    _plan[:] = [plan]


def _numbered(number: int) -> RunResult:
    return _one((_plan[0], number))


def _one(about: tuple[MonteCarlo, int]) -> RunResult:
    plan, number = about
    scenario = plan.scenario_of(number)
    return World(scenario, Watcher(plan.prices, is_spot=scenario.is_spot)).run()


def percentile(values: Sequence[float], percent: float) -> float:
    """By linear interpolation between the two nearest values. Raises InvalidInput for no values."""
    if not values:
        raise InvalidInput("a percentile needs at least one value")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def columns(results: Sequence[RunResult]) -> Mapping[str, list[float]]:
    """The runs' results, by quantity. A run without an on-demand bill has no saving."""
    return {
        "usd": [float(each.usd) for each in results],
        "saving_percent": [each.saving_percent for each in results if each.saving_percent is not None],
        "makespan_seconds": [each.makespan_seconds for each in results],
        "attempts": [float(each.attempts) for each in results],
        "interruptions": [float(each.interruptions) for each in results],
        "lost_seconds": [each.lost_seconds for each in results],
        "failed": [float(each.failed) for each in results],
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p5, p50, p95 and the mean; empty if there are no values."""
    if not values:
        return {}
    found = {f"p{percent}": percentile(values, percent) for percent in (5, 50, 95)}
    return {name: round(value, 6) for name, value in (found | {"mean": sum(values) / len(values)}).items()}
