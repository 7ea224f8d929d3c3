"""CloudWatch Logs' filter patterns: plain terms, and conditions on members of JSON. Pure.

Source: CloudWatch Logs user guide, "Filter pattern syntax for metric filters, subscription filters, filter log events,
and Live Tail". Patterns of columns ([ip, status=5*]) are not supported here.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import is_
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput

Test = Callable[[str], bool]
_Condition = Callable[[Any], bool]

_TERM: Final = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|%((?:[^%\\]|\\.)+)%|([^\s"]+))')
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<mark>&&|\|\||\(|\)|!=|<=|>=|=|<|>)
        |(?P<selector>\$(?:\.[A-Za-z0-9_@:-]+|\[[0-9]+\]|\[\*\]|\.\*|\['[^']*'\]|\["[^"]*"\])*)
        |"(?P<text>(?:[^"\\]|\\.)*)"
        |%(?P<regex>(?:[^%\\]|\\.)+)%
        |(?P<word>[^\s()&|=!<>"]+)
    )""",
    re.VERBOSE,
)
_STEP: Final = re.compile(r"\.([A-Za-z0-9_@:-]+|\*)|\[([0-9]+|\*)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_MOST_CHARACTERS: Final = 1024


def test_of(pattern: str) -> Test:
    """Returns a test of a log event's message. Raises InvalidInput where CloudWatch Logs would refuse the pattern."""
    if len(pattern) > _MOST_CHARACTERS:
        raise InvalidInput(f"a filter pattern has {len(pattern)} characters, {_MOST_CHARACTERS} are allowed")
    bare = pattern.strip()
    if bare.startswith("["):
        raise InvalidInput(f"the local region reads no patterns of columns: {pattern[:200]}")
    return _json_test(bare) if bare.startswith("{") else _terms_test(bare)


# ---- terms ----


def _terms_test(pattern: str) -> Test:
    """All plain terms; any of those with ?, if there are no others; none of those with -."""
    wanted: list[Test] = []
    any_of: list[Test] = []
    unwanted: list[Test] = []
    place = 0
    while place < len(pattern):
        match = _TERM.match(pattern, place)
        if match is None or match.end() == place:
            raise InvalidInput(f"Invalid filter pattern: {pattern[:200]}")
        place = match.end()
        test = _term(match)
        (any_of if match[1] == "?" else unwanted if match[1] == "-" else wanted).append(test)

    def holds(message: str) -> bool:
        # The guide: if ? occurs beside other terms, the terms with ? are ignored.
        is_wanted = all(test(message) for test in wanted)
        is_any = bool(wanted) or not any_of or any(test(message) for test in any_of)
        return is_wanted and is_any and not any(test(message) for test in unwanted)

    return holds


def _term(match: re.Match[str]) -> Test:
    if match[3] is not None:
        expression = _compiled(match[3])
        return lambda message: expression.search(message) is not None
    text = _unescaped(match[2]) if match[2] is not None else match[4]
    return lambda message: text in message


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise InvalidInput(f"Invalid filter pattern: {expression[:200]}: {error}") from error


# ---- JSON ----


@lru_cache(maxsize=512)
def parsed(message: str) -> Any:
    """The JSON in a log event, None if there is none. Several filters share an event: it is parsed only once."""
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return None


def _json_test(pattern: str) -> Test:
    if not pattern.endswith("}"):
        raise InvalidInput(f"Invalid filter pattern: {pattern[:200]}")
    parser = _Parser(pattern[1:-1], pattern)
    condition = parser.either()
    if not parser.is_at_end:
        raise parser.refusal()

    def holds(message: str) -> bool:
        found = parsed(message)
        return isinstance(found, dict | list) and condition(found)

    return holds


def _all_of(parts: list[_Condition]) -> _Condition:
    def holds(event: Any) -> bool:
        for part in parts:  # noqa: SIM110 - the generator of all() takes longer than the first test
            if not part(event):
                return False
        return True

    return holds


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


class _Parser:
    """Recursive descent: `||` of `&&` of comparisons and parentheses."""

    def __init__(self, source: str, whole: str) -> None:
        self._whole = whole
        self._tokens = self._read(source)
        self._place = 0

    def _read(self, source: str) -> list[_Token]:
        found = []
        place = 0
        while source[place:].strip():
            match = _TOKEN.match(source, place)
            if match is None or match.lastgroup is None:
                raise self.refusal()
            found.append(_Token(match.lastgroup, match[match.lastgroup]))
            place = match.end()
        return found

    def refusal(self) -> InvalidInput:
        return InvalidInput(f"Invalid filter pattern: {self._whole[:200]}")

    @property
    def is_at_end(self) -> bool:
        return self._place == len(self._tokens)

    def _next(self) -> _Token:
        if self.is_at_end:
            raise self.refusal()
        self._place += 1
        return self._tokens[self._place - 1]

    def _is_next(self, *texts: str) -> bool:
        ahead = self._tokens[self._place : self._place + len(texts)]
        return tuple(one.text.upper() for one in ahead) == texts

    def _takes(self, *texts: str) -> bool:
        if not self._is_next(*texts):
            return False
        self._place += len(texts)
        return True

    def either(self) -> _Condition:
        parts = [self._both()]
        while self._takes("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda event: any(part(event) for part in parts)

    def _both(self) -> _Condition:
        parts = [self._one()]
        while self._takes("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else _all_of(parts)

    def _one(self) -> _Condition:
        if self._takes("("):
            inner = self.either()
            if not self._takes(")"):
                raise self.refusal()
            return inner
        token = self._next()
        if token.kind != "selector":
            raise self.refusal()
        return self._comparison(token.text)

    def _comparison(self, selector: str) -> _Condition:
        steps = _steps(selector)
        if self._takes("NOT", "EXISTS"):
            return lambda event: not _found(event, steps)
        if self._takes("EXISTS"):
            return lambda event: bool(_found(event, steps))
        for word, value in (("NULL", None), ("TRUE", True), ("FALSE", False)):
            if self._takes("IS", word):
                return _holds(steps, partial(is_, value))
        operator = self._next()
        if operator.kind != "mark" or operator.text in ("(", ")", "&&", "||"):
            raise self.refusal()
        test = self._value_test(operator.text, self._next())
        return _holds(steps, test)

    def _value_test(self, operator: str, value: _Token) -> _Condition:
        if value.kind not in ("text", "word", "regex"):
            raise self.refusal()
        if operator in ("=", "!="):
            equals = _equals(value)
            return equals if operator == "=" else lambda found: not equals(found)
        try:
            bound = float(value.text)
        except ValueError:
            raise self.refusal() from None
        comparisons: Mapping[str, Callable[[float], bool]] = {
            "<": lambda one: one < bound,
            "<=": lambda one: one <= bound,
            ">": lambda one: one > bound,
            ">=": lambda one: one >= bound,
        }
        compare = comparisons[operator]
        return lambda found: isinstance(found, int | float) and not isinstance(found, bool) and compare(found)


def _holds(steps: list[str | int], test: _Condition) -> _Condition:
    """Whether a value at the selector passes a test. Without a * there is at most one, which is found directly."""
    if "*" in steps:
        return lambda event: any(test(value) for value in _found(event, steps))

    def holds(event: Any) -> bool:
        for step in steps:
            if isinstance(event, str):  # which has characters by index
                return False
            try:
                event = event[step]
            except (LookupError, TypeError):  # TypeError: a name in a list or of a number
                return False
        return test(event)

    return holds


def _equals(value: _Token) -> _Condition:
    """A string may contain `*`; a number may be written in any form. A missing value is neither equal nor different."""
    if value.kind == "regex":
        expression = _compiled(value.text)
        return lambda found: isinstance(found, str) and expression.search(found) is not None
    text = _unescaped(value.text) if value.kind == "text" else value.text
    number = _number(text) if value.kind == "word" else None
    is_literal = "*" not in text
    expression = re.compile("(?s:.*)".join(re.escape(part) for part in text.split("*")))

    def equals(found: Any) -> bool:
        if isinstance(found, str):
            return found == text if is_literal else expression.fullmatch(found) is not None
        if isinstance(found, bool) or found is None:
            return False
        if isinstance(found, int | float):
            return found == number if number is not None else expression.fullmatch(json.dumps(found)) is not None
        return False

    return equals


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _steps(selector: str) -> list[str | int]:
    found: list[str | int] = []
    for one in _STEP.finditer(selector, 1):
        if one[2] is not None and one[2] != "*":
            found.append(int(one[2]))
        else:
            found.append(next(part for part in (one[1], one[2], one[3], one[4]) if part is not None))
    return found


def _found(event: Any, steps: list[str | int]) -> list[Any]:
    """The values at a selector: none, one, or several because of a *."""
    values = [event]
    for step in steps:
        values = [inner for value in values for inner in _inner(value, step)]
    return values


def _inner(value: Any, step: str | int) -> list[Any]:
    if isinstance(step, int):
        return [value[step]] if isinstance(value, list) and step < len(value) else []
    if isinstance(value, Mapping):
        return list(value.values()) if step == "*" and "*" not in value else [value[step]] if step in value else []
    return list(value) if isinstance(value, list) and step == "*" else []


def value_at(event: Any, selector: str) -> Any:
    """The value at a selector ($.a.b), None if there is none: for metric values and dimensions."""
    found = _found(event, _steps(selector))
    return found[0] if found else None
