"""`spotbatch simulate --deadline`: one job that must end in time, under each placement policy."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.output import json, text
from spotbatch.cli.simulating import names, progress, traces_of
from spotbatch.runs import parse

if TYPE_CHECKING:
    from spotbatch.policy.interface import Terms
    from spotbatch.pricing.catalogue import Catalogue
    from spotbatch.simulate.deadlines import Score, Windows
    from spotbatch.simulate.trace import Trace

_HOUR: Final = 3600.0
_CURVE: Final = (1.05, 1.1, 1.25, 1.5, 1.75, 2.0)  # deadlines of the picture, over the work
_CURVE_WINDOWS: Final = 40  # of each zone at each deadline: enough for a line
_WINDOW_SHARE: Final = 15  # windows of a trace begin a fifteenth of the deadline apart


def terms_of(
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
        first = next((each for each in known.expand(names(types)) if each.spot_usd_per_hour), None)
        if first is None or first.spot_usd_per_hour is None:
            raise InvalidInput("no Spot price is known of these types: give --price-ratio")
        price_ratio = float(first.on_demand_usd_per_hour / first.spot_usd_per_hour)
    tick = 600.0 if trace is None else _tick_seconds(traces_of(trace, polarity)[0])
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


def simulate_deadline(
    terms: "Terms",
    *,
    runs: int,
    seed: int,
    trace: Path | None,
    polarity: str | None,
    plot: Path | None,
    as_json: bool,
    sources: Sequence[str],
) -> None:
    """Play it under each policy, and say what each saves. `sources` tell where the price ratio comes from."""
    from spotbatch.simulate.deadlines import policies, table

    windows = _windows(terms, runs, seed, trace, polarity)
    chosen = policies()
    steps = len(chosen) + 1 + (len(_CURVE) if plot else 0)
    with progress(steps) as advance:
        count = iter(range(steps))
        scores = table(terms, windows, chosen, lambda _name: advance(next(count)))
        if plot:
            _draw_curve(terms, plot, runs, seed, trace, polarity, lambda: advance(next(count)))
    if as_json:
        return json.write(
            {"is_simulated": True, "terms": asdict(terms), "seed": seed, "policies": scores, "sources": sources}
        )
    return _say_scores(terms, scores, sources)


def _windows(
    terms: "Terms", runs: int, seed: int, trace: Path | None, polarity: str | None, most: int | None = None
) -> "Windows":
    """All windows of a trace, or about `most` of each zone, spread over it."""
    from spotbatch.policy.fitted import FITTED
    from spotbatch.simulate.deadlines import drawn_windows, windows_of

    if trace is None:
        return drawn_windows(FITTED, terms, runs, seed)
    found = traces_of(trace, polarity)
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


def _say_scores(terms: "Terms", scores: "Sequence[Score]", sources: Sequence[str]) -> None:
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
    for line in sources:
        text.say(f"- {line}")


def _percent(part: float) -> str:
    return f"{100 * part:z.1f} %"  # z: no minus before zero
