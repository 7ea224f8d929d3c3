"""Alarms come to the states that CloudWatch's guide gives them, missing data included."""

import pytest

from spotbatch.local.events.alarm import Condition, Sample, State, periods_of, state_of, statistic


def points(text: str) -> list[float | None]:
    """X breaches, 0 does not, - is missing; the newest last, as in the guide's table."""
    return [None if one == "-" else float(one == "X") for one in text.split()]


def condition(missing: str, *, datapoints: int = 3) -> Condition:
    return Condition(
        comparison="GreaterThanOrEqualToThreshold", threshold=1, periods=3, datapoints=datapoints, missing=missing
    )


# User guide, "How alarm state is evaluated when data is missing": 3 out of 3.
@pytest.mark.parametrize(
    ("given", "missing", "ignored", "breaching", "not_breaching"),
    [
        ("0 - X - X", "OK", "OK", "OK", "OK"),
        ("- - - - 0", "OK", "OK", "OK", "OK"),
        ("- - - - -", "INSUFFICIENT_DATA", None, "ALARM", "OK"),
        ("0 X X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
        ("- - X - -", "ALARM", None, "ALARM", "OK"),
    ],
)
@pytest.mark.parametrize("before", [State.OK, State.ALARM])
def test_missing_data_is_treated_as_the_alarm_says(
    given: str, missing: str, ignored: str | None, breaching: str, not_breaching: str, before: State
) -> None:
    expected = {"missing": missing, "ignore": ignored, "breaching": breaching, "notBreaching": not_breaching}
    for treatment, state in expected.items():
        wanted = before if state is None else State(state)
        assert state_of(condition(treatment), points(given), before) is wanted, treatment


# The same page: 2 out of 3.
@pytest.mark.parametrize(
    ("given", "treatment", "expected"),
    [
        ("0 - X - X", "missing", State.ALARM),
        ("0 0 X 0 X", "ignore", State.ALARM),
        ("0 - X - -", "notBreaching", State.OK),
        ("- - - - 0", "missing", State.OK),
        ("- - - X -", "breaching", State.ALARM),
    ],
)
def test_some_of_the_newest_points_are_enough(given: str, treatment: str, expected: State) -> None:
    assert state_of(condition(treatment, datapoints=2), points(given), State.UNKNOWN) is expected


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ("GreaterThanThreshold", State.OK),
        ("GreaterThanOrEqualToThreshold", State.ALARM),
        ("LessThanThreshold", State.OK),
        ("LessThanOrEqualToThreshold", State.ALARM),
    ],
)
def test_a_value_at_the_threshold_breaches_where_equality_counts(comparison: str, expected: State) -> None:
    at = Condition(comparison=comparison, threshold=5, periods=1, datapoints=1)
    assert state_of(at, [None, None, 5.0], State.UNKNOWN) is expected


def sample(value: float, at: float = 0.0) -> Sample:
    return Sample(at=at, total=value, least=value, most=value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Sum", 10), ("Average", 2.5), ("Minimum", 1), ("Maximum", 4), ("SampleCount", 4), ("p50", 2.5), ("p100", 4)],
)
def test_a_statistic_is_of_all_samples(name: str, expected: float) -> None:
    assert statistic(name, [sample(value) for value in (1, 2, 3, 4)]) == expected


def test_samples_that_were_put_together_count_as_many() -> None:
    together = Sample(at=0, total=10, least=1, most=4, count=4)
    assert statistic("SampleCount", [together, sample(5)]) == 5
    assert statistic("Average", [together, sample(5)]) == 3
    assert statistic("p50", [together]) is None


def test_periods_end_with_the_present_minute() -> None:
    found = periods_of([sample(1, 130), sample(2, 70), sample(4, 10)], now=135, period=60, count=4, name="Sum")
    assert found == [None, 4, 2, 1]
