"""One turn of the engine's loop: events are applied, their rows committed, and only then is done what was commanded.

So an attempt's intent is on disk before its process starts, and an answer never tells of what a kill could undo.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from spotbatch.batch import events as ev
from spotbatch.batch.errors import Unavailable
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.status import STATUSES, JobStatus
from spotbatch.local.contract import EngineSettings, UnitView
from spotbatch.local.engine.reading import Reading

_COMMIT_RETRY_SECONDS: Final = 1.0


class Turn(Reading):
    """The scheduler between the journal and the world; what its commands mean is added by the chapters after this."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__()
        self.settings = settings
        self.scheduler = Scheduler(quota_vcpus=settings.vcpu_quota)
        self.log_folder = settings.home / "logs"
        self._loop = asyncio.get_running_loop()
        self._clock_offset = time.time() - time.monotonic()
        self._rng = random.Random(settings.seed or None)  # noqa: S311 - reclaims and ids of pretended hosts
        self._effects: list[Callable[[], None]] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._watchers: set[asyncio.Event] = set()
        self._flush_is_due = False
        self._is_closing = False
        self._wakeup: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """UTC epoch seconds that never go back."""
        return time.monotonic() + self._clock_offset

    # ---- the turn ----

    def apply(self, event: ev.Event) -> None:
        """Give one event to the scheduler, and note what it commands. Raises what the scheduler raises."""
        for command in self.scheduler.handle(event, self.now()):
            self._note(command)
        self._schedule_flush()

    def _note(self, command: ev.Command) -> None:
        """Write the rows that a command means, and keep what is to be done after the commit."""
        match command:
            case ev.UnitEnded(job_no=job_no, index=index):
                row = (job_no, index, STATUSES.index(command.status), command.status_reason, self.now())
                self.journal.write("INSERT OR REPLACE INTO unit VALUES (?, ?, ?, ?, ?)", row)
            case ev.JobEnded(job_no=job_no):
                self._note_job_ended(job_no, command.status, command.status_reason)
            case ev.AttemptRetried():
                pass  # the ended attempt's row says it
            case _:
                raise AssertionError(f"nobody carries out {command}")

    def _note_job_ended(self, job_no: int, status: JobStatus, reason: str) -> None:
        self.journal.write(
            "UPDATE job SET status = ?, status_reason = ?, ended_at = ?, statuses = ?, attempts = ? WHERE job_no = ?",
            (
                STATUSES.index(status),
                reason,
                self.now(),
                self.scheduler.statuses(job_no),
                self.scheduler.attempts(job_no),
                job_no,
            ),
        )

    def _schedule_flush(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Commit, then act, then tell those who wait."""
        self._flush_is_due = False
        try:
            self.journal.commit()
        except Unavailable as error:
            self._refuse_waiters(error)
            self._loop.call_later(_COMMIT_RETRY_SECONDS, self._schedule_flush)
            return
        effects, self._effects = self._effects, []
        for effect in effects:
            effect()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        for event in self._watchers:
            event.set()
        self._set_wakeup()

    def settle(self) -> None:
        """Before an answer: what was applied is committed, so that no answer tells of what a kill could undo."""
        if self.journal.is_pending:
            self._flush()

    def _refuse_waiters(self, error: Unavailable) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()

    async def _durable(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        self._schedule_flush()
        await waiter

    def _set_wakeup(self) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        when = self.scheduler.next_wakeup
        if when is not None and not self._is_closing:
            self._wakeup = self._loop.call_later(max(0.0, when - self.now()), self._time_passed)

    def _time_passed(self) -> None:
        self._wakeup = None
        self.apply(ev.TimePassed())

    # ---- live views ----

    async def changes(self) -> AsyncIterator[None]:
        """Yields whenever something changed; bursts are merged. Ends when the engine closes."""
        event = asyncio.Event()
        self._watchers.add(event)
        try:
            while not self._is_closing:
                await event.wait()
                event.clear()
                yield None
        finally:
            self._watchers.discard(event)

    def view(self, job_id: str) -> UnitView:
        self.settle()
        return super().view(job_id)

    def _later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            if not self._is_closing:
                call(*arguments)

        self._loop.call_later(seconds, run)
