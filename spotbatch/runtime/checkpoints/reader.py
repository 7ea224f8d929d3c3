"""Reading files for a checkpoint: their chunks are hashed, and what the store does not have yet is sent."""

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

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

WIDTH = 2  # SHA-256 runs at 1 to 2 GB/s a core; more threads would take the command's cores
AHEAD = 2  # parts read before they are taken
Piece = tuple[bytes, int, int]  # SHA-256, offset in the buffer, length


@dataclass(kw_only=True, eq=False)
class _Part:
    """Neighbouring chunks of one file, as many as a pack holds, and what a thread found in them."""

    descriptor: int
    offset: int
    size: int
    step: int
    buffer: bytearray
    pieces: list[Piece] = field(default_factory=list)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def read(self) -> None:
        try:
            with memoryview(self.buffer) as whole:
                _fill(self.descriptor, whole[: self.size], self.offset)
                for start in range(0, self.size, self.step):
                    length = min(self.step, self.size - start)
                    self.pieces.append((hashlib.sha256(whole[start : start + length]).digest(), start, length))
        except BaseException as error:  # noqa: BLE001 - raised again where the part is taken
            self.error = error
        finally:
            self.done.set()


class Reader:
    """Reads for one save. `given_up` names packs whose contents are to be sent anew."""

    def __init__(self, index: "Index", upload: Upload, limit: Limit, given_up: set[int]) -> None:
        self._index = index
        self._upload = upload
        self._limit = limit
        self.given_up = given_up
        self._crew: Crew[_Part] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._crew is not None:
            self._crew.finish()

    def read(self, descriptor: int, size: int, before: bytes | None, base: int = 0) -> bytes:
        """The records of a file's chunks, from a base up to a size; `before` are those of its last version.

        Raises:
            Torn: the file became shorter.
            StoreError: the time for this save is over, or the store failed.
        """
        if self._limit.is_over():
            raise StoreError("the time for this save is over")
        self._limit.moved()  # a folder that takes long to read does not stand still
        if size == 0:
            return b""
        step = chunk_bytes(size)
        if size <= step:
            return self._read_small(descriptor, size, before, base)
        body = bytearray()
        for part in self._parts(descriptor, size, step, base):
            body += self._records(part, (part.offset - base) // step, before or b"")
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
                part = _Part(
                    descriptor=descriptor, offset=base + offset, size=length, step=step, buffer=self._upload.buffer()
                )
                under_way.append(part)
                self._crew.give(part)
                if len(under_way) > AHEAD:
                    yield _first_read(under_way)
            while under_way:
                yield _first_read(under_way)
        finally:
            for part in under_way:  # the caller closes the file
                part.done.wait()
                self._upload.release(part.buffer)

    def _records(self, part: _Part, first: int, before: bytes) -> bytes:
        """Where each chunk of a part stands, or will stand. The part's buffer is not ours any more afterwards."""
        found = [
            self._found(digest, length, before[(first + n) * CHUNK.size : (first + n + 1) * CHUNK.size])
            for n, (digest, _, length) in enumerate(part.pieces)
        ]
        if all(location is None for location in found) and len({digest for digest, _, _ in part.pieces}) == len(found):
            locations = self._upload.add_whole(part.buffer, part.pieces)
            return b"".join(map(chunk_record, (digest for digest, _, _ in part.pieces), locations))
        records = []
        with memoryview(part.buffer) as whole:
            for (digest, start, length), location in zip(part.pieces, found, strict=True):
                place = location or self._index.find(digest)  # twice in one part: sent once
                records.append(chunk_record(digest, place or self._upload.add(digest, whole[start : start + length])))
        self._upload.release(part.buffer)
        return b"".join(records)

    def _found(self, digest: bytes, length: int, before: bytes) -> Location | None:
        if len(before) == CHUNK.size and before[:32] == digest:
            _, pack, offset, used = CHUNK.unpack(before)
            if used == length and pack not in self.given_up:
                return Location(pack, offset, used)
        return self._index.find(digest)


def _first_read(under_way: deque[_Part]) -> _Part:
    part = under_way[0]
    part.done.wait()
    if part.error is not None:
        raise part.error
    return under_way.popleft()


def _fill(descriptor: int, target: memoryview, offset: int) -> None:
    done = 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done:]], offset + done)
        if count == 0:
            raise Torn("a file became shorter while it was read")
        done += count
