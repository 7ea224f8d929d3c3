"""What attempts leave running in groups or sessions of their own is ended with them, as the end of a container does."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from spotbatch.local.engine.orphans import Carrier, carriers, end_carriers

SOON_SECONDS: Final = 0.2  # after an attempt that was stopped, or whose host went
LATER_SECONDS: Final = 10.0  # after one that ended by itself: a look costs a pass over all processes of the machine
_MOST_ROUNDS: Final = 10

Chooser = Callable[[Sequence[Carrier]], Sequence[Carrier]]


class Strays:
    """Looks for them some time after attempts ended, once for all that ended meanwhile; without ends it sleeps."""

    def __init__(self, home: Path, are_over: Chooser) -> None:
        self._home = home
        self._are_over = are_over  # those of the carriers whose attempts are over
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def look_within(self, seconds: float) -> None:
        """An attempt has ended."""
        when = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._looking is None:
            self._looking = self._loop.create_task(self._look())
        else:
            self.look_within(SOON_SECONDS)

    async def _look(self) -> None:
        try:
            for _ in range(_MOST_ROUNDS):  # one may start another while we look
                found = await asyncio.to_thread(carriers, self._home)
                chosen = self._are_over(found)
                if not chosen:
                    return
                await asyncio.to_thread(end_carriers, self._home, chosen)
        finally:
            self._looking = None

    async def close(self) -> None:
        """Look no more, and wait for what is under way."""
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            await self._looking
