"""Command-line text parsed into values: memory, durations, variables, tags."""

import os
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from spotbatch.batch.errors import InvalidInput

_MEMORY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(|M|MB|MiB|G|GB|GiB)", re.IGNORECASE)
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(|s|m|min|h|d)", re.IGNORECASE)
_SECONDS: Final[Mapping[str, float]] = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_FACTOR: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*x?", re.IGNORECASE)
_MOST_FACTOR: Final = 10
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def memory_mib(written: str) -> int:
    """Parse 2048, 2G or 1.5GiB into MiB; G means GiB, as for a job's memory. Raises InvalidInput."""
    match = _MEMORY.fullmatch(written.strip())
    if match is None:
        raise InvalidInput(f"memory is written as 2048 (MiB), 512M or 2G, not {written!r}")
    factor = 1024 if match[2].upper().startswith("G") else 1
    return round(float(match[1]) * factor)


def seconds(written: str) -> int:
    """90, 90s, 15m, 2h, 1d. Raises InvalidInput."""
    match = _DURATION.fullmatch(written.strip())
    if match is None:
        raise InvalidInput(f"a length of time is written as 90 (seconds), 15m, 2h or 1d, not {written!r}")
    return round(float(match[1]) * _SECONDS[match[2].lower()])


def growth(written: str) -> tuple[float, int | None]:
    """2x, 1.5x or 2x:16G: the factor (1 to 10), and the maximum MiB (None: not given). Raises InvalidInput."""
    factor, limit, most = written.partition(":")
    match = _FACTOR.fullmatch(factor.strip())
    found = float(match[1]) if match else 0.0
    if not 1 < found <= _MOST_FACTOR:
        raise InvalidInput(f"memory grows as 2x, 1.5x or 2x:16G, above 1x and {_MOST_FACTOR}x at most, not {written!r}")
    return found, memory_mib(most) if limit else None


def usd(written: str) -> Decimal:
    """20, 0.5: an amount of money above 0. Raises InvalidInput."""
    try:
        found = Decimal(written.strip())
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or found <= 0:
        raise InvalidInput(f"an amount in USD is written as 20 or 0.50, above 0, not {written!r}")
    return found


def variables(written: Iterable[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """NAME=VALUE, or NAME alone for the caller's own value. Raises InvalidInput."""
    found = {}
    for each in written:
        name, given, value = each.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise InvalidInput(f"a variable is written as NAME=VALUE, not {each!r}")
        if not given and name not in environ:
            raise InvalidInput(f"--env {name}: there is no such variable here to pass on; write {name}=VALUE")
        found[name] = value if given else environ[name]
    return found


def pairs(written: Iterable[str], *, option: str) -> dict[str, str]:
    """KEY=VALUE, where a value may be empty. Raises InvalidInput naming the option."""
    found = {}
    for each in written:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise InvalidInput(f"{option} takes KEY=VALUE, not {each!r}")
        found[key] = value
    return found


def names(written: str) -> list[str]:
    """c5,m5: comma-separated names; spaces and empty names are ignored."""
    return [name.strip() for name in written.split(",") if name.strip()]
