"""How times, lengths of time, sizes and counts are written for people: in one way everywhere."""

import re
from datetime import UTC, datetime
from typing import Final

# Characters that a terminal may act on: control characters but line feed and tab, and those that reorder text.
_ACTIVE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")  # ECMA-48, SGR: they change how text looks, and nothing else
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def moment(at: float | None) -> str:
    """A time (UTC epoch seconds) in full: 2026-11-23 09:44:22 UTC."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: float) -> str:
    """A time (UTC epoch seconds) of this day: 09:44:22."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def duration(seconds: float | None) -> str:
    """A length of time in two units at most: 45 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def ago(at: float | None, now: float) -> str:
    """How long ago a time was: 3 min ago."""
    if at is None:
        return "-"
    passed = now - at
    if passed < 1:
        return "just now"
    return f"{passed // _MINUTE:.0f} min ago" if _MINUTE <= passed < _HOUR else f"{duration(passed)} ago"


def size(count: float) -> str:
    """Bytes in binary units: 12.3 MiB."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def count(number: float, noun: str) -> str:
    """1 retry, 2 retries, 10,000 children."""
    if number == 1:
        return f"1 {noun}"
    plural = {"child": "children", "retry": "retries"}.get(noun, f"{noun}s")
    return f"{number:,} {plural}"


def harmless(text: str, *, keep_colours: bool = False) -> str:
    """Text of unknown origin that moves no cursor, sets no title and reorders nothing: such characters are spelt out.

    Of lines that overwrite themselves by carriage returns, as progress bars do, the last state is kept. Colours may be
    kept for a terminal.
    """
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")) if "\r" in text else (text,)
    whole = "\n".join(lines)
    if not _ACTIVE.search(whole):
        return whole
    pieces = _COLOUR.split(whole) if keep_colours else [whole]
    return "".join(piece if at % 2 else _ACTIVE.sub(_spelt, piece) for at, piece in enumerate(pieces))


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
