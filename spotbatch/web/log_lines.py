"""The lines of a log, each with its own id."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from spotbatch.aws.logs import LogEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """A log line, with an id that stays stable while lines come and go around it."""

    id: str
    at: float
    text: str


def log_lines(events: Sequence[LogEvent]) -> tuple[LogLine, ...]:
    """A log's lines identified by time to the millisecond; lines of the same millisecond are numbered."""
    seen: Counter[int] = Counter()
    found = []
    for event in events:
        milliseconds = round(event.at * 1000)
        found.append(LogLine(id=f"l{milliseconds}-{seen[milliseconds]}", at=event.at, text=event.text))
        seen[milliseconds] += 1
    return tuple(found)
