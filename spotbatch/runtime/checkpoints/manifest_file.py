"""A manifest in the store, version 2: a line, a head, the blocks of its list, and the SHA-256 of all that.

    spotbatch checkpoint 2\\n   [length, head]   [length, block] ...   SHA-256

A length is four bytes, least first; head and blocks are compressed JSON. It is written and read piece by piece, so that
no number of files needs memory. Version 1 (manifest.py), one JSON text, is still read.
"""

import hashlib
import itertools
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from spotbatch.batch.errors import Corrupt

MAGIC = b"spotbatch checkpoint 2\n"
_LENGTH = struct.Struct("<I")
_MOST_PIECE_BYTES = 64 * 1024 * 1024
_SHA_BYTES = 32


def write(out: IO[bytes], head: Mapping[str, Any], blocks: Iterable[bytes]) -> int:
    """The bytes written."""
    digest, size = hashlib.sha256(), 0

    def put(data: bytes) -> None:
        nonlocal size
        digest.update(data)
        size += out.write(data)

    put(MAGIC)
    packed = zlib.compress(json.dumps(head, separators=(",", ":")).encode(), level=1)
    for piece in itertools.chain([packed], blocks):
        put(_LENGTH.pack(len(piece)))
        put(piece)
    out.write(digest.digest())
    return size + _SHA_BYTES


def pieces(data: bytes | memoryview) -> Iterator[bytes]:
    """The head and then the blocks, still compressed, once the checksum of all of it is right.

    Raises:
        Corrupt: it is not what was written.
    """
    view = memoryview(data)
    body, checksum = view[:-_SHA_BYTES], view[-_SHA_BYTES:]
    if bytes(view[: len(MAGIC)]) != MAGIC or hashlib.sha256(body).digest() != bytes(checksum):
        raise Corrupt(f"the manifest's SHA-256 does not match (of {len(view)} bytes)")
    at = len(MAGIC)
    while at < len(body):
        if at + _LENGTH.size > len(body):
            raise Corrupt("the manifest ends within a length")
        (length,) = _LENGTH.unpack(body[at : at + _LENGTH.size])
        at += _LENGTH.size
        if length > min(_MOST_PIECE_BYTES, len(body) - at):
            raise Corrupt("the manifest ends within a block")
        yield bytes(body[at : at + length])
        at += length
