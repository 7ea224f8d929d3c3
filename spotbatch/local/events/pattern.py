"""EventBridge's event patterns: whether a pattern matches an event. Pure.

Source: EventBridge user guide, "Creating event patterns" and "Comparison operators"; the README of aws/event-ruler,
the library behind the service, where the guide leaves a case open. moto has a matcher too, but it does not accept "5"
as a number yet accepts True as 1, compares `anything-but` with a whole list, and ignores lists of objects.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Json = Any  # the types that json.loads returns

_OR: Final = "$or"
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


def matches(pattern: Mapping[str, Json], event: Json) -> bool:
    """Whether every member of the pattern matches the event. A malformed pattern matches nothing."""
    node = event if isinstance(event, Mapping) else {}
    return all(_member(key, wanted, node) for key, wanted in pattern.items())


def may_match(pattern: Mapping[str, Json], known: Json) -> bool:
    """Whether an event may match of which only some members are known yet: what is not known may be anything."""
    node = known if isinstance(known, Mapping) else {}
    return all(_may_be(key, wanted, node) for key, wanted in pattern.items())


def _may_be(key: str, wanted: Json, node: Mapping[str, Json]) -> bool:
    if key == _OR and isinstance(wanted, list) and all(isinstance(one, Mapping) for one in wanted):
        return any(may_match(one, node) for one in wanted)
    if key not in node:
        return True
    found = node[key]
    return (
        may_match(wanted, found) if isinstance(wanted, dict) and isinstance(found, dict) else _member(key, wanted, node)
    )


def _member(key: str, wanted: Json, node: Mapping[str, Json]) -> bool:
    if key == _OR and isinstance(wanted, list) and all(isinstance(one, Mapping) for one in wanted):
        return any(matches(one, node) for one in wanted)
    found = node.get(key)
    if isinstance(found, str) and isinstance(wanted, list) and found in wanted:  # by far the most common
        return True
    if isinstance(wanted, Mapping):
        if isinstance(found, list):  # one object of a list must match by itself (event-ruler, "array consistency")
            return any(matches(wanted, one) for one in found)
        return matches(wanted, found)
    if not isinstance(wanted, list):
        return False
    values = _leaves(found) if key in node else []
    return any(_filter(one, values) for one in wanted)


def _leaves(value: Json) -> list[Json]:
    """The values at this position; an object has none of its own."""
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one)]
    return [] if isinstance(value, Mapping) else [value]


def _filter(wanted: Json, values: list[Json]) -> bool:
    if not isinstance(wanted, Mapping):
        return any(_is_same(wanted, one) for one in values)
    if len(wanted) != 1:
        return False
    name, argument = next(iter(wanted.items()))
    if name == "exists":
        return bool(values) is argument
    operator = _OPERATORS.get(name)
    return operator is not None and any(operator(argument, one) for one in values)


def _is_same(wanted: Json, value: Json) -> bool:
    """Numbers are compared as written (user guide): 300 and 300.0 are different values."""
    return type(wanted) is type(value) and bool(wanted == value)


def _text_test(test: Callable[[str, str], bool]) -> Callable[[Json, Json], bool]:
    """prefix and suffix: a string, or {"equals-ignore-case": string}."""

    def applied(argument: Json, value: Json) -> bool:
        if not isinstance(value, str):
            return False
        if isinstance(argument, Mapping):
            folded = argument.get("equals-ignore-case")
            return isinstance(folded, str) and test(value.lower(), folded.lower())
        return isinstance(argument, str) and test(value, argument)

    return applied


def _ignoring_case(argument: Json, value: Json) -> bool:
    return isinstance(argument, str) and isinstance(value, str) and value.lower() == argument.lower()


def _wildcard(argument: Json, value: Json) -> bool:
    """`*` matches anything, `\\*` itself."""
    if not isinstance(argument, str) or not isinstance(value, str):
        return False
    parts = re.findall(r"\\[*\\]|\*|[^*\\]+|\\", argument)
    written = ("(?s:.*)" if part == "*" else re.escape(part.removeprefix("\\") or part) for part in parts)
    return re.fullmatch("".join(written), value) is not None


def _numeric(argument: Json, value: Json) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isinstance(argument, list) or not argument or len(argument) % 2:
        return False
    pairs = zip(argument[::2], argument[1::2], strict=True)
    return all(
        operator in _COMPARISONS and isinstance(bound, int | float) and _COMPARISONS[operator](value, bound)
        for operator, bound in pairs
    )


def _cidr(argument: Json, value: Json) -> bool:
    try:
        return ipaddress.ip_address(str(value)) in ipaddress.ip_network(str(argument), strict=False)
    except ValueError:
        return False


def _anything_but(argument: Json, value: Json) -> bool:
    """None of these values, and nothing that one other operator would match, which may also be a list."""
    if isinstance(argument, Mapping):
        if len(argument) != 1:
            return False
        name, inner = next(iter(argument.items()))
        operator = _OPERATORS.get(name)
        if operator is None or name in ("anything-but", "numeric", "cidr"):
            return False
        return not any(operator(one, value) for one in (inner if isinstance(inner, list) else [inner]))
    return not any(_is_same(one, value) for one in (argument if isinstance(argument, list) else [argument]))


_OPERATORS: Final[Mapping[str, Callable[[Json, Json], bool]]] = {
    "prefix": _text_test(str.startswith),
    "suffix": _text_test(str.endswith),
    "equals-ignore-case": _ignoring_case,
    "wildcard": _wildcard,
    "numeric": _numeric,
    "cidr": _cidr,
    "anything-but": _anything_but,
}
