"""Signals to the runtime, gathered where one loop can wait for them."""

import os
import select
import signal
from collections.abc import Callable
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)
FORWARDED = (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)


class Signals:
    """From now on signals wake the loop instead of ending us. Made once, by the main thread."""

    def __init__(self) -> None:
        self.asked_to_stop: signal.Signals | None = None
        self.forward: Callable[[int], None] = _ignore
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, self._stop)
        for number in FORWARDED:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # held since the very start

    def wait(self, seconds: float) -> None:
        """Until a signal comes, somebody calls `wake`, or the time is over."""
        ready, _, _ = select.select([self._read], [], [], max(0.0, seconds))
        if ready:
            try:
                while os.read(self._read, 4096):
                    pass
            except BlockingIOError:
                return

    def wake(self) -> None:
        """From any thread."""
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            return

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the face of a signal handler
        self.asked_to_stop = self.asked_to_stop or signal.Signals(number)

    def _forward(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as above
        self.forward(number)


def _ignore(number: int, frame: FrameType | None = None) -> None:
    """Its coming wakes the loop, and that is all."""
