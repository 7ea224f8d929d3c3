"""The attempts' log streams: which exist, whose they are, and their lines."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.local.contract import Json
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.logs import LogReader, log_file, unit_of_task

_STREAM: Final = "SELECT job_no, idx, COALESCE(started_at, placed_at), stopped_at FROM attempt"
_STREAMS_OF_JOB: Final = (
    "SELECT stopped_at, COALESCE(started_at, placed_at), task FROM attempt WHERE job_no = ? AND substr(task, 1, ?) = ?"
)


class LogStreams:
    """One stream per attempt, named as on AWS Batch. Reads only committed data."""

    def __init__(self, *, journal: Journal, book: JobBook, folder: Path) -> None:
        self._journal = journal
        self._book = book
        self._folder = folder
        self._reader = LogReader()

    def job_of(self, log_stream: str) -> str | None:
        """The job or child that wrote a log stream."""
        row = self._row(log_stream)
        if row is None:
            return None
        self._book.recall(row[0])
        return self._book.unit_id(row[0], row[1])

    def of_group(self, log_group: str, prefix: str = "") -> Mapping[str, float]:
        """The streams of a group with a given prefix, and when each began, ordered by their attempts' ends.

        Those still running come last.
        """
        jobs = [job_no for (job_no,) in self._journal.rows("SELECT job_no FROM job WHERE log_group = ?", (log_group,))]
        task = unit_of_task(prefix.rpartition("/")[2])
        found: list[tuple[float, float, str]] = []
        for job_no in jobs if task is None or task[0] not in jobs else [task[0]]:
            begins = f"{stream_prefix(self._book.described(job_no))}/default/"
            if begins.startswith(prefix[: len(begins)]):  # its attempts are examined only if they can match
                rest = prefix[len(begins) :]
                for stopped_at, began_at, name in self._journal.rows(_STREAMS_OF_JOB, (job_no, len(rest), rest)):
                    found.append((math.inf if stopped_at is None else stopped_at, began_at, begins + name))
        return {name: began_at for _, began_at, name in sorted(found)}

    def read(self, log_stream: str, *, offset: int, limit: int) -> tuple[Sequence[tuple[float, str]], int]:
        """(time, line) pairs from a byte offset on, and the offset after them. Raises NotFound."""
        file, began_at, is_over = self._log_of(log_stream)
        return self._reader.read(file, began_at=began_at, is_over=is_over, offset=offset, limit=limit)

    def read_back(
        self, log_stream: str, *, stop: int | None, limit: int
    ) -> tuple[int, Sequence[tuple[float, str]], int]:
        """The last lines before a byte offset or the end, with their start and end offsets. Raises NotFound."""
        file, began_at, is_over = self._log_of(log_stream)
        return self._reader.read_back(file, began_at=began_at, is_over=is_over, stop=stop, limit=limit)

    def _log_of(self, log_stream: str) -> tuple[Path, float, bool]:
        """A stream's file, when its attempt began, and whether it is over. Raises NotFound."""
        row = self._row(log_stream)
        if row is None:
            raise NotFound(f"the log stream {log_stream} does not exist")
        _, _, began_at, stopped_at = row
        file = Path(log_file(self._folder, log_stream.rpartition("/")[2]))
        return file, began_at, stopped_at is not None

    def _row(self, log_stream: str) -> tuple[Any, ...] | None:
        task = log_stream.rpartition("/")[2]
        unit = unit_of_task(task)
        found = None
        if unit is not None:
            found = self._journal.row(
                f"{_STREAM} WHERE job_no = ? AND idx = ? AND attempt = ? AND task = ?", (*unit, task)
            )
        if found is None:  # a journal older than these task ids keeps a table of the old ones
            query = f"{_STREAM} JOIN old_task USING (job_no, idx, attempt) WHERE old_task.task = ?"
            found = self._journal.row(query, (task,))
        return found


def stream_prefix(described: Json) -> str:
    """The prefix of a job's stream names: from its log configuration, or else its definition's name.

    AWS Batch's own prefix is the job definition's name (user guide, "Log stream name").
    """
    container = described.get("container")
    options: Any = {}
    if isinstance(container, dict):
        options = (container.get("logConfiguration") or {}).get("options") or {}
    own = options.get("awslogs-stream-prefix")
    return str(own or str(described.get("jobDefinition", "job")).rpartition("/")[2].partition(":")[0])
