"""What `Client.map` returns: the results of a function over many items, in order, as they arrive."""

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

from spotbatch.batch.errors import JobFailed, NotFound
from spotbatch.runs.function_call import error_in, result_of

if TYPE_CHECKING:
    from spotbatch.aws.artifacts import Artifacts
    from spotbatch.client import Run

_ERROR_LINES: Final = 50  # the last ones of a log


class Mapped:
    """An iterator over results, in item order: each is waited for only when requested.

    `run` is the underlying run: to follow, cancel, retry, or bill; None if there were no items. Results already
    returned are not kept: to iterate again, call `results()`.
    """

    def __init__(self, run: "Run | None", *, count: int, return_exceptions: bool, store: "Artifacts | None") -> None:
        self.run = run
        self._count = count
        self._returns_exceptions = return_exceptions
        self._store = store
        self._results = self.results()

    def __len__(self) -> int:
        """How many items there are."""
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return self._results

    def __next__(self) -> Any:
        return next(self._results)

    def __repr__(self) -> str:
        return f"Mapped(items={self._count}, run={self.run!r})"

    def results(self) -> Iterator[Any]:
        """The results from the first item on. Raises the function's exception, with the remote traceback as its cause.

        With `return_exceptions`, exceptions are returned as results. Raises JobFailed if a job FAILED for other reasons
        (out of memory, timed out, interrupted on every attempt).
        """
        if self.run is None or self._store is None:
            return iter(())
        return self._from(self.run, self._store)

    def _from(self, run: "Run", store: "Artifacts") -> Generator[Any, None, None]:
        at = 0
        looks = run.follow()
        is_over = False
        failed: set[int] = set()
        while at < self._count:
            found = None if at in failed else result_of(store, run.id, at)
            if found is not None:
                yield found[0]
                at += 1
            elif at in failed or is_over:
                yield self._failure(run, at)
                at += 1
            else:
                look = next(looks, None)
                is_over = look is None or look.is_last
                failed |= (
                    {each.index for each in look.failures if each.index is not None} if look is not None else set()
                )

    def _failure(self, run: "Run", index: int) -> Exception:
        """The exception for an item without a result; raised unless exceptions are returned as results."""
        error: Exception | None = None
        with contextlib.suppress(NotFound):  # it may have been lost before it wrote anything
            error = error_in(each.text for each in run.logs(index, tail=_ERROR_LINES))
        if error is None:
            units = [each for each in run.failures() if each.index == index]
            why = f"{units[0].reason} (exit code {units[0].exit_code})" if units else "it left no result"
            error = JobFailed(
                f"item {index} of run {run.id} FAILED: {why}; `spotbatch logs {run.id}:{index}` has its log"
            )
        if self._returns_exceptions:
            return error
        raise error
