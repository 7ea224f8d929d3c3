"""Searches jobs by their properties, newest first: uses the journal's indexes, however many jobs there are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from spotbatch.batch.status import STATUSES, JobStatus
from spotbatch.local.contract import JobFilter, JobPlace
from spotbatch.local.engine.journal import Journal

_FEW: Final = 8_000  # up to this many matches, sorting is faster than a walk through all jobs
_COLUMNS: Final = "SELECT job_no, id, ended_at"
_TOGETHER: Final = 200  # rows fetched at once
_END: Final = "\x7f"  # after any character that a name may have (API reference: letters, digits, hyphen, underscore)

StatusOf = Callable[[int], JobStatus | None]  # None: not in memory


class JobSearch:
    """Reads only the journal; the status of a job that has not ended is passed in."""

    def __init__(self, journal: Journal, status_of: StatusOf) -> None:
        self._journal = journal
        self._status_of = status_of

    def find(
        self,
        *,
        queue: str,
        status: JobStatus | None = None,
        where: JobFilter | None = None,
        after: JobPlace | None = None,
        limit: int,
    ) -> list[tuple[int, str]]:
        """(number, id) of a queue's jobs, newest first, after a given position; at most `limit`."""
        conditions, values = ["queue = ?"], list[Any]([queue])
        if status is not None and status.is_terminal:
            conditions.append("status = ?")
            values.append(STATUSES.index(status))
        elif status is not None:
            conditions.append("ended_at IS NULL")
        by_time = where is not None and where.member == "created_at"
        if after is not None:
            condition, place = self._behind(after, by_time=by_time)
            conditions.append(condition)
            values += place
        keep = None if status is None or status.is_terminal else status
        if where is not None and where.is_prefix:
            return self._by_prefix(conditions, values, where, keep, limit)
        if where is not None:
            conditions.append(_condition(where))
            values.append(where.value)
        order = "created_at DESC, job_no DESC" if by_time else "job_no DESC"
        query = f"{_COLUMNS} FROM job WHERE {' AND '.join(conditions)} ORDER BY {order}"
        return self._known(self._journal.rows(query, values), keep, limit)

    def _by_prefix(
        self, conditions: list[str], values: list[Any], where: JobFilter, keep: JobStatus | None, limit: int
    ) -> list[tuple[int, str]]:
        """Few matches are read from the index and sorted; of many, the newest are soon found on a walk through all."""
        inside = " AND ".join([*conditions, f"{where.member} >= ? AND {where.member} < ?"])
        asked = [*values, where.value, f"{where.value}{_END}"]
        numbers = f"SELECT job_no FROM job WHERE {inside} LIMIT {_FEW + 1}"  # noqa: S608 - words of ours
        found = [job_no for (job_no,) in self._journal.rows(numbers, asked)]
        if len(found) <= _FEW:
            return self._known(self._by_number(sorted(found, reverse=True)), keep, limit)
        walk = f"{_COLUMNS} FROM job NOT INDEXED WHERE {inside} ORDER BY job_no DESC"
        return self._known(self._journal.rows(walk, asked), keep, limit)

    def _by_number(self, numbers: Sequence[int]) -> Iterator[Sequence[Any]]:
        for place in range(0, len(numbers), _TOGETHER):
            some = numbers[place : place + _TOGETHER]
            marks = ", ".join("?" * len(some))
            yield from self._journal.rows(f"{_COLUMNS} FROM job WHERE job_no IN ({marks}) ORDER BY job_no DESC", some)

    def _known(self, rows: Iterable[Sequence[Any]], keep: JobStatus | None, limit: int) -> list[tuple[int, str]]:
        """Those that an answer may include: not a job whose row is written but which is not accepted yet."""
        found: list[tuple[int, str]] = []
        for job_no, job_id, ended_at in rows:
            status = self._status_of(job_no) if ended_at is None else None
            if (ended_at is not None and keep is None) or (status is not None and keep in (None, status)):
                found.append((job_no, job_id))
                if len(found) == limit:
                    break
        return found

    def _behind(self, after: JobPlace, *, by_time: bool) -> tuple[str, list[Any]]:
        """What is listed after a job; if that has been deleted in the meantime, what is older than it."""
        row = self._journal.row("SELECT created_at, job_no FROM job WHERE id = ?", (after.job_id,))
        if row is None:
            return "created_at < ?", [after.created_at]
        return ("(created_at, job_no) < (?, ?)", list(row)) if by_time else ("job_no < ?", [row[1]])


def _condition(where: JobFilter) -> str:
    if where.member == "share":
        return "share = ? AND share != ''"  # lets SQLite see that its index covers all of them
    if where.member != "created_at":
        return f"{where.member} = ?"
    return "created_at > ?" if where.is_after else "created_at < ?"
