"""What is shown next to the progress of a run: a single job's own report, and the cost so far."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import SpotbatchError
from spotbatch.runs.bill import in_short
from spotbatch.runs.progress_report import OwnProgress
from spotbatch.runs.tracker import Tracker

_MONEY_EVERY_SECONDS: Final = 15.0
_MONEY_LIVE: Final = 100  # units: one call of DescribeJobs
_MONEY_AT_END: Final = 2000


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
            return self._last  # the cost is an addition to the progress and must not stop the watching
