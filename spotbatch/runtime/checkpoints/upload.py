"""Sending contents to the store, with many small ones combined into one object."""

import queue
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from spotbatch.batch.errors import StoreError
from spotbatch.runtime.checkpoints.blocks import Location
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.storage.parallel import Crew
from spotbatch.runtime.storage.store import Draft, Store

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

PACK_BYTES = 4 * 1024 * 1024
WIDTH = 4  # concurrent transfers
MOST_BUFFERS = 8  # each of PACK_BYTES: the memory that a save uses, whatever its size


class Pack(NamedTuple):
    """An object being gathered or sent."""

    number: int
    name: str
    buffer: bytearray
    size: int


class Upload:
    """Gathers contents into packs and sends them, a few at a time. Fed by one thread."""

    def __init__(
        self, store: Store, prefix: str, limit: Limit, next_pack: Callable[[], tuple[int, str]], index: "Index"
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._limit = limit
        self._next_pack = next_pack
        self._index = index
        self._crew: Crew[Pack] | None = None
        self._free: queue.LifoQueue[bytearray] = queue.LifoQueue()
        self._made = 0
        self._pack: Pack | None = None
        self._error: BaseException | None = None
        self.tried: dict[int, tuple[str, int]] = {}  # name and bytes, by number
        self.arrived: set[int] = set()
        self.sent_bytes = 0

    def buffer(self) -> bytearray:
        """An unused buffer: reused rather than allocated, since the kernel clears new memory page by page.

        Raises:
            StoreError: what a transfer raised in the meantime.
        """
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self._free.get_nowait()
            except queue.Empty:
                if self._made < MOST_BUFFERS:
                    self._made += 1
                    return bytearray(PACK_BYTES)
            try:
                return self._free.get(timeout=0.2)
            except queue.Empty:
                continue

    def release(self, buffer: bytearray) -> None:
        self._free.put(buffer)

    def add(self, digest: bytes, data: bytes | memoryview) -> Location:
        """Where this content will be stored."""
        size = len(data)
        if self._pack is not None and self._pack.size + size > PACK_BYTES:
            self._flush()
        if self._pack is None:
            self._pack = Pack(*self._next_pack(), self.buffer(), 0)
        pack = self._pack
        pack.buffer[pack.size : pack.size + size] = data
        self._pack = pack._replace(size=pack.size + size)
        location = Location(pack.number, pack.size, size)
        self._index.stored(digest, location)
        return location

    def add_whole(self, buffer: bytearray, pieces: Sequence[tuple[bytes, int, int]]) -> list[Location]:
        """A pack of its own from one of our buffers: digest, offset and length of all its pieces, end to end."""
        number, name = self._next_pack()
        locations = self._stored(number, pieces)
        self._give(Pack(number, name, buffer, sum(length for _, _, length in pieces)))
        return locations

    def draft(self) -> Draft | None:
        """A pack that is written while it is read, if the store supports that. May be called from any thread."""
        return None if self._error is not None else self._store.draft(self._prefix)

    def keep(self, draft: Draft, pieces: Sequence[tuple[bytes, int, int]]) -> list[Location] | None:
        """As `add_whole`, for a pack that is already written. None: it could not be kept."""
        number, name = self._next_pack()
        size = sum(length for _, _, length in pieces)
        self.tried[number] = (name, size)
        try:
            draft.keep(self._prefix + name)
        except StoreError:
            return None  # sent the usual way, with the usual retries
        self.arrived.add(number)
        self.sent_bytes += size
        return self._stored(number, pieces)

    def _stored(self, number: int, pieces: Sequence[tuple[bytes, int, int]]) -> list[Location]:
        locations = [Location(number, offset, length) for _, offset, length in pieces]
        for (digest, _, _), location in zip(pieces, locations, strict=True):
            self._index.stored(digest, location)
        return locations

    def finish(self) -> None:
        """Wait for all transfers; raises the first error."""
        try:
            self._flush()
        finally:
            if self._crew is not None:
                self._crew.finish()
                self._crew = None
        if self._error is not None:
            raise self._error

    def _flush(self) -> None:
        pack, self._pack = self._pack, None
        if pack is not None:
            self._give(pack)

    def _give(self, pack: Pack) -> None:
        if self._crew is None:
            self._crew = Crew(WIDTH, self._send)
        self.tried[pack.number] = (pack.name, pack.size)
        self._crew.give(pack)

    def _send(self, pack: Pack) -> None:
        """An error is kept for the feeding thread; later packs are not sent, and their buffers are freed."""
        try:
            if self._error is None:
                with memoryview(pack.buffer) as whole, whole[: pack.size] as data:
                    retrying(lambda: self._store.put(self._prefix + pack.name, data), self._limit)
                self.sent_bytes += pack.size
                self.arrived.add(pack.number)
        except BaseException as error:  # noqa: BLE001 - raised when the next buffer is requested, or at the end
            self._error = error
        finally:
            self.release(pack.buffer)
