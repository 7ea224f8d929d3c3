"""Following jobs to their end with one API call a poll, whatever their size."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol, TypeVar

from spotbatch.aws import session
from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.bill import in_short
from spotbatch.runs.inputs import InputNames, input_names
from spotbatch.runs.progress_report import OwnProgress
from spotbatch.runs.tracker import Progress, Tracker
from spotbatch.runs.units import run_index

T = TypeVar("T")
_SHORTEST_SECONDS: Final = 1.1  # so that it is under one call a second
_LONGEST_SECONDS: Final = 6.0
_GIVE_UP_SECONDS: Final = 1800.0  # without any answer
_LONGEST_PAUSE_SECONDS: Final = 30.0
_FAILURES_TOLD: Final = 20
_MONEY_EVERY_SECONDS: Final = 15.0
_MONEY_LIVE: Final = 100  # units: one call of DescribeJobs
_MONEY_AT_END: Final = 2000
_LAST_SCANS: Final = 10  # calls at most, at the end, to see the attempts of children not seen yet


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A unit that ended FAILED, and what is known of the cause."""

    unit: str
    exit_code: int | None
    reason: str
    status_reason: str
    input: str = ""  # the child's line of the run's inputs

    @property
    def label(self) -> str:
        """`child 7` of an array with its input, or `the job`."""
        index = self.unit.partition(":")[2]
        named = f" ({self.input})" if self.input else ""
        return f"child {index}{named}" if index else f"the job{named}"

    @property
    def in_words(self) -> str:
        code = f"exit code {self.exit_code}" if self.exit_code is not None else ""
        return ": ".join(part for part in (code, self.reason or self.status_reason) if part) or "no reason given"


class Screen(Protocol):
    """Where progress goes: a live picture, plain lines, or JSON events."""

    def show(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None: ...

    def failure(self, failure: Failure) -> None: ...

    def note(self, line: str) -> None: ...

    def end(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None: ...

    def close(self) -> None: ...


@dataclass(kw_only=True)
class Facts:
    """A single job's own report, and the cost so far, of a large run by a part of it: that takes few calls."""

    jobs: Jobs
    clock: Callable[[], float] = time.monotonic
    _last: str = ""
    _last_at: float | None = None
    _own: OwnProgress = field(default_factory=lambda: OwnProgress(has_bar=True))

    def __call__(self, tracker: Tracker) -> str:
        own = self._own(next(iter(tracker.jobs.values()))) if len(tracker.jobs) == 1 else ""
        return " · ".join(part for part in (own, self._money(tracker)) if part)

    def _money(self, tracker: Tracker) -> str:
        now = self.clock()
        total = tracker.progress().total
        if self._last_at is None or now - self._last_at > _MONEY_EVERY_SECONDS or tracker.is_over:
            self._last_at = now
            self._last = self._ask(
                tracker, _MONEY_AT_END if tracker.is_over and total <= _MONEY_AT_END else _MONEY_LIVE
            )
        return self._last

    def _ask(self, tracker: Tracker, most_units: int) -> str:
        try:
            return in_short(self.jobs, list(tracker.jobs.values()), most_units=most_units)
        except SpotbatchError:
            return self._last  # money is shown beside the progress; it must not stop the watching


@dataclass(kw_only=True)
class Following:
    """The loop: ask, show, wait. Waits longer while nothing happens, and survives throttling and a lost network."""

    jobs: Jobs
    tracker: Tracker
    screen: Screen
    facts: Callable[[Tracker], str] = lambda _: ""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    calls_made: Callable[[], int] = session.calls_made
    _told: int = field(default=0, init=False)
    _news: list[Failure] = field(default_factory=list, init=False)
    _names: dict[str, InputNames] = field(default_factory=dict, init=False)
    _wait_seconds: float = field(default=_SHORTEST_SECONDS, init=False)

    def run(self) -> None:
        """Until every job has ended. Raises NotFound, or Unavailable after half an hour without an answer."""
        before: object = None
        while True:
            so_far = self.calls_made()
            asked = self._poll()
            progress = self.tracker.progress()
            facts = self.facts(self.tracker)
            self.screen.show(list(self.tracker.jobs.values()), progress, facts)
            self._tell_news()
            if self.tracker.is_over:
                break
            now = (progress.counts, progress.retries)
            self._wait_seconds = _SHORTEST_SECONDS if now != before else min(self._wait_seconds * 1.3, _LONGEST_SECONDS)
            before = now
            self.sleep(max(self._wait_seconds * asked, self._owed_seconds(self.calls_made() - so_far)))
        self._see_the_rest()
        self._tell_news()
        self.screen.end(list(self.tracker.jobs.values()), self.tracker.progress(), self.facts(self.tracker))

    @staticmethod
    def _owed_seconds(calls: int) -> float:
        """AWS limits calls for the whole account, so those that money takes are waited for too; ours has no limit."""
        return 0.0 if session.is_local() else calls * _SHORTEST_SECONDS

    def _poll(self) -> int:
        """One look; gives how many calls it took."""
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
        """One call for each array with failures that no turn has shown yet."""
        arrays = [job.id for job in self.tracker.jobs.values() if _has_failures(job)]
        for array_id in arrays:
            ask = partial(self.jobs.children, array_id, JobStatus.FAILED, limit=_FAILURES_TOLD)
            for child in self._patiently(ask):
                if self.tracker.take_failed(child.id):
                    self._news.append(failure_of(child))
        return len(arrays)

    def _tell_news(self) -> None:
        """Failures since the last look: the first ones each, then where to find the rest."""
        for failure in self._news:
            self._told += 1
            if self._told <= _FAILURES_TOLD:
                self.screen.failure(replace(failure, input=self._input_of(failure.unit)))
            elif self._told == _FAILURES_TOLD + 1:
                array = failure.unit.partition(":")[0]
                self.screen.note(f"more FAILED: `spotbatch list --array {array} --status FAILED` lists them all")
        self._news.clear()

    def _input_of(self, unit: str) -> str:
        """The input that a unit stands for; "" where it has none, or where the store cannot be asked."""
        parent_id, _, index = unit.partition(":")
        parent = self.tracker.jobs[parent_id]
        try:
            if parent_id not in self._names:
                self._names[parent_id] = input_names(parent)
            return self._names[parent_id].of(run_index(parent, int(index) if index else None))
        except SpotbatchError:
            return ""

    def _see_the_rest(self) -> None:
        """The last attempts of children that were not in their turn, so that the last figures are whole.

        Not for an array so large that this would take long: its figures say that they are of what was seen.
        """
        if self.tracker.progress().total > _LAST_SCANS * 99:
            return
        for _ in range(_LAST_SCANS):
            if self.tracker.is_all_seen():
                return
            self.sleep(_SHORTEST_SECONDS)
            self._poll()

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer: the job does not stop because we cannot see it."""
        deadline = self.clock() + _GIVE_UP_SECONDS
        pause = _SHORTEST_SECONDS
        while True:
            try:
                return ask()
            except Unavailable as error:
                if not error.is_transient or self.clock() + pause > deadline:
                    raise
                self.screen.note(f"{error}; asking again in {pause:.0f} s")
            self.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def failure_of(job: Job | JobSummary) -> Failure:
    """What is told of a unit that ended FAILED."""
    return Failure(unit=job.id, exit_code=job.exit_code, reason=job.reason, status_reason=job.status_reason)


def _has_failures(job: Job) -> bool:
    return job.array is not None and job.array.status_summary.get(JobStatus.FAILED, 0) > 0
