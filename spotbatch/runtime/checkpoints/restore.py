"""Bringing back the newest whole checkpoint: every byte is checked, and a corrupt one gives way to the one before."""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from spotbatch.runtime.checkpoints.manifest import (
    MANIFESTS,
    Chunk,
    Manifest,
    ManifestName,
    SavedFile,
    from_bytes,
    parse_name,
)
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.errors import Corrupt, InvalidSetting, Missing, StoreError
from spotbatch.runtime.log import say
from spotbatch.runtime.storage.parallel import in_parallel
from spotbatch.runtime.storage.store import Store

WIDTH = 8
_ZEROS = bytes(64)


@dataclass(kw_only=True)
class Restored:
    """What a restore found."""

    manifest: Manifest | None = None  # None: there is no checkpoint, the work begins
    corrupt: set[ManifestName] = field(default_factory=set)
    downloaded_bytes: int = 0


class _Piece(NamedTuple):
    chunk: Chunk
    path: Path
    offset: int


def restore(store: Store, prefix: str, folder: Path, limit: Limit) -> Restored:
    """Fill an empty folder with the newest whole checkpoint below `prefix`.

    Raises:
        StoreError: the store did not answer within the limit: whether there is a checkpoint is not known.
    """
    found = Restored()
    while True:
        names = retrying(lambda: manifest_names(store, prefix), limit)
        left = [name for name in names if name not in found.corrupt]
        if not left:
            if found.corrupt:
                say(f"no whole checkpoint is left ({len(found.corrupt)} corrupt): starting from the beginning")
            return found
        try:
            manifest = read_manifest(store, prefix, left[-1], limit)
            found.downloaded_bytes += _fill(store, prefix, folder, manifest, limit)
        except (Corrupt, Missing) as problem:
            say(f"checkpoint {left[-1]} is not whole ({problem}); falling back to the one before")
            found.corrupt.add(left[-1])
            empty(folder)
        else:
            found.manifest = manifest
            return found


def manifest_names(store: Store, prefix: str) -> list[ManifestName]:
    """Those in the store, oldest first."""
    names = (parse_name(PurePosixPath(key).name) for key, _ in store.list(f"{prefix}/{MANIFESTS}/"))
    return sorted(name for name in names if name is not None)


def read_manifest(store: Store, prefix: str, name: ManifestName, limit: Limit) -> Manifest:
    return from_bytes(retrying(lambda: store.get(f"{prefix}/{MANIFESTS}/{name}"), limit))


def make_room(folder: Path) -> None:
    """An empty folder; what stood there is moved aside, never deleted.

    Raises:
        InvalidSetting: the folder cannot be made or emptied.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            aside = _free_name(folder)
            folder.rename(aside)
            folder.mkdir()
            say(f"{folder} was not empty: what was in it is now in {aside}")
    except OSError as error:
        raise InvalidSetting(
            f"the checkpoint folder {folder} must be writable, and empty or such that it can be moved aside: {error}"
        ) from error


def empty(folder: Path) -> None:
    """Remove what a restore of ours has written."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return aside


def _fill(store: Store, prefix: str, folder: Path, manifest: Manifest, limit: Limit) -> int:
    pieces = _lay_out(folder, manifest)
    lock, total = threading.Lock(), 0

    def fetch(pack: str) -> None:
        nonlocal total
        moved = _fetch(store, f"{prefix}/packs/{pack}", manifest.packs[pack], pieces[pack], limit)
        with lock:
            total += moved

    in_parallel(min(WIDTH, max(1, len(pieces))), pieces, fetch)
    _finish_times(folder, manifest)
    return total


def _lay_out(folder: Path, manifest: Manifest) -> dict[str, list[_Piece]]:
    """Make folders, and files of their size; say which pieces each pack must give."""
    for path, _ in manifest.folders:
        _inside(folder, path).mkdir(parents=True, exist_ok=True)
    pieces: dict[str, list[_Piece]] = {}
    for saved in manifest.files:
        target, offset = _inside(folder, saved.path), 0
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            os.truncate(descriptor, saved.size)  # a hole: what is all zeros is then not written
        finally:
            os.close(descriptor)
        for chunk in saved.chunks:
            if chunk.pack not in manifest.packs:
                raise Corrupt(f"{saved.path} needs the pack {chunk.pack}, which the manifest does not list")
            pieces.setdefault(chunk.pack, []).append(_Piece(chunk, target, offset))
            offset += chunk.length
    return pieces


def _inside(folder: Path, path: str) -> Path:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise Corrupt(f"the path {path!r} would leave the checkpoint folder")
    return folder.joinpath(*parts)


def _fetch(store: Store, key: str, size: int, pieces: list[_Piece], limit: Limit) -> int:
    wanted = sorted({(piece.chunk.offset, piece.chunk.length) for piece in pieces})
    moved, read = _reader(store, key, size, wanted, limit)
    for target, own in _by_file(pieces):
        descriptor = os.open(target, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            for piece in own:
                data = read(piece.chunk)
                if len(data) != piece.chunk.length or hashlib.sha256(data).hexdigest() != piece.chunk.digest:
                    raise Corrupt(f"the checksum of {target.name} does not match, in {key}")
                if data[:64] != _ZEROS or data != bytes(len(data)):
                    os.pwrite(descriptor, data, piece.offset)
        finally:
            os.close(descriptor)
    return moved


def _reader(
    store: Store, key: str, size: int, wanted: list[tuple[int, int]], limit: Limit
) -> tuple[int, Callable[[Chunk], bytes | memoryview]]:
    """Bytes moved, and a way to a chunk's bytes: the whole pack where most of it is needed, else ranges of it."""
    needed = sum(length for _, length in wanted)
    if needed * 2 < size:
        try:
            parts = dict(zip(wanted, retrying(lambda: store.get_ranges(key, wanted), limit), strict=True))
        except Missing:
            raise
        except StoreError:
            pass  # perhaps the pack is shorter than it should be: the whole of it will tell
        else:
            return needed, lambda chunk: parts[chunk.offset, chunk.length]
    whole = memoryview(retrying(lambda: store.get(key), limit))
    return len(whole), lambda chunk: whole[chunk.offset : chunk.offset + chunk.length]


def _by_file(pieces: list[_Piece]) -> Iterator[tuple[Path, list[_Piece]]]:
    grouped: dict[Path, list[_Piece]] = {}
    for piece in pieces:
        grouped.setdefault(piece.path, []).append(piece)
    yield from grouped.items()


def _finish_times(folder: Path, manifest: Manifest) -> None:
    """Links, modes and times last: a file must be complete before it may become read-only."""
    for path, target in manifest.links:
        _inside(folder, path).symlink_to(target)
    for saved in manifest.files:
        _finish_file(_inside(folder, saved.path), saved)
    for path, mode in reversed(manifest.folders):
        _inside(folder, path).chmod(mode)


def _finish_file(target: Path, saved: SavedFile) -> None:
    target.chmod(saved.mode)
    os.utime(target, ns=(saved.mtime_ns, saved.mtime_ns))
