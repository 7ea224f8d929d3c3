"""Evaluates the region's alarms once a minute, and soon after new data arrives for their metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from spotbatch.local.engine.group_commit import say
from spotbatch.local.events.metrics import AlarmChange

_SOON_SECONDS: Final = 1.0  # changes that arrive together are evaluated together
_EACH_SECONDS: Final = 60.0


class AlarmWatch:
    """`evaluate` returns the alarms that changed, `tell` acts on one of them. Idle while there are no alarms."""

    def __init__(
        self,
        *,
        evaluate: Callable[[], Awaitable[Sequence[AlarmChange]]],
        has_alarms: Callable[[], bool],
        tell: Callable[[AlarmChange], Awaitable[None]],
        soon_seconds: float = _SOON_SECONDS,
    ) -> None:
        self._evaluate = evaluate
        self._has_alarms = has_alarms
        self._tell = tell
        self._soon_seconds = soon_seconds
        self._loop = asyncio.get_running_loop()
        self._due: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def look_soon(self) -> None:
        """There is new data, or there are new alarms."""
        self._look_in(self._soon_seconds)

    def _look_in(self, seconds: float) -> None:
        when = self._loop.time() + seconds
        if self._closed or (self._due is not None and self._due.when() <= when):
            return
        if self._due is not None:
            self._due.cancel()
        self._due = self._loop.call_at(when, self._begin)

    def _begin(self) -> None:
        self._due = None
        if self._looking is None or self._looking.done():
            self._looking = self._loop.create_task(self._look())
        else:
            self._look_in(self._soon_seconds)

    async def _look(self) -> None:
        if not self._has_alarms():
            return
        try:
            for change in await self._evaluate():
                say(f"alarm {change.name}: {change.before.value} -> {change.after.value}: {change.reason}")
                await self._tell(change)
        except Exception as error:  # noqa: BLE001 - the next evaluation may succeed
            say(f"alarms: {type(error).__name__}: {error!s:.300}")
        self._look_in(_EACH_SECONDS - time.time() % _EACH_SECONDS)

    async def close(self) -> None:
        """Stop."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
