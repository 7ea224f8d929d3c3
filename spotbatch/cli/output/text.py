"""Text on a terminal or in a pipe: lines, tables and colours, without a library (rich costs 60 ms to load)."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from spotbatch.batch.status import JobStatus
from spotbatch.wording import ago, clock, count, duration, harmless, moment, size

__all__ = [
    "STATUS_STYLE",
    "ago",
    "clock",
    "count",
    "duration",
    "fitted",
    "harmless",
    "has_colour",
    "hint",
    "moment",
    "say",
    "size",
    "status",
    "styled",
    "table",
    "visible",
]

_RESET: Final = "\x1b[0m"
_CODES: Final = {"bold": "\x1b[1m", "dim": "\x1b[2m", "red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m"}
_CODES_BLUE: Final = {"blue": "\x1b[34m", "cyan": "\x1b[36m", "magenta": "\x1b[35m"}
_STYLES: Final = {**_CODES, **_CODES_BLUE}
STATUS_STYLE: Final = {
    JobStatus.SUBMITTED: "dim",
    JobStatus.PENDING: "dim",
    JobStatus.RUNNABLE: "yellow",
    JobStatus.STARTING: "cyan",
    JobStatus.RUNNING: "blue",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
}


def has_colour(stream: TextIO) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """Text in a style (bold, dim, red, green, ...), where colours are wanted."""
    return f"{_STYLES[style]}{text}{_RESET}" if has_colour(stream or sys.stdout) else text


def status(value: JobStatus) -> str:
    """A status in its colour."""
    return styled(value.value, STATUS_STYLE[value])


def say(line: str = "") -> None:
    """A line of output, on standard output. It may contain a job's output: only colours reach a terminal."""
    sys.stdout.write(f"{harmless(line, keep_colours=has_colour(sys.stdout))}\n")
    sys.stdout.flush()


def hint(line: str) -> None:
    """A line that is not part of the output, on standard error: pipes and `$(...)` never see it."""
    sys.stderr.write(f"{harmless(line, keep_colours=has_colour(sys.stderr))}\n")
    sys.stderr.flush()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Aligned columns. On a terminal the last column is cut to fit; in a pipe nothing is."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(visible(row[at]) for row in texts), 0) for at, head in enumerate(heads)]
    say(styled(_line(heads, widths, right), "bold"))
    for row in texts:
        say(_line(row, widths, right))


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded = []
    for at, cell in enumerate(cells):
        room = " " * (widths[at] - visible(cell))
        padded.append(room + cell if at in right else cell + room)
    return fitted("  ".join(padded).rstrip())


def visible(text: str) -> int:
    """The width of a text on a terminal, without its colours."""
    return len(_without_colours(text))


def fitted(line: str) -> str:
    """A line cut to the terminal's width; unchanged if there is no terminal, or if it has colours late in the line."""
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    excess = visible(line) - width
    return line if excess <= 0 or _RESET in line[-excess - 8 :] else f"{line[: -excess - 1]}…"


def _without_colours(text: str) -> str:
    if "\x1b" not in text:
        return text
    for code in (*_STYLES.values(), _RESET):
        text = text.replace(code, "")
    return text
