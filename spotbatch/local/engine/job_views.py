"""The engine's answers about jobs: their changing parts and lists of them, from memory or from the journal."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from spotbatch.batch.job import Vcpus
from spotbatch.batch.placement import BlockedReason
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.status import (
    CONTAINER_EXITED,
    DEPENDENCY_FAILED,
    HOST_TERMINATED_PATTERN,
    NOT_STARTED,
    STATUSES,
    TIME_LIMIT_PREFIX,
    TIMEOUT_EXCEEDED,
    JobStatus,
)
from spotbatch.local.contract import AttemptView, JobFilter, JobPlace, UnitView
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.job_search import JobSearch
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.log_streams import stream_prefix

_ATTEMPT_COLUMNS: Final = (
    "attempt, attempt.started_at, stopped_at, exit_code, reason, status_reason, task, instance_id, "
    "(SELECT environment FROM host WHERE host.instance_id = attempt.instance_id)"
)
_ENDED_BY_ITSELF: Final = (  # prefix of the reason of a job that nobody stopped
    CONTAINER_EXITED,
    TIMEOUT_EXCEEDED,
    DEPENDENCY_FAILED,
    NOT_STARTED,
    HOST_TERMINATED_PATTERN.removesuffix("*"),
    TIME_LIMIT_PREFIX,
    *BlockedReason,  # in journals of earlier versions
)


class JobViews:
    """Answers from committed data; the caller has made sure that everything applied is committed."""

    def __init__(self, *, journal: Journal, scheduler: Scheduler, book: JobBook) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._book = book
        self._search = JobSearch(journal, self._status_of)

    def _status_of(self, job_no: int) -> JobStatus | None:
        return self._scheduler.status(job_no) if self._book.is_in_memory(job_no) else None

    def view(self, job_id: str) -> UnitView:
        """The changing part of a job, a parent or a child. Raises NotFound."""
        job_no, index = self._book.locate(job_id)
        size = self._scheduler.array_size(job_no)
        if size and index is None:
            return self._parent_view(job_no, size)
        return self._unit_view(job_no, index, size)

    def still_holds(self, job_id: str, view: UnitView) -> bool:
        """Whether an earlier view of a job that had not ended would still be the same. Raises NotFound.

        Decided from memory: an attempt's row in the journal changes only with its unit's status or number of attempts.
        """
        job_no, index = self._book.locate(job_id)
        scheduler = self._scheduler
        if view.summary is not None:
            is_same = scheduler.summary(job_no) == view.summary and scheduler.status(job_no) is view.status
        else:
            unit = index or 0
            is_same = (
                scheduler.status(job_no, unit) is view.status
                and scheduler.attempts_made(job_no, unit) == len(view.attempts)
                and scheduler.status_reason(job_no, unit) == view.status_reason
            )
        stop = self._stop_of(job_no, index, view.status, view.status_reason)
        return is_same and stop == (view.is_cancelled, view.is_terminated)

    def _stop_of(self, job_no: int, index: int | None, status: JobStatus, reason: str) -> tuple[bool, bool]:
        """Whether a job or child was cancelled, and whether it was terminated; a child is stopped with its parent."""
        stop = self._book.stops.get((job_no, index))
        if stop is None and index is not None and (job_no, None) in self._book.stops:
            stop = self._stop_with_parent(job_no, status, reason)
        return stop == "cancelled", stop == "terminated"

    def _stop_with_parent(self, job_no: int, status: JobStatus, reason: str) -> str | None:
        """A child that had ended before its array was stopped does not count, nor one running at a cancellation."""
        stop = self._book.stops[job_no, None]
        if not status.is_terminal:
            return stop if stop == "terminated" else None
        return stop if status is JobStatus.FAILED and not reason.startswith(_ENDED_BY_ITSELF) else None

    def _parent_view(self, job_no: int, size: int) -> UnitView:
        status = self._scheduler.status(job_no)
        ended = (
            self._journal.row("SELECT ended_at FROM job WHERE job_no = ?", (job_no,)) if status.is_terminal else None
        )
        reason = self._scheduler.status_reason(job_no)
        is_cancelled, is_terminated = self._stop_of(job_no, None, status, reason)
        return UnitView(
            status=status,
            status_reason=reason,
            created_at=self._book.created_at(job_no),
            stopped_at=ended[0] if ended else None,
            is_cancelled=is_cancelled,
            is_terminated=is_terminated,
            array_size=size,
            summary=self._scheduler.summary(job_no),
        )

    def _unit_view(self, job_no: int, index: int | None, size: int) -> UnitView:
        unit = index or 0
        status = self._scheduler.status(job_no, unit)
        attempts = self._attempts(job_no, unit)
        stopped_at, reason = self._end_of(job_no, unit, status)
        is_cancelled, is_terminated = self._stop_of(job_no, index, status, reason)
        is_current = bool(attempts) and (status.is_terminal or attempts[-1].stopped_at is None)
        return UnitView(
            status=status,
            status_reason=reason,
            created_at=self._book.created_at(job_no),
            started_at=attempts[-1].started_at if is_current else None,
            stopped_at=stopped_at,
            attempts=attempts,
            is_cancelled=is_cancelled,
            is_terminated=is_terminated,
            array_index=index,
            array_size=size or None,
        )

    def _end_of(self, job_no: int, unit: int, status: JobStatus) -> tuple[float | None, str]:
        if not status.is_terminal:
            return None, self._scheduler.status_reason(job_no, unit)
        row = self._journal.row("SELECT ended_at, status_reason FROM unit WHERE job_no = ? AND idx = ?", (job_no, unit))
        return row if row is not None else (None, self._scheduler.status_reason(job_no, unit))

    def _attempts(self, job_no: int, unit: int) -> list[AttemptView]:
        if self._scheduler.attempts_made(job_no, unit) == 0:
            return []
        prefix = stream_prefix(self._book.described(job_no))
        query = f"SELECT {_ATTEMPT_COLUMNS} FROM attempt WHERE job_no = ? AND idx = ? ORDER BY attempt"  # noqa: S608
        return [
            AttemptView(
                attempt=row[0],
                started_at=row[1],
                stopped_at=row[2],
                exit_code=row[3],
                reason=row[4] or "",
                status_reason=row[5] or "",
                log_stream=f"{prefix}/default/{row[6]}",
                instance_id=row[7],
                environment=row[8] or "",
            )
            for row in self._journal.rows(query, (job_no, unit))
        ]

    # ---- lists ----

    def list_jobs(
        self, *, queue: str | None = None, array_job_id: str | None = None, status: JobStatus | None = None
    ) -> Sequence[str]:
        """Job ids, newest first; children by index. Raises NotFound for an unknown array."""
        if array_job_id is not None:
            return self._children(array_job_id, status)
        queues = self.queue_names() if queue is None else [queue]
        found = [one for name in queues for one in self._search.find(queue=name, status=status, limit=sys.maxsize)]
        return [job_id for _, job_id in sorted(found, reverse=True)]

    def queue_names(self) -> list[str]:
        """The queues of all jobs there ever were, including deleted queues."""
        return [name for (name,) in self._journal.rows("SELECT DISTINCT queue FROM job")]

    def find_jobs(
        self,
        *,
        queue: str,
        status: JobStatus | None = None,
        where: JobFilter | None = None,
        after: JobPlace | None = None,
        limit: int,
    ) -> Sequence[str]:
        """Ids of a queue's jobs, newest first, after a given position; at most `limit`."""
        found = self._search.find(queue=queue, status=status, where=where, after=after, limit=limit)
        return [job_id for _, job_id in found]

    def jobs_consuming(self, name: str) -> Sequence[str]:
        """Ids of the jobs that need some of a consumable resource, newest first."""
        query = (
            "SELECT job_no, id, ended_at FROM consuming JOIN job USING (job_no) WHERE consumable = ? "
            "ORDER BY job_no DESC"
        )
        rows = self._journal.rows(query, (name,))
        return [job_id for job_no, job_id, ended_at in rows if ended_at is not None or self._book.is_in_memory(job_no)]

    def _children(self, array_job_id: str, status: JobStatus | None) -> list[str]:
        job_no, _ = self._book.locate(array_job_id)
        if not self._scheduler.array_size(job_no):
            return []
        codes = self._scheduler.statuses(job_no)
        return [f"{array_job_id}:{i}" for i, code in enumerate(codes) if status in (None, STATUSES[code])]

    def front_of_queue(self, queue: str, *, limit: int = 100) -> Sequence[tuple[str, float]]:
        """(id, since when) of the first RUNNABLE jobs of a queue, in dispatch order."""
        if not self._scheduler.has_queue(queue):
            return []
        front = self._scheduler.front(queue, limit)
        return [(self._book.unit_id(job_no, index), self._book.created_at(job_no)) for job_no, index in front]

    def queue_usage(self, queue: str) -> tuple[Vcpus, Mapping[str, Vcpus]]:
        """The vCPUs currently used by a queue's jobs, in total and per share."""
        if not self._scheduler.has_queue(queue):
            return 0, {}
        return self._scheduler.running_vcpus(queue), self._scheduler.shares(queue)

    def environment_vcpus(self, name: str) -> Vcpus:
        """The vCPUs of a compute environment's hosts, from their launch to their end."""
        return self._scheduler.environment_vcpus(name)
