"""The report of a rehearsal: one page, as text, as HTML and as JSON."""

import html
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from statistics import fmean
from typing import Any, Final

from spotbatch import wording
from spotbatch.batch.errors import SpotbatchError
from spotbatch.rehearsal.rehearsal import Rehearsed, as_records

_MEMORY_ROOM: Final = 1.2  # headroom above the observed peak
_MEMORY_STEP_MIB: Final = 128
_TYPES: Final = ("c5", "m5", "r5")  # those of the default stack
PUBLISHED: Final = "published bands"
_BANDS: Final = "EC2's published interruption bands"
_NAMES: Final = {
    "rate": "save every, as rehearsed",
    "trace": "save every, as rehearsed",
    PUBLISHED: "save every, on EC2",
}
_SHOWN_DIFFERENCES: Final = 3
_LEAST_SETTING, _MOST_SETTING = 0.05, 86400.0  # durations that the runtime records, in seconds


def facts(found: Rehearsed, total: int) -> list[tuple[str, str]]:
    """The findings, as pairs of a question and its answer."""
    return [*_safety(found), *_waste(found), *_size(found), *_money(found, total)]


def _safety(found: Rehearsed) -> Iterator[tuple[str, str]]:
    yield "Spot-safe", found.verdict
    yield "jobs rehearsed", f"{found.sample}, {wording.count(found.disturbed.interruptions, 'interruption')}"
    yield "hosts were reclaimed", f"by {found.plan.in_words}"
    yield "outputs compared", f"{wording.count(found.output_files, 'file')}; {_differ(len(found.differing))}"
    for each in found.differences[:_SHOWN_DIFFERENCES]:
        yield "under interruptions", each.in_words
    for each in found.by_themselves[:_SHOWN_DIFFERENCES]:
        yield "also undisturbed", each.in_words
    yield "resumed from a checkpoint", wording.count(found.resumed, "attempt")
    if found.dumps or found.snapshot_restores or found.snapshot_refusals:
        restored = f"{wording.count(found.snapshot_restores, 'attempt')} went on from one"
        yield "snapshots", f"{found.dumps} stored; {restored}"
    for why in found.snapshot_refusals[:_SHOWN_DIFFERENCES]:
        yield "no snapshot", why.removeprefix("no snapshot: ")


def _differ(jobs: int) -> str:
    return "all equal" if not jobs else "1 job differs" if jobs == 1 else f"{jobs:,} jobs differ"


def _waste(found: Rehearsed) -> Iterator[tuple[str, str]]:
    lost = found.lost_seconds
    if lost:
        yield "work lost by an interruption", f"{fmean(lost):.1f} s on average, {max(lost):.1f} s at most"
    yield "time, undisturbed and disturbed", f"{found.quiet.seconds:.1f} s and {found.disturbed.seconds:.1f} s"
    if found.save_seconds is None:
        yield "checkpoints", "none were saved: the command writes nothing into SPOTBATCH_CHECKPOINT_DIR"
        return
    yield "one save takes", f"{found.save_seconds:.2f} s for {wording.size(found.checkpoint_bytes)}"
    if found.restore_seconds is not None:
        yield "one restore takes", f"{found.restore_seconds:.2f} s, on top of a new host's boot"
    for each in intervals(found):
        yield _NAMES[each.source], _interval_in_words(each)


def _interval_in_words(each: "Interval") -> str:
    setting = min(max(each.seconds, _LEAST_SETTING), _MOST_SETTING)
    written = f"{setting:.2g}" if setting < 1 else f"{setting:.0f}"
    between = _time(3600 / each.interruptions_per_hour)
    suppose = {
        "rate": f"at the chosen --rate: one interruption in {between}",
        "trace": f"as often as in the trace, at its own pace: one interruption in {between}",
        PUBLISHED: f"by {_BANDS}: one in {between}",
    }[each.source]
    return f"{_time(each.seconds)} (SPOTBATCH_CHECKPOINT_SECONDS={written}), {suppose}"


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 1 else wording.duration(seconds)


def _size(found: Rehearsed) -> Iterator[tuple[str, str]]:
    peak = found.peak_memory_mib
    if peak:
        advice = -(-round(peak * _MEMORY_ROOM) // _MEMORY_STEP_MIB) * _MEMORY_STEP_MIB
        yield "peak memory", f"{peak:.0f} MiB of {found.needs.memory_mib} asked for; --memory {advice} has room"
    if found.busy_vcpus is not None:
        yield "CPU", f"{found.busy_vcpus:.1f} of {found.needs.vcpus} vCPUs busy"


def _money(found: Rehearsed, total: int) -> Iterator[tuple[str, str]]:
    """The cost of the full run, computed the way `spotbatch estimate` does; not available without numpy."""
    costs = estimated(found, total)
    if isinstance(costs, str):
        yield "the full run", costs
        return
    prices = f"about {costs.spot_usd:.4f} USD on Spot, {costs.on_demand_usd:.4f} USD on demand"
    yield f"the full run of {total:,}", f"{prices} (this machine's pace, {_BANDS})"
    if costs.half_restart_usd:
        restart = f"{_time(costs.restart_seconds)} (boot, image, restore)"
        yield "a shorter restart", f"half of {restart} would save {costs.half_restart_usd:.4f} USD"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """The best time between two saves, by Daly's formula, for a given interruption rate."""

    seconds: float
    interruptions_per_hour: float
    source: str  # source of the rate: a given rate, a trace, or EC2's published bands


def intervals(found: Rehearsed) -> list[Interval]:
    """The best interval for the chosen rate, if any, and for EC2's published bands."""
    from spotbatch.pricing.catalogue import catalogue
    from spotbatch.pricing.checkpoint import best_interval_seconds
    from spotbatch.pricing.instance_selection import interruptions_per_hour

    published = fmean(interruptions_per_hour(kind) for kind in catalogue().expand(_TYPES))
    chosen = "trace" if found.plan.trace_file is not None else "rate"
    rates = [] if found.rate is None else [(chosen, found.rate)]
    save = max(found.save_seconds or 0.0, 0.001)
    return [
        Interval(
            seconds=best_interval_seconds(save_seconds=save, seconds_between_interruptions=3600 / rate),
            interruptions_per_hour=rate,
            source=source,
        )
        for source, rate in [*rates, (PUBLISHED, published)]
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class FullRun:
    """What the full run would cost, by the estimate's median."""

    spot_usd: float
    on_demand_usd: float
    restart_seconds: float  # from a reclaim until the work goes on: the estimate's own, and the measured restore
    half_restart_usd: float | None  # what half of that would save; None: no interruptions, or not to be told


def estimated(found: Rehearsed, total: int) -> FullRun | str:
    """What this many jobs would cost, or the reason why there is no estimate."""
    try:
        from spotbatch.aws.price_cache import current_catalogue
        from spotbatch.pricing.forecast import Plan, forecast
        from spotbatch.pricing.instance_selection import Need

        need = Need(vcpus=ceil(found.needs.vcpus), memory_mib=found.needs.memory_mib)
        measured = tuple(max(0.001, each) for each in found.measured_seconds)
        saves = found.save_seconds is not None  # without checkpoints, an interruption loses all of the job's work
        plan = Plan(
            jobs=total,
            work_seconds=fmean(measured),
            measured_seconds=measured,
            need=need,
            save_seconds=max(0.001, found.save_seconds or 0.001),
            interval_seconds=None if saves else max(measured),
            samples=200,
        )
        plan = replace(plan, restart_seconds=plan.restart_seconds + (found.restore_seconds or 0.0))
        made = forecast(plan, current_catalogue().expand(_TYPES))
        half = made.checkpoint.half_restart_usd if made.checkpoint is not None else None
        return FullRun(
            spot_usd=made.scenario("spot").cost_usd.p50,
            on_demand_usd=made.scenario("on-demand").cost_usd.p50,
            restart_seconds=plan.restart_seconds,
            half_restart_usd=None if half is None else float(half),
        )
    except ModuleNotFoundError as error:
        return f"its cost needs {error.name}: pip install 'spotbatch[money]'"
    except SpotbatchError as error:
        return f"its cost cannot be told: {error}"


def as_lines(found: Rehearsed, total: int) -> list[str]:
    """The page as text."""
    pairs = facts(found, total)
    width = max(len(name) for name, _ in pairs)
    return [f"{name.ljust(width)}  {value}" for name, value in pairs]


def as_document(found: Rehearsed, total: int) -> dict[str, Any]:
    """The page as JSON for other programs."""
    costs = estimated(found, total)
    best = intervals(found) if found.save_seconds is not None else []
    return {
        "is_spot_safe": found.is_safe,
        "verdict": found.verdict,
        "sample": found.sample,
        "reclaims": found.plan.in_words,
        "interruptions": found.disturbed.interruptions,
        "resumed_attempts": found.resumed,
        "snapshots": found.dumps,
        "snapshot_restores": found.snapshot_restores,
        "snapshot_refusals": found.snapshot_refusals,
        "output_files": found.output_files,
        "differing_units": found.differing,
        "differences": [asdict(each) for each in found.differences],
        "differs_by_itself": [asdict(each) for each in found.by_themselves],
        "undisturbed_seconds": found.quiet.seconds,
        "disturbed_seconds": found.disturbed.seconds,
        "work_seconds": found.work_seconds,
        "lost_seconds": found.lost_seconds,
        "save_seconds": found.save_seconds,
        "restore_seconds": found.restore_seconds,
        "checkpoint_bytes": found.checkpoint_bytes,
        "checkpoint_interval_seconds": best[0].seconds if best else None,
        "checkpoint_intervals": [asdict(each) for each in best],
        "peak_memory_mib": found.peak_memory_mib,
        "busy_vcpus": found.busy_vcpus,
        "full_run": {
            "jobs": total,
            "spot_usd": None if isinstance(costs, str) else costs.spot_usd,
            "on_demand_usd": None if isinstance(costs, str) else costs.on_demand_usd,
            "half_restart_usd": None if isinstance(costs, str) else costs.half_restart_usd,
            "interruption_source": PUBLISHED,
        },
        "records": as_records(found.disturbed),
    }


def as_html(found: Rehearsed, command: Sequence[str], total: int) -> str:
    """The page as a single HTML file, readable in light and dark mode, without scripts."""
    (_, verdict), *rest = facts(found, total)
    rows = "\n".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rest)
    word, _, why = verdict.partition(": ")
    state = "safe" if found.is_safe else "unsafe" if word == "no" else "open"
    said = {"safe": "Spot-safe", "unsafe": "Not Spot-safe", "open": "Not shown to be Spot-safe"}[state]
    why = why or "the interrupted run gave the same outputs as the undisturbed one"
    return _PAGE.format(
        command=html.escape(shlex.join(command)), rows=rows, state=state, said=said, why=html.escape(why)
    )


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rehearsal: {said}</title>
<style>
:root {{ color-scheme: light dark; --back: light-dark(#f6f7f5, #12161a); --card: light-dark(#fff, #191f24);
  --text: light-dark(#1b2126, #e7ebee); --muted: light-dark(#58636d, #9ba7b1); --line: light-dark(#e0e4e0, #2b333a) }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1.25rem;
  background: var(--back); color: var(--text); font-variant-numeric: tabular-nums }}
h1 {{ font-size: 1.7rem; letter-spacing: -.015em; margin: 0 0 .75rem }}
pre {{ font: .92em/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 1rem;
  color: var(--muted) }}
.verdict {{ border-radius: 10px; padding: .9rem 1.25rem; margin: 0 0 1rem }}
.verdict b {{ display: block; font-size: 1.25rem }}
.safe {{ background: light-dark(#e6f3ec, #17301f); color: light-dark(#1f6f4c, #7fd3a8) }}
.unsafe {{ background: light-dark(#faeae8, #3a1d1c); color: light-dark(#a8322d, #f39a92) }}
.open {{ background: light-dark(#fbf2de, #33280f); color: light-dark(#7a5200, #f0c878) }}
table {{ width: 100%; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; border-spacing: 0; border-collapse: separate; overflow: hidden }}
th, td {{ text-align: left; vertical-align: top; padding: .5rem 1.25rem; border-top: 1px solid var(--line) }}
tr:first-child > * {{ border-top: 0 }}
th {{ font-weight: 400; color: var(--muted); width: 36% }}
footer {{ font-size: .87rem; color: var(--muted); margin-top: 1rem }}
@media (max-width: 34rem) {{ th, td {{ display: block; width: auto }} td {{ border-top: 0; padding-top: 0 }} }}
</style></head>
<body><main><h1>Rehearsal</h1>
<pre>{command}</pre>
<p class="verdict {state}"><b>{said}</b>{why}</p>
<table>
{rows}
</table></main>
<footer>Run by <code>spotbatch rehearse</code> on one machine: the command under the runtime, on simulated Spot hosts
with a shortened notice. What EC2 itself does is not shown by it.</footer>
</body></html>
"""
