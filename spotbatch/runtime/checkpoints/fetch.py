"""Fetching the packs of a checkpoint into its files, each chunk checked against its SHA-256 before it is written."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from itertools import groupby

from spotbatch.batch.errors import Corrupt, Missing, Refused, StoreError
from spotbatch.runtime.checkpoints.layout import Pending, Piece
from spotbatch.runtime.checkpoints.manifest import Chunk, Manifest
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.log import say
from spotbatch.runtime.storage.parallel import in_parallel
from spotbatch.runtime.storage.store import Store

WIDTH = 8
READ_AGAIN = 3  # times, before a chunk that does not match is believed to be damaged
READ_AGAIN_SECONDS = 0.1
_ZEROS = bytes(64)

Read = Callable[[Chunk], bytes | memoryview]


def fetch_files(store: Store, packs: str, manifest: Manifest, pending: Pending, limit: Limit) -> int:
    """Fill the files; answers the bytes moved.

    Raises:
        Corrupt: a chunk is damaged, also when it was read again. Missing: a pack is not there, likewise.
        StoreError: the store did not answer within the limit; what was written until then stays.
    """
    lock, total = threading.Lock(), 0

    def fetch(pack: str) -> None:
        nonlocal total
        moved = _fetch(store, f"{packs}/{pack}", manifest.packs[pack], pending, pending.pieces[pack], limit)
        with lock:
            total += moved

    in_parallel(min(WIDTH, max(1, len(pending.pieces))), pending.pieces, fetch)
    return total


def _fetch(store: Store, key: str, size: int, pending: Pending, pieces: list[Piece], limit: Limit) -> int:
    wanted = sorted({(piece.chunk.offset, piece.chunk.length) for piece in pieces})
    moved, read = _reader(store, key, size, wanted, limit)
    for path, own in _by_file(pending, pieces):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for piece in own:
                data = read(piece.chunk)
                if not _is_right(data, piece.chunk):
                    moved += piece.chunk.length
                    data = _read_again(store, key, piece, limit)
                if not pending.has_holes or data[:64] != _ZEROS or data != bytes(len(data)):
                    _write(descriptor, data, piece.offset)
        finally:
            os.close(descriptor)
    return moved


def _write(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """All of it: a disk that fills up takes a part first, and says so only at the next write."""
    left = memoryview(data)
    while left:
        count = os.pwrite(descriptor, left, offset)
        left, offset = left[count:], offset + count


def _is_right(data: bytes | memoryview, chunk: Chunk) -> bool:
    return len(data) == chunk.length and hashlib.sha256(data).hexdigest() == chunk.digest


def _read_again(store: Store, key: str, piece: Piece, limit: Limit) -> bytes:
    """The bytes of one chunk that came damaged: once is no proof that they are so in the store."""
    span = (piece.chunk.offset, piece.chunk.length)
    data = b""
    for number in range(READ_AGAIN):
        say(f"{_mismatch(key, piece)}: reading it again")
        limit.wait(READ_AGAIN_SECONDS * 2**number)
        try:
            data = retrying(lambda: store.get_ranges(key, [span]), limit)[0]
        except Corrupt:
            continue  # shorter than it should be
        if _is_right(data, piece.chunk):
            return data
    found = f"{len(data)} bytes of SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"
    raise Corrupt(f"{_mismatch(key, piece)}, also when read {READ_AGAIN} times again, the last time {found}")


def _mismatch(key: str, piece: Piece) -> str:
    end = piece.offset + piece.chunk.length
    return (
        f"bytes {piece.offset} to {end} of {piece.file.path!r} do not match their checksum "
        f"(SHA-256 {piece.chunk.digest[:16]}..., in {key})"
    )


def _reader(store: Store, key: str, size: int, wanted: list[tuple[int, int]], limit: Limit) -> tuple[int, Read]:
    """Bytes moved, and a way to a chunk's bytes: the whole pack where most of it is needed, else ranges of it."""
    needed = sum(length for _, length in wanted)
    if needed * 2 < size:
        try:
            parts = dict(zip(wanted, store.get_ranges(key, wanted), strict=True))
        except (Missing, Refused):
            pass  # the whole pack will tell
        except (StoreError, Corrupt):
            pass  # so will it whether the store is slow, or the pack is shorter than it should be
        else:
            limit.moved(needed)
            return needed, lambda chunk: parts[chunk.offset, chunk.length]
    whole = memoryview(_whole_pack(store, key, limit))
    return len(whole), lambda chunk: whole[chunk.offset : chunk.offset + chunk.length]


def _whole_pack(store: Store, key: str, limit: Limit) -> bytes:
    """A pack that seems not to be there is asked for again before it is believed."""
    for number in range(READ_AGAIN):
        try:
            return retrying(lambda: store.get(key, limit.moved), limit)
        except Missing as problem:
            say(f"{problem}: asking again")
            limit.wait(READ_AGAIN_SECONDS * 2**number)
    return retrying(lambda: store.get(key, limit.moved), limit)


def _by_file(pending: Pending, pieces: list[Piece]) -> Iterator[tuple[str, Iterator[Piece]]]:
    """The pieces of each file, which stand together: they were planned file by file."""
    for file, own in groupby(pieces, key=lambda piece: piece.file.path):
        yield f"{pending.folder}/{file}", own
