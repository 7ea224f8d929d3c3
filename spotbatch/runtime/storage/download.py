"""Fetching an object of any size: received data is kept, a retry resumes after it, and damaged data is read again."""

import io
from collections.abc import Callable, Iterator

from spotbatch.batch.errors import Corrupt, Invalid, Missing, StoreError
from spotbatch.batch.light_dataclass import dataclass, made_by
from spotbatch.batch.light_types import BinaryIO, Protocol, TypeVar, cast
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say

T = TypeVar("T")

READ_AGAIN = 3  # attempts before the result is believed
READ_AGAIN_SECONDS = 0.1  # before the first of them; doubled each time
_MD5_DIGITS, _HEX = 32, frozenset("0123456789abcdef")


class Changed(StoreError):
    """The object is no longer the one whose download began: it is fetched again from the beginning."""


@dataclass(kw_only=True)
class Tags:
    """Whether a bucket's entity tags are MD5 sums of its objects. They are for objects sent in one request, unless
    encrypted with a KMS or customer key (Amazon S3 API Reference, "Object", ETag).
    """

    are_md5: bool = True

    def md5_in(self, tag: str) -> str:
        """Empty if there is none."""
        found = tag.strip('"')
        return found if self.are_md5 and len(found) == _MD5_DIGITS and _HEX.issuperset(found) else ""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An object from some offset on."""

    version: str  # of the object; changes when it is overwritten
    size: int  # of the whole object, in bytes
    pieces: Iterator[bytes | memoryview]  # raises what `open_at` raises
    md5: str = ""  # of the whole object, if the store provides it
    tags: Tags = made_by(default_factory=Tags)


class Source(Protocol):
    """A place from which objects are read one by one, by literal keys."""

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        """An object from an offset on; with a version, only that one.

        Raises:
            Changed: it now has a different version.
            StoreError, Missing, Refused, BadName.
        """


def download(source: Source, key: str, target: Path, limit: Limit, sha256: str = "") -> int:
    """Fetch an object; returns the number of bytes moved.

    Raises:
        Corrupt: it does not match the checksum, even when read again.
        StoreError: no data arrived for as long as the limit allows.
        Missing, Refused, BadName.
        OSError: the file cannot be written.
    """
    with target.open("wb", buffering=0) as out:
        moved = _fetch(source, key, cast("BinaryIO", out), limit)
    if sha256 and (found := _digest(target)) != sha256:
        raise Corrupt(f"{key!r} has the SHA-256 {found[:16]}..., not {sha256[:16]}... as it was stored")
    return moved


def fetch_bytes(source: Source, key: str, limit: Limit) -> bytes:
    """A small object; raises as `download` does."""
    out = io.BytesIO()
    _fetch(source, key, out, limit)
    return out.getvalue()


def reading_again(read: Callable[[], T], limit: Limit) -> T:
    """What `read` returns. A single result of damaged or missing is not believed: a proxy, a cable or this host's
    memory may have caused it.

    Raises:
        Corrupt, Missing: every time. Invalid: at once, since its checksum is right.
    """
    for number in range(READ_AGAIN):
        try:
            return read()
        except Invalid:
            raise
        except (Corrupt, Missing) as problem:
            say(f"{problem}: reading it again")
            limit.wait(READ_AGAIN_SECONDS * 2**number)
    return read()


def _fetch(source: Source, key: str, out: BinaryIO, limit: Limit) -> int:
    """If the store provides an MD5, content that does not match it is fetched again. Getting the same content twice
    means that it is what is stored: then this store's tags are not MD5 sums.
    """
    total, seen = 0, set[str]()
    for number in range(READ_AGAIN + 1):
        moved, found, stream = _fetch_once(source, key, out, limit)
        total += moved
        if found in ("", stream.md5):
            return total
        if found in seen:
            stream.tags.are_md5 = False
            return total
        seen.add(found)
        if number < READ_AGAIN:
            say(
                f"{key!r} came with the MD5 {found[:12]}..., and the store gives {stream.md5[:12]}...: reading it again"
            )
            limit.wait(READ_AGAIN_SECONDS * 2**number)
    raise Corrupt(f"{key!r} came with {len(seen)} different contents: the way to the store, or this host, changes them")


def _fetch_once(source: Source, key: str, out: BinaryIO, limit: Limit) -> tuple[int, str, Stream]:
    """The bytes moved, the MD5 of the content, if useful, and the version last read."""
    import hashlib  # loads OpenSSL, which most starts need not wait for

    done, moved, version = 0, 0, ""
    digest = hashlib.md5(usedforsecurity=False)
    stream = Stream(version="", size=0, pieces=iter(()))

    def rest() -> None:
        nonlocal done, moved, version, digest, stream
        try:
            stream = source.open_at(key, done, version)
        except Changed:
            done, version, digest = 0, "", hashlib.md5(usedforsecurity=False)
            raise
        version = stream.version
        out.seek(done)
        out.truncate(done)
        for piece in stream.pieces:
            if stream.md5:
                digest.update(piece)
            left = memoryview(piece)
            while left:
                left = left[out.write(left) :]
            done, moved = done + len(piece), moved + len(piece)
            limit.moved(len(piece))
        if done != stream.size:
            raise StoreError(f"{key!r} ended after {done} of {stream.size} bytes")

    retrying(rest, limit)
    return moved, digest.hexdigest() if stream.md5 else "", stream


def _digest(file: Path) -> str:
    import hashlib  # as above

    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
