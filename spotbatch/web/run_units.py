"""Which job or child stands for each run index: the newest that was given it. Pure.

A retried run has several jobs for one index, and only the last of them shows the state of that index. So a run's page
counts, draws and names its indexes, not the children of individual arrays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus

# A retried job had FAILED; if more were retried than that, they had SUCCEEDED, and so on.
_REPLACED_FIRST: Final = (JobStatus.FAILED, JobStatus.SUCCEEDED, *reversed(JobStatus))


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Neighbouring indexes of a run, from `first` to `last`, that children of one array (or one job) stand for."""

    first: int
    last: int
    job: Job
    place: int  # which child of the array stands for `first`

    def unit_id(self, index: int) -> str:
        """The id of the child, or job, that stands for an index of the span."""
        return f"{self.job.id}:{self.child(index)}" if self.job.array is not None else self.job.id

    def child(self, index: int) -> int:
        """Which child of the array stands for an index of the span."""
        return self.place + index - self.first


@dataclass(frozen=True, kw_only=True, slots=True)
class RunUnits:
    """The indexes of a run, ascending, and which unit stands for each. A job that is not part of an array has none."""

    spans: tuple[Span, ...]
    replaced: Mapping[str, int]  # by job: how many of its units a later job of the run reruns

    def __len__(self) -> int:
        return sum(span.last - span.first + 1 for span in self.spans)

    def __iter__(self) -> Iterator[tuple[int, Span]]:
        for span in self.spans:
            for index in range(span.first, span.last + 1):
                yield index, span

    @property
    def indexes(self) -> ArrayIndexes:
        """All of them."""
        return ArrayIndexes.of_ranges((span.first, span.last) for span in self.spans)

    def unit_id(self, index: int) -> str | None:
        """The id of the unit that stands for an index; None if the run has no such index."""
        return next((span.unit_id(index) for span in self.spans if span.first <= index <= span.last), None)

    def stands(self, unit: Job) -> bool:
        """Whether a unit (a child or a single job) was not rerun by a later job."""
        index = index_of(unit)
        if index is None:
            return unit.id not in self.replaced
        return self.unit_id(index) == unit.id


def indexes_of(job: Job) -> ArrayIndexes:
    """The run indexes of an array's children, or of a job that was given one; empty for any other job."""
    text = job.environment.get(SPOTBATCH_ARRAY_INDEXES, "")
    try:
        named = ArrayIndexes.parse(text) if text else ArrayIndexes()
    except InvalidInput:
        named = ArrayIndexes()  # a user's own variable: spotrun refuses it, but the job is still shown
    return named or (ArrayIndexes.span(0, job.array.size) if job.array is not None else ArrayIndexes())


def index_of(unit: Job) -> int | None:
    """The run index of a child, or of a job that was given one; None for any other."""
    if unit.array is not None:
        return None
    found = indexes_of(unit).at(unit.array_index or 0)
    return unit.array_index if found is None else found


def run_units(members: Sequence[Job]) -> RunUnits:
    """Which unit stands for each run index, from the run's jobs (not their children), oldest first."""
    spans: list[Span] = []
    taken = ArrayIndexes()
    replaced: dict[str, int] = {}
    has_single = False
    for job in reversed(members):
        own = indexes_of(job)
        if not own.ranges:
            if has_single:
                replaced[job.id] = 1  # the same job once more: a retry, or a move to another queue
            has_single = True
            continue
        left = list(_spans(job, own, taken))
        again = len(own) - sum(span.last - span.first + 1 for span in left)
        if again:
            replaced[job.id] = again
        spans += left
        taken = taken.union(own)
    return RunUnits(spans=tuple(sorted(spans, key=lambda span: span.first)), replaced=replaced)


def _spans(job: Job, own: ArrayIndexes, taken: ArrayIndexes) -> Iterator[Span]:
    """The run indexes that a job holds and no later one does; children follow the order of the job's list."""
    place = 0
    for first, last in own.ranges:
        for start, end in ArrayIndexes.span(first, last - first + 1).without(taken).ranges:
            yield Span(first=start, last=end, job=job, place=place + start - first)
        place += last - first + 1


def standing_counts(
    members: Sequence[Job], counts_of: Callable[[Sequence[Job]], Mapping[JobStatus, int]]
) -> dict[JobStatus, int]:
    """Units of a run by status, each index once, without what a later job of the run reruns."""
    units = run_units(members)
    found = dict.fromkeys(JobStatus, 0)
    for job in members:
        counts = dict(counts_of([job]))
        left = units.replaced.get(job.id, 0)
        for status in _REPLACED_FIRST:
            less = min(left, counts.get(status, 0))
            counts[status] = counts.get(status, 0) - less
            left -= less
        for status, count in counts.items():
            found[status] += count
    return found
