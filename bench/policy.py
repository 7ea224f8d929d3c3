"""The policy table on the published traces: ours against the baselines, training against held out, and its speed.

python bench/policy.py            the table, and ours on zones and weeks that it never saw
python bench/policy.py --sweep    the same gain over job fractions and changeovers (minutes)
python bench/policy.py --misfit   the shipped model on made-up pools unlike those it was fitted to (a minute)
python bench/policy.py --years    made-up other years: the traces' periods stretched, with doubt and without (minutes)
python bench/policy.py --fit      the module spotbatch/policy/fitted_model.py, regenerated from the traces

Several pools: bench/placement.py.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path
from random import Random
from statistics import correlation, fmean, stdev

from spotbatch.policy.baselines import UniformProgress
from spotbatch.policy.deadline import DeadlinePolicy
from spotbatch.policy.fit import FitSettings, fit
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.interface import Move, Policy, Terms, View
from spotbatch.policy.replay import replay, saving
from spotbatch.policy.table import solve
from spotbatch.simulate.deadlines import Score, drawn_windows, policies, table, windows_of
from spotbatch.simulate.montecarlo import percentile
from spotbatch.simulate.trace import read_traces

DECISION_GOAL_US = 50
NAME = "spot-availability-2023-p3.2xlarge.csv.gz"
PROBES = 3  # of 195 s, to a tick of 585 s
STRIDE = 24
HOUR = 3600.0
MADE_UP = (  # mean hours up and down, and the Weibull shape
    (1, 1, 1), (10, 2, 1), (0.5, 3, 1), (3, 0.5, 1), (20, 20, 1),
    (2, 2, 2), (6, 1, 2), (1, 6, 2), (0.3, 0.3, 1), (48, 1, 1),
)  # fmt: skip

YEARS = {  # factors by which up and down periods are lengthened
    "as it was": (1, 1), "all/4": (0.25, 0.25), "all/2": (0.5, 0.5), "all*2": (2, 2), "all*4": (4, 4),
    "up/3": (1 / 3, 1), "up*3": (3, 1), "away/3": (1, 1 / 3), "away*3": (1, 3),
}  # fmt: skip

Traces = Mapping[str, Sequence[bool]]


def terms_of(fraction: float = 0.8, changeover_hours: float = 0.2, *, seen_at_once: bool = True) -> Terms:
    """A job of 60 h times the fraction, due in 60 h."""
    return Terms(
        work_seconds=60 * HOUR * fraction,
        deadline_seconds=60 * HOUR,
        changeover_seconds=changeover_hours * HOUR,
        tick_seconds=585.0,
        price_ratio=3.144,
        is_reclaim_seen_at_once=seen_at_once,
    )


def trace_path() -> Path | None:
    """SPOTBATCH_TRACES (the file or its folder), else shared/data in a parent folder."""
    given = os.environ.get("SPOTBATCH_TRACES")
    places = [Path(given)] if given else [each / "shared" / "data" for each in Path(__file__).resolve().parents]
    for place in places:
        found = place if place.is_file() else place / NAME
        if found.is_file():
            return found
    return None


def find_traces() -> Traces | None:
    path = trace_path()
    return {each.zone: each.coarser(PROBES).available for each in read_traces(path)} if path else None


# ---- the table ----


def print_table(scores: Sequence[Score]) -> None:
    print(f"{'policy':22}{'saving':>8}{'+-':>6}{'worst zone':>12}{'cost p95':>10}{'worst':>8}{'late':>7}")
    for each in scores:
        error = f"{100 * each.zone_error:.1f}" if each.zone_error is not None else "-"
        print(
            f"{each.name:22}{100 * each.mean_saving:7.1f}%{error:>6}{100 * min(each.zone_savings.values()):11.1f}%"
            f"{100 * each.p95_cost:9.0f}%{100 * each.worst_cost:7.0f}%{each.late:7}"
        )
    print(f"({scores[0].windows} windows; costs are parts of the on-demand bill for the bare work;")
    print(" a late job's cost is for the part that it got done;")
    print(" +- is the standard error over zones)")


# ---- held out ----


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One zone and half of the weeks to test on; the other zones' other half to train on."""

    zone: str
    train: Traces
    test: Sequence[bool]


def folds(traces: Traces) -> list[Fold]:
    out = []
    for zone, trace in traces.items():
        half = len(trace) // 2
        for test, side in ((trace[:half], slice(half, None)), (trace[half:], slice(0, half))):
            out.append(Fold(zone=zone, train={z: t[side] for z, t in traces.items() if z != zone}, test=test))
    return out


@dataclass(frozen=True, kw_only=True)
class Gains:
    """Points of saving over UP, by window."""

    training: list[float]
    held_out: dict[str, list[float]]
    costs: list[float]  # ours, of the on-demand bill, held out
    late: int

    @property
    def mean(self) -> float:
        return fmean(value for found in self.held_out.values() for value in found)


def held_out(traces: Traces, terms: Terms, stride: int, *, training_too: bool) -> Gains:
    """Every fold's model on unseen data and, for comparison, on (a part of) its training data."""
    training: list[float] = []
    costs: list[float] = []
    zones: dict[str, list[float]] = {}
    late = 0
    for fold in folds(traces):
        policy = DeadlinePolicy(model=fit(list(fold.train.values()), terms.tick_seconds))
        windows = windows_of({fold.zone: fold.test}, terms, stride)[fold.zone]
        for window in windows:
            ours = replay(terms, policy, window)
            late += ours.is_late
            costs.append(1 - saving(ours.cost, terms))
            zones.setdefault(fold.zone, []).append(_points(terms, ours.cost, window))
        if training_too:
            seen = [one for found in windows_of(fold.train, terms, stride * 8).values() for one in found]
            training += [_points(terms, replay(terms, policy, each).cost, each) for each in seen]
    return Gains(training=training, held_out=zones, costs=costs, late=late)


def _points(terms: Terms, cost: float, window: Sequence[bool]) -> float:
    return 100 * (saving(cost, terms) - saving(replay(terms, UniformProgress(), window).cost, terms))


def print_held_out(traces: Traces) -> None:
    print("\nours over UP as coded, points of saving; trained on the other zones' other half of the weeks")
    for name, seen in (("reclaims seen at once", True), ("reclaims seen at the next tick", False)):
        gains = held_out(traces, terms_of(seen_at_once=seen), STRIDE, training_too=seen)
        means = {zone: fmean(found) for zone, found in gains.held_out.items()}
        error = stdev(means.values()) / len(means) ** 0.5
        count = len(gains.costs)
        print(
            f"{name}: held out {gains.mean:+.2f} (+- {error:.2f} over zones, {count} windows), late {gains.late}, "
            f"cost p95 {100 * percentile(gains.costs, 95):.0f}%, worst {100 * max(gains.costs):.0f}%"
        )
        if gains.training:
            print(f"  training {fmean(gains.training):+.2f} ({len(gains.training)} windows)")
        print("  by zone: " + ", ".join(f"{zone} {value:+.2f}" for zone, value in means.items()))


def print_sweep(traces: Traces) -> None:
    print("\nheld-out gain over UP as coded (points; worst zone in brackets; late), every third window")
    for fraction in (0.5, 0.65, 0.8, 0.9, 0.95):
        cells = []
        for changeover in (0.02, 0.1, 0.2, 0.4):
            gains = held_out(traces, terms_of(fraction, changeover), 3 * STRIDE, training_too=False)
            worst = min(fmean(found) for found in gains.held_out.values())
            cells.append(f"d {changeover:g} h: {gains.mean:+.2f} ({worst:+.2f}; {gains.late})")
        print(f"f {fraction:4}  " + "   ".join(cells), flush=True)


# ---- pools unlike those it was fitted to ----


def drawn_pool(up_hours: float, down_hours: float, shape: float, ticks: int, seed: int) -> list[bool]:
    """Periods of Weibull lengths with these means; shape 1 is memoryless, shape 2 ages."""
    chance = Random(seed)
    is_up = chance.random() < up_hours / (up_hours + down_hours)
    out: list[bool] = []
    while len(out) < ticks:
        mean = (up_hours if is_up else down_hours) * HOUR / 585.0
        length = max(1, round(mean * chance.weibullvariate(1.0, shape) / math.gamma(1 + 1 / shape)))
        out += [is_up] * length
        is_up = not is_up
    return out[:ticks]


def print_misfit() -> None:
    print("\nthe shipped model on made-up pools unlike its own: gain over UP as coded, points; 60 windows each")
    for fraction, changeover in ((0.8, 0.2), (0.6, 0.1), (0.9, 0.4)):
        terms = terms_of(fraction, changeover)
        cells = []
        for up, down, shape in MADE_UP:
            drawn = [drawn_pool(up, down, shape, terms.ticks, seed) for seed in range(60)]
            costs = [replay(terms, DeadlinePolicy(model=FITTED), each).cost for each in drawn]
            gain = fmean(_points(terms, cost, each) for cost, each in zip(costs, drawn, strict=True))
            cells.append(f"{up:g}/{down:g}h^{shape:g} {gain:+.1f}")
        print(f"  f {fraction}, d {changeover} h: " + "  ".join(cells), flush=True)


def stretched(trace: Sequence[bool], up: float, away: float, seed: int = 0) -> list[bool]:
    """The same periods in the same order, lengthened by a factor; fractional ticks are rounded at random."""
    chance = Random(seed)
    out: list[bool] = []
    for is_up, found in groupby(trace):
        length = len(list(found)) * (up if is_up else away)
        out += [is_up] * max(1, int(length) + (chance.random() < length % 1))
    return out[: 2 * len(trace)]


def print_years(traces: Traces) -> None:
    print("\nheld-out gain over UP as coded on made-up years (points; worst zone in brackets), with doubt and without")
    terms = terms_of()
    gains: dict[tuple[str, bool], dict[str, list[float]]] = {}
    for fold in folds(traces):
        model = fit(list(fold.train.values()), terms.tick_seconds)
        for is_wide in (True, False):
            policy = DeadlinePolicy(model=model, is_wide=is_wide)
            for year, (up, away) in YEARS.items():
                windows = windows_of({fold.zone: stretched(fold.test, up, away)}, terms, 3 * STRIDE)[fold.zone]
                found = [_points(terms, replay(terms, policy, each).cost, each) for each in windows]
                gains.setdefault((year, is_wide), {}).setdefault(fold.zone, []).extend(found)
    for year in YEARS:
        cells = []
        for is_wide in (True, False):
            means = [fmean(found) for found in gains[year, is_wide].values()]
            cells.append(f"{fmean(means):+.2f} ({min(means):+.2f})")
        print(f"  {year:10} {cells[0]}   without doubt {cells[1]}")


# ---- speed ----


def print_speed() -> None:
    terms = terms_of()
    begun = time.perf_counter()
    solved = solve(terms, DeadlinePolicy(model=FITTED).believed)
    seconds = time.perf_counter() - begun
    print(f"\ntable: {solved.bytes / 1e6:.0f} MB, solved in {seconds:.2f} s")
    for policy in policies():
        rate = decisions_a_second(policy, terms)
        print(f"  {policy.name:22} {rate:12,.0f} decisions/s  {1e6 / rate:8.2f} us")
        if policy.name == "ours":
            print(f"  goal for ours: {DECISION_GOAL_US} us: {'met' if 1e6 / rate < DECISION_GOAL_US else 'MISSED'}")


def decisions_a_second(policy: Policy, terms: Terms) -> float:
    pilot = policy.start(terms)
    views = [
        View(tick * 585.0, tick * 400.0, Move.SPOT if tick % 3 else Move.WAIT, 0.0, bool(tick % 3))
        for tick in range(300)
    ]
    best = _timed(lambda: [pilot.decide(view) for view in views])
    return len(views) / best


def _timed(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(10):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


# ---- the fit ----


def print_fit(traces: Traces) -> None:
    """The module fitted_model.py: its header and docstring unchanged, the figures regenerated."""
    model = fit(list(traces.values()), 585.0, FitSettings())
    here = Path(__file__).resolve().parent.parent / "spotbatch" / "policy" / "fitted_model.py"
    head, _, _ = here.read_text(encoding="utf-8").partition("    edges_seconds=")
    print(f"{head}    edges_seconds=({', '.join(f'{each:.1f}' for each in model.edges_seconds)}),\n    regimes=(")
    weights = [round(each.weight, 6) for each in model.regimes]
    weights[-1] = round(1 - sum(weights[:-1]), 6)
    for each, weight in zip(model.regimes, weights, strict=True):
        up, down = (", ".join(f"{rate:.4f}" for rate in each.rates(side)) for side in (True, False))
        print(f"        Regime(\n            weight={weight},\n            up_ends_per_hour=({up}),")
        print(f"            down_ends_per_hour=({down}),\n        ),")
    print("    ),\n)\n")
    same, other = correlations(traces)
    print("# Mean correlation of being up, over pairs of zones of one region, and of two.")
    print(f"SAME_REGION_CORRELATION: Final = {same:.2f}\nOTHER_REGION_CORRELATION: Final = {other:.2f}")


def correlations(traces: Traces) -> tuple[float, float]:
    """Correlations of pairs of zones in one region, and in two."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for one, other in combinations(sorted(traces), 2):
        value = correlation([float(up) for up in traces[one]], [float(up) for up in traces[other]])
        found[one[:-1] == other[:-1]].append(value)
    return fmean(found[True]), fmean(found[False])


def print_survival(traces: Traces, model: HazardModel) -> None:
    """Period lengths, measured and by the model, to show the fit."""
    print("\nthe fit: part of periods that last longer than so many ticks of 585 s (measured / model)")
    for is_up in (True, False):
        lengths = [length for trace in traces.values() for length in periods(trace, is_up)]
        cells = []
        for ticks in (1, 2, 4, 8, 16, 32, 64, 128):
            measured = sum(length > ticks for length in lengths) / len(lengths)
            modelled = model_survival(model, is_up, ticks * 585.0)
            cells.append(f"{ticks} {100 * measured:.0f}/{100 * modelled:.0f}%")
        print(f"  {'up' if is_up else 'down':5}({len(lengths)}): " + "  ".join(cells))


def periods(trace: Sequence[bool], is_up: bool) -> list[int]:
    """Lengths of complete periods in ticks."""
    out, length, side = [], 0, None
    for now in trace:
        if now == side:
            length += 1
            continue
        if side == is_up:
            out.append(length)
        side, length = now, 1
    return out[1:]


def model_survival(model: HazardModel, is_up: bool, seconds: float) -> float:
    """A period's survival probability, with regimes weighted by their number of periods."""
    shares = []
    for each in model.regimes:
        cycle = sum(model.mean_hours(each.rates(side)) for side in (True, False))
        shares.append(each.weight / cycle)
    lasting = [1 - model.end_probability(each, is_up, 0.0, seconds) for each in model.regimes]
    return sum(share * last for share, last in zip(shares, lasting, strict=True)) / sum(shares)


def main(arguments: Sequence[str]) -> None:
    traces = find_traces()
    if traces is None:
        print(f"{NAME} is not ours to ship: set SPOTBATCH_TRACES to it. On windows drawn from the fitted model:")
        terms = replace(terms_of(), tick_seconds=600.0)
        print_table(table(terms, drawn_windows(FITTED, terms, 200, seed=1), policies()))
    elif "--fit" in arguments:
        print_fit(traces)
        return
    else:
        print("a job of 48 h due in 60 h, 0.2 h lost at each start, on-demand at 3.144 times Spot (p3.2xlarge, 2023)")
        print_table(table(terms_of(), windows_of(traces, terms_of(), STRIDE), policies()))
        print("`ours` above has seen these traces; what it does on those that it has not seen:")
        print_held_out(traces)
        print_survival(traces, FITTED)
        if "--sweep" in arguments:
            print_sweep(traces)
        if "--misfit" in arguments:
            print_misfit()
        if "--years" in arguments:
            print_years(traces)
    print_speed()


if __name__ == "__main__":
    main(sys.argv[1:])
