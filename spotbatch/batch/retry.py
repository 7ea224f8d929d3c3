"""Whether a failed attempt is retried (AWS Batch user guide, "Automated job retries")."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from spotbatch.batch.environment import RETRIED_EXIT_CODES
from spotbatch.batch.errors import InvalidJob
from spotbatch.batch.status import CANNOT_PULL_PREFIX, HOST_TERMINATED_PATTERN, TASK_NOT_RUN_PATTERN

MAX_ATTEMPTS: Final = 10
MAX_EVALUATE_ON_EXIT: Final = 5
MAX_PATTERN_LENGTH: Final = 512
_EXIT_CODE_PATTERN: Final = re.compile(r"[0-9]*\*?")
_REASON_PATTERN: Final = re.compile(r"[A-Za-z0-9.:\s]*\*?")


class Action(StrEnum):
    """The action of an EvaluateOnExit entry, and the result of `decide`."""

    RETRY = "RETRY"
    EXIT = "EXIT"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptExit:
    """How an attempt ended: the exit code if there is one, the container's reason, the status reason."""

    exit_code: int | None = None
    reason: str = ""
    status_reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOnExit:
    """One entry: patterns that must all match, and the action to take. Raises InvalidJob where AWS would refuse it."""

    action: Action
    on_exit_code: str | None = None
    on_reason: str | None = None
    on_status_reason: str | None = None

    def __post_init__(self) -> None:
        _validate("onExitCode", self.on_exit_code, _EXIT_CODE_PATTERN, "digits and a trailing *")
        allowed = "letters, digits, '.', ':', white space and a trailing *"
        _validate("onReason", self.on_reason, _REASON_PATTERN, allowed)
        _validate("onStatusReason", self.on_status_reason, _REASON_PATTERN, allowed)

    def matches(self, ended: AttemptExit) -> bool:
        """Whether every given condition matches; an entry without conditions matches everything."""
        exit_code = "" if ended.exit_code is None else str(ended.exit_code)
        return (
            (self.on_exit_code is None or (ended.exit_code is not None and _glob(self.on_exit_code, exit_code)))
            and (self.on_reason is None or _glob(self.on_reason, ended.reason))
            and (self.on_status_reason is None or _glob(self.on_status_reason, ended.status_reason))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryStrategy:
    """How often, and after which exits, a job is retried. Raises InvalidJob where AWS would refuse it."""

    attempts: int = 1
    evaluate_on_exit: tuple[EvaluateOnExit, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise InvalidJob(f"retry attempts must be 1 to {MAX_ATTEMPTS}, not {self.attempts}")
        if len(self.evaluate_on_exit) > MAX_EVALUATE_ON_EXIT:
            count = len(self.evaluate_on_exit)
            raise InvalidJob(f"at most {MAX_EVALUATE_ON_EXIT} evaluateOnExit entries are allowed, not {count}")

    def decide(self, ended: AttemptExit, attempts_made: int) -> Action:
        """RETRY or EXIT after a failed attempt; `attempts_made` includes it.

        The first entry that matches decides; if none does, the job is retried (API reference, EvaluateOnExit).
        """
        if attempts_made >= self.attempts:
            return Action.EXIT
        for entry in self.evaluate_on_exit:
            if entry.matches(ended):
                return entry.action
        return Action.RETRY


def spot_safe(attempts: int = MAX_ATTEMPTS) -> RetryStrategy:
    """The stack's strategy: retry failures of Spot, a registry or a host; end on failures of the user's own program.

    It has AWS's five entries (API reference, RetryStrategy). The last one matters: without an EXIT entry AWS Batch
    retries whatever no entry matches, so that every bug would use up all attempts. The last but one is the retry in
    AWS's own example (user guide, "Automated job retries"). No entry is left to tell starts that can never succeed (no
    such program in the image, a wrong volume) from those that may succeed on another host (Docker too slow): both are
    retried. A failed start costs seconds, and shows its reason when attempts run out; giving up a child because of
    slow Docker costs its whole array. tests/unit/batch/test_retry_reasons.py covers every agent error.
    """
    return RetryStrategy(
        attempts=attempts,
        evaluate_on_exit=(
            EvaluateOnExit(action=Action.RETRY, on_status_reason=HOST_TERMINATED_PATTERN),
            EvaluateOnExit(action=Action.RETRY, on_exit_code=RETRIED_EXIT_CODES),
            EvaluateOnExit(action=Action.RETRY, on_reason=f"{CANNOT_PULL_PREFIX}*"),
            EvaluateOnExit(action=Action.RETRY, on_status_reason=TASK_NOT_RUN_PATTERN),
            EvaluateOnExit(action=Action.EXIT, on_reason="*"),
        ),
    )


def _validate(name: str, pattern: str | None, allowed: re.Pattern[str], in_words: str) -> None:
    if pattern is None:
        return
    if len(pattern) > MAX_PATTERN_LENGTH or not allowed.fullmatch(pattern):
        raise InvalidJob(f"{name} may hold {in_words}, up to {MAX_PATTERN_LENGTH} characters, not {pattern!r}")


def _glob(pattern: str, value: str) -> bool:
    """A literal with an optional trailing `*`; nothing else is special (unlike fnmatch)."""
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern
