"""When to save while the command runs, and what came of it."""

import contextlib
import time
from collections.abc import Callable

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import Superseded, Torn
from spotbatch.runtime.background import Background, Ticket
from spotbatch.runtime.checkpoints.bandwidth import Bandwidth
from spotbatch.runtime.checkpoints.interval import next_interval_seconds
from spotbatch.runtime.checkpoints.writer import Saved
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.log import say, say_on_change
from spotbatch.runtime.workspace import Workspace

SAVE_LIMIT_SECONDS = 900.0  # without anything moving, of a periodic save: then it begins anew with what is left to send
AGAIN_SECONDS = 5.0  # after a save that failed


class SaveSchedule:
    """Starts saves in the background, one at a time, and books them in the record."""

    def __init__(
        self,
        *,
        background: Background,
        save: Callable[[Limit], Saved],
        record: AttemptRecord,
        workspace: Workspace,
        on_saved: Callable[[], object],
        fixed_seconds: float | None,
        interruptions_per_hour: float,
        restore_seconds: float = 300.0,  # for which a restore may stand still
    ) -> None:
        self._background = background
        self._save = save
        self._record = record
        self._workspace = workspace
        self._on_saved = on_saved  # the record has changed
        self._fixed_seconds = fixed_seconds
        self._interruptions_per_hour = interruptions_per_hour
        self._restore_seconds = restore_seconds
        self._bandwidth = Bandwidth()
        self._has_foreseen = False
        self._limit = Limit(0)
        self._ticket: Ticket[Saved] | None = None
        self._asked = 0  # by the command, through the request file
        self._answering = 0
        self._answered = 0
        self.save_seconds: float | None = None  # smoothed
        self._due_at = time.monotonic() + self.interval_seconds()

    def interval_seconds(self) -> float:
        if self._fixed_seconds is not None:
            return self._fixed_seconds
        return next_interval_seconds(self.save_seconds, self._interruptions_per_hour)

    def tick(self) -> None:
        """Book a save that has ended; begin one that is due or asked for."""
        if self._ticket is not None:
            if not self._ticket.is_done:
                return
            self._book(self._ticket)
            self._ticket = None
        self._asked = max(self._asked, self._requested())
        if time.monotonic() >= self._due_at or self._asked > self._answered:
            self._begin(Limit.standing_still(SAVE_LIMIT_SECONDS))

    def last(self, limit: Limit) -> Ticket[Saved]:
        """Call off what is under way, and save once more."""
        self._limit.cancel()
        self._begin(limit)
        assert self._ticket is not None  # noqa: S101 - just begun
        return self._ticket

    def settle(self) -> Saved | None:
        """Book the last save, if it has ended."""
        if self._ticket is None or not self._ticket.is_done:
            return None
        ticket, self._ticket = self._ticket, None
        return self._book(ticket)

    def _begin(self, limit: Limit) -> None:
        self._limit = limit
        self._answering = self._asked
        self._ticket = self._background.do(lambda: self._save(limit))

    def _book(self, ticket: Ticket[Saved]) -> Saved | None:
        self._due_at = time.monotonic() + self.interval_seconds()
        try:
            saved = ticket.result()
        except Exception as problem:  # noqa: BLE001 - no trouble with a save, not even a bug of ours, ends the command
            if not isinstance(problem, Superseded):
                self._record.checkpoints_failed += 1
                self._due_at = time.monotonic() + min(AGAIN_SECONDS, self.interval_seconds())
            say_on_change("save", f"{'not saved' if isinstance(problem, Torn) else 'checkpoint failed'}: {problem}")
            return None
        say_on_change("save", "")
        if saved.is_new:
            self._record.last_saved_at = saved.looked_at  # a look that found nothing new saved no work
            self._count(saved)
            self._on_saved()
        self._answer()
        return saved

    def _count(self, saved: Saved) -> None:
        self.save_seconds = saved.seconds if self.save_seconds is None else (self.save_seconds + saved.seconds) / 2
        self._record.checkpoints_saved += 1
        self._record.checkpoint_bytes = saved.manifest.size
        self._record.checkpoint_uploaded_bytes += saved.uploaded_bytes
        self._record.uploaded_bytes += saved.uploaded_bytes
        self._record.checkpoint_seconds = round(self._record.checkpoint_seconds + saved.seconds, 3)
        self._due_at = time.monotonic() + self.interval_seconds()
        self._foresee_restore(saved)

    def _foresee_restore(self, saved: Saved) -> None:
        """Say in time what the next attempt would find out."""
        self._bandwidth.learn(saved.uploaded_bytes, saved.seconds)
        seconds = self._bandwidth.restore_seconds(saved.manifest.size)
        self._record.restore_estimate_seconds = None if seconds is None else round(seconds, 1)
        trouble = self._bandwidth.trouble(
            saved.manifest.size,
            still_seconds=self._restore_seconds,
            host_life_seconds=3600 / self._interruptions_per_hour,
        )
        if trouble is not None and not self._has_foreseen:
            self._has_foreseen = True
            say(trouble)
            self._record.warnings.append(trouble)

    def _requested(self) -> int:
        try:
            return int(self._workspace.save_request_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def _answer(self) -> None:
        if self._answering > self._answered:
            self._answered = self._answering
            beside = self._workspace.save_done_file.with_suffix(".part")
            with contextlib.suppress(OSError):  # a full disk: who waits for the answer has a limit
                beside.write_text(str(self._answering), encoding="ascii")
                beside.replace(self._workspace.save_done_file)
