"""The model behind a forecast: a list of jobs, a fleet of slots, pools reclaimed as a whole, many samples at once.

Each step is one numpy call over all samples. This is not a scheduler: `spotbatch simulate` drives the real one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from spotbatch.pricing.checkpoint import best_interval_seconds
from spotbatch.pricing.instance_selection import Choice

if TYPE_CHECKING:
    from spotbatch.pricing.forecast import Plan

_MOST_STEPS: Final = 2000  # beyond this, jobs are grouped into blocks that run one after another on the same slot
_MOST_CELLS: Final = 4_000_000  # samples x slots: 32 MB per array
_LEAST_SAMPLES: Final = 50
_BINS: Final = 2048  # of time, for counting reclaims
_HORIZONS: Final = 6  # reclaims are drawn for this many times the undisturbed duration

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """All samples of one scenario."""

    cost_usd: list[float]
    finish_seconds: list[float]
    interruptions: list[float]
    hosts: int
    host_hours: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    """How the fleet is divided: one job per slot; some slots on on-demand hosts, the rest in pools of Spot hosts."""

    samples: int
    slots: int
    per_host: int
    pool_of_slot: NDArray[np.int64]  # -1: on-demand
    block: int
    steps: int

    @property
    def hosts(self) -> int:
        return math.ceil(self.slots / self.per_host)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Draws:
    """The random draws of each sample: the price of each pool's slots, and its cumulative reclaims over time."""

    usd_per_slot_hour: Floats  # samples x (pools + 1); the last is on-demand
    reclaims_by: NDArray[np.int32]  # samples x pools x bins, cumulative
    bin_seconds: float


def simulate(plan: "Plan", types: Sequence[Choice], on_demand_share: float) -> Outcome:
    """All samples of the plan with this share of the hosts on-demand and the others on Spot."""
    rng = np.random.default_rng([plan.seed, round(on_demand_share * 1_000_000)])
    shape = _shape(plan, types, on_demand_share)
    draws = _draw(plan, types, shape, rng)
    free, interruptions = _run(plan, types, shape, draws, rng)
    ends = free.max(axis=1)
    hours = _host_hours(free, shape, plan.boot_seconds)
    return Outcome(
        cost_usd=_bill(hours, shape, draws).tolist(),
        finish_seconds=(ends + plan.boot_seconds).tolist(),
        interruptions=interruptions.tolist(),
        hosts=shape.hosts,
        host_hours=float(hours.sum(axis=1).mean()),
    )


def _shape(plan: "Plan", types: Sequence[Choice], on_demand_share: float) -> _Shape:
    """A fleet of mid-sized hosts, as large as the vCPU limit allows and the jobs need."""
    per_vcpu = sum(each.jobs_per_host / each.type.vcpus for each in types) / len(types)
    slots = max(1, min(plan.jobs, math.floor(plan.max_vcpus * per_vcpu)))
    per_host = min(slots, sorted(each.jobs_per_host for each in types)[len(types) // 2])
    hosts = math.ceil(slots / per_host)
    host_of_slot = np.arange(slots) // per_host
    stable = round(hosts * on_demand_share)
    pools = np.where(host_of_slot < stable, -1, host_of_slot % plan.pools)
    block = math.ceil(plan.jobs / max(_MOST_STEPS, slots))
    return _Shape(
        samples=max(_LEAST_SAMPLES, min(plan.samples, _MOST_CELLS // slots)),
        slots=slots,
        per_host=per_host,
        pool_of_slot=pools,
        block=block,
        steps=math.ceil(plan.jobs / block),
    )


def _draw(plan: "Plan", types: Sequence[Choice], shape: _Shape, rng: np.random.Generator) -> _Draws:
    picked = rng.integers(len(types), size=(shape.samples, plan.pools))
    slot_usd = np.array([float(each.spot_usd_per_hour or 0) / each.jobs_per_host for each in types])
    stable_usd = min(float(each.type.on_demand_usd_per_hour) / each.jobs_per_host for each in types)
    rates = np.array([each.interruptions_per_hour for each in types])[picked] / 3600
    rounds = math.ceil(plan.jobs / shape.slots)
    horizon = max(_HORIZONS * rounds * _mean_work(plan) * 1.2, 60.0)
    bin_seconds = horizon / _BINS
    counts = rng.poisson(rates[:, :, None] * bin_seconds, size=(shape.samples, plan.pools, _BINS))
    return _Draws(
        usd_per_slot_hour=np.concatenate([slot_usd[picked], np.full((shape.samples, 1), stable_usd)], axis=1),
        reclaims_by=np.concatenate(
            [np.zeros((shape.samples, plan.pools, 1), dtype=np.int32), np.cumsum(counts, axis=2, dtype=np.int32)],
            axis=2,
        ),
        bin_seconds=bin_seconds,
    )


def _run(
    plan: "Plan", types: Sequence[Choice], shape: _Shape, draws: _Draws, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """When each slot finishes its last job, and how many interruptions each sample saw, by stepwise list scheduling."""
    rows = np.arange(shape.samples)
    free = np.zeros((shape.samples, shape.slots))
    seen = np.zeros(shape.samples)
    interval = _interval(plan, types)
    left = plan.jobs
    for step in range(shape.steps):
        number = min(shape.block, left)
        left -= number
        slot = np.full(shape.samples, step) if step < shape.slots else free.argmin(axis=1)
        start = free[rows, slot]
        work = _work(plan, number, shape.samples, rng)
        spent, hits = _spend(plan, shape.pool_of_slot[slot], start, work, number, interval, draws, rng)
        free[rows, slot] = start + spent
        seen += hits
    return free, seen


def _spend(
    plan: "Plan",
    pool: NDArray[np.int64],
    start: Floats,
    work: Floats,
    number: int,
    interval: float,
    draws: _Draws,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Seconds that a block of work takes including saves and interruptions, and the number of interruptions.

    An interruption loses the work since the last save: uniformly up to an interval (or a job, if shorter).
    The lookup runs twice, since another interruption may occur during the lost time.
    """
    is_spot = pool >= 0
    saves = np.where(work / number > interval, work / interval * plan.save_seconds, 0.0)
    undisturbed = np.where(is_spot, work + saves, work)
    lost = rng.random(len(work)) * np.minimum(interval + plan.save_seconds, work / number)
    hits = _hits(draws, pool, start, start + undisturbed)
    spent = undisturbed + hits * (plan.restart_seconds + lost)
    hits = np.where(is_spot, _hits(draws, pool, start, start + spent), 0.0)
    return undisturbed + hits * (plan.restart_seconds + lost), hits


def _hits(draws: _Draws, pool: NDArray[np.int64], start: Floats, stop: Floats) -> Floats:
    rows = np.arange(len(pool))
    first, last = (np.minimum(at / draws.bin_seconds, _BINS).astype(np.int64) for at in (start, stop))
    found: Floats = (draws.reclaims_by[rows, pool, last] - draws.reclaims_by[rows, pool, first]).astype(np.float64)
    return np.where(pool >= 0, found, 0.0)


def _host_hours(free: Floats, shape: _Shape, boot_seconds: float) -> Floats:
    """Each host lives from boot until its last slot is free; spare room on the last host and the tail are included."""
    padding = shape.hosts * shape.per_host - shape.slots
    by_host = np.pad(free, ((0, 0), (0, padding))).reshape(shape.samples, shape.hosts, shape.per_host)
    hours: Floats = (by_host.max(axis=2) + boot_seconds) / 3600
    return hours


def _bill(hours: Floats, shape: _Shape, draws: _Draws) -> Floats:
    pool_of_host = shape.pool_of_slot[:: shape.per_host]
    bill: Floats = (hours * draws.usd_per_slot_hour[:, pool_of_host] * shape.per_host).sum(axis=1)
    return bill


def _work(plan: "Plan", number: int, samples: int, rng: np.random.Generator) -> Floats:
    """The work of `number` jobs in a row, in each sample."""
    if plan.measured_seconds:
        drawn = rng.choice(np.array(plan.measured_seconds), size=(samples, number))
        return np.asarray(drawn.sum(axis=1), dtype=np.float64)
    if not plan.spread:
        return np.full(samples, plan.work_seconds * number)
    variance = math.log1p(plan.spread**2 / number)  # of the sum, again treated as lognormal
    mean = math.log(plan.work_seconds * number) - variance / 2
    return rng.lognormal(mean, math.sqrt(variance), size=samples)


def _mean_work(plan: "Plan") -> float:
    return sum(plan.measured_seconds) / len(plan.measured_seconds) if plan.measured_seconds else plan.work_seconds


def _interval(plan: "Plan", types: Sequence[Choice]) -> float:
    if plan.interval_seconds is not None:
        return plan.interval_seconds
    rate = sum(each.interruptions_per_hour for each in types) / len(types)
    if rate <= 0:
        return math.inf
    return best_interval_seconds(save_seconds=plan.save_seconds, seconds_between_interruptions=3600 / rate)
