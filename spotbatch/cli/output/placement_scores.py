"""`spotbatch simulate --deadline --together` on the screen: the cost of each policy that may move between pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.output import json, text
from spotbatch.cli.output.progress_bar import progress_bar
from spotbatch.runs import parse

if TYPE_CHECKING:
    from spotbatch.policy.placement import PlacementTerms
    from spotbatch.pricing.catalogue import Catalogue
    from spotbatch.simulate.placements import PlacementScore
    from spotbatch.simulate.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The request, as typed."""

    types: str
    zones: str
    time: str
    deadline: str
    changeover: str
    price_ratio: float | None
    checkpoint_size: str
    runs: int
    seed: int


def play(asked: Asked, known: "Catalogue", found: "Sequence[Trace]", *, as_json: bool, sources: Sequence[str]) -> None:
    """Simulate it under each placement policy, and say what each costs above the optimum."""
    from spotbatch.pricing.egress import PROVENANCE
    from spotbatch.simulate.deadlines import tick_seconds
    from spotbatch.simulate.placements import (
        drawn_pool_windows,
        placement_policies,
        score_placements,
        windows_of_traces,
    )

    tick = tick_seconds(found)
    traces = [each.coarser(max(1, round(tick / each.tick_seconds))) for each in found]
    terms = terms_of(asked, known, traces, tick)
    windows = (
        windows_of_traces(terms, traces, asked.runs) if traces else drawn_pool_windows(terms, asked.runs, asked.seed)
    )
    with progress_bar("simulating", len(windows)) as advance:
        scores = score_placements(terms, windows, placement_policies(), advance)
    told = [*sources, *((PROVENANCE,) if terms.checkpoint_gb else ())]
    if as_json:
        return json.write({"is_simulated": True, "seed": asked.seed, "policies": scores, "sources": told})
    return show(terms, scores, told)


def terms_of(asked: Asked, known: "Catalogue", traces: "Sequence[Trace]", tick: float) -> "PlacementTerms":
    """The terms of a job that may move between zones: those of the traces, or the requested ones.

    On demand costs what the catalogue says of the first type, or so many times the mean Spot price. Raises InvalidInput
    where no price is known.
    """
    from spotbatch.policy.placement import PlacementTerms, SpotPool
    from spotbatch.pricing.egress import egress_between

    first = next((each for each in known.expand(parse.names(asked.types)) if each.spot_usd_per_hour), None)
    if first is None or first.spot_usd_per_hour is None:
        raise InvalidInput("no Spot price of these types is known: name others")
    usd = float(first.spot_usd_per_hour)
    means = {each.zone: sum(each.usd_per_hour) / len(each.usd_per_hour) for each in traces if each.usd_per_hour}
    pools = [each.zone for each in traces] or parse.names(asked.zones)
    regions = tuple(sorted({zone[:-1] for zone in pools}))
    spot = sum(means.values()) / len(means) if means else usd
    on_demand = asked.price_ratio * spot if asked.price_ratio else float(first.on_demand_usd_per_hour)
    gb = parse.memory_mib(asked.checkpoint_size) * 1024**2 / 1e9 if asked.checkpoint_size != "0" else 0.0
    return PlacementTerms(
        work_seconds=parse.seconds(asked.time),
        deadline_seconds=parse.seconds(asked.deadline),
        changeover_seconds=parse.seconds(asked.changeover),
        tick_seconds=tick,
        pools=tuple(SpotPool(name=zone, region=zone[:-1], usd_per_hour=means.get(zone, usd)) for zone in pools),
        on_demand_usd_per_hour=dict.fromkeys(regions, on_demand),
        checkpoint_gb=gb,
        egress_usd_per_gb=egress_between(regions) if gb else {},
        is_reclaim_seen_at_once=True,  # reclaims fall on ticks here
    )


def show(terms: "PlacementTerms", scores: "Sequence[PlacementScore]", sources: Sequence[str]) -> None:
    """The table of policies. `sources` say where prices come from."""
    text.say(
        f"one job of {text.duration(terms.work_seconds)} within {text.duration(terms.deadline_seconds)}, "
        f"{terms.changeover_seconds:.0f} s lost at each start, {terms.checkpoint_gb:g} GB to move, in any of "
        f"{text.count(len(terms.pools), 'pool')} ({', '.join(each.name for each in terms.pools)}), "
        f"{text.count(scores[0].windows, 'window')}"
    )
    text.say()
    rows = [
        [
            each.name,
            f"{each.mean_usd:,.2f}",
            f"{100 * each.above_optimum:.1f} %",
            "-" if each.error is None else f"{100 * each.error:.1f}",
            f"{100 * each.worst_above_optimum:.0f} %",
            f"{each.mean_egress_usd:,.2f}",
            f"{each.mean_starts:.1f}",
            str(each.late),
        ]
        for each in scores
    ]
    heads = ["policy", "USD", "above optimum", "error", "worst", "egress, USD", "starts", "late"]
    text.table(heads, rows, right=range(1, len(heads)))
    text.say()
    text.say("- simulated: AWS needs a stack in each region and a controller for it, and there is none yet")
    for line in sources:
        text.say(f"- {line}")
