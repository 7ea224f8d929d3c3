"""A run's progress, updated with each DescribeJobs response: pure, with the time as an argument.

Each poll queries the parents and, with the room left in the call, some of the children in turn: one call per poll is
enough regardless of size, and for an array of up to 99 children everything is known each time.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from spotbatch.batch.attempt_outcome import interruptions_of
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.units import run_again

_IDS_A_CALL: Final = 100
_RATE_SECONDS: Final = 300.0  # the rate covers the last five minutes
_MOST_SAMPLES: Final = 1000
BAR_ORDER: Final = (  # of the statuses in a bar and in a line of counts
    JobStatus.SUCCEEDED,
    JobStatus.FAILED,
    JobStatus.RUNNING,
    JobStatus.STARTING,
    JobStatus.RUNNABLE,
    JobStatus.PENDING,
    JobStatus.SUBMITTED,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What is shown. `interruptions` and `retries` are those seen so far; `is_complete` once every child was seen."""

    counts: Mapping[JobStatus, int]
    total: int
    interruptions: int
    retries: int
    seen: int
    units_per_second: float | None
    seconds_left: float | None

    @property
    def done(self) -> int:
        return self.counts[JobStatus.SUCCEEDED] + self.counts[JobStatus.FAILED]

    @property
    def is_over(self) -> bool:
        return self.done >= self.total

    @property
    def is_complete(self) -> bool:
        return self.seen >= self.total


@dataclass(kw_only=True)
class Tracker:
    """Follows the jobs of one run, oldest first: one job, one array, or several; a later one may rerun units."""

    ids: Sequence[str]
    jobs: dict[str, Job] = field(default_factory=dict)  # the parents, as last described
    _attempts: dict[str, tuple[int, int]] = field(default_factory=dict)  # unit -> attempts made, interruptions
    _failed: set[str] = field(default_factory=set)
    _ended: set[str] = field(default_factory=set)  # units whose story is complete
    _turn: deque[str] = field(default_factory=deque)
    _again: Mapping[str, frozenset[str]] = field(default_factory=dict)  # units superseded by a later job of the run
    _samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MOST_SAMPLES))

    def next_ids(self) -> list[str]:
        """What to describe in the next call: at most 100 ids, as long as there are fewer than 100 jobs in the run."""
        room = max(0, _IDS_A_CALL - len(self.ids))
        if not self._turn:
            self._turn.extend(self._open_children())
        return [*self.ids, *(self._turn.popleft() for _ in range(min(room, len(self._turn))))]

    def take(self, described: Iterable[Job], now: float) -> list[Job]:
        """Process a response; returns the units newly found to be FAILED."""
        failures = []
        answer = list(described)
        were_known = len(self.jobs)
        self.jobs |= {job.id: job for job in answer if job.id in self.ids}
        if len(self.jobs) > were_known and len(self.ids) > 1:
            self._again = run_again([self.jobs[each] for each in self.ids if each in self.jobs])
        for job in answer:
            if job.array is None:
                failures += self._take_unit(job)
        self._samples.append((now, self._done()))
        return failures

    def take_failed(self, unit: str) -> bool:
        """Record a unit that another call reported FAILED; returns whether that is new and it was not retried."""
        if self._is_run_again(unit):
            return False
        is_new = unit not in self._failed
        self._failed.add(unit)
        return is_new

    def _is_run_again(self, unit: str) -> bool:
        return bool(self._again) and unit in self._again.get(unit.partition(":")[0], ())

    @property
    def unknown_failures(self) -> int:
        """How many more have FAILED than were reported."""
        return self.counts()[JobStatus.FAILED] - len(self._failed)

    def counts(self) -> dict[JobStatus, int]:
        """Units in each status: children of arrays, and jobs that are not arrays. Retried units count once."""
        counts = dict.fromkeys(JobStatus, 0)
        for job in self.jobs.values():
            again = len(self._again.get(job.id, ()))
            if job.array is None:
                counts[job.status] += not (again and job.status is JobStatus.FAILED)
                continue
            for status, count in job.array.status_summary.items():
                counts[status] += count - (min(again, count) if status is JobStatus.FAILED else 0)
            # A fresh array may not count its children yet.
            counts[JobStatus.SUBMITTED] += max(0, job.array.size - sum(job.array.status_summary.values()))
        return counts

    def progress(self) -> Progress:
        """The run's progress as of the last response."""
        counts = self.counts()
        total = sum(counts.values())
        rate = self._rate()
        left = total - counts[JobStatus.SUCCEEDED] - counts[JobStatus.FAILED]
        return Progress(
            counts=counts,
            total=total,
            interruptions=sum(lost for _, lost in self._attempts.values()),
            retries=sum(max(0, made - 1) for made, _ in self._attempts.values()),
            seen=sum(not self._is_run_again(unit) for unit in self._attempts),
            units_per_second=rate,
            seconds_left=left / rate if rate and left else None,
        )

    @property
    def is_over(self) -> bool:
        """Whether every job of the run is in a terminal status."""
        return len(self.jobs) == len(self.ids) and all(job.status.is_terminal for job in self.jobs.values())

    def is_all_seen(self) -> bool:
        """Whether every unit's story is known to the end."""
        return not self._turn and not self._open_children()

    def _take_unit(self, job: Job) -> list[Job]:
        self._attempts[job.id] = (len(job.attempts), interruptions_of(job))
        if job.status.is_terminal:
            self._ended.add(job.id)
        return [job] if job.status is JobStatus.FAILED and self.take_failed(job.id) else []

    def _open_children(self) -> list[str]:
        return [
            unit
            for job in self.jobs.values()
            if job.array is not None
            for unit in (f"{job.id}:{index}" for index in range(job.array.size))
            if unit not in self._ended
        ]

    def _done(self) -> int:
        counts = self.counts()
        return counts[JobStatus.SUCCEEDED] + counts[JobStatus.FAILED]

    def _rate(self) -> float | None:
        """Units per second over the last minutes; None until something ended while we watched."""
        if not self._samples:
            return None
        last_at, last_done = self._samples[-1]
        first_at, first_done = next(one for one in self._samples if one[0] >= last_at - _RATE_SECONDS)
        return (
            (last_done - first_done) / (last_at - first_at) if last_done > first_done and last_at > first_at else None
        )
