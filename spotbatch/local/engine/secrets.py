"""Secrets of a job definition: fetched at each start of an attempt; if that fails the start fails, as on AWS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.status import NOT_INITIALIZED_REASON

# The prefix that the ECS agent puts before the cause (ECS troubleshooting, "ResourceInitializationError").
_FAILED: Final = f"{NOT_INITIALIZED_REASON} unable to pull secrets or registry auth: "
_NOT_THERE: Final = "ResourceNotFoundException: Secrets Manager can't find the specified secret."
_NO_PARAMETER: Final = "invalid ssm parameters: {name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingSecret:
    """Why an attempt cannot start, as its container's reason."""

    reason: str


def fetched(secret_of: Callable[[str], str | None], wanted: Mapping[str, str]) -> dict[str, str] | MissingSecret:
    """The variables with their values, or the first one without a value."""
    found = {}
    for name, value_from in wanted.items():
        value = secret_of(value_from)
        if value is None:
            return MissingSecret(reason=_FAILED + _cause(value_from))
        found[name] = value
    return found


def _cause(value_from: str) -> str:
    if ":secretsmanager:" in value_from:
        return f"unable to retrieve secret from asm: {_NOT_THERE}"
    return _NO_PARAMETER.format(name=value_from.rpartition(":parameter/")[2])
