"""Jobs by number and by id, requested stops, and ended jobs that are evicted from memory and recalled."""

import json
from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.local.contract import ContainerSpec, Json
from spotbatch.local.engine import codec
from spotbatch.local.engine.clock import Clock
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.packing import JobTexts, unpack

_DESCRIBED_KEPT: Final = 20_000
_CONTAINERS_KEPT: Final = 1_000
_ENDED_KEPT: Final = 10_000
_ENDED_UNITS_KEPT: Final = 2_000_000


class JobBook:
    """The engine's jobs alongside the scheduler's: their ids, and their texts as the journal keeps them."""

    def __init__(self, *, journal: Journal, scheduler: Scheduler, clock: Clock) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._clock = clock
        self.stops: dict[tuple[int, int | None], str] = {}  # what was cancelled or terminated, a whole job or a child
        self._next_job_no = 1
        self._no_of: dict[str, int] = {}
        self._id_of: dict[int, str] = {}
        self._created_at: dict[int, float] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()  # jobs in memory that may be evicted, longest unused first
        self._ended_units = 0
        self.described = lru_cache(maxsize=_DESCRIBED_KEPT)(self._read_described)
        self.container = lru_cache(maxsize=_CONTAINERS_KEPT)(self._read_container)

    # ---- coming and going ----

    def new_number(self) -> int:
        """A number that no job has had. The number of a refused job is not reused."""
        self._next_job_no += 1
        return self._next_job_no - 1

    def reserve_numbers(self, last: int) -> None:
        """Numbers up to this one are taken."""
        self._next_job_no = max(self._next_job_no, last + 1)

    def enter(self, job_no: int, job_id: str, created_at: float) -> None:
        """Make a job known."""
        self._no_of[job_id] = job_no
        self._id_of[job_no] = job_id
        self._created_at[job_no] = created_at
        self.reserve_numbers(job_no)

    def drop(self, job_no: int) -> None:
        """Undo `enter` for a job that the rules refused, or that is evicted."""
        del self._no_of[self._id_of.pop(job_no)]
        del self._created_at[job_no]

    # ---- ended jobs: in the journal, and in memory while they are asked for ----

    def recall(self, job_no: int) -> None:
        """Give the scheduler an ended job that was evicted. Raises NotFound for a number that no job has."""
        if job_no in self._id_of:
            if job_no in self._ended:
                self._ended.move_to_end(job_no)
            return
        query = "SELECT id, created_at, packed, statuses, attempts FROM job WHERE job_no = ?"
        row = self._journal.row(query, (job_no,))
        if row is None:
            raise NotFound(f"job number {job_no} does not exist")
        job_id, created_at, packed, statuses, attempts = row
        submitted = codec.decode(ev.JobSubmitted, unpack(packed).rules)
        self.enter(job_no, job_id, created_at)
        for index, kind in self._journal.rows("SELECT idx, kind FROM stop WHERE job_no = ?", (job_no,)):
            self.stops[job_no, None if index < 0 else index] = kind
        # Its dependencies no longer matter, and may be forgotten.
        ended = ev.JobRestored(submitted=replace(submitted, dependencies=()), statuses=statuses, attempts=attempts)
        self._scheduler.handle(ended, self._clock.steady())
        self.ended(job_no)

    def ended(self, job_no: int) -> None:
        """A job may be evicted once others have been requested."""
        self._ended[job_no] = None
        self._ended_units += self._scheduler.array_size(job_no) or 1
        while len(self._ended) > 1 and (len(self._ended) > _ENDED_KEPT or self._ended_units > _ENDED_UNITS_KEPT):
            self._put_away(next(iter(self._ended)))

    def _put_away(self, job_no: int) -> None:
        del self._ended[job_no]
        self._ended_units -= self._scheduler.array_size(job_no) or 1
        for index in [None, *range(self._scheduler.array_size(job_no))] if self.stops else []:
            self.stops.pop((job_no, index), None)
        self._scheduler.forget(job_no)
        self.drop(job_no)

    def forget(self, job_no: int) -> None:
        """An ended job's rows are about to be removed: nothing of it may stay in memory."""
        if job_no in self._ended:
            self._put_away(job_no)
        self.described.cache_clear()
        self.container.cache_clear()

    # ---- by id and by number ----

    def jobs_in_memory(self) -> int:
        """How many jobs the scheduler currently knows."""
        return len(self._id_of)

    def is_in_memory(self, job_no: int) -> bool:
        """Whether the scheduler currently knows the job."""
        return job_no in self._id_of

    def locate(self, job_id: str) -> tuple[int, int | None]:
        """(job number, array index) of a job or child (`id:index`), which is then in memory. Raises NotFound."""
        parent, _, child = job_id.partition(":")
        job_no = self._no_of.get(parent)
        if job_no is None:
            row = self._journal.row("SELECT job_no FROM job WHERE id = ? AND ended_at IS NOT NULL", (parent,))
            job_no = None if row is None else row[0]
        if job_no is None:
            raise NotFound(f"job {job_id} does not exist")
        self.recall(job_no)
        if not child:
            return job_no, None
        size = self._scheduler.array_size(job_no)
        if not (child.isdecimal() and int(child) < size):
            raise NotFound(f"job {job_id} does not exist: job {parent} has {size} children")
        return job_no, int(child)

    def job_id(self, job_no: int) -> str:
        """The id of a whole job."""
        return self._id_of[job_no]

    def unit_id(self, job_no: int, index: int) -> str:
        """A unit's own id: the job's id, with `:index` for a child of an array."""
        job_id = self._id_of[job_no]
        return f"{job_id}:{index}" if self._scheduler.array_size(job_no) else job_id

    def created_at(self, job_no: int) -> float:
        """When a job was submitted, in UTC epoch seconds."""
        return self._created_at[job_no]

    # ---- texts ----

    def _read_described(self, job_no: int) -> Json:
        """The constant part of DescribeJobs' answer."""
        found: dict[str, Any] = json.loads(self._texts(job_no).described)
        return found

    def _read_container(self, job_no: int) -> ContainerSpec:
        return codec.decode(ContainerSpec, self._texts(job_no).container)

    def _texts(self, job_no: int) -> JobTexts:
        row = self._journal.row("SELECT packed FROM job WHERE job_no = ?", (job_no,))
        assert row is not None  # noqa: S101 - `locate` found it, and it was committed before that
        return unpack(row[0])
