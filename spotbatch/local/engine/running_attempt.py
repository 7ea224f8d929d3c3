"""A running attempt, and the two interfaces between the bookkeeping of attempts and what runs them."""

import signal
from dataclasses import dataclass
from typing import Protocol

from spotbatch.local.host_view import HostView


@dataclass(kw_only=True, slots=True)
class RunningAttempt:
    """One attempt at a unit, from its placement to its end. Mutable: details are added as news arrives."""

    attempt_id: int  # our own: a unit's second attempt may begin before news of its first arrives
    job_no: int
    index: int
    attempt: int
    host: HostView  # as it was when the attempt was placed
    task: str  # its ECS task's id, and its log's name
    started_at: float | None = None
    start_row: int = 0  # the journal row of its start
    stop_reason: str | None = None  # the status reason, if it was told to stop
    was_struck: bool = False  # because of a fault at its start
    is_held: bool = False  # because of that fault: nothing runs yet
    has_overrun: bool = False  # it was killed because of its memory

    @property
    def key(self) -> tuple[int, int, int]:
        """(job number, index, attempt)."""
        return self.job_no, self.index, self.attempt


class AttemptNews(Protocol):
    """What a runner reports; news of an attempt that is over is ignored."""

    def started(self, attempt_id: int) -> None:
        """Its command is running."""

    def failed(self, attempt_id: int, why: str) -> None:
        """Its command could not be started."""

    def overran(self, attempt_id: int) -> None:
        """It is being killed because it exceeded its memory limit."""

    def ended(self, attempt_id: int, exit_code: int) -> None:
        """Its command ended."""

    def over(self, attempt_id: int, exit_code: int | None, reason: str, status_reason: str) -> None:
        """It ended for a reason known to the runner."""

    def lost(self) -> None:
        """Everything that was running is gone, without exit codes."""


class Runner(Protocol):
    """Runs attempts: as processes, or in containers."""

    async def open(self) -> None:
        """Get ready. Raises Unavailable if what was asked for does not exist."""

    async def close(self) -> None:
        """End what is left."""

    def start(self, attempt: RunningAttempt) -> None:
        """Start an attempt; news follows, possibly at once. Raises OSError or Unavailable if it cannot."""

    def signal(self, attempt_id: int, number: signal.Signals) -> None:
        """Signal an attempt; has no effect if it has ended."""

    def release(self, attempt_id: int, *, is_dead: bool) -> None:
        """An attempt is over; `is_dead` if its processes are known to have ended."""
