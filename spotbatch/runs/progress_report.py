"""A command's own progress report (docs/runtime.md), read from the artifact store."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from spotbatch import wording
from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs import artifact_store
from spotbatch.runs.units import run_index

_EVERY_SECONDS: Final = 3.0
_BAR_CELLS: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """`done` of `total`, in the command's own unit."""

    done: float
    total: float
    text: str
    at: float  # UTC epoch seconds

    @property
    def in_words(self) -> str:
        share = 100 * self.done / self.total if self.total else 0.0
        return f"{share:.0f} % by its own report{f' ({self.text})' if self.text else ''}"

    @property
    def bar(self) -> str:
        full = round(_BAR_CELLS * min(1.0, self.done / self.total)) if self.total else 0
        return f"[{'#' * full}{'.' * (_BAR_CELLS - full)}]"


def seconds_left(first: Report, last: Report) -> float | None:
    """Estimated from the pace between two reports; None while unknown."""
    moved, passed = last.done - first.done, last.at - first.at
    if moved <= 0 or passed <= 0 or last.total != first.total:
        return None
    return max(0.0, last.total - last.done) * passed / moved


def read_report(store: Artifacts, run_id: str, index: int | None) -> Report | None:
    """The latest report of a unit; None if it made none, or it cannot be read."""
    try:
        found: Any = read_json(store, layout.progress_key(run_id, index))
        return Report(done=found["done"], total=found["total"], text=found.get("text", ""), at=found.get("at", 0.0))
    except (SpotbatchError, KeyError, TypeError):
        return None


@dataclass(kw_only=True)
class OwnProgress:
    """The report of a single running job, fetched every few seconds; "" for arrays."""

    has_bar: bool = False
    clock: Callable[[], float] = time.monotonic
    _store: Artifacts | None = field(default=None, init=False)
    _last: str = field(default="", init=False)
    _last_at: float | None = field(default=None, init=False)
    _first: Report | None = field(default=None, init=False)

    def __call__(self, job: Job) -> str:
        """The report in words, as of a few seconds ago."""
        if job.array is not None or job.status is not JobStatus.RUNNING:
            return ""
        now = self.clock()
        if self._last_at is None or now - self._last_at > _EVERY_SECONDS:
            self._last_at = now
            self._last = self._ask(job)
        return self._last

    def _ask(self, job: Job) -> str:
        try:
            self._store = self._store or artifact_store.store_of(job)
        except SpotbatchError:
            return ""
        report = read_report(self._store, artifact_store.run_id(job), run_index(job))
        return self._told(report) if report else ""

    def _told(self, report: Report) -> str:
        """Its bar, its percentage, and the time left by the pace since the first look at this attempt."""
        if self._first is None or report.done < self._first.done or report.total != self._first.total:
            self._first = report
        left = seconds_left(self._first, report)
        told = report.in_words if left is None else f"{report.in_words}, about {wording.duration(left)} left"
        return f"{report.bar} {told}" if self.has_bar else told
