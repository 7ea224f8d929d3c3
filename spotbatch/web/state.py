"""What the server knows, kept across responses: runs, jobs, children, cost and details. It makes no calls.

The poller's thread writes and the pages' threads read, both under one lock.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Final, TypeVar

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.logs import LogEvent
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.control_story import ControlStory
from spotbatch.web.account import Account
from spotbatch.web.array_children import ArrayChildren
from spotbatch.web.several_logs import SeveralLogs
from spotbatch.web.story import Findings, Story
from spotbatch.web.target import Target

Kept = TypeVar("Kept")
_ARRAYS_KEPT: Final = 128
_DETAILS_KEPT: Final = 100
_JOBS_KEPT: Final = 3000
_JOBS_LISTED: Final = 500
_SAMPLES_KEPT: Final = 600
_RATES_KEPT: Final = 500
RATE_SECONDS: Final = 300.0
CHILDREN_IN_DETAIL: Final = 40_000  # the attempts of a million, at a hundred per call, would take hours to read


@dataclass(kw_only=True, slots=True)
class Detail:
    """What was read about one job besides its description."""

    story: Story | None = None
    findings: Findings | None = None
    log: Sequence[LogEvent] | None = None
    log_stream: str = ""
    log_note: str = ""


@dataclass(kw_only=True)
class State:
    """Everything pages are built from. Hold `lock` while reading more than one thing."""

    lock: RLock = field(default_factory=RLock)
    listed: dict[str, JobSummary] = field(default_factory=dict)
    is_listed: bool = False
    jobs: OrderedDict[str, Job] = field(default_factory=OrderedDict)
    children: OrderedDict[str, ArrayChildren] = field(default_factory=OrderedDict)
    runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    accounts: OrderedDict[str, Account] = field(default_factory=OrderedDict)
    several: OrderedDict[Target, SeveralLogs] = field(default_factory=OrderedDict)
    details: OrderedDict[str, Detail] = field(default_factory=OrderedDict)
    watched: Counter[Target] = field(default_factory=Counter)
    trouble: str = ""  # why there is no answer
    controls: OrderedDict[str, ControlStory] = field(default_factory=OrderedDict)  # runs under control, by page id
    last_lines: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of the logs of units that FAILED, by id
    gaps: dict[str, str] = field(default_factory=dict)  # what cannot be read, and why
    said: dict[str, tuple[str, float]] = field(default_factory=dict)  # what an action did and when, by its page's id
    as_of: float | None = None  # of the last response, UTC epoch seconds
    version: int = 0
    _samples: OrderedDict[str, deque[tuple[float, int]]] = field(default_factory=OrderedDict)

    def take_listed(self, found: Iterable[JobSummary]) -> None:
        """Jobs of the queue; the newest 500 are kept."""
        with self.lock:
            self.is_listed = True
            self.listed |= {each.id: each for each in found}
            if len(self.listed) > _JOBS_LISTED:
                newest = sorted(self.listed.values(), key=lambda one: one.created_at or 0.0, reverse=True)
                self.listed = {each.id: each for each in newest[:_JOBS_LISTED]}

    def take(self, described: Iterable[Job], now: float) -> bool:
        """Jobs and children that were described (`now`: UTC epoch seconds); returns whether anything changed."""
        changed = False
        with self.lock:
            for job in described:
                changed |= self._take_one(job)
            self._sample(now)
            self.version += changed
        return changed

    def _take_one(self, job: Job) -> bool:
        array = self.children.get(job.parent_id)
        if job.array_index is not None:
            before = array.units.get(job.array_index) if array else self.jobs.get(job.id)
            if array is not None:
                array.take_unit(job)
                return before is None or _face(before) != _face(job)
        before = self.jobs.get(job.id)
        self.jobs[job.id] = job
        _touched(self.jobs, job.id, _JOBS_KEPT)
        if array is not None and job.array is not None:
            array.take_parent(job)
        return before is None or _face(before) != _face(job)

    def children_of(self, parent: Job) -> ArrayChildren:
        """The children of an array; the most recently viewed arrays are kept."""
        with self.lock:
            if parent.id not in self.children:
                self.children[parent.id] = ArrayChildren(parent=parent, size=parent.array.size if parent.array else 0)
            return _touched(self.children, parent.id, _ARRAYS_KEPT)

    def detail(self, job_id: str) -> Detail:
        """The details of one job, to be filled."""
        with self.lock:
            self.details.setdefault(job_id, Detail())
            return _touched(self.details, job_id, _DETAILS_KEPT)

    def find(self, job_id: str) -> Job | None:
        """A job, an array's parent or a child, if it was described."""
        with self.lock:
            parent, _, index = job_id.partition(":")
            array = self.children.get(parent)
            if array is not None and index.isdecimal():
                return array.units.get(int(index))
            return self.jobs.get(job_id)

    def members(self, target: Target) -> list[Job]:
        """The jobs that a page is about: one, or a run's, oldest first."""
        if target.is_list:
            return []
        ids = [target.id] if target.kind == "job" else list(self.runs.get(target.id, ()))
        found = [job for each in ids if (job := self.find(each)) is not None]
        return sorted(found, key=lambda job: job.created_at or 0.0)

    def detailed(self, members: Iterable[Job]) -> list[Job]:
        """Jobs whose children are queried: all jobs of a normal run, the first arrays of a huge one."""
        found: list[Job] = []
        arrays = children = 0
        for job in members:
            if job.array is not None:
                arrays, children = arrays + 1, children + job.array.size
                if arrays > _ARRAYS_KEPT // 2 or (arrays > 1 and children > CHILDREN_IN_DETAIL):
                    continue
            found.append(job)
        return found

    def units(self, members: Iterable[Job]) -> Iterator[Job]:
        """What ran: the jobs themselves, and the described children of the detailed arrays."""
        for job in self.detailed(members):
            if job.array is None:
                yield job
            else:
                array = self.children_of(job)
                yield from (array.units[index] for index in sorted(array.units))

    def counts(self, members: Iterable[Job]) -> dict[JobStatus, int]:
        """Units by status: children of arrays, and single jobs."""
        counts = dict.fromkeys(JobStatus, 0)
        for job in members:
            if job.array is None:
                counts[job.status] += 1
            else:
                summed = job.array.status_summary
                for status, count in summed.items():
                    counts[status] += count
                counts[JobStatus.SUBMITTED] += max(0, job.array.size - sum(summed.values()))
        return counts

    def units_per_second(self, members: Sequence[Job]) -> float | None:
        """Units ended per second over the last minutes; None until some ended while we watched."""
        slopes = []
        for job in members:
            samples = self._samples.get(job.id)
            if samples is None or job.status.is_terminal:
                continue
            last_at, last = samples[-1]
            first_at, first = next(each for each in samples if each[0] >= last_at - RATE_SECONDS)
            slopes.append((last - first) / (last_at - first_at) if last_at > first_at else 0.0)
        return sum(slopes) or None

    def _sample(self, now: float) -> None:
        for job in self.jobs.values():
            if job.array is not None and not job.status.is_terminal:
                counts = self.counts([job])
                done = counts[JobStatus.SUCCEEDED] + counts[JobStatus.FAILED]
                self._samples.setdefault(job.id, deque(maxlen=_SAMPLES_KEPT)).append((now, done))
                _touched(self._samples, job.id, _RATES_KEPT)

    def changed(self) -> None:
        """Something besides the jobs changed: cost, details, errors."""
        with self.lock:
            self.version += 1


def _face(job: Job) -> tuple[object, ...]:
    """The parts of a job whose change is visible on a page."""
    summary = tuple(job.array.status_summary.items()) if job.array is not None else ()
    return (job.status, job.status_reason, job.started_at, job.stopped_at, len(job.attempts), job.log_stream, summary)


def _touched(kept: "OrderedDict[str, Kept]", key: str, most: int) -> Kept:
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
    return kept[key]
