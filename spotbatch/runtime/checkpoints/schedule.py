"""When to save while the command runs, and the results of the saves."""

import contextlib
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import Superseded, Torn
from spotbatch.batch.light_types import TYPE_CHECKING, Protocol
from spotbatch.runtime.background import Background, Ticket
from spotbatch.runtime.checkpoints.interval import next_interval_seconds
from spotbatch.runtime.checkpoints.open_rule import Unfinished
from spotbatch.runtime.checkpoints.results import Saved
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.log import say, say_on_change
from spotbatch.runtime.record import warn
from spotbatch.runtime.workspace import Workspace

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.bandwidth import Bandwidth

SAVE_LIMIT_SECONDS = 900.0  # without progress, for a periodic save: it then restarts with what is left to send
AGAIN_SECONDS = 5.0  # after a failed save
ASKED_AGAIN_SECONDS = 1.0  # the same, if the program waits for it
WARM_UP_SECONDS = 1.0  # a command that has ended by then need not pay for it; the last save of others has little time
TIMES_TO_WARN = 3
NAMES_TO_SAY = 5


class Save(Protocol):
    """Same signature as `AttemptStore.save`."""

    def __call__(self, limit: Limit, *, is_asked: bool, half_written: Mapping[str, Unfinished]) -> Saved: ...


class SaveSchedule:
    """Starts saves in the background, one at a time, and enters them in the record."""

    def __init__(
        self,
        *,
        background: Background,
        save: Save,
        warm_up: Callable[[], None],
        record: AttemptRecord,
        workspace: Workspace,
        on_saved: Callable[[], object],
        fixed_seconds: float | None,
        interruptions_per_hour: float,
        restore_seconds: float = 300.0,  # for which a restore may make no progress
    ) -> None:
        self._background = background
        self._save = save
        self._warm_up: Callable[[], None] | None = warm_up  # what the first save would otherwise do first; None: done
        self._warm_at = time.monotonic() + WARM_UP_SECONDS
        self._record = record
        self._workspace = workspace
        self._on_saved = on_saved  # the record has changed
        self._fixed_seconds = fixed_seconds
        self._interruptions_per_hour = interruptions_per_hour
        self._restore_seconds = restore_seconds
        self._bandwidth: Bandwidth | None = None
        self._has_foreseen = False
        self._limit = Limit(0)
        self._is_last = False
        self._ticket: Ticket[Saved] | None = None
        self._asked = 0  # by the command, through the request file
        self._answering = 0
        self._answered = 0
        self._not_before = 0.0  # monotonic: what failed is not retried at once, even on request
        self._failed_in_a_row = 0
        self._missed_in_a_row: dict[str, int] = {}
        self.save_seconds: float | None = None  # smoothed
        self._due_at = time.monotonic() + self.interval_seconds()

    def interval_seconds(self) -> float:
        if self._fixed_seconds is not None:
            return self._fixed_seconds
        return next_interval_seconds(self.save_seconds, self._interruptions_per_hour)

    def tick(self) -> None:
        """Record a finished save; begin one that is due or requested."""
        if self._ticket is not None:
            if not self._ticket.is_done:
                return
            self._book(self._ticket)
            self._ticket = None
        self._asked = max(self._asked, self._requested())
        now = time.monotonic()
        if self._warm_up is not None and now >= self._warm_at:
            self._background.do(self._warm_up)
            self._warm_up = None
        if now >= self._due_at or (self._asked > self._answered and now >= self._not_before):
            self._begin(Limit.standing_still(SAVE_LIMIT_SECONDS), is_asked=self._asked > self._answered)

    def last(self, limit: Limit, half_written: Mapping[str, Unfinished]) -> Ticket[Saved]:
        """Cancel a save in progress, and save once more, except files half written when the command ended."""
        self._limit.cancel()
        self._begin(limit, half_written=half_written)
        assert self._ticket is not None  # noqa: S101 - just started
        return self._ticket

    def settle(self) -> Saved | None:
        """Record the last save, if it has finished."""
        if self._ticket is None or not self._ticket.is_done:
            return None
        ticket, self._ticket = self._ticket, None
        return self._book(ticket)

    def _begin(
        self, limit: Limit, *, is_asked: bool = False, half_written: Mapping[str, Unfinished] = MappingProxyType({})
    ) -> None:
        self._limit = limit
        self._answering = self._asked
        self._is_last = bool(half_written)
        self._ticket = self._background.do(lambda: self._save(limit, is_asked=is_asked, half_written=half_written))

    def _book(self, ticket: Ticket[Saved]) -> Saved | None:
        self._due_at = time.monotonic() + self.interval_seconds()
        try:
            saved = ticket.result()
        except Exception as problem:  # noqa: BLE001 - no problem with a save, not even our own bug, ends the command
            self._book_failure(problem)
            return None
        say_on_change("save", "")
        self._failed_in_a_row = 0
        self._warn_of_missed(saved.missed)
        if saved.is_new:
            self._record.last_saved_at = saved.looked_at  # a pass that found nothing new saved no work
            self._count(saved)
            self._on_saved()
        self._answer(is_whole=not saved.missed)
        return saved

    def _book_failure(self, problem: Exception) -> None:
        text = f"{'not saved' if isinstance(problem, Torn) else 'checkpoint failed'}: {problem}"
        say_on_change("save", text)
        if isinstance(problem, Superseded):
            return
        self._record.checkpoints_failed += 1
        self._due_at = time.monotonic() + min(AGAIN_SECONDS, self.interval_seconds())
        self._not_before = time.monotonic() + ASKED_AGAIN_SECONDS
        self._failed_in_a_row += 1
        if self._failed_in_a_row == TIMES_TO_WARN:
            warn(self._record, f"checkpoints: {TIMES_TO_WARN} saves in a row failed. {text}")
            self._on_saved()
        if isinstance(problem, Torn):
            self._answer(is_whole=False)  # it can no longer be saved as it was at the request

    def _warn_of_missed(self, missed: Mapping[str, str]) -> None:
        """Log which files a checkpoint lacks in their current state; those missed repeatedly are recorded."""
        first = sorted(missed)[:NAMES_TO_SAY]
        more = f" and {len(missed) - len(first)} more" if len(missed) > len(first) else ""
        say_on_change(
            "missed",
            f"saved without the newest of {', '.join(f'{path} ({missed[path]})' for path in first)}{more}"
            if missed
            else "",
        )
        self._missed_in_a_row = {path: self._missed_in_a_row.get(path, 0) + 1 for path in missed}
        for path in first:
            if self._missed_in_a_row[path] == (1 if self._is_last else TIMES_TO_WARN):
                warn(self._record, f"checkpoints: {path} is not saved as it is: {missed[path]}")
                self._on_saved()

    def _count(self, saved: Saved) -> None:
        self.save_seconds = saved.seconds if self.save_seconds is None else (self.save_seconds + saved.seconds) / 2
        self._record.checkpoints_saved += 1
        self._record.checkpoint_bytes = saved.checkpoint_bytes
        self._record.checkpoint_uploaded_bytes += saved.uploaded_bytes
        self._record.uploaded_bytes += saved.uploaded_bytes
        self._record.checkpoint_seconds = round(self._record.checkpoint_seconds + saved.seconds, 3)
        self._due_at = time.monotonic() + self.interval_seconds()
        self._foresee_restore(saved)

    def _foresee_restore(self, saved: Saved) -> None:
        """Warn early of what the next attempt would otherwise find out."""
        if self._bandwidth is None:
            from spotbatch.runtime.checkpoints.bandwidth import Bandwidth  # skipped if nothing is saved

            self._bandwidth = Bandwidth()
        self._bandwidth.learn(saved.uploaded_bytes, saved.seconds)
        seconds = self._bandwidth.restore_seconds(saved.checkpoint_bytes)
        self._record.restore_estimate_seconds = None if seconds is None else round(seconds, 1)
        trouble = self._bandwidth.trouble(
            saved.checkpoint_bytes,
            still_seconds=self._restore_seconds,
            host_life_seconds=3600 / self._interruptions_per_hour,
        )
        if trouble is not None and not self._has_foreseen:
            self._has_foreseen = True
            say(trouble)
            warn(self._record, trouble)

    def _requested(self) -> int:
        try:
            return int(self._workspace.save_request_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def _answer(self, *, is_whole: bool) -> None:
        """The request's number; negative if not everything was stored as it was."""
        if self._answering > self._answered:
            self._answered = self._answering
            beside = self._workspace.save_done_file.with_suffix(".part")
            with contextlib.suppress(OSError):  # full disk: the waiting program has a time limit
                beside.write_text(str(self._answering if is_whole else -self._answering), encoding="ascii")
                beside.replace(self._workspace.save_done_file)
