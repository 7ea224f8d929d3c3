"""Values of a template: the inputs and results of functions, and errors that give the location of a wrong one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput

Value = Any  # a JSON value; after `Template.resolve` without functions


class _NoValue:
    """The result of Ref AWS::NoValue: the member that holds it is left out."""


NO_VALUE: Final = _NoValue()


def pair(value: Value, where: str) -> tuple[Value, Value]:
    """A list of two. Raises InvalidInput for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise InvalidInput(f"{where} needs two arguments, not {short(value)}")
    return value[0], value[1]


def listed(value: Value, where: str) -> list[Value]:
    """A list. Raises InvalidInput for anything else."""
    if not isinstance(value, list):
        raise InvalidInput(f"{where} needs a list, not {short(value)}")
    return value


def text(value: Value, where: str) -> str:
    """A string; numbers and booleans are converted to their written form. Raises InvalidInput for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise InvalidInput(f"{where} needs a text, not {short(value)}")
    return str(value)


def whole(value: Value, where: str) -> int:
    """A whole number of at least 0, as a number or a string. Raises InvalidInput for anything else."""
    given = text(value, where)
    if not given.isdecimal():
        raise InvalidInput(f"{where} needs a whole number, not {short(value)}")
    return int(given)


def mapping(value: Value, where: str) -> Mapping[str, Value]:
    """An object. Raises InvalidInput for anything else."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} must be an object, not {short(value)}")
    return value


def short(value: Value) -> str:
    """The value as JSON, shortened for an error message."""
    return json.dumps(value, default=str)[:200]
