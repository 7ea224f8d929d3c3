"""What is wrong with a command line, in one line: typer takes four, and does not always give the value."""

import re
from collections.abc import Sequence
from typing import Any, Final

_WHOLE_NUMBER: Final = re.compile(r"Input should be a valid integer.*", re.DOTALL)
_NUMBER: Final = re.compile(r"Input should be a valid number.*", re.DOTALL)
_BOUND: Final = re.compile(r"Input should be (greater|less) than or equal to (\S+)")
_CHOICE: Final = re.compile(r"(?:Value error, )?'(.*)' is not one of (.+?)\.?", re.DOTALL)


def in_one_line(error: Any, arguments: Sequence[str]) -> str:
    """The message for typer's error: what, the value, and the fix or where to find it."""
    said = " ".join(_said(error, arguments).split()).rstrip(".")
    path = error.ctx.command_path if getattr(error, "ctx", None) is not None else "spotbatch"
    told = said if said[1:2].isupper() else f"{said[:1].lower()}{said[1:]}"
    return f"{told} (`{path} --help` tells more)"


def _said(error: Any, arguments: Sequence[str]) -> str:
    if getattr(error, "possibilities", None):
        return f"there is no option {error.option_name}: did you mean {' or '.join(sorted(error.possibilities))}?"
    parameter = getattr(error, "param", None)
    if parameter is None or not error.message:
        return str(error.format_message())
    name = next((each for each in parameter.opts if each.startswith("--")), str(parameter.name).upper())
    choice = _CHOICE.fullmatch(error.message)
    given = choice[1] if choice else _given(parameter.opts, arguments)
    return f"{name} is {_wanted(error.message)}" + (f", not {given!r}" if given is not None else "")


def _wanted(message: str) -> str:
    """pydantic's message in user terms: `a whole number`, `at least 1`, `a, b or c`."""
    if found := _BOUND.fullmatch(message):
        return f"at {'least' if found[1] == 'greater' else 'most'} {found[2]}"
    if found := _CHOICE.fullmatch(message):
        names = [each.strip("' ") for each in found[2].split(",")]
        return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    plain = _NUMBER.sub("a number", _WHOLE_NUMBER.sub("a whole number", message))
    return plain if plain != message else f"not right: {message.removeprefix('Value error, ')}"


def _given(names: Sequence[str], arguments: Sequence[str]) -> str | None:
    """The value after an option on the command line; None if it is not an option."""
    for place, word in enumerate(arguments):
        name, joined, value = word.partition("=")
        if name in names and joined:
            return value
        if word in names and place + 1 < len(arguments):
            return arguments[place + 1]
    return None
