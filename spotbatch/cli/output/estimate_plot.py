"""The chart of an estimate: what the run costs and when it ends, over all samples of each scenario."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.simulate.range_chart import LEGEND, draw_ranges, time_unit

if TYPE_CHECKING:
    from spotbatch.pricing.forecast import Forecast

_COLOURS: Final = {"spot": "#2a9d8f", "mixed": "#e9a23b", "on-demand": "#6c757d"}


def draw(found: "Forecast", path: Path) -> None:
    """Write the chart; the file name determines its format. Raises InvalidInput if it cannot be written."""
    from matplotlib.figure import Figure  # takes about half a second: imported only when a chart is requested

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    cost, finish = figure.subplots(1, 2)
    draw_ranges(cost, "What the run costs", {each.name: each.costs for each in found.scenarios}, _COLOURS, "USD")
    deadline = found.plan.deadline_seconds
    latest = max([value for each in found.scenarios for value in each.finishes] + ([deadline] if deadline else []))
    by, unit = time_unit(latest)
    ends = {each.name: [value / by for value in each.finishes] for each in found.scenarios}
    draw_ranges(finish, "How long it takes", ends, _COLOURS, unit)
    if deadline:
        finish.axvline(deadline / by, color="#c1121f", linestyle="--", label="deadline")
        finish.set_xlim(right=max(finish.get_xlim()[1], 1.05 * deadline / by))
        finish.legend(frameon=False, loc="lower right")
    figure.text(0.5, -0.02, f"{LEGEND}. Hosts only.", ha="center", va="top", fontsize=9, color="#58636d")
    try:
        figure.savefig(path, dpi=150, bbox_inches="tight")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the picture {path} could not be written: {error}") from error
