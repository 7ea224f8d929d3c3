"""A job's own report of its progress: its bar, and the time left by its pace."""

import pytest

from spotbatch.runs.progress_report import OwnProgress, Report, seconds_left


def report(done: float, at: float, total: float = 40) -> Report:
    return Report(done=done, total=total, text="", at=at)


@pytest.mark.parametrize(
    ("done", "bar"), [(0, "[....................]"), (30, "[###############.....]"), (41, "[####################]")]
)
def test_the_bar_is_as_long_as_the_share_and_never_longer(done: float, bar: str) -> None:
    assert report(done, 0).bar == bar


def test_the_time_left_follows_from_the_pace_between_two_reports() -> None:
    assert seconds_left(report(10, 100), report(20, 150)) == 100
    assert seconds_left(report(10, 100), report(40, 150)) == 0


def test_without_a_pace_no_time_left_is_claimed() -> None:
    assert seconds_left(report(10, 100), report(10, 150)) is None
    assert seconds_left(report(10, 100), report(20, 100)) is None
    assert seconds_left(report(10, 100, total=80), report(20, 150)) is None


def test_a_new_attempt_that_begins_earlier_begins_a_new_pace() -> None:
    progress = OwnProgress(has_bar=True)
    assert progress._told(report(20, 0)) == "[##########..........] 50 % by its own report"
    assert progress._told(report(30, 60)).endswith("75 % by its own report, about 1 min 00 s left")
    assert progress._told(report(10, 90)).endswith("25 % by its own report")
    assert progress._told(report(20, 100)).endswith("50 % by its own report, about 20 s left")
