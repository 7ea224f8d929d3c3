"""Ended jobs are forgotten some time after their end, with everything that the journal and the disk hold of them.

AWS Batch user guide, "Job states": the state of SUCCEEDED and FAILED jobs is persisted for at least 7 days. Here it is
exactly the period of the settings. A large job goes in pieces, so that neither the loop nor a commit waits for it: its
own row is removed with the first piece, which makes it unknown at once, and `forgotten` remembers that the rest of its
rows must follow, also after a kill.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from spotbatch.batch.errors import Unavailable
from spotbatch.local.engine.group_commit import GroupCommit, say
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.logs import log_file

_JOBS_AT_ONCE: Final = 25
_UNITS_AT_ONCE: Final = 250
_PAUSE_SECONDS: Final = 0.02  # between two pieces: others take their turns
_LONGEST_WAIT_SECONDS: Final = 600.0  # a machine that slept is noticed within this time

_DUE: Final = "SELECT job_no FROM job WHERE ended_at <= ? ORDER BY ended_at LIMIT ?"
_FORGET: Final = (
    "INSERT OR IGNORE INTO forgotten VALUES (?)",
    "DELETE FROM job WHERE job_no = ?",
    "DELETE FROM stop WHERE job_no = ?",
)
_UNITS: Final = "job_no = ? AND idx >= ? AND idx < ?"
_LOGS: Final = f"SELECT task FROM attempt WHERE {_UNITS}"  # noqa: S608 - our own words
_UNIT_ROWS: Final = tuple(f"DELETE FROM {table} WHERE {_UNITS}" for table in ("attempt", "unit"))  # noqa: S608
_LAST_UNIT: Final = (
    "SELECT COALESCE(MAX(last), -1) FROM (SELECT MAX(idx) AS last FROM attempt WHERE job_no = ? "
    "UNION ALL SELECT MAX(idx) FROM unit WHERE job_no = ?)"
)
_REST: Final = tuple(f"DELETE FROM {table} WHERE job_no = ?" for table in ("consuming", "old_task", "forgotten"))  # noqa: S608
_NEXT: Final = "SELECT MIN(ended_at) FROM job WHERE ended_at IS NOT NULL"
_OLD_HOSTS: Final = (
    "DELETE FROM host WHERE instance_id IN (SELECT instance_id FROM host WHERE ended_at < "
    "MIN(?, COALESCE((SELECT created_at FROM job ORDER BY job_no LIMIT 1), ?)) LIMIT ?)"
)


class Retention:
    """Forgets ended jobs when their time has come; `keep_seconds` None: never."""

    def __init__(self, *, commit: GroupCommit, book: JobBook, log_folder: Path, keep_seconds: float | None) -> None:
        self._commit = commit
        self._book = book
        self._log_folder = log_folder
        self._keep_seconds = keep_seconds
        self._task: asyncio.Task[None] | None = None
        self.forgotten = 0  # jobs, since the start

    def begin(self) -> None:
        """Begin to forget, in the background."""
        if self._keep_seconds is not None:
            before = self._commit.clock.now() - self._keep_seconds
            (due,) = self._commit.journal.row("SELECT COUNT(*) FROM job WHERE ended_at <= ?", (before,)) or (0,)
            if due:
                say(
                    f"jobs that ended more than {self._keep_seconds / 86_400:g} days ago are forgotten with their logs "
                    f"({due} now): --keep-jobs-days N for longer, or forever"
                )
            self._task = asyncio.get_running_loop().create_task(self._forget_as_time_passes(self._keep_seconds))

    async def close(self) -> None:
        """Stop between two pieces: the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _forget_as_time_passes(self, keep_seconds: float) -> None:
        while True:
            wait = _LONGEST_WAIT_SECONDS
            with contextlib.suppress(Unavailable):  # a full disk: tried again after the wait
                await self.forget_due()
                wait = self._wait_seconds(keep_seconds)
            await asyncio.sleep(wait)

    def _wait_seconds(self, keep_seconds: float) -> float:
        now = self._commit.clock.now()
        (next_end,) = self._commit.journal.row(_NEXT) or (None,)
        due_at = (now if next_end is None else float(next_end)) + keep_seconds
        return min(max(due_at - now, 1.0), _LONGEST_WAIT_SECONDS)

    async def forget_due(self) -> int:
        """Forget every job whose time has come, and return how many there were. Raises Unavailable."""
        if self._keep_seconds is None:
            return 0
        journal, count = self._commit.journal, 0
        while True:
            before = self._commit.clock.now() - self._keep_seconds
            due = [job_no for (job_no,) in journal.rows(_DUE, (before, _JOBS_AT_ONCE))]
            for job_no in due:
                self._book.forget(job_no)
                for statement in _FORGET:
                    self._commit.write(statement, (job_no,))
            self._commit.settle()
            count += len(due)
            self.forgotten += len(due)
            left = [job_no for (job_no,) in journal.rows("SELECT job_no FROM forgotten")]
            for job_no in left:
                await self._remove_rest(job_no)
            if left:
                self._commit.write(_OLD_HOSTS, (before, before, _UNITS_AT_ONCE))
                self._commit.settle()
            await asyncio.sleep(_PAUSE_SECONDS)
            if len(due) < _JOBS_AT_ONCE:
                return count

    async def _remove_rest(self, job_no: int) -> None:
        """The rows of a forgotten job's units and attempts, and their logs: the files first, so that none is left."""
        journal = self._commit.journal
        (last,) = journal.row(_LAST_UNIT, (job_no, job_no)) or (-1,)
        for first in range(0, last + 1, _UNITS_AT_ONCE):
            units = (job_no, first, first + _UNITS_AT_ONCE)
            tasks = [task for (task,) in journal.rows(_LOGS, units)]
            await asyncio.to_thread(_remove_logs, self._log_folder, tasks)
            for statement in _UNIT_ROWS:
                self._commit.write(statement, units)
            self._commit.settle()
            if last >= _UNITS_AT_ONCE:
                await asyncio.sleep(_PAUSE_SECONDS)
        for statement in _REST:
            self._commit.write(statement, (job_no,))


def _remove_logs(folder: Path, tasks: Sequence[str]) -> None:
    for task in tasks:
        with contextlib.suppress(OSError):
            Path(log_file(folder, task)).unlink(missing_ok=True)
