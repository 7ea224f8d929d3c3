"""Placement over several pools: ours, Uniform Progress and SkyNomad, as the fraction above the exact optimum.

python bench/placement.py              zones of the published traces, held out by time and zone (minutes)
python bench/placement.py --ratios     also for tighter deadlines
python bench/placement.py --made-up    pools drawn from a generator of this file, unlike those of the traces
python bench/placement.py --ablation   what each part of ours contributes
python bench/placement.py --speed      the table and a decision
python bench/placement.py --fit        the coupling of the pools of a region
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import fmean, stdev

from spotbatch.policy.coupling import FITTED_COUPLING, NONE, Coupling, fit_coupling
from spotbatch.policy.fit import fit
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.joint import JointPolicy
from spotbatch.policy.placement import Market, Place, PlacementPolicy, PlacementTerms, PlacementView, SpotPool
from spotbatch.policy.pool_baselines import SkyNomad, UniformProgressOverPools
from spotbatch.policy.pool_oracle import PoolsOptimum
from spotbatch.policy.pool_replay import replay_pools
from spotbatch.pricing.egress import egress_between
from spotbatch.simulate.trace import Trace, read_traces

NAME = "spot-availability-2023-p3.2xlarge.csv.gz"
PROBES = 3  # of 195 s, to a tick of 585 s
HOUR = 3600.0
TICK = 585.0
ON_DEMAND_USD = 3.06  # p3.2xlarge
SETS = {
    "one zone of each of three regions": ("us-east-1f", "us-east-2a", "us-west-2a"),
    "another zone of each": ("us-east-1c", "us-east-2b", "us-west-2b"),
    "two regions, two zones each": ("us-east-1c", "us-east-1d", "us-east-2a", "us-east-2b"),
    "three zones of us-west-2": ("us-west-2a", "us-west-2b", "us-west-2c"),
    "four scarce zones of us-east-1": ("us-east-1a", "us-east-1c", "us-east-1d", "us-east-1f"),
    "all nine zones (not held out by zone)": (),
}
MADE_UP = {  # by pool: mean hours up and down; the part that follows the region; USD per hour; egress for a GB
    "steady, five regions": ([(20, 1), (15, 1), (10, 1), (12, 2), (8, 1)], 0.0, [1.0, 1.1, 0.9, 1.2, 1.0], 0.02),
    "brief, three regions": ([(1, 1), (2, 2), (1, 2)], 0.0, [1.0, 0.9, 1.1], 0.02),
    "scarce, one region": ([(1, 6), (2, 8), (1, 4), (3, 12)], 0.5, [1.5, 1.6, 1.5, 1.7], 0.0),
    "prices far apart": ([(4, 4), (20, 1), (8, 2)], 0.0, [0.6, 1.8, 1.1], 0.02),
    "egress is dear": ([(3, 1), (3, 1), (3, 1)], 0.0, [1.0, 0.95, 1.05], 0.14),
}

Window = tuple[Mapping[str, Sequence[bool]], Mapping[str, Sequence[float]]]
Makers = Mapping[str, Callable[[HazardModel, Coupling], PlacementPolicy]]

YARDSTICKS: Makers = {
    "UP over pools": lambda _model, _coupling: UniformProgressOverPools(),
    "SkyNomad": lambda _model, _coupling: SkyNomad(),
    "SkyNomad, 24 h": lambda _model, _coupling: SkyNomad(most_hours=24.0),
    "ours": lambda model, coupling: JointPolicy(model=model, coupling=coupling),
}
ABLATION: Makers = {
    "ours": YARDSTICKS["ours"],
    "joint table alone": lambda model, coupling: JointPolicy(model=model, coupling=coupling, region_weight=0.0),
    "region's table alone": lambda model, coupling: JointPolicy(model=model, coupling=coupling, region_weight=1.0),
    "pools independent": lambda model, _: JointPolicy(model=model, coupling=NONE),
    "solved once": lambda model, coupling: JointPolicy(model=model, coupling=coupling, solve_again_below=0.0),
    "recoveries as believed": lambda model, coupling: JointPolicy(model=model, coupling=coupling, recovery=1.0),
    "blind to age": lambda model, coupling: JointPolicy(model=model, coupling=coupling, is_aged=False),
    "no voluntary moves": lambda model, coupling: JointPolicy(model=model, coupling=coupling, is_moving=False),
    "no doubt": lambda model, coupling: JointPolicy(model=model, coupling=coupling, is_wide=False),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Windows to replay, each with its model and coupling."""

    terms: PlacementTerms
    windows: Sequence[tuple[Window, HazardModel, Coupling]]


def terms_of(zones: Sequence[str], *, ratio: float = 1.5, work_hours: float = 40.0, gb: float = 50.0) -> PlacementTerms:
    """A job of 40 h with a checkpoint of 50 GB, 0.2 h lost at each start."""
    regions = tuple(sorted({zone[:-1] for zone in zones}))
    return PlacementTerms(
        work_seconds=work_hours * HOUR,
        deadline_seconds=work_hours * ratio * HOUR,
        changeover_seconds=0.2 * HOUR,
        tick_seconds=TICK,
        pools=tuple(SpotPool(name=zone, region=zone[:-1], usd_per_hour=1.0) for zone in zones),
        on_demand_usd_per_hour=dict.fromkeys(regions, ON_DEMAND_USD),
        checkpoint_gb=gb,
        egress_usd_per_gb=egress_between(regions),
        is_reclaim_seen_at_once=True,
    )


# ---- windows ----


def published(traces: Mapping[str, Trace], zones: Sequence[str], ratio: float) -> Case:
    """Non-overlapping windows, with the model fitted to the other zones' other half of the weeks."""
    terms = terms_of(zones, ratio=ratio)
    found: list[tuple[Window, HazardModel, Coupling]] = []
    count = len(traces[zones[0]].available)
    halves = (slice(0, count // 2), slice(count // 2, count))
    for test, train in (halves, halves[::-1]):
        others = [zone for zone in traces if zone not in zones] or list(traces)
        regions = sorted({zone[:-1] for zone in others})
        model = fit([traces[zone].available[train] for zone in others], TICK)
        coupling = fit_coupling(
            [{zone: traces[zone].available[train] for zone in others if zone[:-1] == each} for each in regions]
        )
        for at in range(test.start, test.stop - terms.ticks + 1, terms.ticks):
            part = slice(at, at + terms.ticks)
            window = (
                {zone: traces[zone].available[part] for zone in zones},
                {zone: traces[zone].usd_per_hour[part] for zone in zones},
            )
            found.append((window, model, coupling))
    return Case(terms=terms, windows=found)


def made_up(name: str, count: int, seed: int) -> Case:
    """Pools with Weibull periods (shape 0.7: young ones die), replayed with the shipped model."""
    pools, together, prices, egress = MADE_UP[name]
    is_one_region = together > 0
    zones = [f"r1{letter}" if is_one_region else f"r{place}a" for place, letter in enumerate("abcde"[: len(pools)])]
    regions = tuple(sorted({zone[:-1] for zone in zones}))
    base = terms_of(["us-east-1a"])
    terms = replace(
        base,
        pools=tuple(SpotPool(name=z, region=z[:-1], usd_per_hour=usd) for z, usd in zip(zones, prices, strict=True)),
        on_demand_usd_per_hour=dict.fromkeys(regions, ON_DEMAND_USD),
        egress_usd_per_gb={(one, two): egress for one in regions for two in regions if one != two},
    )
    found: list[tuple[Window, HazardModel, Coupling]] = []
    for number in range(count):
        chance = Random(f"{seed}/{name}/{number}")
        common = drawn(chance, *pools[0], terms.ticks)
        up = {}
        for zone, (hours_up, hours_down) in zip(zones, pools, strict=True):
            own = drawn(chance, hours_up, hours_down, terms.ticks)
            up[zone] = common if is_one_region and chance.random() < together else own
        usd = {each.name: [each.usd_per_hour] * terms.ticks for each in terms.pools}
        found.append(((up, usd), FITTED, FITTED_COUPLING))
    return Case(terms=terms, windows=found)


def drawn(chance: Random, hours_up: float, hours_down: float, ticks: int) -> list[bool]:
    shape = 0.7
    scale = HOUR / TICK / math.gamma(1 + 1 / shape)
    is_up = chance.random() < hours_up / (hours_up + hours_down)
    out: list[bool] = []
    while len(out) < ticks:
        out += [is_up] * max(1, round(chance.weibullvariate((hours_up if is_up else hours_down) * scale, shape)))
        is_up = not is_up
    return out[:ticks]


# ---- the table ----


def print_case(title: str, case: Case, makers: Makers) -> None:
    """The fraction above the optimum: over all windows' cost, and by window with standard error and worst case."""
    costs: dict[str, list[float]] = {name: [] for name in makers}
    least: list[float] = []
    late = dict.fromkeys(makers, 0)
    for (up, usd), model, coupling in case.windows:
        terms = replace(case.terms, pools=tuple(replace(p, usd_per_hour=usd[p.name][0]) for p in case.terms.pools))
        least.append(PoolsOptimum().usd(terms, up, usd))
        for name, make in makers.items():
            outcome = replay_pools(terms, make(model, coupling), up, usd)
            costs[name].append(outcome.usd)
            late[name] += outcome.is_late
    ratio = case.terms.deadline_seconds / case.terms.work_seconds
    print(f"\n{title}, deadline {ratio:g} times the work: {len(least)} windows, optimum {fmean(least):.1f} USD")
    print(f"  {'':24}{'above optimum':>14}{'+-':>7}{'worst':>8}{'late':>6}{'against ours':>22}")
    for name, found in costs.items():
        parts = [100 * (cost / best - 1) for cost, best in zip(found, least, strict=True)]
        error = stdev(parts) / len(parts) ** 0.5
        ours = [100 * (mine - cost) / best for mine, cost, best in zip(costs["ours"], found, least, strict=True)]
        paired = f"{fmean(ours):+.1f} +- {stdev(ours) / len(ours) ** 0.5:.1f}" if name != "ours" else ""
        above = 100 * (sum(found) / sum(least) - 1)
        print(f"  {name:24}{above:13.1f}%{error:7.1f}{max(parts):7.0f}%{late[name]:6}{paired:>22}", flush=True)


def print_speed() -> None:
    """Five pools in five regions, the largest table there is."""
    regions = ("us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1")
    terms = terms_of([f"{region}a" for region in regions])
    begun, core = time.perf_counter(), time.process_time()
    pilot = JointPolicy(model=FITTED).start(terms)
    seconds, core = time.perf_counter() - begun, time.process_time() - core
    print(f"five pools in five regions: {pilot.table.bytes / 1e6:.0f} MB, {seconds:.2f} s, {core:.2f} s of a core")
    chance = Random(1)
    up = {each.name: drawn(chance, 3, 2, terms.ticks) for each in terms.pools}
    timed = _Timed(JointPolicy(model=FITTED, solve_again_below=0.0))
    outcome = replay_pools(terms, timed, up)
    each, count = timed.seconds / timed.decisions, timed.decisions
    print(f"  a decision: {1e3 * each:.2f} ms of a core; {outcome.attempts / count:.1f} attempts")


class _Timed:
    """A policy that counts its decisions and their CPU seconds."""

    def __init__(self, policy: PlacementPolicy) -> None:
        self._policy = policy
        self.name, self.seconds, self.decisions = policy.name, 0.0, 0

    def start(self, terms: PlacementTerms) -> "_Timed":
        self._pilot = self._policy.start(terms)
        return self

    def decide(self, view: PlacementView, market: Market) -> Place:
        begun = time.process_time()
        place = self._pilot.decide(view, market)
        self.seconds, self.decisions = self.seconds + time.process_time() - begun, self.decisions + 1
        return place


def read() -> dict[str, Trace] | None:
    """SPOTBATCH_TRACES (the file or its folder), else shared/data in a parent folder."""
    given = os.environ.get("SPOTBATCH_TRACES")
    places = [Path(given)] if given else [each / "shared" / "data" for each in Path(__file__).resolve().parents]
    for place in places:
        found = place if place.is_file() else place / NAME
        if found.is_file():
            return {each.zone: each.coarser(PROBES) for each in read_traces(found)}
    return None


def cases(traces: Mapping[str, Trace], ratios: Sequence[float]) -> Iterator[tuple[str, Case]]:
    for name, zones in SETS.items():
        for ratio in ratios:
            yield name, published(traces, zones or sorted(traces), ratio)


def main(arguments: Sequence[str]) -> None:
    traces = read()
    if "--speed" in arguments:
        return print_speed()
    if "--made-up" in arguments or traces is None:
        if traces is None:
            print(f"{NAME} is not ours to ship: set SPOTBATCH_TRACES to it. On made-up pools:")
        for name in MADE_UP:
            print_case(name, made_up(name, 20, seed=1), YARDSTICKS)
        return None
    if "--fit" in arguments:
        regions = sorted({zone[:-1] for zone in traces})
        print(fit_coupling([{z: t.available for z, t in traces.items() if z[:-1] == each} for each in regions]))
        return None
    makers = ABLATION if "--ablation" in arguments else YARDSTICKS
    for name, case in cases(traces, (1.5, 1.25) if "--ratios" in arguments else (1.5,)):
        print_case(name, case, makers)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
