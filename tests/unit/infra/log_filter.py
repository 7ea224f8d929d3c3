"""CloudWatch Logs' filter patterns for JSON, as far as the stack's metric filters use them.

Written after the CloudWatch Logs user guide ("Filter pattern syntax for metric filters"): selectors, =, != with a
trailing or leading *, NOT EXISTS, IS TRUE, IS FALSE, && before ||, parentheses. What the guide leaves open (!= on a
field that is not there) is no match here.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

_TOKEN: Final = re.compile(r'\s*(&&|\|\||\(|\)|!=|=|NOT EXISTS|IS TRUE|IS FALSE|"[^"]*"|\$[A-Za-z0-9_.\[\]-]+|\d+)')
_MISSING: Final = object()


def matches(pattern: str, event: Any) -> bool:
    """Whether an event (parsed JSON) matches `{ ... }`."""
    body = re.fullmatch(r"\{(.*)\}", pattern.strip(), re.DOTALL)
    assert body, pattern
    tokens = list(_tokens(body.group(1)))
    found = _any(tokens, event)
    assert not tokens, f"left over in {pattern!r}: {tokens}"
    return found


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while text[at:].strip():
        token = _TOKEN.match(text, at)
        assert token, f"not understood: {text[at:]!r}"
        yield token.group(1)
        at = token.end()


def _any(tokens: list[str], event: Any) -> bool:
    found = _all(tokens, event)
    while tokens and tokens[0] == "||":
        tokens.pop(0)
        found = _all(tokens, event) or found
    return found


def _all(tokens: list[str], event: Any) -> bool:
    found = _one(tokens, event)
    while tokens and tokens[0] == "&&":
        tokens.pop(0)
        found = _one(tokens, event) and found
    return found


def _one(tokens: list[str], event: Any) -> bool:
    first = tokens.pop(0)
    if first == "(":
        found = _any(tokens, event)
        assert tokens.pop(0) == ")"
        return found
    value, operator = _selected(first, event), tokens.pop(0)
    if operator in ("NOT EXISTS", "IS TRUE", "IS FALSE"):
        return value is {"NOT EXISTS": _MISSING, "IS TRUE": True, "IS FALSE": False}[operator]
    wanted = tokens.pop(0)
    if value is _MISSING:
        return False
    return _equals(value, wanted) is (operator == "=")


def _equals(value: Any, wanted: str) -> bool:
    if not wanted.startswith('"'):
        return bool(value == int(wanted))
    pattern = ".*".join(re.escape(part) for part in wanted.strip('"').split("*"))
    return re.fullmatch(pattern, str(value), re.DOTALL) is not None


def _selected(selector: str, event: Any) -> Any:
    for name, index in re.findall(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]", selector):
        try:
            event = event[name] if name else event[int(index)]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return event
