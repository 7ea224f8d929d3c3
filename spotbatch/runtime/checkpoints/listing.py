"""Loads a manifest from the store into the index: read in pieces, and fully checked before it is used."""

import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spotbatch.batch.errors import Invalid
from spotbatch.runtime.checkpoints import manifest_file, validation
from spotbatch.runtime.checkpoints.blocks import Location, chunk_record, decoded
from spotbatch.runtime.checkpoints.folder import made_look
from spotbatch.runtime.checkpoints.manifest import Manifest, content_id, from_bytes, inflated

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

Packs = dict[int, tuple[str, int]]  # name and bytes, by number
Row = tuple[bytes, bytes, int, bytes]  # key, look, flags and body, as in the index


class Head(NamedTuple):
    """A checkpoint's description, without the list of its files."""

    epoch: int
    sequence: int
    writer: str
    content: str  # equal for checkpoints that restore to the same content, ignoring times
    packs: Packs
    files: int = 0
    size: int = 0  # total bytes of its files

    @property
    def name(self) -> str:
        return f"{self.epoch:06d}-{self.sequence:08d}-{self.writer}"


def read_head(file: Path) -> Head:
    """The head of a fetched manifest, once its checksum has been verified.

    Raises:
        Corrupt: it is not what was stored. Invalid: it is, and nothing that may be restored.
    """
    with file.open("rb") as opened:
        if opened.read(len(manifest_file.MAGIC)) != manifest_file.MAGIC:
            return _head_of(from_bytes(file.read_bytes()))[0]
    return _understood(lambda: _head(next(manifest_file.pieces(file))))


def load(file: Path, index: "Index") -> Head:
    """Load the whole list of a manifest into an empty index; raises as `read_head` does."""
    with file.open("rb") as opened:
        is_first_version = opened.read(len(manifest_file.MAGIC)) != manifest_file.MAGIC
    if is_first_version:
        head, rows = _head_of(from_bytes(file.read_bytes()))
        index.load(rows)
    else:
        head = _understood(lambda: _load_pieces(file, index))
    if index.has_file_as_folder():
        raise Invalid("a path is listed as a file and as a folder")
    files, size = index.totals()
    return head._replace(files=files, size=size)


def _understood(read: Any) -> Head:
    try:
        found: Head = read()
    except (KeyError, TypeError, ValueError, IndexError, RecursionError, StopIteration, zlib.error) as error:
        raise Invalid(f"the manifest is not understood ({type(error).__name__}: {str(error)[:80]})") from None
    return found


def _load_pieces(file: Path, index: "Index") -> Head:
    pieces = manifest_file.pieces(file)
    head = _head(next(pieces))
    index.load(_in_order(_row(row, head.packs) for piece in pieces for row in decoded(piece)))
    return head


def _head(piece: bytes) -> Head:
    said: dict[str, Any] = json.loads(inflated(piece))
    rows = validation.rows(said["packs"], "packs", 3)
    table = validation.pack_table([[name, size] for _, name, size in rows])
    numbers = [validation.whole(row[0], "a pack's number", most=2**32 - 1) for row in rows]
    if len(set(numbers)) != len(numbers):
        raise Invalid("a pack's number is listed twice")
    validation.seconds(said["saved_at"], "the time of the save")
    return Head(
        epoch=validation.whole(said["epoch"], "the epoch"),
        sequence=validation.whole(said["sequence"], "the sequence"),
        writer=validation.writer_name(said["writer"]),
        content=validation.text(said["content"], "the content"),
        packs=dict(zip(numbers, table, strict=True)),
    )


def _row(row: Any, packs: Packs) -> Row:
    """A row of a block: key, mode, time, and a file's chunks or a link's target."""
    if type(row) is not list or len(row) not in (3, 4):
        raise Invalid("an entry of the list has another shape")
    path = validation.text(row[0], "a path")
    mode = validation.whole(row[1], f"the mode of {path!r}", most=0o177777)
    mtime_ns = validation.time_ns(row[2], path)
    key = validation.encoded(path)
    is_folder = not key or key.endswith(b"/")
    if is_folder != stat.S_ISDIR(mode) or (len(row) == 3) != is_folder:
        raise Invalid(f"{path!r} is listed as something else than its mode says")
    body, size = b"", 0
    if stat.S_ISREG(mode):
        body, size = _chunks(validation.rows(row[3], f"the chunks of {path!r}", 4), packs, path)
    elif stat.S_ISLNK(mode):
        body = os.fsencode(validation.link_target(row[3], path))
    elif not is_folder:
        raise Invalid(f"{path!r} is neither a file nor a folder nor a link")
    kept = stat.S_IFMT(mode) | (mode & validation.MODE_BITS)
    return key, made_look(size=size, mtime_ns=mtime_ns, mode=kept), 0, body


def _chunks(rows: list[list[Any]], packs: Packs, path: str) -> tuple[bytes, int]:
    records, size = [], 0
    for digest, number, offset, length in rows:
        pack = packs.get(number) if type(number) is int else None
        if pack is None:
            raise Invalid(f"{path!r} needs a pack that the manifest does not list")
        digest, _, offset, length = validation.chunk([digest, 0, offset, length], [pack], path)
        records.append(chunk_record(bytes.fromhex(digest), Location(number, offset, length)))
        size += length
    validation.size([size], path)
    return b"".join(records), size


def _in_order(rows: Iterable[Row]) -> Iterator[Row]:
    """Each key once, in byte order, and in a folder that is listed before it."""
    last: bytes | None = None
    above: list[bytes] = []
    for row in rows:
        key = row[0]
        if last is not None and key <= last:
            raise Invalid(f"{key!r} is listed twice, or out of order")
        last = key
        if key:
            while above and not key.startswith(above[-1]):
                above.pop()
            inner = key[len(above[-1]) :] if above else key
            validation.name(inner.removesuffix(b"/"), key)
            if key.endswith(b"/"):
                above.append(key)
        yield row


def _head_of(manifest: Manifest) -> tuple[Head, list[Row]]:
    """The head of a version 1 manifest, fully checked by `from_bytes`."""
    packs = dict(enumerate(manifest.packs.items(), start=1))
    numbers = {name: number for number, (name, _) in packs.items()}
    rows: list[Row] = []
    for path, mode in manifest.folders:
        rows.append((os.fsencode(path) + b"/", made_look(size=0, mtime_ns=-1, mode=stat.S_IFDIR | mode), 0, b""))
    for path, target in manifest.links:
        rows.append(
            (os.fsencode(path), made_look(size=0, mtime_ns=-1, mode=stat.S_IFLNK | 0o777), 0, os.fsencode(target))
        )
    for file in manifest.files:
        body = b"".join(
            chunk_record(bytes.fromhex(chunk.digest), Location(numbers[chunk.pack], chunk.offset, chunk.length))
            for chunk in file.chunks
        )
        look = made_look(size=file.size, mtime_ns=file.mtime_ns, mode=stat.S_IFREG | file.mode)
        rows.append((os.fsencode(file.path), look, 0, body))
    return Head(manifest.epoch, manifest.sequence, manifest.writer, content_id(manifest), packs), rows
