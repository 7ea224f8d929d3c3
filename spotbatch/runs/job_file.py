"""`job.toml`: the options of `spotbatch submit` in a file; errors point at the line."""

import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, InvalidJob, NotFound
from spotbatch.runs import parse
from spotbatch.runs.request import JobOptions, request

# values that AWS Batch's limits can check alone, so that the line can be named; the rest depends on other keys
_CHECKED_ALONE: Final = frozenset(
    ("name", "array", "vcpus", "memory_mib", "gpus", "retries", "timeout_seconds", "env", "tags")
)
EXAMPLE: Final = """\
name = "months"
command = ["python", "-m", "flights.bootstrap"]
array = 12                  # or: inputs = "s3://bucket/prefix/"
vcpus = 2
memory = "2G"
retries = 9
timeout = "2h"
after = ["prepare"]

[env]
RESAMPLES = "2000"

[tags]
team = "flights"
"""


def read(path: Path) -> JobOptions:
    """The options in a job file. Raises NotFound, or InvalidInput with the line and what is allowed there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no job file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read as text: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(_not_toml(path, text, str(error))) from error
    return _asked(path, text, table)


def _asked(path: Path, text: str, table: Mapping[str, Any]) -> JobOptions:
    values: dict[str, Any] = {}
    for key, value in table.items():
        kind = KEYS.get(key)
        if kind is None:
            raise InvalidInput(f"{_at(path, text, key)}: {key!r} is unknown; {_near(key)}")
        name, convert = kind
        try:
            values[name] = convert(value)
            if name in _CHECKED_ALONE:
                request(JobOptions(**{name: values[name]}), queue="any", definition="any")
        except _WrongEntry as error:
            where = _at(path, text, error.entry, after=_line_of(text, key))
            raise InvalidInput(f"{where}: {key}.{error.entry}: {error}") from error
        except (InvalidInput, InvalidJob, TypeError) as error:
            raise InvalidInput(f"{_at(path, text, key)}: {key}: {error}") from error
    return JobOptions(**values)


def _at(path: Path, text: str, key: str, *, after: int = 0) -> str:
    """path:line of the key or table with that name; for a table's entry, in or after the table's line."""
    line = _line_of(text, key, first=max(1, after)) or after
    return f"{path}:{line}" if line else str(path)


def _line_of(text: str, key: str, *, first: int = 1) -> int:
    """The first line, from a given one on, that sets the key; 0 if none does (a key may be written in other ways)."""
    pattern = re.compile(rf"""(?:^|.*[\s,{{.])\[?\s*["']?{re.escape(key)}["']?\s*[\]=.]""")
    lines = text.splitlines()
    return next((number for number in range(first, len(lines) + 1) if pattern.match(lines[number - 1])), 0)


def _near(key: str) -> str:
    import difflib

    near = difflib.get_close_matches(key, KEYS, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KEYS)}"


def _not_toml(path: Path, text: str, error: str) -> str:
    """tomllib puts the position at the end of its message; we put it in front, as compilers do."""
    what, _, where = error.partition(" (at ")
    found = re.match(r"line (\d+)", where)
    line = found[1] if found else str(max(1, len(text.splitlines())))
    return f"{path}:{line}: this is not TOML: {what[:1].lower()}{what[1:]}"


class _WrongEntry(TypeError):
    """An entry of a table is not of the expected kind."""

    def __init__(self, entry: str, said: str) -> None:
        super().__init__(said)
        self.entry = entry


# ---- one converter per kind of value; each raises TypeError with what is expected ----


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"a text in quotes is wanted, not {value!r}")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a whole number is wanted, not {value!r}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"true or false is wanted, not {value!r}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"a list of texts is wanted, not {value!r}")
    return tuple(value)


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError('a list is wanted, one text a word: ["python", "work.py"]; for the shell ["sh", "-c", "..."]')
    return _texts(value)


def _memory(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else parse.memory_mib(_text(value))


def _length(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else parse.seconds(_text(value))


def _growth(value: Any) -> tuple[float, int | None]:
    return parse.growth(_written(value) if isinstance(value, int | float) else _text(value))


def _usd(value: Any) -> Decimal:
    return parse.usd(_written(value) if isinstance(value, int | float) else _text(value))


def _pairs(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"a table of texts is wanted, not {value!r}")
    for name, each in value.items():
        if not isinstance(each, str | int | float):
            raise _WrongEntry(name, f"a text in quotes is wanted, not {each!r}")
    return {name: _written(each) for name, each in value.items()}


def _written(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


KEYS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "command": ("command", _command),
    "name": ("name", _text),
    "array": ("array", _whole),
    "inputs": ("inputs", _text),
    "code": ("code", _text),
    "snapshot": ("is_snapshot", _flag),
    "vcpus": ("vcpus", _whole),
    "memory": ("memory_mib", _memory),
    "gpus": ("gpus", _whole),
    "after": ("after", _texts),
    "after_each": ("after_each", _texts),
    "sequential": ("is_sequential", _flag),
    "retries": ("retries", _whole),
    "timeout": ("timeout_seconds", _length),
    "deadline": ("deadline_seconds", _length),
    "work": ("work_seconds", _length),
    "changeover": ("changeover_seconds", _length),
    "on_demand_queue": ("on_demand_queue", _text),
    "on_demand_after": ("on_demand_after", _whole),
    "grow_memory": ("grow_memory", _growth),
    "max_usd": ("max_usd", _usd),
    "env": ("env", _pairs),
    "parameters": ("parameters", _pairs),
    "tags": ("tags", _pairs),
    "queue": ("queue", _text),
    "definition": ("definition", _text),
    "stack": ("stack", _text),
}
