"""One turn of the engine's loop: events are applied, their rows committed, and only then are commands carried out.

So an attempt's intent is stored before its process starts, and an answer never reports what a kill could undo. A
caller's request is on disk before the scheduler sees it: if the disk refuses, it never happened. News of the world
(an exit, a reclaim) cannot be refused: it waits, with everything that follows from it, until it can be written.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.local.engine.change_log import ChangeLog
from spotbatch.local.engine.clock import Clock
from spotbatch.local.engine.disk import Disk, Request
from spotbatch.local.engine.journal import Journal, Statement

_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 10.0

Carrier = Callable[[Any], None]  # writes the rows for one kind of command, and returns what to do after the commit


class GroupCommit:
    """The scheduler between the journal and the world. Handlers of its commands are registered with `carry_out`."""

    def __init__(self, *, journal: Journal, scheduler: Scheduler, clock: Clock, change_log: ChangeLog) -> None:
        self.journal = journal
        self.scheduler = scheduler
        self.clock = clock
        self.change_log = change_log
        self.at = 0.0  # time of the event being applied, in UTC epoch seconds
        self.is_closing = False
        self._loop = asyncio.get_running_loop()
        self._disk = Disk(journal, on_failed=self._commit_failed)
        self._carriers: dict[type[ev.Command], Carrier] = {}
        self._effects: list[Callable[[], object]] = []
        self._requests: list[Request] = []
        self._watchers: set[asyncio.Event] = set()
        self._flush_is_due = False
        self._is_in_news = False
        self._wakeup: asyncio.TimerHandle | None = None
        self._trouble: Unavailable | None = None  # why the journal currently cannot be written
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._broken = asyncio.Event()

    def carry_out(self, carriers: Mapping[type[ev.Command], Carrier]) -> None:
        """Register the handler of some commands. Every kind needs one before the first event is applied."""
        self._carriers.update(carriers)

    # ---- the turn ----

    def apply(self, event: ev.Event, *, at: float | None = None) -> None:
        """Pass one event to the scheduler, and record its commands. Raises what the scheduler raises.

        `at` (UTC epoch seconds) is when it happened, if a row already says so: its consequences have the same time.
        """
        self.at = self.clock.now() if at is None else at
        commands = self.scheduler.handle(event, self.clock.steady())
        self.change_log.scheduled(event, commands, self.at)
        for command in commands:
            self._carriers[type(command)](command)
        self.schedule()

    def write(self, statement: str, row: tuple[Any, ...]) -> int:
        """Buffer a row that does not belong to an event, for the next commit."""
        number = self.journal.write(statement, row)
        self.schedule()
        return number

    def after_commit(self, effect: Callable[[], object]) -> None:
        """Run a callback once all rows buffered so far are committed."""
        self._effects.append(effect)

    def schedule(self) -> None:
        """Commit the buffered rows soon."""
        if not self._flush_is_due:
            self._flush_is_due = True
            if not self._is_in_news:
                self._loop.call_soon(self.flush)

    def news_begins(self) -> None:
        """Several events follow together: they form one turn."""
        self._is_in_news = True

    def news_ends(self) -> None:
        """All of them have been applied: complete the turn now, without another round of the event loop."""
        self._is_in_news = False
        if self._flush_is_due:
            self.flush()

    def flush(self) -> None:
        """Commit, then act, then have the disk store what was requested, and answer."""
        self._flush_is_due = False
        requests, self._requests = self._requests, []
        try:
            is_written = self.journal.commit([row for request in requests for row in request.rows])
        except Unavailable as error:
            for request in requests:
                request.refuse(error)
            self._commit_failed(error)
            return
        if is_written:
            self._commit_done()
        effects, self._effects = self._effects, []
        for effect in effects:
            effect()
        self._disk.carry_out(requests)
        self._disk.look_after()
        for event in self._watchers:
            event.set()
        self.change_log.hand_on(self.clock.now())
        self._set_wakeup()

    def _commit_failed(self, error: Unavailable) -> None:
        """Nothing follows from what is not on disk: retry, or give up if the file itself is broken."""
        if self._trouble is None:
            say(f"{error}; until then no job is taken and no attempt starts")
        self._trouble = error
        if self.journal.is_damaged:
            self._broken.set()
        if self._retry is None and self.journal.is_pending:
            self._retry = self._loop.call_later(self._retry_seconds, self._try_again)
            self._retry_seconds = min(2 * self._retry_seconds, _LONGEST_RETRY_SECONDS)

    def _try_again(self) -> None:
        self._retry = None
        if not self.is_closing:
            self.flush()

    def _commit_done(self) -> None:
        if self._trouble is None:
            return
        say(f"the journal {self.journal.path} can be written again: going on")
        self._trouble, self._retry_seconds = None, _FIRST_RETRY_SECONDS
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # ---- who asks ----

    def settle(self) -> None:
        """Before an answer: commit what was applied, so that no answer reports what a kill could undo.

        Raises Unavailable if it cannot be committed.
        """
        if not self.journal.is_pending:
            return
        self.flush()
        if self._trouble is not None:
            raise self._trouble

    async def accept(self, *rows: Statement, then: Callable[[], None]) -> None:
        """Write a caller's request, and carry it out once it is on disk.

        Raises Unavailable, with nothing done, if it cannot be written, and whatever `then` raises.
        """
        request = Request(rows=rows, then=then, answer=self._loop.create_future())
        self._requests.append(request)
        self.schedule()
        await request.answer

    async def failed(self) -> None:
        """Waits until the engine cannot continue, then raises Unavailable with the reason."""
        await self._broken.wait()
        raise self._trouble or Unavailable(f"the journal {self.journal.path} is damaged")

    async def changes(self) -> AsyncIterator[None]:
        """Yields whenever something has changed; bursts are merged. Ends when the engine closes."""
        event = asyncio.Event()
        self._watchers.add(event)
        try:
            while not self.is_closing:
                await event.wait()
                event.clear()
                yield None
        finally:
            self._watchers.discard(event)

    # ---- time ----

    def later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> asyncio.TimerHandle:
        """Call something at that time, unless the engine closes first."""

        def run() -> None:
            if not self.is_closing:
                call(*arguments)

        return self._loop.call_later(seconds, run)

    def _set_wakeup(self) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        when = self.scheduler.next_wakeup
        if when is not None and not self.is_closing:
            self._wakeup = self._loop.call_later(max(0.0, when - self.clock.steady()), self._time_passed)

    def _time_passed(self) -> None:
        self._wakeup = None
        self.apply(ev.TimePassed())

    # ---- the end ----

    def begin_to_close(self) -> None:
        """Stop waiting; whatever still happens is committed."""
        self.is_closing = True
        if self._wakeup is not None:
            self._wakeup.cancel()

    async def close(self) -> None:
        """Wait for the disk, and release the watchers."""
        await self._disk.close()
        for event in self._watchers:
            event.set()


def say(line: str) -> None:
    """One line to the person running the region: to its log or the terminal."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"spotbatch local: {line}\n")
        sys.stderr.flush()
