"""Job logs: one file an attempt, written by the job itself; the times of its lines are told from what is known.

The job writes straight to its file, which costs nothing and survives the region. The file's own times say when it
began and when it was last written; a line between two such marks gets a time between theirs.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from io import SEEK_END
from pathlib import Path
from typing import IO, Final

_LINE_BYTES: Final = 256 * 1024  # CloudWatch Logs' limit for an event
_BLOCK_BYTES: Final = 64 * 1024
_MOST_MARKS: Final = 1_000
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


def task_id(job_id: str, job_no: int, index: int, attempt: int) -> str:
    """The 32 hexadecimal digits that name an attempt's log stream, as an ECS task's id does; they say whose it is.

    `job_id` is that of the job, for the child of an array too: its parts are told apart by what follows.
    """
    return f"{_mark_of(job_id)}{job_no:08x}{index:04x}{attempt:04x}"


@lru_cache
def _mark_of(job_id: str) -> str:
    return hashlib.sha256(job_id.encode()).hexdigest()[:16]


def unit_of_task(task: str) -> tuple[int, int, int] | None:
    """(job number, index, attempt) that a task id names, if it is one of ours."""
    if len(task) != 32 or not _HEXADECIMAL.issuperset(task):
        return None
    return int(task[16:24], 16), int(task[24:28], 16), int(task[28:], 16)


def log_file(folder: Path, task: str) -> str:
    """Logs stand in 256 folders, so that none of them grows without bound."""
    return f"{folder}/{task[:2]}/{task}.log"


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
        self, file: Path, *, began_at: float, is_over: bool, offset: int, limit: int, stop: int | None = None
    ) -> tuple[Sequence[tuple[float, str]], int]:
        """(time, line) pairs from a byte offset on, up to another if one is given, and the offset after them.

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
            while len(lines) < limit and (stop is None or offset < stop):
                raw = source.readline(_LINE_BYTES)
                is_whole = raw.endswith(b"\n") or len(raw) == _LINE_BYTES or is_over
                if not raw or not is_whole:
                    break
                lines.append((marks.time_of(offset), raw.decode("utf-8", "replace").rstrip("\r\n")))
                offset += len(raw)
        return lines, offset

    def read_back(
        self, file: Path, *, began_at: float, is_over: bool, stop: int | None, limit: int
    ) -> tuple[int, Sequence[tuple[float, str]], int]:
        """The last lines before a byte offset (None: the end of the log), where they begin, and where they end.

        Only that end of the file is read, however long it is.
        """
        try:
            with file.open("rb") as source:
                end = _whole_until(source, is_over) if stop is None else min(stop, source.seek(0, SEEK_END))
                begin = _after_newline(source, end - 1, limit)
        except FileNotFoundError:
            return 0, [], 0
        all_of_it = partial(self.read, file, began_at=began_at, is_over=is_over, stop=end)
        lines, after = all_of_it(offset=begin, limit=end - begin)
        surplus = len(lines) - limit  # a line that is too long for one event is several
        if surplus > 0:
            begin = all_of_it(offset=begin, limit=surplus)[1]
        return begin, lines[max(0, surplus) :], after


def _whole_until(source: IO[bytes], is_over: bool) -> int:
    """Where the last line that is whole ends; once nothing more comes, every line is."""
    size = source.seek(0, SEEK_END)
    if is_over:
        return size
    last = _after_newline(source, size, 1)
    return size - (size - last) % _LINE_BYTES  # of a line that is too long, whole events count


def _after_newline(source: IO[bytes], stop: int, count: int) -> int:
    """The offset after the `count`-th newline before an offset, counted backwards; 0 if there are not so many."""
    while stop > 0:
        start = max(0, stop - _BLOCK_BYTES)
        source.seek(start)
        block = source.read(stop - start)
        there = block.count(b"\n")
        if there >= count:
            place = len(block)
            for _ in range(count):
                place = block.rfind(b"\n", 0, place)
            return start + place + 1
        count -= there
        stop = start
    return 0
