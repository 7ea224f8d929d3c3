"""Reading files for a checkpoint: their chunks are hashed, and those not yet in the store are sent."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from spotbatch.batch.errors import StoreError, Torn
from spotbatch.runtime.checkpoints.blocks import CHUNK, Location, chunk_record
from spotbatch.runtime.checkpoints.folder import chunk_bytes
from spotbatch.runtime.checkpoints.upload import PACK_BYTES, Upload
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.parallel import Crew
from spotbatch.runtime.storage.store import Draft

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

WIDTH = 2  # SHA-256 runs at 1 to 2 GB/s per core; more threads would take the command's cores
AHEAD = 2  # parts read ahead
WINDOW_BYTES = 128 * 1024  # read, hashed and written while still in a core's cache: twice as fast as one by one
Piece = tuple[bytes, int, int]  # SHA-256, offset in the buffer, length


@dataclass(kw_only=True, eq=False)
class _Part:
    """Adjacent chunks of one file, as many as a pack holds, and what a thread found in them.

    The content is read into the buffer or, if all of it is likely to be new, into the draft of a pack.
    """

    descriptor: int
    offset: int
    size: int
    step: int
    buffer: bytearray | None = None
    draft: Draft | None = None
    is_lost: bool = False  # the draft could not be written
    pieces: list[Piece] = field(default_factory=list)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def read(self) -> None:
        try:
            self._read()
        except StoreError:  # possibly a full disk: content in a buffer is sent the usual way, with retries
            self.drop()
            self.is_lost = True
        except BaseException as error:  # noqa: BLE001 - raised again when the part is taken
            self.error = error
        finally:
            self.done.set()

    def content(self, start: int, length: int) -> bytes | memoryview:
        """Raises StoreError if it cannot be read back from a draft."""
        if self.draft is not None:
            return self.draft.read(start, length)
        return memoryview(self.buffer or b"")[start : start + length]

    def drop(self) -> None:
        """Drop the draft, if there still is one."""
        draft, self.draft = self.draft, None
        if draft is not None:
            draft.drop()

    def _read(self) -> None:
        own = _window() if self.buffer is None else self.buffer
        with memoryview(own) as room:
            for start in range(0, self.size, self.step):
                end = min(start + self.step, self.size)
                digest = hashlib.sha256()
                for at in range(start, end, WINDOW_BYTES):
                    begin = 0 if self.buffer is None else at
                    with room[begin : begin + min(WINDOW_BYTES, end - at)] as window:
                        _fill(self.descriptor, window, self.offset + at)
                        digest.update(window)
                        if self.draft is not None:
                            self.draft.write(window)
                self.pieces.append((digest.digest(), start, end - start))


_own = threading.local()


def _window() -> bytearray:
    """This thread's own, so that it stays in a core's cache."""
    if not hasattr(_own, "window"):
        _own.window = bytearray(WINDOW_BYTES)
    window: bytearray = _own.window
    return window


class Reader:
    """Reads for one save. `given_up` names packs whose contents are to be sent again."""

    def __init__(self, index: "Index", upload: Upload, limit: Limit, given_up: set[int]) -> None:
        self._index = index
        self._upload = upload
        self._limit = limit
        self.given_up = given_up
        self._crew: Crew[_Part] | None = None
        self._is_new = False  # the last part of a file that was read: what follows is likely new too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._crew is not None:
            self._crew.finish()

    def read(self, descriptor: int, size: int, before: bytes | None, base: int = 0) -> bytes:
        """The records of a file's chunks, from an offset up to a size; `before` are those of its last version.

        Raises:
            Torn: the file became shorter.
            StoreError: the time for this save is over, or the store failed.
        """
        if self._limit.is_over():
            raise StoreError("the time for this save is over")
        self._limit.moved()  # a folder that takes long to read still counts as progress
        if size == 0:
            return b""
        step = chunk_bytes(size)
        if size <= step:
            return self._read_small(descriptor, size, before, base)
        body = bytearray()
        self._is_new = not before or self._is_new
        for part in self._parts(descriptor, size, step, base):
            try:
                body += self._records(part, (part.offset - base) // step, before or b"")
            finally:
                self._discard(part)
            self._limit.moved()
            if self._limit.is_over():
                raise StoreError("the time for this save is over")
        return bytes(body)

    def _read_small(self, descriptor: int, size: int, before: bytes | None, base: int) -> bytes:
        data = os.pread(descriptor, size, base)
        while len(data) < size:
            more = os.pread(descriptor, size - len(data), base + len(data))
            if not more:
                raise Torn("a file became shorter while it was read")
            data += more
        digest = hashlib.sha256(data).digest()
        found = self._found(digest, size, before or b"")
        return chunk_record(digest, found if found is not None else self._upload.add(digest, data))

    def _parts(self, descriptor: int, size: int, step: int, base: int) -> Iterator[_Part]:
        if self._crew is None:
            self._crew = Crew(WIDTH, _Part.read)
        under_way: deque[_Part] = deque()
        try:
            for offset in range(0, size, PACK_BYTES):
                length = min(PACK_BYTES, size - offset)
                part = _Part(descriptor=descriptor, offset=base + offset, size=length, step=step)
                part.draft = self._upload.draft() if self._is_new else None
                if part.draft is None:
                    part.buffer = self._upload.buffer()
                under_way.append(part)
                self._crew.give(part)
                if len(under_way) > AHEAD:
                    yield self._first_read(under_way)
            while under_way:
                yield self._first_read(under_way)
        finally:
            for part in under_way:  # the caller closes the file
                part.done.wait()
                self._discard(part)

    def _first_read(self, under_way: deque[_Part]) -> _Part:
        part = under_way[0]
        part.done.wait()
        if part.is_lost:
            part.is_lost, part.buffer = False, self._upload.buffer()
            part.pieces.clear()
            part.read()
        if part.error is not None:
            raise part.error
        return under_way.popleft()

    def _records(self, part: _Part, first: int, before: bytes) -> bytes:
        """Where each chunk of a part is or will be stored. The part is not usable afterwards."""
        found = [
            self._found(digest, length, before[(first + n) * CHUNK.size : (first + n + 1) * CHUNK.size])
            for n, (digest, _, length) in enumerate(part.pieces)
        ]
        digests = [digest for digest, _, _ in part.pieces]
        self._is_new = all(location is None for location in found) and len(set(digests)) == len(digests)
        if self._is_new:
            return b"".join(map(chunk_record, digests, self._sent_whole(part)))
        records = []
        for (digest, start, length), location in zip(part.pieces, found, strict=True):
            place = location or self._index.find(digest)  # twice in one part: sent once
            records.append(chunk_record(digest, place or self._upload.add(digest, part.content(start, length))))
        return b"".join(records)

    def _sent_whole(self, part: _Part) -> list[Location]:
        """Where the chunks of a part that becomes a pack of its own will be stored."""
        buffer = part.buffer
        if part.draft is not None:
            kept = self._upload.keep(part.draft, part.pieces)
            if kept is not None:
                part.draft = None
                return kept
            buffer = self._upload.buffer()  # the usual way then, with retries
            buffer[: part.size] = part.content(0, part.size)
            part.drop()
        assert buffer is not None  # noqa: S101 - without a draft there is a buffer
        part.buffer = None
        return self._upload.add_whole(buffer, part.pieces)

    def _discard(self, part: _Part) -> None:
        part.drop()
        buffer, part.buffer = part.buffer, None
        if buffer is not None:
            self._upload.release(buffer)

    def _found(self, digest: bytes, length: int, before: bytes) -> Location | None:
        if len(before) == CHUNK.size and before[:32] == digest:
            _, pack, offset, used = CHUNK.unpack(before)
            if used == length and pack not in self.given_up:
                return Location(pack, offset, used)
        return self._index.find(digest)


def _fill(descriptor: int, target: memoryview, offset: int) -> None:
    done = 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done:]], offset + done)
        if count == 0:
            raise Torn("a file became shorter while it was read")
        done += count
