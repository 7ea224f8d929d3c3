"""What one checkpoint consists of, and version 1 of its format in the store, which can still be read.

The object written last makes a checkpoint complete: `manifest_file` and `blocks` implement version 2.

A pack holds chunks of files end to end; a manifest says which chunks make up which file (`names` defines the keys).
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from spotbatch.batch.errors import Corrupt, Invalid
from spotbatch.runtime.checkpoints import validation

SMALL_PACK_BYTES = 1024 * 1024
MOST_SMALL_PACKS = 64
MOST_BYTES = 512 * 1024 * 1024  # of a manifest before compression: about three million files
FREELY_INFLATED_BYTES = 32 * 1024 * 1024
MOST_RATIO = 32  # limit beyond that; digests in hex compress to half
_MAGIC = b"spotbatch checkpoint 1 "


class Chunk(NamedTuple):
    """A piece of a file, and where its bytes are stored. A tuple, since there may be a hundred thousand of them."""

    digest: str  # SHA-256 in hex
    pack: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedFile:
    """One regular file of a checkpoint."""

    path: str  # below the checkpoint folder
    mode: int
    mtime_ns: int
    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        return sum(chunk.length for chunk in self.chunks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """One complete checkpoint."""

    epoch: int
    sequence: int
    writer: str
    saved_at: float  # UTC epoch seconds
    files: tuple[SavedFile, ...]
    folders: tuple[tuple[str, int], ...]  # path, mode; parents before children
    links: tuple[tuple[str, str], ...]  # path, what it points to
    packs: dict[str, int]  # bytes by name, of each pack that a file needs

    @property
    def name(self) -> str:
        return f"{self.epoch:06d}-{self.sequence:08d}-{self.writer}"

    @property
    def size(self) -> int:
        return sum(each.size for each in self.files)


def to_bytes(manifest: Manifest) -> bytes:
    """A checksum line, then compressed JSON. Raises Invalid if it is too large to be read back."""
    packs = sorted(manifest.packs)
    number = {name: at for at, name in enumerate(packs)}
    body = {
        "epoch": manifest.epoch,
        "sequence": manifest.sequence,
        "writer": manifest.writer,
        "saved_at": manifest.saved_at,
        "packs": [[name, manifest.packs[name]] for name in packs],
        "folders": manifest.folders,
        "links": manifest.links,
        "files": [
            [f.path, f.mode, f.mtime_ns, [[c.digest, number[c.pack], c.offset, c.length] for c in f.chunks]]
            for f in manifest.files
        ],
    }
    whole = json.dumps(body, separators=(",", ":")).encode()
    if len(whole) > MOST_BYTES:  # what could not be restored must not count as saved
        raise Invalid(
            f"the folder has too many files for one checkpoint: its list has more than {MOST_BYTES >> 20} MiB"
        )
    packed = zlib.compress(whole, level=1)
    if len(whole) > _mostinflated(len(packed)):
        packed = zlib.compress(whole, level=0)  # this many equal chunks (huge sparse files) would look like a bomb
    return _MAGIC + hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed


def from_bytes(data: bytes) -> Manifest:
    """The manifest that these bytes encode.

    Raises:
        Corrupt: they are not what was stored. Invalid: they are, but may not be restored.
    """
    head, newline, packed = data.partition(b"\n")
    if not newline or not head.startswith(_MAGIC):
        raise Corrupt(f"the manifest does not begin as one, its {len(data)} bytes are something else")
    if head != _MAGIC + hashlib.sha256(packed).hexdigest().encode():
        raise Corrupt(f"the manifest's SHA-256 does not match (of {len(packed)} bytes)")
    try:
        body: dict[str, Any] = json.loads(inflated(packed))
        return _manifest(body)
    except (KeyError, TypeError, ValueError, RecursionError, zlib.error) as error:
        raise Invalid(f"the manifest is not understood ({type(error).__name__}: {str(error)[:80]})") from None


def inflated(packed: bytes) -> bytes:
    """Never more than a manifest may have: a few bytes can inflate to gigabytes."""
    inflater = zlib.decompressobj()
    most = _mostinflated(len(packed))
    data = inflater.decompress(packed, most)
    if not inflater.eof:
        raise Invalid(f"the manifest has more than {most >> 20} MiB from {len(packed)} bytes, or ends too soon")
    return data


def _mostinflated(packed_bytes: int) -> int:
    return min(MOST_BYTES, max(FREELY_INFLATED_BYTES, MOST_RATIO * packed_bytes))


def _manifest(body: dict[str, Any]) -> Manifest:
    packs = validation.pack_table(body["packs"])
    folders = [
        (validation.text(path, "a folder"), path_mode)
        for path, path_mode in validation.rows(body["folders"], "folders", 2)
    ]
    links = [(validation.text(path, "a link"), target) for path, target in validation.rows(body["links"], "links", 2)]
    files = [_saved_file(row, packs) for row in validation.rows(body["files"], "files", 4)]
    validation.tree([path for path, _ in folders], [*(path for path, _ in links), *(each.path for each in files)])
    return Manifest(
        epoch=validation.whole(body["epoch"], "the epoch"),
        sequence=validation.whole(body["sequence"], "the sequence"),
        writer=validation.writer_name(body["writer"]),
        saved_at=validation.seconds(body["saved_at"], "the time of the save"),
        packs=dict(packs),
        folders=tuple((path, validation.mode(each, path)) for path, each in folders),
        links=tuple((path, validation.link_target(target, path)) for path, target in links),
        files=tuple(files),
    )


def _saved_file(row: list[Any], packs: list[tuple[str, int]]) -> SavedFile:
    path = validation.text(row[0], "a file")
    chunks = tuple(
        Chunk(*validation.chunk(each, packs, path)) for each in validation.rows(row[3], f"the chunks of {path!r}", 4)
    )
    validation.size((each.length for each in chunks), path)
    return SavedFile(
        path=path, mode=validation.mode(row[1], path), mtime_ns=validation.time_ns(row[2], path), chunks=chunks
    )


def content_id(manifest: Manifest) -> str:
    """Equal for checkpoints that restore to the same content, ignoring times."""
    files = [(each.path, each.mode, [chunk.digest for chunk in each.chunks]) for each in manifest.files]
    return hashlib.sha256(repr((files, manifest.folders, manifest.links)).encode()).hexdigest()


def scattered(live: Mapping[int, int], sizes: Mapping[int, int]) -> set[int]:
    """Packs whose contents should be sent again in packs of their own, so that storage and restores stay small.

    Changing content leaves behind packs of which little is still needed. Once the packs together hold twice what is
    needed, those of which less than half is needed are given up; once there are many small packs, they are merged. So
    each byte is resent about once, at most, for each time that the checkpoint is rewritten.

    Args:
        live: bytes needed, by pack. sizes: bytes in each pack.
    """
    given_up: set[int] = set()
    if sum(sizes.values()) > 2 * sum(live.values()):
        given_up |= {pack for pack, size in live.items() if 2 * size < sizes[pack]}
    small = {pack for pack, size in live.items() if size < SMALL_PACK_BYTES}
    if len(small) > MOST_SMALL_PACKS:
        given_up |= small
    return given_up
