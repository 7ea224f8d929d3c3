"""Schedule expressions fire when EventBridge's guide says they do."""

from datetime import UTC, datetime

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.events.schedule import schedule_of


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("cron(0 10 * * ? *)", "2026-11-30 09:59:59", "2026-11-30 10:00"),
        ("cron(0 10 * * ? *)", "2026-11-30 10:00:00", "2026-12-01 10:00"),
        ("cron(15/20 * * * ? *)", "2026-11-30 10:16:00", "2026-11-30 10:35"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-28 00:00:00", "2026-11-30 18:00"),  # a Saturday
        ("cron(0 8 1 * ? *)", "2026-11-30 00:00:00", "2026-12-01 08:00"),
        ("cron(0 0 L * ? *)", "2027-02-10 00:00:00", "2027-02-28 00:00"),
        ("cron(0 0 15W * ? *)", "2026-11-10 00:00:00", "2026-11-16 00:00"),  # the 15th is a Sunday
        ("cron(0 0 ? * 2#1 *)", "2026-12-01 00:00:00", "2026-12-07 00:00"),  # the first Monday
        ("cron(0 0 ? * 6L *)", "2026-11-01 00:00:00", "2026-11-27 00:00"),  # the last Friday
        ("cron(0 0 29 FEB ? *)", "2026-11-30 00:00:00", "2028-02-29 00:00"),
        ("cron(0,30 0-1 * 1,12 ? 2026-2027)", "2026-11-30 00:00:00", "2026-12-01 00:00"),
    ],
)
def test_a_cron_expression_fires_at_the_first_moment_that_fits(expression: str, after: str, expected: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    found = schedule_of(expression).following(moment, moment)
    assert found is not None
    assert datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M") == expected


def test_a_cron_expression_of_the_past_never_fires() -> None:
    assert schedule_of("cron(0 0 1 1 ? 2020)").following(1.7e9, 0.0) is None


@pytest.mark.parametrize(
    ("expression", "seconds"), [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(1 day)", 86400)]
)
def test_a_rate_counts_from_its_beginning(expression: str, seconds: int) -> None:
    schedule = schedule_of(expression)
    assert schedule.following(1000.0, 1000.0) == 1000.0 + seconds
    assert schedule.following(1000.0 + seconds, 1000.0) == 1000.0 + 2 * seconds


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minutes)",
        "rate(2 minute)",
        "rate(0 minutes)",
        "rate(30 seconds)",
        "cron(0 10 * * * *)",
        "cron(0 10 ? * ? *)",
        "cron(0 10 * * ?)",
        "cron(60 10 * * ? *)",
        "cron(0 10 32 * ? *)",
        "every day",
    ],
)
def test_an_expression_that_aws_refuses_is_refused(expression: str) -> None:
    with pytest.raises(InvalidInput, match="ScheduleExpression is not valid"):
        schedule_of(expression)
