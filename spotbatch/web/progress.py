"""The progress of some jobs, as a bar and in words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.status import JobStatus
from spotbatch.runs.tracker import BAR_ORDER

BAR_WIDTH: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A segment of a bar of 1000, for the units in one status."""

    status: JobStatus
    count: int
    x: float
    width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The progress of some jobs."""

    segments: tuple[Segment, ...]
    total: int
    done: int
    status: str  # of all of them, in one word

    @property
    def words(self) -> str:
        """For those who cannot see the bar: 3 of 12 done: SUCCEEDED 3, RUNNING 9."""
        parts = ", ".join(f"{each.status} {each.count:,}" for each in self.segments)
        return f"{self.done:,} of {self.total:,} done: {parts}"

    @property
    def of_status(self) -> int:
        """The text next to the status: how many FAILED if it has ended so, otherwise how many are done."""
        return next((each.count for each in self.segments if each.status.value == self.status == "FAILED"), self.done)

    def count(self, status: JobStatus) -> int:
        """How many units are in a status."""
        return next((each.count for each in self.segments if each.status is status), 0)

    @property
    def percent(self) -> int:
        return 100 * self.done // self.total if self.total else 0


def progress_of(counts: Mapping[JobStatus, int]) -> Progress:
    """A bar from counts by status. Every status that has a unit is visible, if only as a sliver."""
    present = [(status, counts[status]) for status in BAR_ORDER if counts.get(status)]
    total = sum(count for _, count in present)
    widths = [max(6.0, BAR_WIDTH * count / total) for _, count in present]
    scale = BAR_WIDTH / sum(widths) if widths else 1.0
    segments, x = [], 0.0
    for (status, count), width in zip(present, widths, strict=True):
        segments.append(Segment(status=status, count=count, x=round(x, 1), width=round(width * scale, 1)))
        x += width * scale
    done = counts.get(JobStatus.SUCCEEDED, 0) + counts.get(JobStatus.FAILED, 0)
    return Progress(segments=tuple(segments), total=total, done=done, status=_status_word(counts, total, done))


def _status_word(counts: Mapping[JobStatus, int], total: int, done: int) -> str:
    if total and done == total:
        return "FAILED" if counts.get(JobStatus.FAILED) else "SUCCEEDED"
    busy = (JobStatus.RUNNING, JobStatus.STARTING, JobStatus.RUNNABLE, JobStatus.PENDING)
    return next((status.value for status in busy if counts.get(status)), JobStatus.SUBMITTED.value)
