"""What one checkpoint consists of, and its form in the store: the object that is written last and makes it whole.

Below `checkpoints/` stand `manifests/<epoch>-<sequence>-<writer>`, `packs/<epoch>-<writer>-<number>` and
`claims/<epoch>-<writer>`. A pack holds chunks of files end to end; a manifest says which chunks make which file. Each
start of the runtime takes the next epoch, so that an attempt which outlives its host's network can never pass for
newer than the attempt that replaced it.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from spotbatch.runtime.errors import Corrupt

MANIFESTS = "manifests"
PACKS = "packs"
CLAIMS = "claims"
SMALL_PACK_BYTES = 1024 * 1024
MOST_SMALL_PACKS = 64
_MAGIC = b"spotbatch checkpoint 1 "


class Chunk(NamedTuple):
    """A piece of a file, and where its bytes stand. A tuple, since there may be a hundred thousand of them."""

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
    """One whole checkpoint."""

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


class ManifestName(NamedTuple):
    """A manifest's place in time; the greatest is the newest."""

    epoch: int
    sequence: int
    writer: str

    def __str__(self) -> str:
        return f"{self.epoch:06d}-{self.sequence:08d}-{self.writer}"


def parse_name(text: str) -> ManifestName | None:
    """None for what is no manifest's name: somebody else's object is left alone."""
    parts = text.split("-")
    if len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return ManifestName(int(parts[0]), int(parts[1]), parts[2])


def to_bytes(manifest: Manifest) -> bytes:
    """A checksum line, then compressed JSON."""
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
    packed = zlib.compress(json.dumps(body, separators=(",", ":")).encode(), level=1)
    return _MAGIC + hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed


def from_bytes(data: bytes) -> Manifest:
    """The manifest that these bytes are.

    Raises:
        Corrupt: they are not what `to_bytes` made.
    """
    head, newline, packed = data.partition(b"\n")
    if not newline or head != _MAGIC + hashlib.sha256(packed).hexdigest().encode():
        raise Corrupt("the manifest's checksum does not match")
    body: dict[str, Any] = json.loads(zlib.decompress(packed))
    packs = body["packs"]
    return Manifest(
        epoch=body["epoch"],
        sequence=body["sequence"],
        writer=body["writer"],
        saved_at=body["saved_at"],
        packs=dict(packs),
        folders=tuple((path, mode) for path, mode in body["folders"]),
        links=tuple((path, target) for path, target in body["links"]),
        files=tuple(
            SavedFile(
                path=path,
                mode=mode,
                mtime_ns=mtime_ns,
                chunks=tuple(Chunk(digest, packs[pack][0], offset, length) for digest, pack, offset, length in chunks),
            )
            for path, mode, mtime_ns, chunks in body["files"]
        ),
    )


def chunks_of(manifest: Manifest) -> Iterator[Chunk]:
    for each in manifest.files:
        yield from each.chunks


def content_id(manifest: Manifest) -> str:
    """Equal for checkpoints that restore to the same, times aside."""
    files = [(each.path, each.mode, [chunk.digest for chunk in each.chunks]) for each in manifest.files]
    return hashlib.sha256(repr((files, manifest.folders, manifest.links)).encode()).hexdigest()


def scattered(manifest: Manifest) -> set[str]:
    """Digests of chunks that should be sent anew in packs of their own, so that storage and restores stay small.

    Content that changes leaves packs behind of which little is still needed. Once the packs together hold twice what is
    needed, those of which less than half is needed are given up; once there are many small packs, these are joined. So
    each byte is sent again at most about once for each time that the checkpoint is written over.
    """
    needed: dict[str, dict[str, int]] = {}
    for chunk in chunks_of(manifest):
        needed.setdefault(chunk.pack, {})[chunk.digest] = chunk.length
    live = {pack: sum(chunks.values()) for pack, chunks in needed.items()}
    given_up: set[str] = set()
    if sum(manifest.packs.values()) > 2 * sum(live.values()):
        given_up |= {pack for pack, size in live.items() if 2 * size < manifest.packs[pack]}
    small = {pack for pack, size in live.items() if size < SMALL_PACK_BYTES}
    if len(small) > MOST_SMALL_PACKS:
        given_up |= small
    return {digest for pack in given_up for digest in needed[pack]}
