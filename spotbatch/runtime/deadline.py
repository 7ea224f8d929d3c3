"""A limit on waiting, and retrying store requests within it."""

import threading
import time
from collections.abc import Callable

from spotbatch.batch.errors import Missing, Refused, StoreError
from spotbatch.batch.light_types import TypeVar
from spotbatch.runtime.log import say_on_change

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
FAILURES_TO_SAY = 2  # of one call: a single retry is nothing unusual
_NEVER = float("inf")


class Limit:
    """How long something may take, and a way to cancel it earlier.

    `Limit(seconds)` is a fixed moment. `Limit.standing_still(seconds)` is over once there has been no progress
    for that long: each call of `moved` restarts the time, so a slow store is waited for as long as bytes arrive.
    """

    def __init__(self, seconds: float, *, still_seconds: float = _NEVER) -> None:
        now = time.monotonic()
        self._until = now + seconds
        self._still_seconds = still_seconds
        self._still_until = now + still_seconds
        self._cancelled = threading.Event()

    @classmethod
    def standing_still(cls, seconds: float, most_seconds: float = _NEVER) -> "Limit":
        """Over after `seconds` without progress, and after `most_seconds` in any case."""
        return cls(most_seconds, still_seconds=seconds)

    def moved(self, count: int = 1) -> None:
        """Progress was made (`count` bytes, for example); may be called from any thread."""
        if count > 0:
            self._still_until = time.monotonic() + self._still_seconds

    def left_seconds(self) -> float:
        """Seconds until it is over if no progress is made until then."""
        if self._cancelled.is_set():
            return 0.0
        return max(0.0, min(self._until, self._still_until) - time.monotonic())

    def is_over(self) -> bool:
        return self.left_seconds() <= 0.0

    def cancel(self) -> None:
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the limit."""
        self._cancelled.wait(min(seconds, self.left_seconds()))


def retrying(call: Callable[[], T], limit: Limit) -> T:
    """The call's result, retried with growing, jittered pauses while the store does not answer.

    Raises:
        StoreError: the last one, when the limit leaves no time for another try.
        Refused, Missing: at once; trying again would not help.
    """
    pause_seconds, failures = FIRST_WAIT_SECONDS, 0
    while True:
        try:
            result = call()
        except (Refused, Missing):
            raise
        except StoreError:
            failures += 1
            if failures == FAILURES_TO_SAY:
                say_on_change("store", "the artifact store does not answer; trying again")
            import random  # only needed if the store does not answer

            wait_seconds = pause_seconds * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not secrecy
            if limit.left_seconds() <= wait_seconds:
                raise
            limit.wait(wait_seconds)
            pause_seconds = min(pause_seconds * 2, LONGEST_WAIT_SECONDS)
        else:
            limit.moved()
            if failures >= FAILURES_TO_SAY:
                say_on_change("store", "the artifact store answers again")
            return result
