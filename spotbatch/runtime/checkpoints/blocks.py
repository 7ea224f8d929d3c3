"""The list of a checkpoint's files, folders and links in pieces: each is encoded, sent and read separately.

Piece boundaries depend on the keys alone, so that adding or removing a file changes a single piece.
"""

import hashlib
import json
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from spotbatch.batch.errors import Invalid
from spotbatch.runtime.checkpoints.folder import fields_of

CHUNK = struct.Struct("<32sIII")  # SHA-256, pack, offset, length
_MEAN_ENTRIES = 64  # a change encodes this many again; small blocks compress a little less
_MOST_ENTRIES = 4096
_MOST_BODY_BYTES = 512 * 1024  # of chunk lists: a file of 8 GiB has 90 KiB
FREELY_INFLATED_BYTES = 1024 * 1024  # of one block
MOST_RATIO = 32  # limit beyond that; digests in hex compress to half
_CONTENT_BITS = 128


UNSURE = 1  # a flag: stat cannot be trusted for this file, its content decides whether it has changed


class Location(NamedTuple):
    """Where content is stored."""

    pack: int
    offset: int
    length: int


class Known(NamedTuple):
    """A file, folder or link as it was when it was read."""

    key: bytes
    look: bytes
    flags: int
    is_fresh: bool  # read after the last checkpoint was published


class Piece(NamedTuple):
    """One chunk of a file that is to be fetched."""

    pack: int
    start: int  # in the pack
    length: int
    digest: bytes
    key: bytes  # of the file
    at: int  # in the file


class Entry(NamedTuple):
    """A file, folder or link of a checkpoint."""

    key: bytes  # the path below the folder; a folder's ends with a slash, and the folder itself is the empty key
    look: bytes
    body: bytes  # a file's chunks, a link's target


class Block(NamedTuple):
    """Adjacent entries, encoded."""

    first: bytes
    data: bytes
    entries: int
    size: int  # of files
    content: int  # the sum of a digest of each entry, ignoring times
    packs: dict[int, int]

    def row(self) -> tuple[bytes, int, int, bytes, str]:
        content = self.content.to_bytes(_CONTENT_BITS // 8, "big")
        return self.data, self.entries, self.size, content, json.dumps(self.packs)


class Summary(NamedTuple):
    """What a manifest's head records about its list."""

    entries: int
    size: int  # of files
    content: str  # equal for lists that restore to the same content, ignoring times
    packs: dict[int, int]  # bytes needed, by pack


def encoded_blocks(entries: Iterable[Entry]) -> Iterator[Block]:
    """Blocks of the entries, which are ordered by key."""
    waiting: list[Entry] = []
    size = 0
    for entry in entries:
        is_cut = zlib.crc32(entry.key) % _MEAN_ENTRIES == 0 or len(waiting) >= _MOST_ENTRIES or size >= _MOST_BODY_BYTES
        if is_cut and waiting:
            yield _block(waiting)
            waiting, size = [], 0
        waiting.append(entry)
        size += len(entry.body)
    if waiting:
        yield _block(waiting)


def sum_up(rows: Iterable[tuple[int, int, bytes, str]]) -> Summary:
    """Over all blocks, from what `Block.row` returns after the data."""
    entries = size = content = 0
    packs: dict[int, int] = {}
    for count, length, part, needed in rows:
        entries += count
        size += length
        content += int.from_bytes(part, "big")
        for pack, used in json.loads(needed).items():
            packs[int(pack)] = packs.get(int(pack), 0) + used
    return Summary(entries, size, f"{content % (1 << _CONTENT_BITS):032x}", packs)


def chunks_in(body: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """(digest, pack, offset, length) of each chunk of a file's body."""
    return CHUNK.iter_unpack(body)


def chunk_record(digest: bytes, location: Location) -> bytes:
    return CHUNK.pack(digest, *location)


def decoded(data: bytes) -> list[list[Any]]:
    """The rows of a block: key, mode, mtime_ns, and a file's chunks or a link's target.

    Raises:
        Invalid, ValueError, zlib.error: it is not what `encoded_blocks` made, or inflates to too much.
    """
    inflater = zlib.decompressobj()
    text = inflater.decompress(data, _most_inflated(len(data)))
    if not inflater.eof:
        raise Invalid("a block of the manifest inflates to too much, or ends too soon")
    found = json.loads(text)
    if not isinstance(found, list):
        raise Invalid("a block of the manifest is no list")
    return found


def _most_inflated(packed_bytes: int) -> int:
    return max(FREELY_INFLATED_BYTES, MOST_RATIO * packed_bytes)


def _block(entries: list[Entry]) -> Block:
    rows: list[list[Any]] = []
    size = content = 0
    packs: dict[int, int] = {}
    for key, look, body in entries:
        length, mtime_ns, _, _, _, mode = fields_of(look)
        digest = hashlib.sha256(key + b"\0" + mode.to_bytes(4, "little"))
        row: list[Any] = [os.fsdecode(key), mode, mtime_ns]
        if stat.S_ISREG(mode):
            row.append([[each.hex(), pack, offset, used] for each, pack, offset, used in chunks_in(body)])
            for each, pack, _, used in chunks_in(body):
                digest.update(each)
                packs[pack] = packs.get(pack, 0) + used
            size += length
        elif stat.S_ISLNK(mode):
            row.append(os.fsdecode(body))
            digest.update(body)
        rows.append(row)
        content += int.from_bytes(digest.digest()[: _CONTENT_BITS // 8], "big")
    text = json.dumps(rows, separators=(",", ":")).encode()
    data = zlib.compress(text, level=1)
    if len(text) > _most_inflated(len(data)):
        data = zlib.compress(text, level=0)  # this many equal chunks (huge sparse files) would look like a bomb
    return Block(entries[0].key, data, len(entries), size, content % (1 << _CONTENT_BITS), packs)
