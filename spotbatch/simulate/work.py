"""An attempt's progress, how much of it survives an interruption, and the time spent on everything else."""

from random import Random
from typing import Final, NamedTuple

from spotbatch.simulate.scenario import Jobs, Timings

OWN_FAULT_EXIT: Final = 1


class Attempt(NamedTuple):
    """One attempt in progress. `work_from` is when its work began, after start and restore."""

    number: int
    host_no: int
    started_at: float
    work_from: float
    work_seconds: float  # left to do when it began


class Work:
    """The work of all jobs: only interrupted units are remembered, to save memory."""

    def __init__(self, jobs: Jobs, timings: Timings, random: Random) -> None:
        self._jobs = jobs
        self._timings = timings
        self._random = random
        self._left: dict[int, float] = {}
        every = timings.checkpoint_every_seconds
        self._pace = 1.0 + (timings.checkpoint_seconds / every if every else 0.0)
        self.done_seconds = 0.0
        self.lost_seconds = 0.0
        self.restart_seconds = 0.0
        self.checkpoint_seconds = 0.0

    def begin(self, key: int, number: int, host_no: int, now: float) -> tuple[Attempt, float, int]:
        """An attempt that starts now, how long it takes if undisturbed, and its exit code then."""
        left = self._left.get(key)
        restore = 0.0 if left is None else self._timings.restore_seconds
        if left is None:
            left = self._drawn()
        before = self._timings.start_seconds + restore
        seconds = before + left * self._pace
        if self._jobs.failure_rate and self._random.random() < self._jobs.failure_rate:
            return Attempt(number, host_no, now, now + before, left), seconds * self._random.random(), OWN_FAULT_EXIT
        return Attempt(number, host_no, now, now + before, left), seconds, 0

    def finish(self, key: int, attempt: Attempt, exit_code: int) -> None:
        """Record that it ran to its end, successfully or not."""
        self._left.pop(key, None)
        if exit_code == 0:
            self.done_seconds += attempt.work_seconds
            self.checkpoint_seconds += attempt.work_seconds * (self._pace - 1.0)
        self._count_restart(attempt)

    def interrupt(self, key: int, attempt: Attempt, now: float, *, is_saved: bool) -> float:
        """Record that it was cut off; with `is_saved` all work so far is kept, otherwise what a checkpoint holds.

        Returns the seconds of work lost.
        """
        worked = max(0.0, min(attempt.work_seconds, (now - attempt.work_from) / self._pace))
        every = self._timings.checkpoint_every_seconds
        kept = worked if is_saved else worked // every * every if every else 0.0
        self.done_seconds += kept
        self.lost_seconds += worked - kept
        self.checkpoint_seconds += worked * (self._pace - 1.0)
        self._left[key] = attempt.work_seconds - kept
        self._count_restart(attempt, now)
        return worked - kept

    def _count_restart(self, attempt: Attempt, now: float | None = None) -> None:
        if attempt.number > 1:
            end = attempt.work_from if now is None else min(now, attempt.work_from)
            self.restart_seconds += max(0.0, end - attempt.started_at)

    def _drawn(self) -> float:
        spread = self._jobs.work_spread
        if not spread:
            return self._jobs.work_seconds
        return self._jobs.work_seconds * self._random.lognormvariate(-spread * spread / 2, spread)
