"""Job logs: one file an attempt, written by the job itself; the times of its lines are told from what is known.

The job writes straight to its file, which costs nothing and survives the region. The file's own times say when it
began and when it was last written; a line between two such marks gets a time between theirs.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_LINE_BYTES: Final = 256 * 1024  # CloudWatch Logs' limit for an event
_MOST_MARKS: Final = 1_000


def task_id(job_id: str, attempt: int) -> str:
    """The 32 hexadecimal digits that name an attempt's log stream, as an ECS task's id does."""
    return hashlib.sha256(f"{job_id}#{attempt}".encode()).hexdigest()[:32]


def log_file(folder: Path, task: str) -> Path:
    """Logs stand in 256 folders, so that none of them grows without bound."""
    return folder / task[:2] / f"{task}.log"


@dataclass
class Marks:
    """(offset, time) pairs that are known of one log file, rising in both."""

    offsets: list[int] = field(default_factory=lambda: [0])
    times: list[float] = field(default_factory=list)

    def note(self, offset: int, when: float) -> None:
        """The file had this size at this time."""
        if offset > self.offsets[-1]:
            if len(self.offsets) < _MOST_MARKS:
                self.offsets.append(offset)
                self.times.append(max(when, self.times[-1]))
            else:
                self.offsets[-1], self.times[-1] = offset, max(when, self.times[-1])

    def time_of(self, offset: int) -> float:
        """When the line that begins at an offset was written, as far as is known."""
        place = min(bisect_right(self.offsets, offset), len(self.offsets) - 1)
        if place == 0:
            return self.times[0]
        low, high = self.offsets[place - 1], self.offsets[place]
        share = (min(offset, high) - low) / (high - low)
        return self.times[place - 1] + share * (self.times[place] - self.times[place - 1])


class LogReader:
    """Reads log files by offset."""

    def __init__(self) -> None:
        self._marks: dict[Path, Marks] = {}

    def read(
        self, file: Path, *, began_at: float, is_over: bool, offset: int, limit: int
    ) -> tuple[Sequence[tuple[float, str]], int]:
        """(time, line) pairs from a byte offset on, and the offset after them.

        A last line without its end waits for the rest, unless the attempt is over.
        """
        try:
            status = file.stat()
        except FileNotFoundError:
            return [], offset
        marks = self._marks.get(file)
        if marks is None:
            if len(self._marks) > _MOST_MARKS:
                self._marks.clear()
            marks = self._marks[file] = Marks(times=[began_at])
        marks.note(status.st_size, status.st_mtime)
        lines: list[tuple[float, str]] = []
        with file.open("rb") as source:
            source.seek(offset)
            while len(lines) < limit:
                raw = source.readline(_LINE_BYTES)
                is_whole = raw.endswith(b"\n") or len(raw) == _LINE_BYTES or is_over
                if not raw or not is_whole:
                    break
                lines.append((marks.time_of(offset), raw.decode("utf-8", "replace").rstrip("\r\n")))
                offset += len(raw)
        return lines, offset
