"""Ranges of many runs: units that fit, and words that say what a bar shows."""

import pytest

from spotbatch.simulate.range_chart import Spread, draw_ranges, time_unit


@pytest.mark.parametrize(
    ("seconds", "by", "name"),
    [(45, 1, "s"), (270, 60, "min"), (7199, 60, "min"), (20_000, 3600, "h"), (9e5, 86400, "days")],
)
def test_a_time_is_drawn_in_the_unit_that_fits_it(seconds: float, by: float, name: str) -> None:
    assert time_unit(seconds) == (by, name)


def test_a_range_leaves_out_one_in_twenty_on_either_side_and_one_value_is_no_range() -> None:
    found = Spread.of([float(value) for value in range(101)])
    assert (found.low, found.middle, found.high) == (5, 50, 95)
    assert found.said("USD") == "50 USD (5 to 95)"
    assert Spread.of([0.03512]).said("USD") == "0.0351 USD"


def test_the_longest_bar_and_its_label_fill_the_picture() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw_ranges(axes, "Cost", {"Spot": [1.0, 2.0, 3.0], "on demand": [4.0]}, {"Spot": "g", "on demand": "k"}, "USD")
    left, right = axes.get_xlim()
    assert left == 0
    assert 4.0 < right < 2 * 4.0, "no empty half"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Spot", "on demand"]
