"""One job with a deadline, under each placement policy, over many windows of availability: the policy table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, stdev
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import Pool
from spotbatch.policy.baselines import Greedy, OnDemandOnly, SpotOnly, UniformProgress
from spotbatch.policy.deadline import DeadlinePolicy
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.interface import Policy, Terms
from spotbatch.policy.oracle import Optimum
from spotbatch.policy.replay import replay, saving
from spotbatch.simulate.montecarlo import percentile
from spotbatch.simulate.spot_capacity import CapacityByModel
from spotbatch.simulate.trace import Trace

_BATCH: Final = 100
_WINDOW_SHARE: Final = 15  # windows of a trace start a fifteenth of the deadline apart
_MODEL_TICK_SECONDS: Final = 600.0
_CURVE: Final = (1.05, 1.1, 1.25, 1.5, 1.75, 2.0)  # deadlines on the curve, as multiples of the work
_CURVE_WINDOWS: Final = 40  # per zone and deadline: enough for a curve
CURVE_POINTS: Final = len(_CURVE)

Windows = Mapping[str, Sequence[Sequence[bool]]]  # by zone


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The results of a policy. Savings and costs are fractions of the on-demand bill for the bare work."""

    name: str
    windows: int
    mean_saving: float
    zone_error: float | None  # standard error of the mean over zones
    zone_savings: Mapping[str, float]
    p95_cost: float
    worst_cost: float
    late: int


def policies() -> tuple[Policy, ...]:
    """The baselines, and ours with the shipped model."""
    return (
        OnDemandOnly(),
        SpotOnly(),
        Greedy(),
        UniformProgress(is_as_coded=False),
        UniformProgress(),
        DeadlinePolicy(model=FITTED),
    )


def windows_of(
    traces: Mapping[str, Sequence[bool]], terms: Terms, stride_ticks: int, most: int | None = None
) -> dict[str, list[Sequence[bool]]]:
    """All complete windows of each trace, starting a given number of ticks apart; traces must have the terms' ticks.

    Raises InvalidInput if no trace holds a window.
    """
    found = {
        zone: [trace[at : at + terms.ticks] for at in range(0, len(trace) - terms.ticks + 1, stride_ticks)][:most]
        for zone, trace in traces.items()
    }
    if not any(found.values()):
        longest = max((len(each) for each in traces.values()), default=0)
        raise InvalidInput(f"a deadline of {terms.ticks} ticks needs a trace as long; the longest has {longest}")
    return {zone: each for zone, each in found.items() if each}


def drawn_windows(model: HazardModel, terms: Terms, count: int, seed: int) -> dict[str, list[Sequence[bool]]]:
    """Windows drawn from a model instead of a trace. Each pool is simulated for a day before its window."""
    nowhere = Pool(instance_type="any", zone="model", vcpus=1, memory_mib=1)
    windows: list[Sequence[bool]] = []
    for number in range(count):
        outages = CapacityByModel(model=model, correlation=0.0).outages(nowhere, Random(f"{seed}/{number}"))  # noqa: S311 - seeded
        outage = next(outages)
        window = []
        for tick in range(terms.ticks):
            at = 86_400.0 + tick * terms.tick_seconds
            while outage.ends <= at:
                outage = next(outages)
            window.append(at + terms.tick_seconds <= outage.begins)
        windows.append(window)
    return {"model": windows}


def tick_seconds(traces: Sequence[Trace]) -> float:
    """How often policies decide on these traces; 10 minutes without any.

    Probes more frequent than every 5 minutes are merged into ticks of about 10 minutes.
    """
    if not traces:
        return _MODEL_TICK_SECONDS
    own = traces[0].tick_seconds
    return own * max(1, round((585.0 if own < 300 else own) / own))


def windows_for(terms: Terms, traces: Sequence[Trace], *, runs: int, seed: int, most: int | None = None) -> Windows:
    """All windows of the traces, or about `most` per zone spread over it; without traces, `runs` of the model."""
    if not traces:
        return drawn_windows(FITTED, terms, runs, seed)
    coarse = {each.zone: each.coarser(max(1, round(terms.tick_seconds / each.tick_seconds))) for each in traces}
    longest = max(len(each.available) for each in coarse.values())
    stride = max(1, terms.ticks // _WINDOW_SHARE, (longest - terms.ticks) // most if most else 1)
    return windows_of({zone: each.available for zone, each in coarse.items()}, terms, stride)


def savings_curve(
    terms: Terms, traces: Sequence[Trace], *, runs: int, seed: int, on_point: Callable[[], None] = lambda: None
) -> dict[str, list[tuple[float, float]]]:
    """By policy: deadlines (hours) from just above the work to twice the work, and the mean saving at each."""
    lines: dict[str, list[tuple[float, float]]] = {}
    chosen = [each for each in policies() if each.name not in ("on-demand", "spot only")]
    for factor in _CURVE:
        on_point()
        each = replace(terms, deadline_seconds=terms.work_seconds * factor)
        if not each.is_feasible:
            continue
        windows = windows_for(each, traces, runs=runs, seed=seed, most=_CURVE_WINDOWS)
        for found in table(each, windows, chosen):
            lines.setdefault(found.name, []).append((each.deadline_seconds / 3600.0, found.mean_saving))
    return lines


def score(terms: Terms, policy: Policy, windows: Windows) -> Score:
    """Score a policy over all windows."""
    zones = {
        zone: [(outcome.cost, outcome.is_late) for outcome in (replay(terms, policy, each) for each in found)]
        for zone, found in windows.items()
    }
    return _score(policy.name, terms, zones)


def score_optimum(terms: Terms, windows: Windows) -> Score:
    """Score the omniscient optimum over all windows."""
    zones = {}
    for zone, found in windows.items():
        costs = [
            cost for at in range(0, len(found), _BATCH) for cost in Optimum().costs(terms, found[at : at + _BATCH])
        ]
        zones[zone] = [(cost, False) for cost in costs]
    return _score(Optimum().name, terms, zones)


def table(
    terms: Terms, windows: Windows, chosen: Iterable[Policy], on_progress: Callable[[str], None] | None = None
) -> list[Score]:
    """The scores of these policies, and the optimum last."""
    scores = []
    for policy in chosen:
        if on_progress:
            on_progress(policy.name)
        scores.append(score(terms, policy, windows))
    if on_progress:
        on_progress(Optimum().name)
    return [*scores, score_optimum(terms, windows)]


def _score(name: str, terms: Terms, zones: Mapping[str, Sequence[tuple[float, bool]]]) -> Score:
    bill = terms.work_seconds * terms.price_ratio
    all_costs = [cost / bill for found in zones.values() for cost, _ in found]
    by_zone = {zone: fmean(saving(cost, terms) for cost, _ in found) for zone, found in zones.items()}
    return Score(
        name=name,
        windows=len(all_costs),
        mean_saving=1.0 - fmean(all_costs),
        zone_error=stdev(by_zone.values()) / len(by_zone) ** 0.5 if len(by_zone) > 1 else None,
        zone_savings=by_zone,
        p95_cost=percentile(all_costs, 95),
        worst_cost=max(all_costs),
        late=sum(is_late for found in zones.values() for _, is_late in found),
    )
