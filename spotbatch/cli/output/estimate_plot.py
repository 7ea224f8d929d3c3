"""The chart of an estimate: what the run costs and when it ends, over all samples of each scenario."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from spotbatch.batch.errors import InvalidInput

if TYPE_CHECKING:
    from spotbatch.pricing.forecast import Forecast

_COLOURS: Final = {"spot": "#2a9d8f", "mixed": "#e9a23b", "on-demand": "#6c757d"}
_HOUR: Final = 3600


def draw(found: "Forecast", path: Path) -> None:
    """Write the chart; the file name determines its format. Raises InvalidInput if it cannot be written."""
    from matplotlib.figure import Figure  # takes about half a second: imported only when a chart is requested

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    cost, finish = figure.subplots(1, 2)
    for width, each in zip((2.0, 3.2, 4.6), found.scenarios, strict=True):  # overlapping areas stay visible
        share = [100 * (at + 1) / each.samples for at in range(each.samples)]
        style = {"color": _COLOURS[each.name], "linewidth": width, "label": each.name, "zorder": 4 - width / 10}
        cost.step(sorted(each.costs), share, where="post", **style)
        finish.step([value / _HOUR for value in sorted(each.finishes)], share, where="post", **style)
    if found.plan.deadline_seconds:
        finish.axvline(found.plan.deadline_seconds / _HOUR, color="#c1121f", linestyle="--", label="deadline")
    cost.set(title="What the run costs", xlabel="USD, hosts only", ylabel="samples at or below, %", xlim=(0, None))
    finish.set(title="When it ends", xlabel="hours", xlim=_around(found))
    for axes in (cost, finish):
        axes.set_ylim(0, 103)
        axes.grid(alpha=0.3)
    lines, names = finish.get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=4, frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the picture {path} could not be written: {error}") from error


def _around(found: "Forecast") -> tuple[float, float]:
    """The hours in which runs end, and a little room: from 0 on, differences of minutes could not be seen."""
    ends = [value / _HOUR for each in found.scenarios for value in each.finishes]
    if found.plan.deadline_seconds:
        ends.append(found.plan.deadline_seconds / _HOUR)
    room = max(0.05 * (max(ends) - min(ends)), 0.01 * max(ends))
    return max(0.0, min(ends) - room), max(ends) + room
