"""Fetching an object of any size into a file: what arrived stays, and a retry goes on behind it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spotbatch.batch.errors import Corrupt, StoreError
from spotbatch.runtime.deadline import Limit, retrying


class Changed(StoreError):
    """The object is not the one that was begun: it is fetched from its beginning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """An object from some offset on."""

    version: str  # of the object; another one when it was written over
    size: int  # of the whole object, bytes
    pieces: Iterator[bytes | memoryview]  # raises what `open_at` raises


class Source(Protocol):
    """Where objects are read one by one, by keys that are taken as they are."""

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        """An object from an offset on; with a version, only this one.

        Raises:
            Changed: it has another version now.
            StoreError, Missing, Refused, BadName.
        """


def download(source: Source, key: str, target: Path, limit: Limit, sha256: str = "") -> int:
    """Fetch an object; answers the bytes moved.

    Raises:
        Corrupt: it is not what the checksum says. StoreError: nothing moved for as long as the limit says.
        OSError: the file cannot be written.
    """
    done, moved, version = 0, 0, ""
    with target.open("wb", buffering=0) as out:

        def rest() -> None:
            nonlocal done, moved, version
            try:
                stream = source.open_at(key, done, version)
            except Changed:
                done, version = 0, ""
                raise
            version = stream.version
            out.seek(done)
            out.truncate(done)
            for piece in stream.pieces:
                left = memoryview(piece)
                while left:
                    left = left[out.write(left) :]
                done, moved = done + len(piece), moved + len(piece)
                limit.moved(len(piece))
            if done != stream.size:
                raise StoreError(f"{key!r} ended after {done} of {stream.size} bytes")

        retrying(rest, limit)
    if sha256 and (found := _digest(target)) != sha256:
        raise Corrupt(f"{key!r} has the SHA-256 {found[:16]}..., not {sha256[:16]}... as it was stored")
    return moved


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
