"""A manifest in the store, version 2: a line, a head, the blocks of its list, and the SHA-256 of all of that.

    spotbatch checkpoint 2\\n   [length, head]   [length, block] ...   SHA-256

A length is four bytes, little-endian; head and blocks are compressed JSON. It is written and read in pieces, so that
memory does not grow with the number of files. Version 1 (manifest.py), a single JSON text, can still be read.
"""

import hashlib
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from spotbatch.batch.errors import Corrupt, Invalid

MAGIC = b"spotbatch checkpoint 2\n"
_LENGTH_BYTES = 4
_MOST_PIECE_BYTES = 64 * 1024 * 1024
_SHA_BYTES = 32
_READ_BYTES = 1024 * 1024


def write(out: IO[bytes], head: Mapping[str, Any], blocks: Iterable[bytes]) -> int:
    """Returns the bytes written."""
    digest, size = hashlib.sha256(), 0

    def put(data: bytes) -> None:
        nonlocal size
        digest.update(data)
        size += out.write(data)

    put(MAGIC)
    packed = zlib.compress(json.dumps(head, separators=(",", ":")).encode(), level=1)
    for piece in itertools.chain([packed], blocks):
        put(len(piece).to_bytes(_LENGTH_BYTES, "little"))
        put(piece)
    out.write(digest.digest())
    return size + _SHA_BYTES


def pieces(file: Path) -> Iterator[bytes]:
    """The head and then the blocks, still compressed, after the checksum of the whole has been verified.

    Raises:
        Corrupt: it is not what was written. Invalid: it is, but ends within a block.
    """
    with file.open("rb") as opened:
        end = _checked_end(opened)
        opened.seek(len(MAGIC))
        while opened.tell() < end:
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            if length > min(_MOST_PIECE_BYTES, end - opened.tell()):
                raise Invalid("the manifest ends within a block")
            yield opened.read(length)


def _checked_end(opened: IO[bytes]) -> int:
    """Where the blocks end and the checksum begins."""
    size = opened.seek(0, 2)
    end, digest = size - _SHA_BYTES, hashlib.sha256()
    opened.seek(0)
    left = end
    while left > 0 and (data := opened.read(min(left, _READ_BYTES))):
        digest.update(data)
        left -= len(data)
    if end < len(MAGIC) or digest.digest() != opened.read(_SHA_BYTES):
        raise Corrupt(f"the manifest's SHA-256 does not match (of {size} bytes)")
    return end
