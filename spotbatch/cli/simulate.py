"""`spotbatch simulate`: play a run, or one job with a deadline, against Spot's weather, many times, with a seed."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli import parse
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json, text

if TYPE_CHECKING:
    from spotbatch.policy.interface import Terms
    from spotbatch.pricing.catalogue import Catalogue
    from spotbatch.pricing.history import Prices
    from spotbatch.pricing.report import CostReport
    from spotbatch.simulate.deadlines import Score, Windows
    from spotbatch.simulate.result import RunResult, Story
    from spotbatch.simulate.scenario import Scenario
    from spotbatch.simulate.trace import Trace
    from spotbatch.simulate.weather import Weather

_DEFAULT_TYPES: Final = "c5,m5,r5"  # the default stack's
_DEFAULT_ZONES: Final = "us-east-1a,us-east-1b,us-east-1c"
_HOUR: Final = 3600.0
_CURVE: Final = (1.05, 1.1, 1.25, 1.5, 1.75, 2.0)  # deadlines of the picture, over the work
_CURVE_WINDOWS: Final = 40  # of each zone at each deadline: enough for a line
_WINDOW_SHARE: Final = 15  # windows of a trace begin a fifteenth of the deadline apart

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


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
    model: Annotated[bool, typer.Option("--model", help="Draw outages from the model fitted to one GPU type.")] = False,
    rate: Annotated[float, typer.Option(help="Without --trace or --model: reclaims per host and hour.")] = 0.05,
    correlation: Annotated[float, typer.Option(help="The part of these that takes a whole pool.")] = 0.9,
    checkpoint_every: Annotated[str, typer.Option(help="Work between checkpoints; 0: only on the notice.")] = "10m",
    save_time: Annotated[str, typer.Option(help="How long saving a checkpoint takes.")] = "5s",
    notice: Annotated[bool, typer.Option("--notice/--no-notice", help="Jobs save on the interruption notice.")] = True,
    boot_time: Annotated[str, typer.Option(help="From the launch of a host until it takes jobs.")] = "90s",
    deadline: Annotated[
        str | None, typer.Option(help="One job of --time that must end by then, under each policy: 60h")
    ] = None,
    changeover: Annotated[str, typer.Option(help="With --deadline: lost at each start of an instance.")] = "12m",
    price_ratio: Annotated[float | None, typer.Option(help="With --deadline: on-demand price over Spot price.")] = None,
    runs: Annotated[int, typer.Option(help="How many runs (or windows of the model).")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    cores: Annotated[int | None, typer.Option(help="How many cores to use (default: all).")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write cost and end, or saving against deadline (png, svg).")
    ] = None,
    gantt: Annotated[Path | None, typer.Option(help="Write hosts and attempts of the first run (png, svg).")] = None,
    bill: Annotated[bool, typer.Option("--bill", help="Also the bill of the first run, by what it went to.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Play a run against Spot's weather on virtual time, many times: cost, end, interruptions, work lost."""
    from spotbatch.pricing.history import prices_of
    from spotbatch.simulate.pools import pools_of
    from spotbatch.simulate.scenario import Jobs, Scenario, Timings

    _check(
        (model and trace is not None, "--trace and --model are two kinds of weather: give one of them"),
        (polarity is not None and trace is None, "--polarity is of a --trace, and none is given"),
        (not any(_names(types)), "--types names no instance type"),
        (not any(_names(zones)), "--zones names no zone"),
        (deadline is not None and gantt is not None, "--gantt shows many jobs: leave out --deadline"),
        (deadline is not None and bill, "--bill is of many jobs: leave out --deadline"),
        (deadline is None and price_ratio is not None, "--price-ratio is for one job with a --deadline: give that too"),
    )
    known = _catalogue()
    if deadline is not None:
        return _simulate_deadline(
            _terms(known, types, time, deadline, changeover, price_ratio, trace, polarity),
            runs=runs, seed=seed, trace=trace, polarity=polarity, plot=plot, as_json=as_json,
        )  # fmt: skip
    scenario = Scenario(
        jobs=Jobs(
            count=jobs,
            work_seconds=parse.seconds(time),
            work_spread=spread,
            vcpus=vcpus,
            memory_mib=parse.memory_mib(memory),
        ),
        pools=pools_of(known.expand(_names(types)), tuple(_names(zones)), is_spot=True),
        max_vcpus=max_vcpus,
        timings=Timings(
            boot_seconds=parse.seconds(boot_time),
            checkpoint_every_seconds=parse.seconds(checkpoint_every),
            checkpoint_seconds=parse.seconds(save_time),
            is_saved_on_notice=notice,
        ),
        weather=_weather(trace, polarity, is_model=model, rate=rate, correlation=correlation),
        seed=seed,
    )
    prices = prices_of(known)
    results = _run(scenario, prices, runs, cores)
    if plot:
        from spotbatch.simulate.charts import draw_spread

        draw_spread(results, plot)
    story = _first(scenario, prices, runs) if gantt or bill else None
    if story and gantt:
        from spotbatch.simulate.charts import draw_gantt

        draw_gantt(story, gantt)
    report = _report(story, prices) if story and bill else None
    if as_json:
        return json.write(_document(scenario, results, prices.sources) | ({"bill": report.to_json()} if report else {}))
    _say(scenario, results, prices.sources)
    return _say_bill(report) if report else None


# ---- a run of many jobs ----


def _run(scenario: "Scenario", prices: "Prices", runs: int, cores: int | None) -> "list[RunResult]":
    from spotbatch.simulate.montecarlo import MonteCarlo, run_many

    with _progress(runs) as advance:
        return run_many(MonteCarlo(scenario=scenario, runs=runs, prices=prices), cores=cores, on_progress=advance)


def _first(scenario: "Scenario", prices: "Prices", runs: int) -> "Story":
    """The first run again, with the lives of its hosts and attempts."""
    from spotbatch.simulate.engine import World
    from spotbatch.simulate.montecarlo import MonteCarlo
    from spotbatch.simulate.watching import Recorder

    first = MonteCarlo(scenario=scenario, runs=runs).scenario_of(0)
    recorder = Recorder(prices, first)
    World(first, recorder).run()
    return recorder.story()


def _report(story: "Story", prices: "Prices") -> "CostReport":
    from spotbatch.pricing.report import report_from

    until = max((each.ended_at or 0.0 for each in story.hosts), default=0.0)
    return report_from(story.hosts, story.attempts, prices, until=until, is_simulated=True)


def _say_bill(report: "CostReport") -> None:
    """The same report as `spotbatch cost` shows, of the first run."""
    from spotbatch.pricing.report import shown_usd

    text.say()
    text.say("the bill of the first run:")
    rows = [[part.value, shown_usd(amount)] for part, amount in report.parts.items() if amount]
    rows += [["first-hour credit", shown_usd(-report.credit_usd)], ["paid", shown_usd(report.paid_usd)]]
    rows += [["on demand, the same hours", shown_usd(report.on_demand_usd)]]
    text.table(["", "amount"], rows, right=(1,))


def _weather(trace: Path | None, polarity: str | None, *, is_model: bool, rate: float, correlation: float) -> "Weather":
    from spotbatch.policy.fitted import FITTED
    from spotbatch.simulate.weather import ModelWeather, RateWeather, TraceWeather

    if trace is not None:
        return TraceWeather(traces={each.zone: each for each in _traces(trace, polarity)}, is_by_order=True)
    return ModelWeather(model=FITTED) if is_model else RateWeather(reclaims_per_hour=rate, correlation=correlation)


def _traces(path: Path, polarity: str | None) -> "list[Trace]":
    from spotbatch.simulate.trace import Polarity, read_traces

    try:
        told = Polarity(polarity) if polarity else None
    except ValueError as error:
        raise InvalidInput(f"--polarity is available or reclaimed, not {polarity!r}") from error
    return read_traces(path, told)


def _document(scenario: "Scenario", results: "Sequence[RunResult]", sources: Sequence[str]) -> dict[str, object]:
    return {
        "is_simulated": True,
        "jobs": asdict(scenario.jobs),
        "timings": asdict(scenario.timings),
        "weather": type(scenario.weather).__name__,
        "max_vcpus": scenario.max_vcpus,
        "seed": scenario.seed,
        "summary": {name: _quantiles(values) for name, values in _columns(results)},
        "runs": [asdict(each) | {"saving_percent": each.saving_percent} for each in results],
        "sources": sources,
    }


def _in_words(weather: "Weather") -> str:
    from spotbatch.simulate.weather import ModelWeather, RateWeather

    if isinstance(weather, RateWeather):
        return f"{weather.reclaims_per_hour:g} reclaims per host and hour"
    return "weather of the fitted model" if isinstance(weather, ModelWeather) else "weather of the traces"


def _columns(results: "Sequence[RunResult]") -> "Iterator[tuple[str, list[float]]]":
    yield "usd", [float(each.usd) for each in results]
    yield "saving_percent", [each.saving_percent for each in results if each.saving_percent is not None]
    yield "makespan_seconds", [each.makespan_seconds for each in results]
    yield "attempts", [float(each.attempts) for each in results]
    yield "interruptions", [float(each.interruptions) for each in results]
    yield "lost_seconds", [each.lost_seconds for each in results]
    yield "failed", [float(each.failed) for each in results]


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    from spotbatch.simulate.montecarlo import percentile

    if not values:
        return {}
    found = {f"p{percent}": percentile(values, percent) for percent in (5, 50, 95)}
    return {name: round(value, 6) for name, value in (found | {"mean": sum(values) / len(values)}).items()}


def _say(scenario: "Scenario", results: "Sequence[RunResult]", sources: Sequence[str]) -> None:
    jobs = scenario.jobs
    text.say(
        f"{jobs.count} jobs of {text.duration(jobs.work_seconds)}, {jobs.vcpus} vCPUs, {jobs.memory_mib} MiB, on up to "
        f"{scenario.max_vcpus} vCPUs; {len(results)} runs, seed {scenario.seed}, {_in_words(scenario.weather)}"
    )
    text.say()
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "usd": ("cost, USD", "{:,.2f}".format),
        "saving_percent": ("saving over on-demand, %", "{:.1f}".format),
        "makespan_seconds": ("ends in", text.duration),
        "attempts": ("attempts", "{:,.0f}".format),
        "interruptions": ("interrupted attempts", "{:,.0f}".format),
        "lost_seconds": ("work lost, all jobs", text.duration),
        "failed": ("jobs FAILED", "{:,.0f}".format),
    }
    rows = []
    for name, values in _columns(results):
        heading, shape = shown[name]
        found = _quantiles(values)
        rows.append([heading, *(shape(found[key]) if found else "-" for key in ("mean", "p5", "p50", "p95"))])
    text.table(["", "mean", "p5", "p50", "p95"], rows, right=(1, 2, 3, 4))
    given_up = sum(not each.is_finished for each in results)
    if given_up:
        left = sum(jobs.count - each.succeeded - each.failed for each in results)
        text.say(f"{given_up} of {len(results)} runs were given up after {scenario.most_days:.0f} days: no capacity")
        text.say(f"{left} jobs did not end: what these runs cost is no saving, and when they ended is not known")
    text.say()
    for line in ("simulated, not measured on AWS", *sources):
        text.say(f"- {line}")


# ---- one job with a deadline ----


def _terms(
    known: "Catalogue",
    types: str,
    work: str,
    deadline: str,
    changeover: str,
    price_ratio: float | None,
    trace: Path | None,
    polarity: str | None,
) -> "Terms":
    from spotbatch.policy.interface import Terms

    if price_ratio is None:
        first = next((each for each in known.expand(_names(types)) if each.spot_usd_per_hour), None)
        if first is None or first.spot_usd_per_hour is None:
            raise InvalidInput("no Spot price is known of these types: give --price-ratio")
        price_ratio = float(first.on_demand_usd_per_hour / first.spot_usd_per_hour)
    tick = 600.0 if trace is None else _tick_seconds(_traces(trace, polarity)[0])
    return Terms(
        work_seconds=parse.seconds(work),
        deadline_seconds=parse.seconds(deadline),
        changeover_seconds=parse.seconds(changeover),
        tick_seconds=tick,
        price_ratio=price_ratio,
        is_reclaim_seen_at_once=True,  # reclaims fall on ticks here
    )


def _tick_seconds(trace: "Trace") -> float:
    """Probes that come faster than every 5 minutes are taken together, to about 10 minutes."""
    return trace.tick_seconds * max(1, round(_least_tick(trace) / trace.tick_seconds))


def _least_tick(trace: "Trace") -> float:
    return 585.0 if trace.tick_seconds < 300 else trace.tick_seconds


def _simulate_deadline(
    terms: "Terms", *, runs: int, seed: int, trace: Path | None, polarity: str | None, plot: Path | None, as_json: bool
) -> None:
    from spotbatch.simulate.deadlines import policies, table

    windows = _windows(terms, runs, seed, trace, polarity)
    chosen = policies()
    steps = len(chosen) + 1 + (len(_CURVE) if plot else 0)
    with _progress(steps) as advance:
        count = iter(range(steps))
        scores = table(terms, windows, chosen, lambda _name: advance(next(count)))
        if plot:
            _draw_curve(terms, plot, runs, seed, trace, polarity, lambda: advance(next(count)))
    if as_json:
        return json.write({"is_simulated": True, "terms": asdict(terms), "seed": seed, "policies": scores})
    return _say_scores(terms, scores)


def _windows(
    terms: "Terms", runs: int, seed: int, trace: Path | None, polarity: str | None, most: int | None = None
) -> "Windows":
    """All windows of a trace, or about `most` of each zone, spread over it."""
    from spotbatch.policy.fitted import FITTED
    from spotbatch.simulate.deadlines import drawn_windows, windows_of

    if trace is None:
        return drawn_windows(FITTED, terms, runs, seed)
    found = _traces(trace, polarity)
    coarse = {each.zone: each.coarser(max(1, round(terms.tick_seconds / each.tick_seconds))) for each in found}
    longest = max(len(each.available) for each in coarse.values())
    stride = max(1, terms.ticks // _WINDOW_SHARE, (longest - terms.ticks) // most if most else 1)
    return windows_of({zone: each.available for zone, each in coarse.items()}, terms, stride)


def _draw_curve(
    terms: "Terms",
    path: Path,
    runs: int,
    seed: int,
    trace: Path | None,
    polarity: str | None,
    on_point: Callable[[], None],
) -> None:
    from spotbatch.simulate.charts import draw_savings
    from spotbatch.simulate.deadlines import policies, table

    lines: dict[str, list[tuple[float, float]]] = {}
    for factor in _CURVE:
        on_point()
        each = replace(terms, deadline_seconds=terms.work_seconds * factor)
        if not each.is_feasible:
            continue
        windows = _windows(each, runs, seed, trace, polarity, most=_CURVE_WINDOWS)
        for score in table(each, windows, [one for one in policies() if one.name not in ("on-demand", "spot only")]):
            lines.setdefault(score.name, []).append((each.deadline_seconds / _HOUR, score.mean_saving))
    draw_savings(lines, path)


def _say_scores(terms: "Terms", scores: "Sequence[Score]") -> None:
    text.say(
        f"one job of {text.duration(terms.work_seconds)} within {text.duration(terms.deadline_seconds)}, "
        f"{terms.changeover_seconds:.0f} s lost at each start, on-demand at {terms.price_ratio:.3f} times Spot, "
        f"{scores[0].windows} windows"
    )
    text.say()
    rows = [
        [
            each.name,
            _percent(each.mean_saving),
            "-" if each.zone_error is None else f"{100 * each.zone_error:.1f}",
            _percent(min(each.zone_savings.values())),
            f"{100 * each.p95_cost:.0f} %",
            f"{100 * each.worst_cost:.0f} %",
            str(each.late),
        ]
        for each in scores
    ]
    heads = ["policy", "saving", "error over zones", "worst zone", "cost p95", "cost worst", "late"]
    text.table(heads, rows, right=range(1, len(heads)))
    text.say()
    text.say("- a late job did not get its work done: its saving is no saving")
    text.say("- costs are parts of the on-demand bill for the bare work; the model and its limits: docs/policy.md")


def _percent(part: float) -> str:
    return f"{100 * part:z.1f} %"  # z: no minus before zero


# ---- what both need ----


def _catalogue() -> "Catalogue":
    """The newest prices on this machine, or those that ship."""
    from spotbatch.aws.price_cache import current_catalogue, kept

    return current_catalogue(kept())


def _check(*rules: tuple[bool, str]) -> None:
    """Options that contradict each other or would do nothing are refused, before anything runs."""
    if broken := [message for is_broken, message in rules if is_broken]:
        raise InvalidInput(broken[0])


def _names(written: str) -> Iterator[str]:
    return (name.strip() for name in written.split(",") if name.strip())


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("simulating", total=total)
        yield lambda done: bar.update(line, completed=done)
