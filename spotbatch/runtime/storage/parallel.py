"""A few parallel threads for transfers, bounded in number and in memory."""

import threading
from collections.abc import Callable, Iterable

from spotbatch.batch.light_types import Generic, TypeVar

T = TypeVar("T")


class Crew(Generic[T]):
    """Threads that apply `work` to the items passed to `give`, which waits while all are busy: memory is bounded.

    They are daemon threads: one that hangs in the network must not keep the runtime from leaving in time.
    """

    def __init__(self, width: int, work: Callable[[T], None]) -> None:
        import queue  # 1 ms, which an attempt that sends nothing need not pay

        self._work = work
        self._items: queue.Queue[T | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        self._width = width
        self._threads: list[threading.Thread] = []

    def give(self, item: T) -> None:
        """Raises the first error of any thread."""
        if self._error is not None:
            raise self._error
        if len(self._threads) < self._width:  # no more threads than items
            thread = threading.Thread(target=self._run, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._items.put(item)

    def finish(self) -> None:
        """Wait until all is done; raises the first error of any thread."""
        for _ in self._threads:
            self._items.put(None)
        for thread in self._threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            if self._error is None:  # after an error the rest is drained, so that nobody waits forever
                try:
                    self._work(item)
                except BaseException as error:  # noqa: BLE001 - passed to the caller by give() and finish()
                    self._error = error


def in_parallel(width: int, items: Iterable[T], work: Callable[[T], None]) -> None:
    """Apply `work` to every item, `width` at a time; raises the first error."""
    crew = Crew(width, work)
    try:
        for item in items:
            crew.give(item)
    finally:
        crew.finish()
