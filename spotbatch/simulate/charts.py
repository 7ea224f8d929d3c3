"""Charts of simulations: hosts and jobs over time, the spread of cost, and savings against the deadline."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.usage import HostLife
from spotbatch.simulate.range_chart import LEGEND, draw_ranges, time_unit
from spotbatch.simulate.result import RunResult, Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_HOSTS: Final = 400
_ROW_INCHES: Final = 0.16
_LEAST_INCHES: Final = 1.6  # of all rows together, however few
_MOST_INCHES: Final = 8.0  # more rows are drawn thinner, so that the whole chart fits a screen
_END_COLOURS: Final[Mapping[AttemptOutcome | None, str]] = {
    AttemptOutcome.SUCCEEDED: "#2a9d8f",
    AttemptOutcome.INTERRUPTED: "#e9a23b",
    AttemptOutcome.FAILED: "#c1121f",
    None: "#6c757d",  # stopped, or cut off at the end of the run
}
_WAY_COLOURS: Final = {"Spot": "#2a9d8f", "on demand": "#6c757d"}
_END_WORDS: Final[Mapping[AttemptOutcome | None, str]] = {
    AttemptOutcome.SUCCEEDED: "attempt succeeded",
    AttemptOutcome.INTERRUPTED: "attempt interrupted",
    AttemptOutcome.FAILED: "attempt failed",
    None: "attempt stopped",
}


def _drawn_as(outcome: AttemptOutcome) -> AttemptOutcome | None:
    return outcome.group if outcome.group in _END_COLOURS else None


def draw_gantt(timeline: Timeline, path: Path) -> None:
    """One row per host, grouped by pool: its life in grey, its attempts in the colour of their outcome.

    Raises InvalidInput if there are too many hosts to show, or the chart cannot be written.
    """
    if len(timeline.hosts) > _MOST_HOSTS:
        raise InvalidInput(f"{len(timeline.hosts)} hosts are too many for a chart of at most {_MOST_HOSTS} rows")
    height = min(max(_ROW_INCHES * len(timeline.hosts), _LEAST_INCHES), _MOST_INCHES)
    figure = _figure(10, 1.4 + height)
    axes = figure.subplots()
    hosts = sorted(timeline.hosts, key=_by_pool)
    by, unit = time_unit(max((each.ended_at or each.launched_at for each in hosts), default=0.0))
    rows = {each.instance_id: row for row, each in enumerate(hosts)}
    _draw_hosts(axes, hosts, by, points=72 * height / max(1, len(hosts)))
    for end, colour in _END_COLOURS.items():
        ended = [each for each in timeline.attempts if _drawn_as(each.outcome) is end]
        for each in ended:
            span = _span(each.started_at, each.stopped_at, by)
            axes.broken_barh([span], (rows[each.instance_id] - 0.3, 0.6), color=colour, linewidth=0)
        if ended:
            axes.broken_barh([], (0, 0), color=colour, label=_END_WORDS[end])
    _name_pools(axes, hosts)
    axes.set(title="Hosts and their attempts", xlabel=unit, ylim=(len(hosts) - 0.3, -0.7))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    _save(figure, path)


def _draw_hosts(axes: Any, hosts: Sequence[HostLife], by: float, points: float) -> None:
    """The hosts' lives in grey, and where they were reclaimed, in units of `by` seconds; rows of so many points."""
    for row, host in enumerate(hosts):
        axes.broken_barh([_span(host.launched_at, host.ended_at, by)], (row - 0.4, 0.8), color="#d9dce0", linewidth=0)
    axes.broken_barh([], (0, 0), color="#d9dce0", label="host without work")
    taken = [(host.ended_at / by, row) for row, host in enumerate(hosts) if host.is_reclaimed and host.ended_at]
    if taken:
        style = {"marker": "x", "color": "#c1121f", "markersize": min(4.0, points), "linestyle": "none"}
        axes.plot(*zip(*taken, strict=True), **style, zorder=3, label="host reclaimed")


def _name_pools(axes: Any, hosts: Sequence[HostLife]) -> None:
    """Each pool's name next to the middle of its rows, and a line between pools."""
    names = [f"{each.instance_type} {each.zone}" for each in hosts]
    firsts = [row for row, name in enumerate(names) if row == 0 or names[row - 1] != name]
    ends = [*firsts[1:], len(names)]
    middles = [(first + end - 1) / 2 for first, end in zip(firsts, ends, strict=True)]
    axes.set_yticks(middles, [names[row] for row in firsts])
    axes.tick_params(axis="y", length=0)
    for first in firsts[1:]:
        axes.axhline(first - 0.5, color="#adb5bd", linewidth=0.6)


def draw_spread(results: Sequence[RunResult], path: Path) -> None:
    """The spread of cost and end time over the runs, and what on-demand would cost."""
    figure = _figure(10, 2.6)
    cost, end = figure.subplots(1, 2)
    costs = {"Spot": [float(each.usd) for each in results]}
    base = results[0].undisturbed_usd
    if base is not None:
        costs["on demand"] = [float(base)]
    draw_ranges(cost, "What the run costs", costs, _WAY_COLOURS, "USD")
    by, unit = time_unit(max(each.makespan_seconds for each in results))
    draw_ranges(
        end, "How long it takes", {"Spot": [each.makespan_seconds / by for each in results]}, _WAY_COLOURS, unit
    )
    figure.supxlabel(f"{LEGEND}. Hosts only; {len(results)} runs.", fontsize=9, color="#58636d")
    _save(figure, path)


def draw_savings(savings: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Savings (as a fraction of the on-demand bill) against the deadline in hours, one line per policy."""
    figure = _figure(7, 4.5)
    axes = figure.subplots()
    for name, points in savings.items():
        axes.plot(
            [hours for hours, _ in points], [100 * value for _, value in points], marker="o", markersize=3, label=name
        )
    axes.set(title="Saving against the deadline", xlabel="deadline, h", ylabel="saved against on-demand, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def draw_answers(answers: Mapping[str, tuple[Sequence[Decimal], Sequence[float]]], path: Path) -> None:
    """Cost and end time of each variant of a run: the mean, and the range from best to worst run, in one chart."""
    figure = _figure(9, 1.2 + 0.4 * len(answers))
    cost, end = figure.subplots(1, 2, sharey=True)
    places = range(len(answers))
    by, name = time_unit(max((seconds for _, ends in answers.values() for seconds in ends), default=0.0))
    for axes, which, unit in ((cost, 0, 1.0), (end, 1, by)):
        values = [[float(value) / unit for value in each[which]] for each in answers.values()]
        means = [sum(each) / len(each) for each in values]
        reach = [
            [max(0.0, mean - min(each)) for mean, each in zip(means, values, strict=True)],
            [max(0.0, max(each) - mean) for mean, each in zip(means, values, strict=True)],
        ]
        axes.errorbar(means, places, xerr=reach, fmt="o", capsize=3)
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.3)
    cost.set(title="Cost", xlabel="USD", yticks=list(places), yticklabels=list(answers))
    cost.invert_yaxis()
    end.set(title="How long it takes", xlabel=name)
    _save(figure, path)


def _by_pool(host: HostLife) -> tuple[str, str, float, str]:
    return (host.instance_type, host.zone, host.launched_at, host.instance_id)


def _span(begin: float, end: float | None, by: float) -> tuple[float, float]:
    return (begin / by, ((end if end is not None else begin) - begin) / by)


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure  # takes half a second: imported only when a chart is requested
    except ModuleNotFoundError as error:
        raise InvalidInput(f"a picture needs {error.name}: pip install 'spotbatch[money]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=150, metadata=_without_date(path))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the picture {path} could not be written: {error}") from error


def _without_date(path: Path) -> dict[str, None]:
    """The same seed gives the same bytes, so the file has no date."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
