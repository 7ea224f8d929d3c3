"""An attempt while it runs, and the two faces between who keeps the books of attempts and who runs them."""

import signal
from dataclasses import dataclass
from typing import Protocol

from spotbatch.local.contract import HostView


@dataclass(kw_only=True, slots=True)
class RunningAttempt:
    """One try of a unit, from its placement to its end. Mutable: it is known better as news comes."""

    attempt_id: int  # our own: a unit may have a second attempt before news of its first comes
    job_no: int
    index: int
    attempt: int
    host: HostView  # as it was when the attempt was placed
    task: str  # its ECS task's id, and its log's name
    started_at: float | None = None
    start_row: int = 0  # the journal's number of the row that says so
    stop_reason: str | None = None  # the status reason, where it was told to stop
    was_struck: bool = False  # by a fault at its start
    is_held: bool = False  # by that fault: nothing runs yet
    has_overrun: bool = False  # it was ended for its memory

    @property
    def key(self) -> tuple[int, int, int]:
        """(job number, index, attempt)."""
        return self.job_no, self.index, self.attempt


class AttemptNews(Protocol):
    """What a runner reports; news of an attempt that is over does nothing."""

    def started(self, attempt_id: int) -> None:
        """Its command runs."""

    def failed(self, attempt_id: int, why: str) -> None:
        """Its command could not be started."""

    def overran(self, attempt_id: int) -> None:
        """It is ended, because it held more memory than its limit."""

    def ended(self, attempt_id: int, exit_code: int) -> None:
        """Its command ended."""

    def over(self, attempt_id: int, exit_code: int | None, reason: str, status_reason: str) -> None:
        """It ended for a reason that the runner knows."""

    def lost(self) -> None:
        """All that ran is gone, with no exit codes."""


class Runner(Protocol):
    """Runs attempts: as processes, or in containers."""

    async def open(self) -> None:
        """Be ready. Raises Unavailable where what was asked for is not there."""

    async def close(self) -> None:
        """End what is left."""

    def start(self, attempt: RunningAttempt) -> None:
        """Start an attempt; news follows, possibly at once. Raises OSError or Unavailable where it cannot."""

    def signal(self, attempt_id: int, number: signal.Signals) -> None:
        """Signal an attempt; nothing happens if it has ended."""

    def release(self, attempt_id: int, *, is_dead: bool) -> None:
        """An attempt is over; `is_dead` if its processes are known to be."""
