"""What the metric filters count, played with events of the form that AWS Batch's user guide shows."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from spotbatch.batch.environment import EXIT_INTERRUPTED
from spotbatch.batch.status import CONTAINER_EXITED, NOT_STARTED, TIMEOUT_EXCEEDED, host_terminated
from spotbatch.infra.monitoring import COUNTS, LONGEST_PATTERN, checked_pattern
from tests.unit.infra.log_filter import matches

HOST_GONE: Final = host_terminated("i-0123456789abcdef0")
Attempt = tuple[int | None, str]
LEFT: Final[Attempt] = (EXIT_INTERRUPTED, CONTAINER_EXITED)
LOST: Final[Attempt] = (None, HOST_GONE)
FAILED: Final[Attempt] = (1, CONTAINER_EXITED)


def job_event(status: str, attempts: list[Attempt], reason: str = "", **detail: Any) -> dict[str, Any]:
    shapes = [
        {
            "container": {"logStreamName": "x"} | ({} if code is None else {"exitCode": code}),
            "startedAt": 1,
            "stoppedAt": 2,
            "statusReason": why,
        }
        for code, why in attempts
    ]
    last = attempts[-1][0] if attempts else None
    container = {"image": "x"} | ({} if last is None else {"exitCode": last})
    shape = {"status": status, "attempts": shapes, "container": container} | (
        {"statusReason": reason} if reason else {}
    )
    return {"detail-type": "Batch Job State Change", "source": "aws.batch", "detail": shape | detail}


def life(attempts: list[Attempt], *, ends: str = "", reason: str = "", **detail: Any) -> Iterator[dict[str, Any]]:
    """The events of a job: each attempt is RUNNABLE, STARTING and RUNNING before it ends."""
    for number in range(len(attempts)):
        for status in ("RUNNABLE", "STARTING", "RUNNING"):
            yield job_event(status, attempts[:number])
    if ends:
        yield job_event(ends, attempts, reason or attempts[-1][1], **detail)


def counted(events: Iterator[dict[str, Any]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for event in events:
        for each in COUNTS:
            found[each.name] += sum(matches(pattern, event) for pattern in each.patterns)
    return found


@pytest.mark.parametrize("attempt", [LEFT, LOST], ids=["left in time", "lost"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_each_interruption_is_counted_once_whether_the_runtime_left_in_time_or_not(
    attempt: Attempt, count: int
) -> None:
    done = (0, CONTAINER_EXITED)
    assert counted(life([attempt] * count + [done], ends="SUCCEEDED"))["AttemptsInterrupted"] == count


@pytest.mark.parametrize("attempt", [LEFT, LOST], ids=["left in time", "lost"])
def test_ten_interruptions_that_use_up_all_attempts_are_ten(attempt: Attempt) -> None:
    found = counted(life([attempt] * 10, ends="FAILED"))
    assert (found["AttemptsInterrupted"], found["JobsFailed"]) == (10, 1)


def test_other_retries_are_no_interruptions() -> None:
    attempts = [(211, CONTAINER_EXITED), (None, NOT_STARTED), (212, CONTAINER_EXITED), LEFT, FAILED]
    assert counted(life(attempts, ends="FAILED"))["AttemptsInterrupted"] == 1


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        ("cancelled by spotbatch cancel", {}),
        ("the stack is being removed", {}),
        ("wrong input", {"isTerminated": True, "isCancelled": False}),
        ("wrong input", {"isTerminated": False, "isCancelled": True}),
    ],
)
def test_what_somebody_stopped_is_no_failed_job_and_no_interruption(reason: str, detail: dict[str, Any]) -> None:
    found = counted(life([LEFT], ends="FAILED", reason=reason, **detail))
    assert (found["JobsFailed"], found["AttemptsInterrupted"]) == (0, 0)


@pytest.mark.parametrize("reason", [CONTAINER_EXITED, NOT_STARTED, TIMEOUT_EXCEEDED, HOST_GONE, "Dependent Job failed"])
@pytest.mark.parametrize("detail", [{}, {"isTerminated": False, "isCancelled": False}], ids=["old", "new"])
def test_what_failed_by_itself_is_a_failed_job(reason: str, detail: dict[str, Any]) -> None:
    assert counted(life([FAILED], ends="FAILED", reason=reason, **detail))["JobsFailed"] == 1


def test_a_timeout_under_the_runtime_is_no_interruption() -> None:
    assert counted(life([LEFT], ends="FAILED", reason=TIMEOUT_EXCEEDED))["AttemptsInterrupted"] == 0


def test_every_pattern_is_as_short_as_cloudwatch_wants_it_and_a_longer_one_stops_the_synthesis() -> None:
    assert LONGEST_PATTERN == 1024
    assert all(len(pattern) <= LONGEST_PATTERN for each in COUNTS for pattern in each.patterns)
    with pytest.raises(ValueError, match="1,025 characters"):
        checked_pattern("x" * (LONGEST_PATTERN - 3))


def test_one_metric_may_have_several_filters_and_is_paid_once() -> None:
    filters = sum(len(each.patterns) for each in COUNTS)
    assert (len(COUNTS), filters) == (6, 8)
