"""What was just restored, as the index knows it."""

import os
import stat
import time
from collections.abc import Iterator, Mapping

from spotbatch.runtime.checkpoints.blocks import UNSURE, Location, chunk_record
from spotbatch.runtime.checkpoints.folder import look_of, made_look
from spotbatch.runtime.checkpoints.manifest import Manifest, SavedFile
from spotbatch.runtime.checkpoints.trust import FileSystems, is_too_young

Row = tuple[bytes, bytes, int, bytes]  # key, look, flags, body


def restored_entries(top: str, manifest: Manifest, numbers: Mapping[str, int]) -> Iterator[Row]:
    """Every entry of a manifest, with the look that it has in the folder now; `numbers` of packs by name."""
    file_systems = FileSystems()
    yield b"", look_of(os.stat(top)), 0, b""  # noqa: PTH116 - as everywhere here
    for path, mode in manifest.folders:
        found = _look(top, path)
        yield os.fsencode(path) + b"/", found or made_look(size=0, mtime_ns=0, mode=stat.S_IFDIR | mode), 0, b""
    for path, target in manifest.links:
        found = _look(top, path)
        yield (
            os.fsencode(path),
            found or made_look(size=0, mtime_ns=0, mode=stat.S_IFLNK | 0o777),
            0,
            os.fsencode(target),
        )
    for file in manifest.files:
        yield _file(top, file, numbers, file_systems)


def _file(top: str, file: SavedFile, numbers: Mapping[str, int], file_systems: FileSystems) -> Row:
    key = os.fsencode(file.path)
    body = b"".join(
        chunk_record(bytes.fromhex(chunk.digest), Location(numbers[chunk.pack], chunk.offset, chunk.length))
        for chunk in file.chunks
    )
    try:
        found = os.lstat(f"{top}/{file.path}")
    except OSError:
        return key, made_look(size=file.size, mtime_ns=file.mtime_ns, mode=stat.S_IFREG | file.mode), UNSURE, body
    is_sure = not is_too_young(found, time.time_ns()) and file_systems.tells_of_writes(found.st_dev, top)
    return key, look_of(found), 0 if is_sure else UNSURE, body


def _look(top: str, path: str) -> bytes | None:
    try:
        return look_of(os.lstat(f"{top}/{path}"))
    except OSError:
        return None
