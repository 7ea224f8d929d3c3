"""`spotbatch simulate`: simulate a run, or one job with a deadline, against Spot capacity, many times, with a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json
from spotbatch.cli.output.comparison import compare as compared
from spotbatch.cli.output.placement_scores import Asked, play
from spotbatch.cli.output.progress_bar import progress_bar
from spotbatch.runs import parse

if TYPE_CHECKING:
    from spotbatch.policy.interface import Terms
    from spotbatch.pricing.catalogue import Catalogue
    from spotbatch.pricing.history import Prices
    from spotbatch.pricing.report import CostReport
    from spotbatch.simulate.result import RunResult, Timeline
    from spotbatch.simulate.scenario import Jobs, Scenario, Timings
    from spotbatch.simulate.spot_capacity import SpotCapacity
    from spotbatch.simulate.trace import Trace

_DEFAULT_TYPES: Final = "c5,m5,r5"  # the default stack's
_DEFAULT_ZONES: Final = "us-east-1a,us-east-1b,us-east-1c"
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR
_MOST_DAYS: Final = 365.0
_RUNS: Final = 20

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


TogetherOption = Annotated[
    bool, typer.Option("--together", help="With --deadline: the zones are pools that the job may move between.")
]
CompareOption = Annotated[
    str | None, typer.Option(help="Side by side, one seed for all: pools, checkpoint, fleet or regions.")
]
GiveUpOption = Annotated[str | None, typer.Option(help="A run that has not ended by then is given up (default: 365d).")]
DeadlineOption = Annotated[
    str | None, typer.Option(help="One job of --time that must end by then, under each policy: 60h")
]
ThresholdOption = Annotated[
    int | None, typer.Option(help="A trace of counts: Spot is available from this many instances on.")
]
PlotOption = Annotated[Path | None, typer.Option(help="Write cost and end, or saving against deadline (png, svg).")]


@app.command()
def simulate(
    jobs: Annotated[int, typer.Option("--jobs", "-n", help="How many jobs, or children of arrays.")] = 1000,
    time: Annotated[str, typer.Option("--time", help="How long one job works: 45m, 2h.")] = "1h",
    spread: Annotated[float, typer.Option(help="How uneven jobs are: standard deviation of the logarithm.")] = 0.0,
    vcpus: Annotated[int, typer.Option(help="vCPUs that a job asks for.")] = 1,
    memory: Annotated[str, typer.Option(help="Memory that a job asks for: 2048 (MiB), 4G.")] = "2G",
    types: Annotated[str, typer.Option(help="Instance types and families, with commas.")] = _DEFAULT_TYPES,
    zones: Annotated[str, typer.Option(help="Availability zones, with commas.")] = _DEFAULT_ZONES,
    max_vcpus: Annotated[int, typer.Option(help="The compute environment's limit.")] = 256,
    trace: Annotated[Path | None, typer.Option(help="Spot availability from a file (CSV, JSON, .gz).")] = None,
    polarity: Annotated[str | None, typer.Option(help="What a 1 in the trace means: available or reclaimed.")] = None,
    threshold: ThresholdOption = None,
    model: Annotated[bool, typer.Option("--model", help="Draw outages from the model fitted to one GPU type.")] = False,
    rate: Annotated[float, typer.Option(help="Without --trace or --model: reclaims per host and hour.")] = 0.05,
    correlation: Annotated[float, typer.Option(help="The part of these that takes a whole pool.")] = 0.9,
    checkpoint_every: Annotated[str, typer.Option(help="Work between checkpoints; 0: only on the notice.")] = "10m",
    save_time: Annotated[str, typer.Option(help="How long saving a checkpoint takes.")] = "5s",
    notice: Annotated[bool, typer.Option("--notice/--no-notice", help="Jobs save on the interruption notice.")] = True,
    boot_time: Annotated[str, typer.Option(help="From the launch of a host until it takes jobs.")] = "90s",
    give_up: GiveUpOption = None,
    deadline: DeadlineOption = None,
    changeover: Annotated[str, typer.Option(help="With --deadline: lost at each start of an instance.")] = "12m",
    price_ratio: Annotated[float | None, typer.Option(help="With --deadline: on-demand price over Spot price.")] = None,
    together: TogetherOption = False,
    checkpoint_size: Annotated[str, typer.Option(help="With --together: what a move to another region takes.")] = "0",
    compare: CompareOption = None,
    runs: Annotated[int | None, typer.Option(help="How many runs, or windows of the model (default: 20).")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    cores: Annotated[int | None, typer.Option(help="How many cores to use (default: all).")] = None,
    plot: PlotOption = None,
    gantt: Annotated[Path | None, typer.Option(help="Write hosts and attempts of the first run (png, svg).")] = None,
    bill: Annotated[bool, typer.Option("--bill", help="Also the bill of the first run, by what it went to.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Play a run against Spot's capacity on virtual time, many times: cost, end, interruptions, work lost."""
    from spotbatch.pricing.history import prices_of
    from spotbatch.simulate.pools import pools_of
    from spotbatch.simulate.scenario import Scenario

    source = _Source(trace=trace, polarity=polarity, threshold=threshold)
    windows = None if together else runs  # of a trace alone, every window is simulated
    _check(
        *_contradictions(source, is_model=model, types=types, zones=zones, runs=runs),
        *_of_deadlines(deadline, gantt=gantt, bill=bill, give_up=give_up, trace=trace, runs=windows, ratio=price_ratio),
        *_of_pools(deadline, together=together, checkpoint_size=checkpoint_size, plot=plot),
        *_of_comparisons(compare, deadline=deadline, gantt=gantt, bill=bill),
        *_too_short(("--time", time), ("--deadline", deadline), ("--give-up", give_up)),
    )
    known, runs = _catalogue(), runs or _RUNS
    prices = prices_of(known)
    if deadline is not None:
        asked = Asked(
            types=types, zones=zones, time=time, deadline=deadline, changeover=changeover, price_ratio=price_ratio,
            checkpoint_size=checkpoint_size, runs=runs, seed=seed,
        )  # fmt: skip
        if together:
            return play(asked, known, source.traces(), as_json=as_json, sources=prices.sources)
        return _play_alone(asked, known, source.traces(), plot=plot, as_json=as_json, sources=prices.sources)
    scenario = Scenario(
        jobs=_jobs(jobs, time, spread, vcpus, memory),
        pools=pools_of(known.expand(parse.names(types)), tuple(parse.names(zones)), is_spot=True),
        max_vcpus=max_vcpus,
        timings=_timings(boot_time, checkpoint_every, save_time, is_saved_on_notice=notice),
        capacity=_capacity(source, is_model=model, rate=rate, correlation=correlation),
        seed=seed,
        most_days=parse.seconds(give_up) / _DAY if give_up else _MOST_DAYS,
    )
    if compare is not None:
        return compared(scenario, compare, prices, runs=runs, cores=cores, plot=plot, as_json=as_json)
    return _play(scenario, prices, runs, cores, plot=plot, gantt=gantt, is_billed=bill, as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The file of Spot's availability, and how it is to be read; without a file, no traces."""

    trace: Path | None
    polarity: str | None
    threshold: int | None

    def traces(self) -> "Sequence[Trace]":
        from spotbatch.simulate.trace import usable_traces

        return usable_traces(self.trace, self.polarity, self.threshold) if self.trace is not None else ()


# ---- options that contradict each other or would have no effect ----

Rule = tuple[bool, str]


def _contradictions(source: "_Source", *, is_model: bool, types: str, zones: str, runs: int | None) -> "Iterator[Rule]":
    from spotbatch.simulate.montecarlo import MOST_RUNS

    trace = source.trace
    yield is_model and trace is not None, "--trace and --model are two kinds of capacity: give one of them"
    yield source.polarity is not None and trace is None, "--polarity is of a --trace, and none is given"
    yield source.threshold is not None and trace is None, "--threshold is of a --trace, and none is given"
    yield not any(parse.names(types)), "--types names no instance type"
    yield not any(parse.names(zones)), "--zones names no zone"
    yield runs is not None and not 1 <= runs <= MOST_RUNS, f"--runs is 1 to {MOST_RUNS}, not {runs}"


def _of_deadlines(
    deadline: str | None,
    *,
    gantt: Path | None,
    bill: bool,
    give_up: str | None,
    trace: Path | None,
    runs: int | None,
    ratio: float | None,
) -> "Iterator[Rule]":
    yield ratio is not None and ratio <= 0, f"--price-ratio must be more than 0, not {ratio}"
    if deadline is None:
        yield ratio is not None, "--price-ratio is for one job with a --deadline: give that too"
        return
    yield gantt is not None, "--gantt shows many jobs: leave out --deadline"
    yield bill, "--bill is of many jobs: leave out --deadline"
    yield give_up is not None, "--give-up is of many jobs: leave out --deadline"
    every_window = "--runs does nothing here: with a --trace and a --deadline every window of the trace is played"
    yield trace is not None and runs is not None, every_window


def _of_pools(deadline: str | None, *, together: bool, checkpoint_size: str, plot: Path | None) -> "Iterator[Rule]":
    yield together and deadline is None, "--together is for one job with a --deadline: give that too"
    yield checkpoint_size != "0" and not together, "--checkpoint-size is of --together: give that too"
    yield together and plot is not None, "--plot shows one pool at a time: leave out --together"


def _of_comparisons(compare: str | None, *, deadline: str | None, gantt: Path | None, bill: bool) -> "Iterator[Rule]":
    if compare is None:
        return
    yield deadline is not None, "--compare is of many jobs, and --deadline of one: leave one of them out"
    yield gantt is not None or bill, "--gantt and --bill show one run: leave out --compare"


def _too_short(*given: tuple[str, str | None]) -> "Iterator[Rule]":
    for option, written in given:
        too_short = written is not None and parse.seconds(written) <= 0
        yield too_short, f"{option} must be longer than 0 s, not {written!r}"


def _jobs(count: int, time: str, spread: float, vcpus: int, memory: str) -> "Jobs":
    from spotbatch.simulate.scenario import Jobs

    return Jobs(
        count=count,
        work_seconds=parse.seconds(time),
        work_spread=spread,
        vcpus=vcpus,
        memory_mib=parse.memory_mib(memory),
    )


def _timings(boot_time: str, checkpoint_every: str, save_time: str, *, is_saved_on_notice: bool) -> "Timings":
    from spotbatch.simulate.scenario import Timings

    return Timings(
        boot_seconds=parse.seconds(boot_time),
        checkpoint_every_seconds=parse.seconds(checkpoint_every),
        checkpoint_seconds=parse.seconds(save_time),
        is_saved_on_notice=is_saved_on_notice,
    )


# ---- a run of many jobs ----


def _play(
    scenario: "Scenario",
    prices: "Prices",
    runs: int,
    cores: int | None,
    *,
    plot: Path | None,
    gantt: Path | None,
    is_billed: bool,
    as_json: bool,
) -> None:
    """Simulate it this many times; draw, bill and show what was requested."""
    from spotbatch.cli.output.simulation import as_document, show, show_bill

    results = _run(scenario, prices, runs, cores)
    if plot:
        from spotbatch.simulate.charts import draw_spread

        draw_spread(results, plot)
    timeline = _first(scenario, prices, runs) if gantt or is_billed else None
    if timeline and gantt:
        from spotbatch.simulate.charts import draw_gantt

        draw_gantt(timeline, gantt)
    report = _report(timeline, prices) if timeline and is_billed else None
    if as_json:
        billed = {"bill": _bill_document(report)} if report else {}
        return json.write(as_document(scenario, results, prices.sources) | billed)
    show(scenario, results, prices.sources)
    return show_bill(report) if report else None


def _run(scenario: "Scenario", prices: "Prices", runs: int, cores: int | None) -> "list[RunResult]":
    from spotbatch.simulate.montecarlo import MonteCarlo, run_many

    with progress_bar("simulating", runs) as advance:
        return run_many(MonteCarlo(scenario=scenario, runs=runs, prices=prices), cores=cores, on_progress=advance)


def _first(scenario: "Scenario", prices: "Prices", runs: int) -> "Timeline":
    """Repeat the first run, recording the lives of its hosts and attempts."""
    from spotbatch.simulate.engine import World
    from spotbatch.simulate.montecarlo import MonteCarlo
    from spotbatch.simulate.observer import Recorder

    first = MonteCarlo(scenario=scenario, runs=runs).scenario_of(0)
    recorder = Recorder(prices, first)
    World(first, recorder).run()
    return recorder.timeline()


def _bill_document(report: "CostReport") -> dict[str, object]:
    from spotbatch.pricing.document import document_of

    return document_of(report)


def _report(timeline: "Timeline", prices: "Prices") -> "CostReport":
    from spotbatch.pricing.report import report_from

    until = max((each.ended_at or 0.0 for each in timeline.hosts), default=0.0)
    return report_from(timeline.hosts, timeline.attempts, prices, until=until, is_simulated=True)


def _capacity(source: "_Source", *, is_model: bool, rate: float, correlation: float) -> "SpotCapacity":
    from spotbatch.policy.fitted_model import FITTED
    from spotbatch.simulate.spot_capacity import CapacityAtRate, CapacityByModel, CapacityFromTrace

    if source.trace is not None:
        return CapacityFromTrace(traces={each.zone: each for each in source.traces()}, is_by_order=True)
    return (
        CapacityByModel(model=FITTED) if is_model else CapacityAtRate(reclaims_per_hour=rate, correlation=correlation)
    )


# ---- one job with a deadline ----


def _terms(work: str, deadline: str, changeover: str, price_ratio: float, traces: "Sequence[Trace]") -> "Terms":
    from spotbatch.policy.interface import Terms
    from spotbatch.simulate.deadlines import tick_seconds

    return Terms(
        work_seconds=parse.seconds(work),
        deadline_seconds=parse.seconds(deadline),
        changeover_seconds=parse.seconds(changeover),
        tick_seconds=tick_seconds(traces),
        price_ratio=price_ratio,
        is_reclaim_seen_at_once=True,  # reclaims fall on ticks here
    )


def _price_ratio(known: "Catalogue", types: str) -> float:
    """The ratio of on-demand to Spot price for the first type with a known Spot price."""
    first = next((each for each in known.expand(parse.names(types)) if each.spot_usd_per_hour), None)
    if first is None or first.spot_usd_per_hour is None:
        raise InvalidInput("no Spot price of these types is known: give --price-ratio")
    return float(first.on_demand_usd_per_hour / first.spot_usd_per_hour)


def _play_alone(
    asked: Asked,
    known: "Catalogue",
    traces: "Sequence[Trace]",
    *,
    plot: Path | None,
    as_json: bool,
    sources: Sequence[str],
) -> None:
    """Simulate one pool at a time, under each policy."""
    ratio = asked.price_ratio or _price_ratio(known, asked.types)
    terms = _terms(asked.time, asked.deadline, asked.changeover, ratio, traces)
    told = ["the price ratio: as given"] if asked.price_ratio else sources
    _play_deadline(terms, traces, asked.runs, asked.seed, plot=plot, as_json=as_json, sources=told)


def _play_deadline(
    terms: "Terms",
    traces: "Sequence[Trace]",
    runs: int,
    seed: int,
    *,
    plot: Path | None,
    as_json: bool,
    sources: Sequence[str],
) -> None:
    """Simulate it under each policy; draw and show what each saves."""
    from spotbatch.cli.output.deadline_scores import show
    from spotbatch.simulate.deadlines import CURVE_POINTS, policies, savings_curve, table, windows_for

    windows = windows_for(terms, traces, runs=runs, seed=seed)
    chosen = policies()
    steps = len(chosen) + 1 + (CURVE_POINTS if plot else 0)
    with progress_bar("simulating", steps) as advance:
        count = iter(range(steps))
        scores = table(terms, windows, chosen, lambda _name: advance(next(count)))
        if plot:
            from spotbatch.simulate.charts import draw_savings

            curve = savings_curve(terms, traces, runs=runs, seed=seed, on_point=lambda: advance(next(count)))
            draw_savings(curve, plot)
    if as_json:
        return json.write(
            {"is_simulated": True, "terms": asdict(terms), "seed": seed, "policies": scores, "sources": sources}
        )
    return show(terms, scores, sources)


def _catalogue() -> "Catalogue":
    """The latest prices on this machine, or the shipped ones."""
    from spotbatch.aws.price_cache import current_catalogue, kept

    return current_catalogue(kept())


def _check(*rules: tuple[bool, str]) -> None:
    """Refuse options that contradict each other or would have no effect, before anything runs."""
    if broken := [message for is_broken, message in rules if is_broken]:
        raise InvalidInput(broken[0])
