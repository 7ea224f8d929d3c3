"""Two clocks: UTC for what is reported and stored, and a monotonic one for waiting."""

import time
from collections.abc import Callable
from typing import Final

_MOST_BEHIND_SECONDS: Final = 1.0


class Clock:
    """UTC that never goes backwards, and follows the machine's clock when that jumps ahead (sleep, adjustment).

    The monotonic time stops while the machine sleeps, so that waits are not over when it wakes.
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
