"""Signals to the runtime, collected where a single loop can wait for them."""

import os
import select
import signal
from collections.abc import Callable
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)
FORWARDED = (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)


class Signals:
    """From creation on, signals wake the loop instead of ending us. Created once, by the main thread."""

    def __init__(self) -> None:
        self.asked_to_stop: signal.Signals | None = None
        self._send: Callable[[int], None] | None = None
        self._held: list[int] = []  # for a command that has begun but is not known yet
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

    def begin(self) -> None:
        """The command is about to begin: earlier signals were not meant for it."""
        self._held.clear()

    def forward_to(self, send: Callable[[int], None]) -> None:
        """Pass on future signals, and those received since `begin`."""
        self._send = send
        while self._held:
            send(self._held.pop(0))

    def wait(self, seconds: float) -> None:
        """Wait until a signal arrives, `wake` is called, or the time is up."""
        ready, _, _ = select.select([self._read], [], [], max(0.0, seconds))
        if ready:
            try:
                while os.read(self._read, 4096):
                    pass
            except BlockingIOError:
                return

    def wake(self) -> None:
        """May be called from any thread."""
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            return

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        self.asked_to_stop = self.asked_to_stop or signal.Signals(number)

    def _forward(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as above
        if self._send is None:
            self._held.append(number)
        else:
            self._send(number)


def _ignore(number: int, frame: FrameType | None = None) -> None:
    """Its arrival wakes the loop; nothing else is needed."""
