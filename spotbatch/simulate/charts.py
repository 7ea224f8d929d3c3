"""Pictures of simulations: hosts and jobs over time, the spread of cost, and saving against the deadline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.lives import AttemptEnd, HostLife
from spotbatch.simulate.result import RunResult, Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HOUR: Final = 3600.0
_MOST_HOSTS: Final = 400
_END_COLOURS: Final = {
    AttemptEnd.SUCCEEDED: "#2a9d8f",
    AttemptEnd.INTERRUPTED: "#e9a23b",
    AttemptEnd.FAILED: "#c1121f",
}


def draw_gantt(story: Story, path: Path) -> None:
    """A row for each host, grouped by pool: its life in grey, its attempts in the colour of their end.

    Raises InvalidInput where there are too many hosts to see, or the picture cannot be written.
    """
    if len(story.hosts) > _MOST_HOSTS:
        raise InvalidInput(f"{len(story.hosts)} hosts are too many for a chart of at most {_MOST_HOSTS} rows")
    figure = _figure(10, 1.5 + 0.16 * max(10, len(story.hosts)))
    axes = figure.subplots()
    rows = {each.instance_id: row for row, each in enumerate(sorted(story.hosts, key=_by_pool))}
    for host in story.hosts:
        axes.broken_barh([_span(host.launched_at, host.ended_at)], (rows[host.instance_id] - 0.4, 0.8), color="#d9dce0")
        if host.is_reclaimed and host.ended_at is not None:
            axes.plot(host.ended_at / _HOUR, rows[host.instance_id], marker="x", color="#c1121f", markersize=4)
    for attempt in story.attempts:
        colour = _END_COLOURS.get(attempt.end, "#6c757d")
        span = _span(attempt.started_at, attempt.stopped_at)
        axes.broken_barh([span], (rows[attempt.instance_id] - 0.3, 0.6), color=colour, edgecolor="white", linewidth=0.2)
    pools = [f"{each.instance_type} {each.zone}" for each in sorted(story.hosts, key=_by_pool)]
    firsts = [row for row, name in enumerate(pools) if row == 0 or pools[row - 1] != name]
    axes.set_yticks(firsts, [pools[row] for row in firsts])
    axes.set(title="Hosts and attempts (orange: interrupted, x: host reclaimed)", xlabel="hours")
    _save(figure, path)


def draw_spread(results: Sequence[RunResult], path: Path) -> None:
    """How cost and end are spread over the runs."""
    figure = _figure(10, 4.2)
    cost, end = figure.subplots(1, 2)
    share = [100 * (at + 1) / len(results) for at in range(len(results))]
    cost.step(sorted(float(each.usd) for each in results), share, where="post", color="#2a9d8f", label="Spot")
    base = results[0].undisturbed_usd
    if base is not None:
        cost.axvline(float(base), color="#6c757d", linestyle="--", label="on-demand, undisturbed")
    end.step(sorted(each.makespan_seconds / _HOUR for each in results), share, where="post", color="#2a9d8f")
    cost.set(title="Cost", xlabel="USD, hosts only", ylabel="runs at or below, %", xlim=(0, None))
    end.set(title="End of the last job", xlabel="hours", xlim=(0, None))
    cost.legend(frameon=False)
    for axes in (cost, end):
        axes.grid(alpha=0.3)
    _save(figure, path)


def draw_savings(savings: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Saving (a part of the on-demand bill) against the deadline in hours, a line for each policy."""
    figure = _figure(7, 4.5)
    axes = figure.subplots()
    for name, points in savings.items():
        axes.plot(
            [hours for hours, _ in points], [100 * value for _, value in points], marker="o", markersize=3, label=name
        )
    axes.set(title="Saving against the deadline", xlabel="deadline, hours", ylabel="saving over on-demand, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def _by_pool(host: HostLife) -> tuple[str, str, float, str]:
    return (host.instance_type, host.zone, host.launched_at, host.instance_id)


def _span(begin: float, end: float | None) -> tuple[float, float]:
    return (begin / _HOUR, ((end if end is not None else begin) - begin) / _HOUR)


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure  # half a second: only for who asks for a picture
    except ModuleNotFoundError as error:
        raise InvalidInput(f"a picture needs {error.name}: pip install 'spotbatch[money]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=150, metadata=_without_date(path))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the picture {path} could not be written: {error}") from error


def _without_date(path: Path) -> dict[str, None]:
    """The same seed gives the same bytes: no date in the file."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
