"""`spotbatch simulate` on the screen and as JSON: many runs of one scenario, and the bill of the first."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from spotbatch.cli.output import text
from spotbatch.pricing.report import CostReport, shown_usd
from spotbatch.simulate.montecarlo import columns, quantiles
from spotbatch.simulate.result import RunResult
from spotbatch.simulate.scenario import Scenario
from spotbatch.simulate.spot_capacity import CapacityAtRate, CapacityByModel, SpotCapacity


def as_document(scenario: Scenario, results: Sequence[RunResult], sources: Sequence[str]) -> dict[str, object]:
    """For programs: every run, and the quantiles over them."""
    return {
        "is_simulated": True,
        "jobs": asdict(scenario.jobs),
        "timings": asdict(scenario.timings),
        "capacity": type(scenario.capacity).__name__,
        "max_vcpus": scenario.max_vcpus,
        "seed": scenario.seed,
        "summary": {name: quantiles(values) for name, values in columns(results).items()},
        "runs": [asdict(each) | {"saving_percent": each.saving_percent} for each in results],
        "sources": sources,
    }


def _in_words(capacity: SpotCapacity) -> str:
    if isinstance(capacity, CapacityAtRate):
        return f"{capacity.reclaims_per_hour:g} reclaims per host and hour"
    return "capacity of the fitted model" if isinstance(capacity, CapacityByModel) else "capacity of the traces"


def show(scenario: Scenario, results: Sequence[RunResult], sources: Sequence[str]) -> None:
    """For people: the scenario in a line, and the quantiles over the runs."""
    jobs = scenario.jobs
    text.say(
        f"{jobs.count} jobs of {text.duration(jobs.work_seconds)}, {jobs.vcpus} vCPUs, {jobs.memory_mib} MiB, on up to "
        f"{scenario.max_vcpus} vCPUs; {len(results)} runs, seed {scenario.seed}, {_in_words(scenario.capacity)}"
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
    for name, values in columns(results).items():
        heading, shape = shown[name]
        found = quantiles(values)
        rows.append([heading, *(shape(found[key]) if found else "-" for key in ("mean", "p5", "p50", "p95"))])
    text.table(["", "mean", "p5", "p50", "p95"], rows, right=(1, 2, 3, 4))
    given_up = sum(not each.is_finished for each in results)
    if given_up:
        left = sum(jobs.count - each.succeeded - each.failed for each in results)
        text.say(f"{given_up} of {len(results)} runs were given up after {scenario.most_days:g} days (--give-up)")
        text.say(f"{left} jobs did not end: what these runs cost is no saving, and when they ended is not known")
    text.say()
    for line in ("simulated, not measured on AWS", *sources):
        text.say(f"- {line}")


def show_bill(report: CostReport) -> None:
    """Show the first run's report as in `spotbatch cost`."""
    text.say()
    text.say("the bill of the first run:")
    rows = [[part.value, shown_usd(amount)] for part, amount in report.parts.items() if amount]
    rows += [["first-hour credit", shown_usd(-report.credit_usd)], ["paid", shown_usd(report.paid_usd)]]
    rows += [["on demand, the same hours", shown_usd(report.on_demand_usd)]]
    text.table(["", "amount"], rows, right=(1,))
