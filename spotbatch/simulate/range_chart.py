"""How a figure spreads over many runs, as a bar for each way to run: what is likely at a glance, without statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LEGEND: Final = "bar: the middle of all runs; line: nine runs in ten"
_UNITS: Final = ((120.0, 1.0, "s"), (2 * 3600.0, 60.0, "min"), (3 * 86400.0, 3600.0, "h"))  # up to, divided by, name
_DAY: Final = 86400.0
_ROOM: Final = 1.5  # of the longest bar: its label stands to the right
_INK: Final = "#1b2126"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The middle of many values; nine in ten lie between `low` and `high`."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """From at least one value."""
        found = sorted(values)

        def at(share: float) -> float:
            place = share * (len(found) - 1)
            before = int(place)
            after = min(before + 1, len(found) - 1)
            return found[before] + (found[after] - found[before]) * (place - before)

        return cls(low=at(0.05), middle=at(0.5), high=at(0.95))

    def said(self, unit: str) -> str:
        """0.035 USD (0.029 to 0.042); without a range where nine in ten are the same."""
        middle, low, high = (_figure(value) for value in (self.middle, self.low, self.high))
        return f"{middle} {unit}" if low == high else f"{middle} {unit} ({low} to {high})"


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit that fits a time: by what to divide seconds, and its name."""
    return next(((by, name) for most, by, name in _UNITS if seconds < most), (_DAY, "days"))


def draw_ranges(
    axes: Any, title: str, values: Mapping[str, Sequence[float]], colours: Mapping[str, str], unit: str
) -> None:
    """A bar for each name, with its middle and its range in words."""
    spreads = {name: Spread.of(found) for name, found in values.items()}
    longest = max((each.high for each in spreads.values()), default=0.0) or 1.0
    for row, (name, each) in enumerate(spreads.items()):
        axes.barh(row, each.middle, height=0.56, color=colours[name], linewidth=0)
        if each.high > each.low:
            axes.plot([each.low, each.high], [row, row], color=_INK, linewidth=1.4, marker="|", markersize=7)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(each.high + longest * 0.03, row, each.said(unit), va="center", fontsize=9, color=_INK, bbox=behind)
    axes.set(title=title, xlabel=unit, xlim=(0, longest * _ROOM), ylim=(len(spreads) - 0.5, -0.5))
    axes.set_yticks(range(len(spreads)), list(spreads))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _figure(value: float) -> str:
    """Three digits that matter: 0.0351, 2.47, 128, 1,280."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
