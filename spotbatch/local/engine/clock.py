"""Two times: UTC for what is told and kept, and a steady one for what is waited for."""

import time
from collections.abc import Callable
from typing import Final

_MOST_BEHIND_SECONDS: Final = 1.0


class Clock:
    """UTC that never goes back, and follows the machine's clock where that went on: a laptop slept, it was put right.

    The steady time stands still while the machine sleeps, so that what was waited for is not over when it wakes.
    """

    def __init__(self, utc: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._utc = utc
        self.steady = steady
        self._offset = utc() - steady()

    def now(self) -> float:
        """UTC epoch seconds."""
        moment = self.steady() + self._offset
        behind = self._utc() - moment
        if behind > _MOST_BEHIND_SECONDS:
            self._offset += behind
            return moment + behind
        return moment
