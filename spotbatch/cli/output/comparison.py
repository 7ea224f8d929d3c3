"""`spotbatch simulate --compare`: a run with other pools, checkpoints, fleets or regions, as a table and a chart."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.output import json, text
from spotbatch.cli.output.progress_bar import progress_bar

if TYPE_CHECKING:
    from spotbatch.pricing.history import Prices
    from spotbatch.simulate.comparison import Answer
    from spotbatch.simulate.scenario import Scenario


def compare(
    scenario: "Scenario",
    asked: str,
    prices: "Prices",
    *,
    runs: int,
    cores: int | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Simulate every variant with the same seed, and say what each costs and when it ends."""
    from spotbatch.simulate.comparison import Question, answers, variants

    if asked not in list(Question):
        raise InvalidInput(f"--compare is one of {', '.join(Question)}, not {asked!r}")
    found = variants(scenario, Question(asked))
    with progress_bar("simulating", len(found)) as advance:
        results = answers(found, runs, prices, cores=cores, on_progress=advance)
    if plot:
        from spotbatch.simulate.charts import draw_answers

        draw_answers({each.name: (each.usd, each.makespan_seconds) for each in results}, plot)
    if as_json:
        document = {"is_simulated": True, "compared": asked, "runs": runs, "seed": scenario.seed}
        return json.write(document | {"answers": results, "sources": prices.sources})
    return _say(scenario, results, prices.sources, runs)


def _say(scenario: "Scenario", results: "Sequence[Answer]", sources: Sequence[str], runs: int) -> None:
    jobs = scenario.jobs
    text.say(
        f"{jobs.count} jobs of {text.duration(jobs.work_seconds)}, {jobs.vcpus} vCPUs, {jobs.memory_mib} MiB, on up to "
        f"{scenario.max_vcpus} vCPUs; {runs} runs of each, seed {scenario.seed} for all"
    )
    text.say()
    cheapest = min(results, key=lambda each: sum(each.usd))
    rows = [
        [
            each.name + (" *" if each is cheapest else ""),
            f"{sum(each.usd, Decimal(0)) / len(each.usd):,.2f}",
            f"{max(each.usd):,.2f}",
            text.duration(fmean(each.makespan_seconds)),
            text.duration(max(each.makespan_seconds)),
            f"{fmean(each.interruptions):,.1f}",
            text.duration(fmean(each.lost_seconds)),
        ]
        for each in results
    ]
    heads = ["", "USD, mean", "worst", "ends in, mean", "worst", "interrupted", "work lost"]
    text.table(heads, rows, right=range(1, len(heads)))
    if given_up := [each.name for each in results if each.unfinished]:
        text.say(f"not all runs ended ({', '.join(given_up)}): what these cost is no answer")
    text.say()
    for line in ("* the cheapest in the mean; simulated, not measured on AWS", *sources):
        text.say(f"- {line}")
