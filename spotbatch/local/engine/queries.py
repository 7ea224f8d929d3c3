"""What the engine answers: documents, jobs, attempts and logs, from memory or from the journal."""

import json
import math
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from spotbatch.batch.errors import NotFound
from spotbatch.batch.placement import BlockedReason
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import (
    CONTAINER_EXITED,
    DEPENDENCY_FAILED,
    HOST_TERMINATED_PATTERN,
    NOT_STARTED,
    STATUSES,
    TIMEOUT_EXCEEDED,
    JobStatus,
)
from spotbatch.local.contract import AttemptView, JobFilter, JobPlace, Json, UnitView
from spotbatch.local.engine import codec
from spotbatch.local.engine.job_search import JobSearch
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.logs import LogReader, log_file, unit_of_task
from spotbatch.local.engine.packing import JobTexts, unpack

_ATTEMPT_COLUMNS = (
    "attempt, attempt.started_at, stopped_at, exit_code, reason, status_reason, task, instance_id, "
    "(SELECT environment FROM host WHERE host.instance_id = attempt.instance_id)"
)
_STREAM = "SELECT job_no, idx, COALESCE(started_at, placed_at), stopped_at FROM attempt"
_STREAMS_OF_JOB = (
    "SELECT stopped_at, COALESCE(started_at, placed_at), task FROM attempt WHERE job_no = ? AND substr(task, 1, ?) = ?"
)
_DESCRIBED_KEPT = 20_000
_ENDED_KEPT = 10_000
_ENDED_UNITS_KEPT = 2_000_000
_ENDED_BY_ITSELF = (  # how the reason begins of a job that nobody stopped
    CONTAINER_EXITED,
    TIMEOUT_EXCEEDED,
    DEPENDENCY_FAILED,
    NOT_STARTED,
    HOST_TERMINATED_PATTERN.removesuffix("*"),
    *BlockedReason,
)


class Queries:
    """The books that answers are made from; `LocalEngine` adds what changes them."""

    scheduler: Scheduler
    journal: Journal
    log_folder: Path

    def __init__(self) -> None:
        self.stops: dict[tuple[int, int | None], str] = {}  # what was cancelled or terminated, the whole job or a child
        self.resource_rules: dict[tuple[str, str], str | None] = {}
        self.next_job_no = 1
        self._resources: dict[str, dict[str, Json]] = {}
        self._no_of: dict[str, int] = {}
        self._id_of: dict[int, str] = {}
        self._created_at: dict[int, float] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()  # jobs in memory that may be put away, longest unused first
        self._ended_units = 0
        self._log_reader = LogReader()
        self._described = lru_cache(maxsize=_DESCRIBED_KEPT)(self._read_described)

    @cached_property
    def _search(self) -> JobSearch:
        def status_of(job_no: int) -> JobStatus | None:
            return self.scheduler.status(job_no) if job_no in self._id_of else None

        return JobSearch(self.journal, status_of)

    def settle(self) -> None:
        """Commit what waits, before an answer."""
        raise NotImplementedError

    @staticmethod
    def to_json(body: Json) -> str:
        return json.dumps(body, separators=(",", ":"))

    # ---- documents of the control plane ----

    def resources(self, kind: str) -> Mapping[str, Json]:
        """All documents of a kind by their names."""
        return self._resources.get(kind, {})

    def resource_row(self, kind: str, name: str) -> tuple[Json, str | None] | None:
        """A document, and the rules' view of it as the journal has it."""
        body = self.resources(kind).get(name)
        return None if body is None else (body, self.resource_rules.get((kind, name)))

    def remember_resource(self, kind: str, name: str, body: Json, rules: str | None) -> None:
        self._resources.setdefault(kind, {})[name] = body
        self.resource_rules[kind, name] = rules

    def forget_resource(self, kind: str, name: str) -> None:
        del self._resources[kind][name]
        self.resource_rules.pop((kind, name), None)

    # ---- jobs by id ----

    def new_job_no(self) -> int:
        """A number that no job had. One whose job is refused is not used again."""
        self.next_job_no += 1
        return self.next_job_no - 1

    def enter_job(self, job_no: int, job_id: str, created_at: float) -> None:
        self._no_of[job_id] = job_no
        self._id_of[job_no] = job_id
        self._created_at[job_no] = created_at
        self.next_job_no = max(self.next_job_no, job_no + 1)

    def drop_job(self, job_no: int) -> None:
        """Take back `enter_job` for a job that the rules refused."""
        del self._no_of[self._id_of.pop(job_no)]
        del self._created_at[job_no]

    # ---- ended jobs: in the journal, and in memory while they are asked for ----

    def recall(self, job_no: int) -> None:
        """Let the scheduler know a job that ended and was put away. Raises NotFound for a number that no job has."""
        if job_no in self._id_of:
            if job_no in self._ended:
                self._ended.move_to_end(job_no)
            return
        row = self.journal.row("SELECT id, created_at, packed, statuses, attempts FROM job WHERE job_no = ?", (job_no,))
        if row is None:
            raise NotFound(f"job number {job_no} does not exist")
        job_id, created_at, packed, statuses, attempts = row
        submitted = codec.decode(ev.JobSubmitted, unpack(packed).rules)
        self.enter_job(job_no, job_id, created_at)
        for index, kind in self.journal.rows("SELECT idx, kind FROM stop WHERE job_no = ?", (job_no,)):
            self.stops[job_no, None if index < 0 else index] = kind
        # What it waited for is no matter any more, and may be forgotten.
        ended = ev.JobRestored(submitted=replace(submitted, dependencies=()), statuses=statuses, attempts=attempts)
        self.scheduler.handle(ended, self.scheduler_time())
        self.job_ended(job_no)

    def job_ended(self, job_no: int) -> None:
        """It may be put away once others have been asked for."""
        self._ended[job_no] = None
        self._ended_units += self.scheduler.array_size(job_no) or 1
        while len(self._ended) > 1 and (len(self._ended) > _ENDED_KEPT or self._ended_units > _ENDED_UNITS_KEPT):
            self._put_away(next(iter(self._ended)))

    def _put_away(self, job_no: int) -> None:
        del self._ended[job_no]
        self._ended_units -= self.scheduler.array_size(job_no) or 1
        for index in [None, *range(self.scheduler.array_size(job_no))] if self.stops else []:
            self.stops.pop((job_no, index), None)
        self.scheduler.forget(job_no)
        self.drop_job(job_no)

    def scheduler_time(self) -> float:
        """The scheduler's own now."""
        raise NotImplementedError

    def texts(self, job_no: int) -> JobTexts:
        """What the journal keeps of a job."""
        row = self.journal.row("SELECT packed FROM job WHERE job_no = ?", (job_no,))
        assert row is not None  # noqa: S101 - `locate` found it, and `settle` wrote it
        return unpack(row[0])

    def locate(self, job_id: str) -> tuple[int, int | None]:
        """(job number, array index) of a job, or of a child (`id:index`). Raises NotFound."""
        parent, _, child = job_id.partition(":")
        job_no = self._no_of.get(parent)
        if job_no is None:
            row = self.journal.row("SELECT job_no FROM job WHERE id = ? AND ended_at IS NOT NULL", (parent,))
            job_no = None if row is None else row[0]
        if job_no is not None:
            self.recall(job_no)
        if job_no is None:
            raise NotFound(f"job {job_id} does not exist")
        if not child:
            return job_no, None
        size = self.scheduler.array_size(job_no)
        if not (child.isdecimal() and int(child) < size):
            raise NotFound(f"job {job_id} does not exist: job {parent} has {size} children")
        return job_no, int(child)

    def job_id(self, job_no: int) -> str:
        """The id of a whole job."""
        return self._id_of[job_no]

    def unit_id(self, job_no: int, index: int) -> str:
        """How a unit calls itself: the job's id, with `:index` for a child of an array."""
        job_id = self._id_of[job_no]
        return f"{job_id}:{index}" if self.scheduler.array_size(job_no) else job_id

    def described(self, job_id: str) -> Json:
        """The unchanging part of DescribeJobs' answer; a child's is its parent's."""
        self.settle()
        return self._described(self.locate(job_id)[0])

    def _read_described(self, job_no: int) -> Json:
        found: dict[str, Any] = json.loads(self.texts(job_no).described)
        return found

    # ---- views ----

    def view(self, job_id: str) -> UnitView:
        """What changes about a job, a parent or a child. Raises NotFound."""
        job_no, index = self.locate(job_id)
        size = self.scheduler.array_size(job_no)
        if size and index is None:
            return self._parent_view(job_no, size)
        return self._unit_view(job_no, index, size)

    def still_holds(self, job_id: str, view: UnitView) -> bool:
        """Whether an earlier view of a job that had not ended would be the same now. Raises NotFound.

        Told from memory: an attempt's row in the journal changes only with its unit's status or number of attempts.
        """
        job_no, index = self.locate(job_id)
        scheduler = self.scheduler
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
        """Whether a job or child was cancelled, and whether it was terminated; a child with its parent, too."""
        stop = self.stops.get((job_no, index))
        if stop is None and index is not None and (job_no, None) in self.stops:
            stop = self._stop_with_parent(job_no, status, reason)
        return stop == "cancelled", stop == "terminated"

    def _stop_with_parent(self, job_no: int, status: JobStatus, reason: str) -> str | None:
        """A child that had ended before its array was stopped was not, nor one that ran while it was cancelled."""
        stop = self.stops[job_no, None]
        if not status.is_terminal:
            return stop if stop == "terminated" else None
        return stop if status is JobStatus.FAILED and not reason.startswith(_ENDED_BY_ITSELF) else None

    def _parent_view(self, job_no: int, size: int) -> UnitView:
        status = self.scheduler.status(job_no)
        ended = self.journal.row("SELECT ended_at FROM job WHERE job_no = ?", (job_no,)) if status.is_terminal else None
        reason = self.scheduler.status_reason(job_no)
        is_cancelled, is_terminated = self._stop_of(job_no, None, status, reason)
        return UnitView(
            status=status,
            status_reason=reason,
            created_at=self._created_at[job_no],
            stopped_at=ended[0] if ended else None,
            is_cancelled=is_cancelled,
            is_terminated=is_terminated,
            array_size=size,
            summary=self.scheduler.summary(job_no),
        )

    def _unit_view(self, job_no: int, index: int | None, size: int) -> UnitView:
        unit = index or 0
        status = self.scheduler.status(job_no, unit)
        attempts = self._attempts(job_no, unit)
        stopped_at, reason = self._end_of(job_no, unit, status)
        is_cancelled, is_terminated = self._stop_of(job_no, index, status, reason)
        is_current = bool(attempts) and (status.is_terminal or attempts[-1].stopped_at is None)
        return UnitView(
            status=status,
            status_reason=reason,
            created_at=self._created_at[job_no],
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
            return None, self.scheduler.status_reason(job_no, unit)
        row = self.journal.row("SELECT ended_at, status_reason FROM unit WHERE job_no = ? AND idx = ?", (job_no, unit))
        return row if row is not None else (None, self.scheduler.status_reason(job_no, unit))

    def _attempts(self, job_no: int, unit: int) -> list[AttemptView]:
        if self.scheduler.attempts_made(job_no, unit) == 0:
            return []
        prefix = self._stream_prefix(job_no)
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
            for row in self.journal.rows(query, (job_no, unit))
        ]

    # ---- lists ----

    def list_jobs(
        self, *, queue: str | None = None, array_job_id: str | None = None, status: JobStatus | None = None
    ) -> Sequence[str]:
        """Job ids, newest first; children in the order of their index. Raises NotFound for an unknown array."""
        self.settle()
        if array_job_id is not None:
            return self._children(array_job_id, status)
        queues = self.queue_names() if queue is None else [queue]
        found = [one for name in queues for one in self._search.find(queue=name, status=status, limit=sys.maxsize)]
        return [job_id for _, job_id in sorted(found, reverse=True)]

    def queue_names(self) -> list[str]:
        """The queues of all jobs there ever were, deleted ones too."""
        return [name for (name,) in self.journal.rows("SELECT DISTINCT queue FROM job")]

    def find_jobs(
        self,
        *,
        queue: str,
        status: JobStatus | None = None,
        where: JobFilter | None = None,
        after: JobPlace | None = None,
        limit: int,
    ) -> Sequence[str]:
        """Ids of a queue's jobs, newest first: those behind a place, at most so many."""
        self.settle()
        found = self._search.find(queue=queue, status=status, where=where, after=after, limit=limit)
        return [job_id for _, job_id in found]

    def _children(self, array_job_id: str, status: JobStatus | None) -> list[str]:
        job_no, _ = self.locate(array_job_id)
        if not self.scheduler.array_size(job_no):
            return []
        codes = self.scheduler.statuses(job_no)
        return [f"{array_job_id}:{i}" for i, code in enumerate(codes) if status in (None, STATUSES[code])]

    def front_of_queue(self, queue: str, *, limit: int = 100) -> Sequence[tuple[str, float]]:
        """(id, since when) of the first RUNNABLE jobs of a queue, in the order of dispatch."""
        if not self.scheduler.has_queue(queue):
            return []
        front = self.scheduler.front(queue, limit)
        return [(self.unit_id(job_no, index), self._created_at[job_no]) for job_no, index in front]

    def queue_usage(self, queue: str) -> tuple[int, Mapping[str, int]]:
        """The vCPUs that a queue's jobs have now, together and by share."""
        if not self.scheduler.has_queue(queue):
            return 0, {}
        return self.scheduler.running_vcpus(queue), self.scheduler.shares(queue)

    def environment_vcpus(self, name: str) -> int:
        """The vCPUs of a compute environment's hosts, from their launch to their end."""
        return self.scheduler.environment_vcpus(name)

    # ---- logs ----

    def job_of_stream(self, log_stream: str) -> str | None:
        """The job or child that wrote a log stream."""
        row = self._stream_row(log_stream)
        if row is None:
            return None
        self.recall(row[0])
        return self.unit_id(row[0], row[1])

    def log_streams(self, log_group: str, prefix: str = "") -> Mapping[str, float]:
        """The streams of a group that begin with a prefix, and when each began, in the order of their attempts' ends.

        Those that still run come last.
        """
        self.settle()
        jobs = [job_no for (job_no,) in self.journal.rows("SELECT job_no FROM job WHERE log_group = ?", (log_group,))]
        task = unit_of_task(prefix.rpartition("/")[2])
        found: list[tuple[float, float, str]] = []
        for job_no in jobs if task is None or task[0] not in jobs else [task[0]]:
            begins = f"{self._stream_prefix(job_no)}/default/"
            if begins.startswith(prefix[: len(begins)]):  # its attempts are looked at only if they can match
                rest = prefix[len(begins) :]
                for stopped_at, began_at, name in self.journal.rows(_STREAMS_OF_JOB, (job_no, len(rest), rest)):
                    found.append((math.inf if stopped_at is None else stopped_at, began_at, begins + name))
        return {name: began_at for _, began_at, name in sorted(found)}

    def read_log(
        self, log_stream: str, *, offset: int = 0, limit: int = 10_000
    ) -> tuple[Sequence[tuple[float, str]], int]:
        """(time, line) pairs from a byte offset on, and the offset after them. Raises NotFound."""
        file, began_at, is_over = self._log_of(log_stream)
        return self._log_reader.read(file, began_at=began_at, is_over=is_over, offset=offset, limit=limit)

    def read_log_back(
        self, log_stream: str, *, stop: int | None = None, limit: int = 10_000
    ) -> tuple[int, Sequence[tuple[float, str]], int]:
        """The last lines before a byte offset or the end, where they begin and where they end. Raises NotFound."""
        file, began_at, is_over = self._log_of(log_stream)
        return self._log_reader.read_back(file, began_at=began_at, is_over=is_over, stop=stop, limit=limit)

    def _log_of(self, log_stream: str) -> tuple[Path, float, bool]:
        """The file of a stream, when its attempt began, and whether it is over. Raises NotFound."""
        self.settle()
        row = self._stream_row(log_stream)
        if row is None:
            raise NotFound(f"the log stream {log_stream} does not exist")
        _, _, began_at, stopped_at = row
        file = Path(log_file(self.log_folder, log_stream.rpartition("/")[2]))
        return file, began_at, stopped_at is not None

    def _stream_row(self, log_stream: str) -> tuple[Any, ...] | None:
        task = log_stream.rpartition("/")[2]
        unit = unit_of_task(task)
        found = None
        if unit is not None:
            found = self.journal.row(
                f"{_STREAM} WHERE job_no = ? AND idx = ? AND attempt = ? AND task = ?", (*unit, task)
            )
        if found is None:  # a journal that is older than such task ids keeps a table of them
            query = f"{_STREAM} JOIN old_task USING (job_no, idx, attempt) WHERE old_task.task = ?"
            found = self.journal.row(query, (task,))
        return found

    def _stream_prefix(self, job_no: int) -> str:
        container = self._described(job_no).get("container")
        options: Any = {}
        if isinstance(container, dict):
            options = (container.get("logConfiguration") or {}).get("options") or {}
        own = options.get("awslogs-stream-prefix")
        return str(own or self._definition_name(job_no))

    def _definition_name(self, job_no: int) -> str:
        """AWS Batch's own prefix is the job definition's name (user guide, "Log stream name")."""
        reference = str(self._described(job_no).get("jobDefinition", "job"))
        return reference.rpartition("/")[2].partition(":")[0]
