"""Following jobs to their end with one API call per poll, regardless of size: what each look shows, as values."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from spotbatch.aws import session
from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.inputs import InputNames, input_names
from spotbatch.runs.tracker import Progress, Tracker
from spotbatch.runs.units import run_index

T = TypeVar("T")
_SHORTEST_SECONDS: Final = 1.1  # to stay under one call per second
_LONGEST_SECONDS: Final = 6.0
_GIVE_UP_SECONDS: Final = 1800.0  # without any answer
_LONGEST_PAUSE_SECONDS: Final = 30.0
_FAILURES_TOLD: Final = 20
_LAST_SCANS: Final = 10  # at most this many calls, at the end, to see the attempts of children not seen yet


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A unit that ended FAILED, and what is known about the cause. `unit` is a job's id or a child's (id:index)."""

    unit: str
    exit_code: int | None
    reason: str
    status_reason: str
    input: str = ""  # the child's line of the run's inputs
    index: int | None = None  # in its run

    @property
    def label(self) -> str:
        """`child 7` of an array with its input, or `the job`."""
        own = self.unit.partition(":")[2]
        index = own if self.index is None else str(self.index)
        named = f" ({self.input})" if self.input else ""
        return f"child {index}{named}" if index else f"the job{named}"

    @property
    def in_words(self) -> str:
        """The exit code and the reason, as far as they are known."""
        code = f"exit code {self.exit_code}" if self.exit_code is not None else ""
        return ": ".join(part for part in (code, self.reason or self.status_reason) if part) or "no reason given"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one look at a run showed.

    `failures` are new since the last look, the first twenty of a run; `notes` say where the rest is listed.
    `is_news`: something differs from the previous look. `is_last`: every job has ended, and no look follows.
    """

    jobs: tuple[Job, ...]
    progress: Progress
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    is_news: bool = True
    is_last: bool = False


@dataclass(kw_only=True)
class Following:
    """The loop: query, yield, wait. Waits longer while nothing happens, and survives throttling and network loss.

    `on_note` immediately receives messages while AWS does not answer.
    """

    jobs: Jobs
    tracker: Tracker
    on_note: Callable[[str], object] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    calls_made: Callable[[], int] = session.calls_made
    _told: int = field(default=0, init=False)
    _news: list[Failure] = field(default_factory=list, init=False)
    _names: dict[str, InputNames] = field(default_factory=dict, init=False)
    _wait_seconds: float = field(default=_SHORTEST_SECONDS, init=False)

    def looks(self) -> Generator[Look, None, None]:
        """Yield a look per poll until every job has ended. Calls that the caller makes in between slow the polls down.

        Raises NotFound, or Unavailable after half an hour without an answer.
        """
        before: object = None
        while True:
            so_far = self.calls_made()
            asked = self._poll()
            progress = self.tracker.progress()
            now = (progress.counts, progress.retries)
            is_news = now != before or bool(self._news)
            yield self._look(is_news=is_news)
            if self.tracker.is_over:
                break
            self._wait_seconds = _SHORTEST_SECONDS if now != before else min(self._wait_seconds * 1.3, _LONGEST_SECONDS)
            before = now
            self.sleep(max(self._wait_seconds * asked, self._owed_seconds(self.calls_made() - so_far)))
        self._see_the_rest()
        yield self._look(is_news=True, is_last=True)

    def _look(self, *, is_news: bool, is_last: bool = False) -> Look:
        failures, notes = self._told_of()
        return Look(
            jobs=tuple(self.tracker.jobs.values()),
            progress=self.tracker.progress(),
            failures=failures,
            notes=notes,
            is_news=is_news,
            is_last=is_last,
        )

    @staticmethod
    def _owed_seconds(calls: int) -> float:
        """AWS limits calls per account, so the cost's calls are waited for too; the local region has no limit."""
        return 0.0 if session.is_local() else calls * _SHORTEST_SECONDS

    def _poll(self) -> int:
        """One look; returns how many calls it took."""
        ids = self.tracker.next_ids()
        described = self._patiently(lambda: self.jobs.describe(ids))
        there = {job.id for job in described}
        if missing := [each for each in self.tracker.ids if each not in there]:
            raise NotFound(f"there is no job {missing[0]} here: `spotbatch list` shows those that there are")
        for job in self.tracker.take(described, self.clock()):
            self._news.append(failure_of(job))
        if self.tracker.unknown_failures > 0 and self._told < _FAILURES_TOLD:
            return 1 + self._ask_for_failures()
        return 1

    def _ask_for_failures(self) -> int:
        """One call for each array with failures that have not been seen yet."""
        arrays = [job.id for job in self.tracker.jobs.values() if _has_failures(job)]
        for array_id in arrays:
            ask = partial(self.jobs.children, array_id, JobStatus.FAILED, limit=_FAILURES_TOLD)
            for child in self._patiently(ask):
                if self.tracker.take_failed(child.id):
                    self._news.append(failure_of(child))
        return len(arrays)

    def _told_of(self) -> tuple[tuple[Failure, ...], tuple[str, ...]]:
        """Failures since the last look: the first ones of the run individually, then where to find the rest."""
        failures, notes = [], []
        for failure in self._news:
            self._told += 1
            if self._told <= _FAILURES_TOLD:
                index = self._index_of(failure.unit)
                failures.append(replace(failure, index=index, input=self._input_of(failure.unit, index)))
            elif self._told == _FAILURES_TOLD + 1:
                array = failure.unit.partition(":")[0]
                notes.append(f"more FAILED: `spotbatch list --array {array} --status FAILED` lists them all")
        self._news.clear()
        return tuple(failures), tuple(notes)

    def _index_of(self, unit: str) -> int | None:
        """The run index that a unit stands for."""
        parent_id, _, index = unit.partition(":")
        return run_index(self.tracker.jobs[parent_id], int(index) if index else None)

    def _input_of(self, unit: str, index: int | None) -> str:
        """The input that a unit stands for; "" if it has none or the store cannot be read."""
        parent_id = unit.partition(":")[0]
        parent = self.tracker.jobs[parent_id]
        try:
            if parent_id not in self._names:
                self._names[parent_id] = input_names(parent)
            return self._names[parent_id].of(index)
        except SpotbatchError:
            return ""

    def _see_the_rest(self) -> None:
        """Fetch the last attempts of children not polled yet, so that the final figures are complete.

        Skipped for arrays so large that it would take long: their figures say that they cover only what was seen.
        """
        if self.tracker.progress().total > _LAST_SCANS * 99:
            return
        for _ in range(_LAST_SCANS):
            if self.tracker.is_all_seen():
                return
            self.sleep(_SHORTEST_SECONDS)
            self._poll()

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Retry until there is an answer: the job does not stop because we cannot see it."""
        deadline = self.clock() + _GIVE_UP_SECONDS
        pause = _SHORTEST_SECONDS
        while True:
            try:
                return ask()
            except Unavailable as error:
                if not error.is_transient or self.clock() + pause > deadline:
                    raise
                self.on_note(f"{error}; asking again in {pause:.0f} s")
            self.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def failure_of(job: Job | JobSummary) -> Failure:
    """What is reported about a unit that ended FAILED."""
    return Failure(unit=job.id, exit_code=job.exit_code, reason=job.reason, status_reason=job.status_reason)


def _has_failures(job: Job) -> bool:
    return job.array is not None and job.array.status_summary.get(JobStatus.FAILED, 0) > 0
