"""EvaluateOnExit, exactly as AWS Batch defines it."""

import pytest

from spotbatch.batch.environment import EXIT_INTERRUPTED
from spotbatch.batch.errors import InvalidJob
from spotbatch.batch.retry import Action, AttemptExit, EvaluateOnExit, RetryStrategy, spot_safe
from spotbatch.batch.status import host_terminated

RECLAIMED = AttemptExit(status_reason=host_terminated("i-0123456789abcdef0"))


def test_an_exit_that_no_entry_matches_is_retried() -> None:
    strategy = RetryStrategy(attempts=3, evaluate_on_exit=(EvaluateOnExit(action=Action.EXIT, on_exit_code="1"),))
    assert strategy.decide(AttemptExit(exit_code=2), 1) is Action.RETRY
    assert strategy.decide(AttemptExit(exit_code=1), 1) is Action.EXIT


def test_the_first_entry_that_matches_decides() -> None:
    entries = (
        EvaluateOnExit(action=Action.RETRY, on_exit_code="13*"),
        EvaluateOnExit(action=Action.EXIT, on_exit_code="137"),
    )
    assert RetryStrategy(attempts=2, evaluate_on_exit=entries).decide(AttemptExit(exit_code=137), 1) is Action.RETRY


def test_all_conditions_of_an_entry_must_match() -> None:
    entry = EvaluateOnExit(action=Action.RETRY, on_exit_code="1", on_reason="Cannot*")
    assert entry.matches(AttemptExit(exit_code=1, reason="CannotPull"))
    assert not entry.matches(AttemptExit(exit_code=1, reason="other"))
    assert not entry.matches(AttemptExit(exit_code=2, reason="CannotPull"))


def test_no_attempt_is_made_beyond_the_number_allowed() -> None:
    assert RetryStrategy(attempts=2).decide(AttemptExit(exit_code=1), 1) is Action.RETRY
    assert RetryStrategy(attempts=2).decide(AttemptExit(exit_code=1), 2) is Action.EXIT


def test_an_attempt_without_an_exit_code_matches_no_exit_code_pattern() -> None:
    assert not EvaluateOnExit(action=Action.RETRY, on_exit_code="*").matches(RECLAIMED)


@pytest.mark.parametrize("pattern", ["Host EC2*", "Host EC2 *", "*"])
def test_a_pattern_is_a_literal_with_a_trailing_star(pattern: str) -> None:
    assert EvaluateOnExit(action=Action.RETRY, on_status_reason=pattern).matches(RECLAIMED)


@pytest.mark.parametrize("pattern", ["*EC2", "Host?EC2*", "[H]ost*", "Host-EC2*"])
def test_patterns_that_aws_refuses_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidJob, match="onStatusReason"):
        EvaluateOnExit(action=Action.RETRY, on_status_reason=pattern)


@pytest.mark.parametrize("attempts", [0, 11])
def test_the_number_of_attempts_is_1_to_10(attempts: int) -> None:
    with pytest.raises(InvalidJob, match=str(attempts)):
        RetryStrategy(attempts=attempts)


def test_more_than_five_entries_are_refused() -> None:
    with pytest.raises(InvalidJob, match="at most 5"):
        RetryStrategy(attempts=2, evaluate_on_exit=(EvaluateOnExit(action=Action.EXIT),) * 6)


@pytest.mark.parametrize(
    ("ended", "action"),
    [
        (RECLAIMED, Action.RETRY),
        (AttemptExit(exit_code=EXIT_INTERRUPTED), Action.RETRY),
        (AttemptExit(reason="CannotPullContainerError: no such image"), Action.RETRY),
        (AttemptExit(exit_code=1), Action.EXIT),
        (AttemptExit(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"), Action.EXIT),
    ],
)
def test_the_stacks_strategy_retries_what_spot_did_and_ends_what_the_program_did(
    ended: AttemptExit, action: Action
) -> None:
    assert spot_safe().decide(ended, 1) is action
