"""Fetching a checkpoint's packs into its files, each chunk verified by its SHA-256 before it is written."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from spotbatch.batch.errors import Corrupt, Missing, Refused, StoreError
from spotbatch.runtime.checkpoints.blocks import Piece
from spotbatch.runtime.checkpoints.layout import Pending
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.log import say
from spotbatch.runtime.storage.parallel import in_parallel
from spotbatch.runtime.storage.store import Store

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

WIDTH = 4  # concurrent packs, each held in memory
MANY_PIECES = 64
MANY_AT_ONCE = 2  # packs with this many pieces: one is fetched while another is written, and no more wait in memory
READ_AGAIN = 3  # attempts before a chunk that does not match is considered damaged
READ_AGAIN_SECONDS = 0.1
_ZEROS = bytes(64)

Read = Callable[[Piece], bytes | memoryview]


def fetch_files(
    store: Store, packs: str, sizes: Mapping[int, tuple[str, int]], index: "Index", pending: Pending, limit: Limit
) -> int:
    """Fill the files; returns the number of bytes moved.

    Raises:
        Corrupt: a chunk is damaged, even when read again. Missing: a pack does not exist, likewise.
        StoreError: the store did not answer within the limit; what was already written stays.
    """
    lock, total = threading.Lock(), 0
    small, few = threading.Lock(), threading.BoundedSemaphore(MANY_AT_ONCE)

    def fetch(wanted: tuple[int, list[Piece]]) -> None:
        nonlocal total
        number, pieces = wanted
        name, size = sizes[number]
        key = f"{packs}/{name}"
        is_many = len(pieces) > MANY_PIECES
        with few if is_many else contextlib.nullcontext():
            moved, read = _reader(store, key, size, sorted({(piece.start, piece.length) for piece in pieces}), limit)
            # many small files are written by one thread at a time: several would only wait for the interpreter's lock
            with small if is_many else contextlib.nullcontext():
                moved += _fill(store, key, pieces, pending, read, limit)
        with lock:
            total += moved

    in_parallel(WIDTH, index.wanted(), fetch)
    return total


def _fill(store: Store, key: str, pieces: list[Piece], pending: Pending, read: Read, limit: Limit) -> int:
    """Write the pieces into their files; returns the number of bytes that were read again."""
    moved = 0
    hole: tuple[int, int, bytes] | None = None  # where a piece of zeros was found: huge sparse files repeat it
    for file, own in groupby(pieces, key=lambda piece: piece.key):
        descriptor = os.open(pending.path(file), os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for piece in own:
                if hole is not None and hole == (piece.start, piece.length, piece.digest):
                    _leave_hole(descriptor, piece)
                    continue
                data = read(piece)
                if not _is_right(data, piece):
                    moved += piece.length
                    data = _read_again(store, key, piece, limit)
                if pending.has_holes and data[:64] == _ZEROS[: len(data)] and data == bytes(len(data)):
                    hole = piece.start, piece.length, piece.digest
                    _leave_hole(descriptor, piece)
                else:
                    _write(descriptor, data, piece.at)
        finally:
            os.close(descriptor)
    return moved


def _leave_hole(descriptor: int, piece: Piece) -> None:
    """The file is new: all that is not written reads as zeros."""
    if os.fstat(descriptor).st_size < piece.at + piece.length:
        os.ftruncate(descriptor, piece.at + piece.length)


def _write(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it: a disk that fills up accepts a part first, and reports an error only at the next write."""
    left = memoryview(data)
    while left:
        count = os.pwrite(descriptor, left, offset)
        left, offset = left[count:], offset + count


def _is_right(data: bytes | memoryview, piece: Piece) -> bool:
    return len(data) == piece.length and hashlib.sha256(data).digest() == piece.digest


def _read_again(store: Store, key: str, piece: Piece, limit: Limit) -> bytes:
    """The bytes of a chunk that arrived damaged: one bad read does not prove that the stored bytes are bad."""
    data = b""
    for number in range(READ_AGAIN):
        say(f"{_mismatch(key, piece)}: reading it again")
        limit.wait(READ_AGAIN_SECONDS * 2**number)
        try:
            data = retrying(lambda: store.get_ranges(key, [(piece.start, piece.length)]), limit)[0]
        except Corrupt:
            continue  # shorter than expected
        if _is_right(data, piece):
            return data
    found = f"{len(data)} bytes of SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"
    raise Corrupt(f"{_mismatch(key, piece)}, also when read {READ_AGAIN} times again, the last time {found}")


def _mismatch(key: str, piece: Piece) -> str:
    return (
        f"bytes {piece.at} to {piece.at + piece.length} of {os.fsdecode(piece.key)!r} do not match their checksum "
        f"(SHA-256 {piece.digest.hex()[:16]}..., in {key})"
    )


def _reader(store: Store, key: str, size: int, wanted: list[tuple[int, int]], limit: Limit) -> tuple[int, Read]:
    """Bytes moved, and a function for a chunk's bytes: from the whole pack if most of it is needed, else by range."""
    needed = sum(length for _, length in wanted)
    if needed * 2 < size:
        try:
            parts = dict(zip(wanted, store.get_ranges(key, wanted), strict=True))
        except (Missing, Refused):
            pass  # fetching the whole pack will show
        except (StoreError, Corrupt):
            pass  # as well as whether the store is slow, or the pack is too short
        else:
            limit.moved(needed)
            return needed, lambda piece: parts[piece.start, piece.length]
    whole = memoryview(_whole_pack(store, key, size, limit))
    return len(whole), lambda piece: whole[piece.start : piece.start + piece.length]


def _whole_pack(store: Store, key: str, size: int, limit: Limit) -> bytes:
    """A pack that seems missing is requested again before that is believed."""
    for number in range(READ_AGAIN):
        try:
            return retrying(lambda: store.get(key, _at_most(key, size, limit)), limit)
        except Missing as problem:
            say(f"{problem}: asking again")
            limit.wait(READ_AGAIN_SECONDS * 2**number)
    return retrying(lambda: store.get(key, _at_most(key, size, limit)), limit)


def _at_most(key: str, size: int, limit: Limit) -> Callable[[int], None]:
    """Counts what arrives. Raises Corrupt once it exceeds the manifest's size, which bounds memory."""
    left = size

    def count(arrived: int) -> None:
        nonlocal left
        left -= arrived
        limit.moved(arrived)
        if left < 0:
            raise Corrupt(f"{key} is longer than the {size} bytes that were stored")

    return count
