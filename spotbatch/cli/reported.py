"""What a command itself reports of its progress (docs/runtime.md), read from the artifact store."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli import finding
from spotbatch.cli.inputs import run_index
from spotbatch.cli.output import text

_EVERY_SECONDS: Final = 3.0


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


def read_report(store: Artifacts, run_id: str, index: int | None) -> Report | None:
    """The last report of a unit; None where it made none, or where it cannot be read."""
    try:
        found: Any = read_json(store, layout.progress_key(run_id, index))
        return Report(done=found["done"], total=found["total"], text=found.get("text", ""), at=found.get("at", 0.0))
    except (SpotbatchError, KeyError, TypeError):
        return None


@dataclass(kw_only=True)
class OwnProgress:
    """The report of a single running job, asked for every few seconds; "" for arrays."""

    clock: Callable[[], float] = time.monotonic
    _store: Artifacts | None = field(default=None, init=False)
    _last: str = field(default="", init=False)
    _last_at: float | None = field(default=None, init=False)

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
            self._store = self._store or finding.store_of(job)
        except SpotbatchError:
            return ""
        report = read_report(self._store, finding.run_id(job), run_index(job))
        return report.in_words if report else ""


def line_of(job: Job, store: Artifacts) -> str:
    """For `show`: the last report of a job and its age, or ""."""
    report = read_report(store, finding.run_id(job), run_index(job))
    return f"{report.in_words}, {text.ago(report.at, time.time())}" if report else ""
