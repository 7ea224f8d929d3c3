"""Waiting for the disk on threads, without blocking the event loop: for callers, and for the journal's upkeep."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spotbatch.batch.errors import SpotbatchError, Unavailable
from spotbatch.local.engine.journal import Journal, Statement


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a caller requested: rows, and what is done once they are on disk."""

    rows: Sequence[Statement]
    then: Callable[[], None]
    answer: asyncio.Future[None]

    def refuse(self, error: SpotbatchError) -> None:
        if not self.answer.done():  # its caller may have gone
            self.answer.set_exception(error)

    def carry_out(self) -> None:
        try:
            self.then()
        except SpotbatchError as error:
            self.refuse(error)
            return
        if not self.answer.done():
            self.answer.set_result(None)


class Disk:
    """Carries out committed requests, in order, once they are on disk; those that arrive meanwhile are batched."""

    def __init__(self, journal: Journal, on_failed: Callable[[Unavailable], None]) -> None:
        self._journal = journal
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._requests: list[Request] = []
        self._syncing: asyncio.Task[None] | None = None
        self._checkpointing: asyncio.Task[None] | None = None
        self._checking = None if journal.is_checked else self._loop.create_task(self._check_pages())

    def carry_out(self, requests: Sequence[Request]) -> None:
        """Carry out a request soon: its rows are committed. A request without rows need not wait."""
        for request in requests:
            if request.rows:
                self._requests.append(request)
            else:
                request.carry_out()
        if self._requests and self._syncing is None:
            self._syncing = self._loop.create_task(self._sync())

    async def _sync(self) -> None:
        try:
            while self._requests:
                requests, self._requests = self._requests, []
                await self._sync_for(requests)
        finally:
            self._syncing = None

    async def _sync_for(self, requests: Sequence[Request]) -> None:
        try:
            await asyncio.to_thread(self._journal.sync)
        except Unavailable as error:
            for request in requests:
                request.refuse(error)
            self._on_failed(error)
            return
        for request in requests:
            request.carry_out()

    def look_after(self) -> None:
        """Begin a checkpoint if one is due. A failure loses nothing: the log continues, and the next one retries."""
        if self._journal.is_checkpoint_due and self._checkpointing is None:
            self._checkpointing = self._loop.create_task(self._checkpoint())

    async def _checkpoint(self) -> None:
        try:
            with contextlib.suppress(Unavailable):
                await asyncio.to_thread(self._journal.checkpoint)
                if self._journal.is_log_long:
                    await asyncio.to_thread(self._journal.checkpoint)  # rows written meanwhile: then little is left
                    self._journal.checkpoint_here()
        finally:
            self._checkpointing = None

    async def _check_pages(self) -> None:
        try:
            await asyncio.to_thread(self._journal.check_pages)
        except Unavailable as error:
            self._on_failed(error)

    async def close(self) -> None:
        """Wait for work in progress."""
        under_way = (self._syncing, self._checkpointing, self._checking)
        await asyncio.gather(*(each for each in under_way if each is not None))
