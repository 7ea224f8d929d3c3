"""What a run will cost and when it will end, before it starts: a seeded Monte Carlo over interruptions and prices."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.catalogue import InstanceType
from spotbatch.pricing.checkpoint import best_interval_seconds, expected_seconds
from spotbatch.pricing.instance_selection import Choice, Need, choices

if TYPE_CHECKING:
    from spotbatch.pricing.fleet_model import Outcome

_LEVELS: Final = (0.5, 0.9, 0.95)
_MANY_INTERRUPTIONS: Final = 3.0  # per job, on average: AWS Batch allows 10 attempts


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The run to estimate and its assumptions. Seconds are for one job, alone on its share of a host."""

    jobs: int
    work_seconds: float  # the mean
    need: Need
    spread: float = 0.0  # standard deviation of a job's work over its mean (lognormal)
    measured_seconds: tuple[float, ...] = ()  # from a sample run: used instead of mean and spread
    max_vcpus: int = 256
    bid_percentage: float = 80  # of the on-demand price: above it EC2 provides no Spot hosts and reclaims running ones
    deadline_seconds: float | None = None
    save_seconds: float = 5.0  # to save a checkpoint
    interval_seconds: float | None = None  # between two saves; None: the best interval
    restart_seconds: float = 180.0  # from a reclaim until work resumes: a new host, the image, the checkpoint
    boot_seconds: float = 90.0
    interruptions_per_hour: float | None = None  # of a host; None: from each type's band
    on_demand_share: float = 0.25  # of the mixed fleet
    pools: int = 3  # over which the fleet is spread; hosts in one pool are reclaimed together
    cheapest_share: float = 1.0  # of the fitting types, by price: 1 is SPOT_CAPACITY_OPTIMIZED, less favors price
    samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        limits: tuple[tuple[str, float, float, float], ...] = (
            ("jobs", self.jobs, 1, 10_000_000),
            ("work_seconds", self.work_seconds, 0.001, 1e9),
            ("spread", self.spread, 0, 10),
            ("max_vcpus", self.max_vcpus, 1, 1_000_000),
            ("bid_percentage", self.bid_percentage, 1, 100),
            ("save_seconds", self.save_seconds, 0.001, 1e6),
            ("restart_seconds", self.restart_seconds, 0, 1e6),
            ("boot_seconds", self.boot_seconds, 0, 1e6),
            ("on_demand_share", self.on_demand_share, 0, 1),
            ("pools", self.pools, 1, 100),
            ("cheapest_share", self.cheapest_share, 0.001, 1),
            ("samples", self.samples, 10, 100_000),
            ("seed", self.seed, 0, 2**63 - 1),
            ("interruptions_per_hour", self.interruptions_per_hour or 0, 0, 100),
            ("interval_seconds", 1 if self.interval_seconds is None else self.interval_seconds, 0.001, 1e9),
            ("deadline_seconds", 1 if self.deadline_seconds is None else self.deadline_seconds, 0.001, 1e9),
        )
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise InvalidInput(
                    f"{name} of an estimate must be {_plain(least)} to {_plain(most)}, not {_plain(value)}"
                )


def _plain(number: float) -> str:
    """A limit as people write it: 10,000,000 and 0.001, never 1e+07."""
    return f"{number:,.0f}" if number == int(number) else f"{number:,.10f}".rstrip("0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiles:
    """50 %, 90 % and 95 % of the samples are at or below these values."""

    p50: float
    p90: float
    p95: float
    mean: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One way to run the plan: Spot, on-demand, or mixed."""

    name: str
    cost_usd: Quantiles
    finish_seconds: Quantiles
    interruptions: Quantiles
    hosts: int
    host_hours: float  # the mean over the samples: for what comes with hosts, such as volumes
    late: int | None  # share of samples that miss the deadline; None: no deadline
    samples: int
    costs: Sequence[float]  # every sample, for plots
    finishes: Sequence[float]

    @property
    def chance_late(self) -> float | None:
        return None if self.late is None else self.late / self.samples


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointAdvice:
    """How often to save, and what that saves in one job's expected time and in the run's expected Spot bill.

    The save that the runtime makes on the interruption notice is not counted: notices can be missed.
    """

    interval_seconds: float | None  # None: the job is so short that saving costs more than it saves
    seconds_between_interruptions: float
    seconds_with: float
    seconds_without: float
    saved_usd: Decimal | None  # None: without checkpoints the work would hardly ever end
    half_restart_usd: Decimal | None  # what the run would save if a restart took half as long


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """An estimate with its assumptions in plain words."""

    plan: Plan
    scenarios: tuple[Scenario, ...]
    choices: tuple[Choice, ...]  # the cheapest first
    checkpoint: CheckpointAdvice | None  # None: no interruptions are assumed
    notes: tuple[str, ...]

    def scenario(self, name: str) -> Scenario:
        """The scenario of this name: `spot`, `mixed` or `on-demand`."""
        return next(each for each in self.scenarios if each.name == name)


def forecast(plan: Plan, types: Iterable[InstanceType]) -> Forecast:
    """Estimate a plan on hosts of these types; the same plan and types produce the same figures. Needs numpy.

    Raises InvalidInput if no type can hold the job, or if no such type has a known Spot price below the bid.
    """
    offered = list(types)
    small = [each for each in offered if each.vcpus <= plan.max_vcpus]
    if not small:
        raise InvalidInput(f"none of the {len(offered)} types given has {plan.max_vcpus} vCPUs or fewer (max_vcpus)")
    ranked = choices(
        small,
        plan.need,
        jobs=plan.jobs,
        work_seconds=plan.work_seconds,
        save_seconds=plan.save_seconds,
        restart_seconds=plan.restart_seconds,
        rate_per_hour=plan.interruptions_per_hour,
    )
    priced = [each for each in ranked if _is_below_bid(each, plan.bid_percentage)]
    if not priced:
        raise InvalidInput(
            f"none of the {len(ranked)} types that fit has a known Spot price of {plan.bid_percentage:g} % of its "
            f"on-demand price or less: `spotbatch prices refresh`, or a higher bid"
        )
    pool_types = _filled(priced, plan)
    from spotbatch.pricing.fleet_model import simulate

    shares = (("spot", 0.0), ("mixed", plan.on_demand_share), ("on-demand", 1.0))
    scenarios = tuple(_scenario(name, simulate(plan, pool_types, share), plan) for name, share in shares)
    advice = checkpoint_advice(plan, pool_types)
    return Forecast(
        plan=plan,
        scenarios=scenarios,
        choices=ranked,
        checkpoint=advice,
        notes=tuple(_notes(plan, ranked, pool_types, scenarios)),
    )


def _is_below_bid(choice: Choice, bid_percentage: float) -> bool:
    spot = choice.spot_usd_per_hour
    return spot is not None and spot * 100 <= choice.type.on_demand_usd_per_hour * Decimal(str(bid_percentage))


def _filled(priced: Sequence[Choice], plan: Plan) -> Sequence[Choice]:
    """The types that the fleet may get: AWS Batch prefers hosts that the waiting jobs fill, if there are any."""
    filled = [each for each in priced if each.jobs_per_host <= plan.jobs]
    if not filled:
        smallest = min(each.type.vcpus for each in priced)
        filled = [each for each in priced if each.type.vcpus == smallest]
    return filled[: max(1, math.ceil(len(filled) * plan.cheapest_share))]


def checkpoint_advice(plan: Plan, types: Sequence[Choice]) -> CheckpointAdvice | None:
    """The best interval at the mean rate of these types, by Daly's formula; None if nothing is ever interrupted."""
    rate = mean_rate(types)
    if rate <= 0:
        return None
    interval = best_interval_seconds(save_seconds=plan.save_seconds, seconds_between_interruptions=3600 / rate)
    with_saves, without = (
        expected_seconds(
            plan.work_seconds,
            interruptions_per_hour=rate,
            restart_seconds=plan.restart_seconds,
            save_seconds=plan.save_seconds,
            interval_seconds=each,
        )
        for each in (interval, None)
    )
    hourly = sum(float(each.spot_usd_per_hour or 0) / each.jobs_per_host for each in types) / len(types)
    saved = max(0.0, without - with_saves) / 3600 * hourly * plan.jobs
    taken = interval if with_saves < without else None
    quick = expected_seconds(
        plan.work_seconds,
        interruptions_per_hour=rate,
        restart_seconds=plan.restart_seconds / 2,
        save_seconds=plan.save_seconds,
        interval_seconds=taken,
    )
    sooner = max(0.0, min(with_saves, without) - quick) / 3600 * hourly * plan.jobs
    return CheckpointAdvice(
        interval_seconds=interval if with_saves < without else None,
        seconds_between_interruptions=3600 / rate,
        seconds_with=min(with_saves, without),
        seconds_without=without,
        saved_usd=Decimal(f"{saved:.6f}") if math.isfinite(saved) else None,
        half_restart_usd=Decimal(f"{sooner:.6f}") if math.isfinite(sooner) else None,
    )


def mean_rate(types: Sequence[Choice]) -> float:
    """Interruptions per host hour, over the types that the fleet may get."""
    return sum(each.interruptions_per_hour for each in types) / len(types)


def _scenario(name: str, outcome: "Outcome", plan: Plan) -> Scenario:
    finishes = outcome.finish_seconds
    deadline = plan.deadline_seconds
    return Scenario(
        name=name,
        cost_usd=_quantiles(outcome.cost_usd),
        finish_seconds=_quantiles(finishes),
        interruptions=_quantiles(outcome.interruptions),
        hosts=outcome.hosts,
        host_hours=outcome.host_hours,
        late=None if deadline is None else sum(each > deadline for each in finishes),
        samples=len(finishes),
        costs=outcome.cost_usd,
        finishes=finishes,
    )


def _quantiles(values: Sequence[float]) -> Quantiles:
    """By nearest rank, so each figure is an actual sample value."""
    ordered = sorted(values)
    p50, p90, p95 = (ordered[max(0, math.ceil(level * len(ordered)) - 1)] for level in _LEVELS)
    return Quantiles(p50=p50, p90=p90, p95=p95, mean=math.fsum(ordered) / len(ordered))


def _notes(
    plan: Plan, ranked: Sequence[Choice], pool_types: Sequence[Choice], scenarios: Sequence[Scenario]
) -> Iterable[str]:
    from spotbatch.pricing.instance_selection import RATE_ASSUMPTION

    if plan.interruptions_per_hour is None:
        yield RATE_ASSUMPTION
    else:
        yield f"interruption rate: {plan.interruptions_per_hour:g} an hour for each host, as given"
    yield (
        f"Spot hosts come from {plan.pools} pools, each of a type drawn evenly from {len(pool_types)} that fit; all "
        f"hosts of a pool are reclaimed together; a restart takes {plan.restart_seconds:g} s"
    )
    unknown = sum(each.spot_usd_per_hour is None for each in ranked)
    if unknown:
        yield f"{unknown} types that fit have no known Spot price, and are left out"
    dear = len(ranked) - unknown - sum(_is_below_bid(each, plan.bid_percentage) for each in ranked)
    if dear:
        yield f"{dear} types that fit stand above the bid of {plan.bid_percentage:g} %, and are left out"
    a_job = scenarios[0].interruptions.mean / plan.jobs
    if a_job > _MANY_INTERRUPTIONS:
        yield f"a job is interrupted {a_job:.1f} times on average: AWS Batch gives it 10 attempts, so some will fail"
    yield "a vCPU counts the same on every type; the first-hour credit, data and storage are not in these figures"
