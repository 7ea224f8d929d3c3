"""A limit on waiting, and trying again against the store within it."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from spotbatch.runtime.errors import Missing, Refused, StoreError
from spotbatch.runtime.log import say_on_change

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
FAILURES_TO_SAY = 2  # of one call: a single one is nothing unusual


class Limit:
    """A moment by which something must be over, and a way to call it off before."""

    def __init__(self, seconds: float, cancelled: threading.Event | None = None) -> None:
        self._deadline = time.monotonic() + seconds
        self._cancelled = cancelled or threading.Event()

    def left_seconds(self) -> float:
        return 0.0 if self._cancelled.is_set() else max(0.0, self._deadline - time.monotonic())

    def is_over(self) -> bool:
        return self.left_seconds() <= 0.0

    def cancel(self) -> None:
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the limit."""
        self._cancelled.wait(min(seconds, self.left_seconds()))


def retrying(call: Callable[[], T], limit: Limit) -> T:
    """The call's result, tried again with growing, jittered pauses while the store does not answer.

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
            wait_seconds = pause_seconds * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not secrecy
            if limit.left_seconds() <= wait_seconds:
                raise
            limit.wait(wait_seconds)
            pause_seconds = min(pause_seconds * 2, LONGEST_WAIT_SECONDS)
        else:
            if failures >= FAILURES_TO_SAY:
                say_on_change("store", "the artifact store answers again")
            return result
