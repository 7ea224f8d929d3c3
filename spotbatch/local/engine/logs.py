"""Job logs: one file per attempt, written by the job itself; the times of its lines are derived from what is known.

The job writes directly to its file, which costs nothing and survives the region. The file's own times say when it
began and when it was last written; a line written between two looks at it gets a time between theirs.
"""

import hashlib
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from io import SEEK_END
from pathlib import Path
from typing import IO, Final

# CloudWatch Logs' limit for an event, 256 KiB, minus the 26 bytes that it counts for each: Docker's awslogs driver,
# which writes the logs of ECS on EC2, cuts there (moby, daemon/logger/awslogs: maximumBytesPerEvent).
_LINE_BYTES: Final = 256 * 1024 - 26
_BLOCK_BYTES: Final = 64 * 1024
_MOST_MARKS: Final = 1_000  # of a file
_MOST_FILES: Final = 1_000
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


def task_id(job_id: str, job_no: int, index: int, attempt: int) -> str:
    """The 32 hexadecimal digits that name an attempt's log stream, like an ECS task's id; they encode whose it is.

    `job_id` is the job's, also for the child of an array: the rest of the id tells its parts apart.
    """
    return f"{_mark_of(job_id)}{job_no:08x}{index:04x}{attempt:04x}"


@lru_cache
def _mark_of(job_id: str) -> str:
    return hashlib.sha256(job_id.encode()).hexdigest()[:16]


def unit_of_task(task: str) -> tuple[int, int, int] | None:
    """(job number, index, attempt) encoded in a task id, if it is one of ours."""
    if len(task) != 32 or not _HEXADECIMAL.issuperset(task):
        return None
    return int(task[16:24], 16), int(task[24:28], 16), int(task[28:], 16)


def log_file(folder: Path, task: str) -> str:
    """Logs are spread over 256 folders, so that none of them grows without bound."""
    return f"{folder}/{task[:2]}/{task}.log"


class Marks:
    """What is known about when a log file was written: its size at each look.

    A line keeps the first time reported for it, and no later line has an earlier one: clients that
    follow a log ask for what is not older than their last line.
    """

    def __init__(self, began_at: float) -> None:
        self._offsets = [0]
        self._written_at = [began_at]  # when the file reached this size, by its own timestamp
        self._looked_at = [began_at]  # when it was seen to be no larger: what follows is younger

    @property
    def end(self) -> int:
        """The offset up to which lines have times."""
        return self._offsets[-1]

    def note(self, offset: int, written_at: float, looked_at: float) -> None:
        """A look found complete lines up to an offset, and the file last written at a time."""
        youngest = self._looked_at[-1]
        if offset <= self.end:
            self._looked_at[-1] = max(youngest, looked_at)
            return
        if len(self._offsets) >= _MOST_MARKS:  # every other one of the older half is dropped
            for each in (self._offsets, self._written_at, self._looked_at):
                del each[1 : _MOST_MARKS // 2 : 2]
        self._offsets.append(offset)
        self._written_at.append(max(written_at, youngest))
        self._looked_at.append(max(looked_at, self._written_at[-1]))

    def time_of(self, offset: int) -> float:
        """When the line at an offset was written, as far as is known."""
        place = bisect_right(self._offsets, offset)
        if place == len(self._offsets):
            return self._looked_at[-1]
        low, high = self._offsets[place - 1], self._offsets[place]
        begin = self._looked_at[place - 1]
        return begin + (offset - low) / (high - low) * (self._written_at[place] - begin)


class LogReader:
    """Reads log files by offset."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._marks: dict[Path, Marks] = {}

    def read(
        self, file: Path, *, began_at: float, is_over: bool, offset: int, limit: int, stop: int | None = None
    ) -> tuple[Sequence[tuple[float, str]], int]:
        """(time, line) pairs from a byte offset on, up to another if given, and the offset after them.

        An unterminated last line waits for the rest, unless the attempt is over.
        """
        lines: list[tuple[float, str]] = []
        try:
            source = file.open("rb")
        except FileNotFoundError:
            return lines, offset
        with source:
            marks = self._look(file, source, began_at, is_over)
            end = marks.end if stop is None else min(stop, marks.end)
            source.seek(offset)
            while len(lines) < limit and offset < end:
                raw = source.readline(_LINE_BYTES)
                text = raw.decode("utf-8", "replace").rstrip("\r\n")
                if text:  # an event has at least one character (API reference, InputLogEvent): others are dropped
                    lines.append((marks.time_of(offset), text))
                offset += len(raw)
        return lines, offset

    def _look(self, file: Path, source: IO[bytes], began_at: float, is_over: bool) -> Marks:
        marks = self._marks.get(file)
        if marks is None:
            if len(self._marks) > _MOST_FILES:
                self._marks.clear()
            marks = self._marks[file] = Marks(began_at)
        looked_at = self._clock()  # first: what is written meanwhile is younger
        status = os.fstat(source.fileno())
        whole = marks.end if status.st_size <= marks.end else _whole_until(source, status.st_size, is_over)
        marks.note(whole, status.st_mtime, looked_at)
        return marks

    def read_back(
        self, file: Path, *, began_at: float, is_over: bool, stop: int | None, limit: int
    ) -> tuple[int, Sequence[tuple[float, str]], int]:
        """The last lines before a byte offset (None: the end of the log), with their start and end offsets.

        There may be fewer, or none, before a log's beginning: empty lines are not events.
        Only that end of the file is read, however large it is.
        """
        try:
            with file.open("rb") as source:
                size = source.seek(0, SEEK_END)
                end = _whole_until(source, size, is_over) if stop is None else min(stop, size)
                begin = _after_newline(source, end - 1, limit)
        except FileNotFoundError:
            return 0, [], 0
        all_of_it = partial(self.read, file, began_at=began_at, is_over=is_over, stop=end)
        lines, after = all_of_it(offset=begin, limit=end - begin)
        surplus = len(lines) - limit  # a line too long for one event becomes several
        if surplus > 0:
            begin = all_of_it(offset=begin, limit=surplus)[1]
        return begin, lines[max(0, surplus) :], after


def _whole_until(source: IO[bytes], size: int, is_over: bool) -> int:
    """Where the last complete line of a log of this size ends; if nothing more is written, every line is complete."""
    if is_over:
        return size
    last = _after_newline(source, size, 1)
    return size - (size - last) % _LINE_BYTES  # of a line that is too long, whole events count


def _after_newline(source: IO[bytes], stop: int, count: int) -> int:
    """The offset after the `count`-th newline before an offset, counted backwards; 0 if there are fewer."""
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
