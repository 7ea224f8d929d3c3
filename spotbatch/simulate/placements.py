"""One job with a deadline that may move between the pools of a scenario: what each placement policy costs in USD."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, stdev
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import Pool
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.joint import JointPolicy
from spotbatch.policy.placement import PlacementPolicy, PlacementTerms
from spotbatch.policy.pool_baselines import SkyNomad, UniformProgressOverPools
from spotbatch.policy.pool_oracle import PoolsOptimum
from spotbatch.policy.pool_replay import replay_pools
from spotbatch.policy.trace import Trace
from spotbatch.simulate.spot_capacity import CapacityByModel

_WARM_UP_SECONDS: Final = 86_400.0  # pools are simulated for a day before a window drawn from the model


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolWindow:
    """Availability by pool, one entry per tick; and prices, if they are known by tick."""

    available: Mapping[str, Sequence[bool]]
    usd_per_hour: Mapping[str, Sequence[float]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementScore:
    """A policy's results over all windows. `above_optimum` is a part of the optimum's cost, its error over windows."""

    name: str
    windows: int
    mean_usd: float
    above_optimum: float
    error: float | None
    worst_above_optimum: float
    mean_egress_usd: float
    mean_starts: float
    late: int


def placement_policies() -> tuple[PlacementPolicy, ...]:
    """The baselines, and ours with the shipped model."""
    return (UniformProgressOverPools(), SkyNomad(), JointPolicy(model=FITTED))


def windows_of_traces(terms: PlacementTerms, traces: Sequence[Trace], count: int) -> list[PoolWindow]:
    """`count` windows, spread evenly over parallel traces. Raises InvalidInput for short ones."""
    length = min(len(each.available) for each in traces)
    if length < terms.ticks:
        raise InvalidInput(f"a deadline of {terms.ticks} ticks needs traces as long; the shortest has {length}")
    room = length - terms.ticks
    starts = sorted({round(room * place / max(1, count - 1)) for place in range(count)})
    has_prices = all(each.usd_per_hour for each in traces)
    return [
        PoolWindow(
            available={each.zone: each.available[at : at + terms.ticks] for each in traces},
            usd_per_hour={each.zone: each.usd_per_hour[at : at + terms.ticks] for each in traces}
            if has_prices
            else None,
        )
        for at in starts
    ]


def drawn_pool_windows(terms: PlacementTerms, count: int, seed: int) -> list[PoolWindow]:
    """Windows drawn from the shipped model; pools of one region are correlated as in its traces."""
    found = []
    for number in range(count):
        capacity = CapacityByModel(model=FITTED, common_seed=seed * 1_000_003 + number)
        found.append(
            PoolWindow(
                available={
                    each.name: _drawn(terms, capacity, each.name, Random(f"{seed}/{number}/{each.name}"))  # noqa: S311 - seeded
                    for each in terms.pools
                }
            )
        )
    return found


def _drawn(terms: PlacementTerms, capacity: CapacityByModel, zone: str, random: Random) -> list[bool]:
    outages = capacity.outages(Pool(instance_type="any", zone=zone, vcpus=1, memory_mib=1), random)
    outage, window = next(outages), list[bool]()
    for tick in range(terms.ticks):
        at = _WARM_UP_SECONDS + tick * terms.tick_seconds
        while outage.ends <= at:
            outage = next(outages)
        window.append(at + terms.tick_seconds <= outage.begins)
    return window


def score_placements(
    terms: PlacementTerms,
    windows: Sequence[PoolWindow],
    policies: Sequence[PlacementPolicy],
    on_progress: Callable[[int], None] | None = None,
) -> list[PlacementScore]:
    """Every policy over every window, and the optimum last. `on_progress` is called with the number of windows done."""
    usd: dict[str, list[float]] = {each.name: [] for each in policies}
    egress: dict[str, list[float]] = {each.name: [] for each in policies}
    starts: dict[str, list[int]] = {each.name: [] for each in policies}
    late = dict.fromkeys(usd, 0)
    least: list[float] = []
    for done, window in enumerate(windows, start=1):
        own = _priced(terms, window)
        least.append(PoolsOptimum().usd(own, window.available, window.usd_per_hour))
        for policy in policies:
            outcome = replay_pools(own, policy, window.available, window.usd_per_hour)
            usd[policy.name].append(outcome.usd)
            egress[policy.name].append(outcome.egress_usd)
            starts[policy.name].append(outcome.starts)
            late[policy.name] += outcome.is_late
        if on_progress:
            on_progress(done)
    found = [_score(name, usd[name], least, egress[name], starts[name], late[name]) for name in usd]
    return [*found, _score(PoolsOptimum().name, least, least, [], [], 0)]


def _priced(terms: PlacementTerms, window: PoolWindow) -> PlacementTerms:
    """The terms with the prices of the window's first tick, which is what a policy knows at the start."""
    if window.usd_per_hour is None:
        return terms
    prices = window.usd_per_hour
    return replace(terms, pools=tuple(replace(each, usd_per_hour=prices[each.name][0]) for each in terms.pools))


def _score(
    name: str, usd: Sequence[float], least: Sequence[float], egress: Sequence[float], starts: Sequence[int], late: int
) -> PlacementScore:
    above = [cost / best - 1 for cost, best in zip(usd, least, strict=True)]
    return PlacementScore(
        name=name,
        windows=len(usd),
        mean_usd=fmean(usd),
        above_optimum=sum(usd) / sum(least) - 1,
        error=stdev(above) / len(above) ** 0.5 if len(above) > 1 else None,
        worst_above_optimum=max(above),
        mean_egress_usd=fmean(egress) if egress else 0.0,
        mean_starts=fmean(starts) if starts else 0.0,
        late=late,
    )
