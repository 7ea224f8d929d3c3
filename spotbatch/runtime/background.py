"""One thread besides the main loop that talks to the store, so that a slow store never delays the loop."""

import threading
from collections import deque
from collections.abc import Callable

from spotbatch.batch.light_types import Generic, TypeVar

T = TypeVar("T")


class Ticket(Generic[T]):
    """The outcome of one piece of background work, once it is available."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T | None = None
        self.error: BaseException | None = None
        self.is_done = False

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - passed on to the caller of result()
            self.error = error
        self.is_done = True

    def result(self) -> T:
        """Returns the result; raises what the work raised."""
        assert self.is_done  # noqa: S101 - asked too early: a bug of ours
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value]  # set whenever there is no error


class Background:
    """Runs one task at a time. A daemon thread: one that hangs must not keep the runtime from exiting."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Ticket[object]] = deque()
        self._count = threading.Semaphore(0)  # of those; `queue` takes 1 ms to import
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], T]) -> Ticket[T]:
        ticket = Ticket(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="store", daemon=True)
            self._thread.start()
        self._waiting.append(ticket)  # type: ignore[arg-type]  # only run() is called there
        self._count.release()
        return ticket

    def _run(self) -> None:
        while True:
            self._count.acquire()
            self._waiting.popleft().run()
            self._wake()
