"""Comparisons for choosing a setup: the same run with other pools, checkpoints, fleets or regions, side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import Pool
from spotbatch.pricing.history import Prices
from spotbatch.simulate.montecarlo import MonteCarlo, run_many
from spotbatch.simulate.scenario import Scenario
from spotbatch.simulate.spot_capacity import Calm

_INTERVALS: Final = (0.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)  # of work between checkpoints, seconds
_SHARES: Final = (0.0, 0.25, 0.5, 1.0)  # of the jobs, on demand


class Question(StrEnum):
    """What is compared."""

    POOLS = "pools"  # how many instance types and zones
    CHECKPOINT = "checkpoint"  # which interval
    FLEET = "fleet"  # Spot, on demand, or both
    REGIONS = "regions"  # one, or more


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One option: runs that happen in parallel, each with its part of the jobs and vCPUs."""

    name: str
    parts: tuple[Scenario, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The results of a variant, by run: cost, end of the last job, number of interrupted attempts."""

    name: str
    usd: tuple[Decimal, ...]
    makespan_seconds: tuple[float, ...]
    interruptions: tuple[int, ...]
    lost_seconds: tuple[float, ...]
    unfinished: int


def variants(scenario: Scenario, question: Question) -> list[Variant]:
    """The variants of a scenario that answer a question, each with the scenario's own seed.

    Raises InvalidInput if there is nothing to compare: only one pool, or zones of one region.
    """
    found = [Variant(name=name, parts=parts) for name, parts in _MADE[question](scenario)]
    if len(found) < 2:
        hint = {Question.POOLS: "--types and --zones with more than one", Question.REGIONS: "--zones of two regions"}
        raise InvalidInput(f"--compare {question} has nothing to compare here: give {hint.get(question, 'more')}")
    return found


def answers(
    found: Sequence[Variant],
    runs: int,
    prices: Prices,
    *,
    cores: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """All variants, each simulated `runs` times. `on_progress` is called with the number of variants done."""
    out = []
    for done, each in enumerate(found, start=1):
        plans = [MonteCarlo(scenario=part, runs=runs, prices=prices) for part in each.parts]
        by_part = [run_many(plan, cores=cores) for plan in plans]
        out.append(
            Answer(
                name=each.name,
                usd=tuple(sum((one.usd for one in run), Decimal(0)) for run in zip(*by_part, strict=True)),
                makespan_seconds=tuple(max(one.makespan_seconds for one in run) for run in zip(*by_part, strict=True)),
                interruptions=tuple(sum(one.interruptions for one in run) for run in zip(*by_part, strict=True)),
                lost_seconds=tuple(sum(one.lost_seconds for one in run) for run in zip(*by_part, strict=True)),
                unfinished=sum(not all(one.is_finished for one in run) for run in zip(*by_part, strict=True)),
            )
        )
        if on_progress:
            on_progress(done)
    return out


Made = Iterator[tuple[str, tuple[Scenario, ...]]]


def _pools(scenario: Scenario) -> Made:
    """The first 1, 3, 10 ... types that take a job, in the first 1, 2, 3 ... zones."""
    fitting = [each for each in scenario.pools if _takes(scenario, each)]
    types = list(dict.fromkeys(each.instance_type for each in fitting))
    zones = list(dict.fromkeys(each.zone for each in fitting))
    for count in sorted({1, min(3, len(types)), min(10, len(types)), len(types)}):
        for places in sorted({1, min(2, len(zones)), len(zones)}):
            chosen = tuple(
                each for each in fitting if each.instance_type in types[:count] and each.zone in zones[:places]
            )
            yield f"{_count(count, 'type')}, {_count(places, 'zone')}", (replace(scenario, pools=chosen),)


def _takes(scenario: Scenario, pool: Pool) -> bool:
    jobs = scenario.jobs
    return pool.vcpus >= jobs.vcpus and pool.memory_mib >= jobs.memory_mib and pool.vcpus <= scenario.max_vcpus


def _checkpoint(scenario: Scenario) -> Made:
    own = scenario.timings.checkpoint_every_seconds
    for seconds in sorted({*_INTERVALS, own}):
        timings = replace(scenario.timings, checkpoint_every_seconds=seconds)
        name = f"every {seconds / 60:g} min" if seconds else "on the notice only"
        yield name, (replace(scenario, timings=timings),)


def _fleet(scenario: Scenario) -> Made:
    """A fraction of the jobs in an on-demand queue with the same fraction of the vCPUs, as with two queues."""
    least = min(int(each.vcpus) for each in scenario.pools if _takes(scenario, each))
    for share in _SHARES:
        jobs = round(scenario.jobs.count * share)
        vcpus = max(least, round(scenario.max_vcpus * share))
        demand = replace(
            scenario, jobs=replace(scenario.jobs, count=max(1, jobs)), max_vcpus=vcpus, is_spot=False, capacity=Calm()
        )
        rest = scenario.jobs.count - jobs
        spot = replace(
            scenario,
            jobs=replace(scenario.jobs, count=max(1, rest)),
            max_vcpus=max(least, scenario.max_vcpus - (vcpus if jobs else 0)),
        )
        name = {0.0: "Spot", 1.0: "on demand"}.get(share, f"{share * 100:g} % of the jobs on demand")
        parts = (*((spot,) if rest else ()), *((demand,) if jobs else ()))
        if jobs or not share:
            yield name, parts


def _regions(scenario: Scenario) -> Made:
    regions = list(dict.fromkeys(each.zone[:-1] for each in scenario.pools))
    for count in range(1, len(regions) + 1):
        chosen = tuple(each for each in scenario.pools if each.zone[:-1] in regions[:count])
        yield ", ".join(regions[:count]), (replace(scenario, pools=chosen),)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


_MADE: Final[dict[Question, Callable[[Scenario], Made]]] = {
    Question.POOLS: _pools,
    Question.CHECKPOINT: _checkpoint,
    Question.FLEET: _fleet,
    Question.REGIONS: _regions,
}
