"""Whether a manifest may be restored. It is untrusted input: all of it is checked before the first file is created.

What holds for every manifest that we write: a path is a plain relative name; each entry occurs once, in a folder that
the manifest lists, so nothing lies below a file or a link; a chunk lies within its pack; no number exceeds what a
file system can hold.
"""

import math
import os
import re
from collections.abc import Iterable
from typing import Any

from spotbatch.batch.errors import Invalid
from spotbatch.runtime.checkpoints.folder import LARGEST_CHUNK_BYTES

MOST_PATH_BYTES = 4095  # PATH_MAX of Linux without its final zero
MOST_NAME_BYTES = 255
MOST_FILE_BYTES = 16 << 40  # ext4's largest file
MOST_PACK_BYTES = 256 * 1024 * 1024
MODE_BITS = 0o777  # setuid, setgid and sticky bits are never restored
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
_MOST_INT = 2**63


def whole(value: Any, what: str, *, least: int = 0, most: int = _MOST_INT - 1) -> int:
    """An integer within bounds. Raises Invalid; True and 1.0 are not integers."""
    if type(value) is not int or not least <= value <= most:
        raise Invalid(f"{what} is {_shown(value)}: a whole number from {least} to {most} is wanted")
    return value


def text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise Invalid(f"{what} is {_shown(value)}: a text is wanted")
    return value


def rows(value: Any, what: str, width: int) -> list[list[Any]]:
    """A list of lists of one length."""
    if type(value) is not list or not all(type(row) is list and len(row) == width for row in value):
        raise Invalid(f"{what}: a list of entries of {width} values each is wanted")
    return value


def seconds(value: Any, what: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > _MOST_INT:
        raise Invalid(f"{what} is {_shown(value)}: a time is wanted")
    return float(value)


def pack_table(value: Any) -> list[tuple[str, int]]:
    """Name and size of each pack, each occurring once."""
    packs = [
        (_name(name, "a pack's name"), whole(size, f"the size of the pack {name!r}", most=MOST_PACK_BYTES))
        for name, size in rows(value, "packs", 2)
    ]
    if len(dict(packs)) != len(packs):
        raise Invalid("a pack is listed twice")
    return packs


def writer_name(value: Any) -> str:
    return _name(value, "the writer")


def mode(value: Any, path: str) -> int:
    return whole(value, f"the mode of {path!r}", most=0o7777) & MODE_BITS


def time_ns(value: Any, path: str) -> int:
    """Nanoseconds that `os.utime` accepts."""
    return whole(value, f"the time of {path!r}", least=-_MOST_INT)


def chunk(row: list[Any], packs: list[tuple[str, int]], path: str) -> tuple[str, str, int, int]:
    """Digest, pack, offset and length of one chunk."""
    digest, number, offset, length = row
    if type(digest) is not str or not _DIGEST.fullmatch(digest):
        raise Invalid(f"{path!r} has a chunk without a SHA-256: {_shown(digest)}")
    name, size = packs[whole(number, f"the pack of {path!r}", most=len(packs) - 1)]
    whole(offset, f"an offset of {path!r}", most=size)
    whole(length, f"a length of {path!r}", least=1, most=min(LARGEST_CHUNK_BYTES, size - offset))
    return digest, name, offset, length


def size(lengths: Iterable[int], path: str) -> None:
    if (total := sum(lengths)) > MOST_FILE_BYTES:
        raise Invalid(f"{path!r} would have {total} bytes, more than a file can have")


def link_target(value: Any, path: str) -> str:
    target = text(value, f"the target of the link {path!r}")
    if not target or len(encoded(target)) > MOST_PATH_BYTES or "\0" in target:
        raise Invalid(f"the target of the link {path!r} is {_shown(target)}")
    return target


def tree(folders: Iterable[str], others: Iterable[str]) -> None:
    """Each path once, and each in a folder that is listed before it. Raises Invalid."""
    known = {""}
    for path in folders:
        _place(path, known)
        known.add(path)
    taken = set(known)
    for path in others:
        _place(path, known)
        if path in taken:
            raise Invalid(f"{path!r} is listed twice")
        taken.add(path)


def _place(path: str, folders: set[str]) -> None:
    above, _, name = path.rpartition("/")
    size = len(encoded(name))
    if name in ("", ".", "..") or "\0" in name or path.startswith("/"):
        raise Invalid(f"the path {_shown(path)} would leave the checkpoint folder, or names nothing in it")
    if size > MOST_NAME_BYTES or len(encoded(path)) > MOST_PATH_BYTES:
        raise Invalid(f"the path {_shown(path)} is longer than a file system takes")
    if above not in folders:
        raise Invalid(f"{_shown(path)} does not lie in a folder of this checkpoint")
    if path in folders:
        raise Invalid(f"{_shown(path)} is listed twice")


def name(inner: bytes, key: bytes) -> None:
    """A single path component that belongs in its folder. Raises Invalid."""
    if inner in (b"", b".", b"..") or b"/" in inner or b"\0" in inner:
        raise Invalid(f"{key!r} does not lie in a folder of this checkpoint, or would leave it")
    if len(inner) > MOST_NAME_BYTES or len(key) > MOST_PATH_BYTES:
        raise Invalid(f"the path {key[:60]!r}... is longer than a file system takes")


def encoded(name: str) -> bytes:
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:
        raise Invalid(f"{_shown(name)} is no file name") from None


def _name(value: Any, what: str) -> str:
    if type(value) is not str or not _NAME.fullmatch(value):
        raise Invalid(f"{what} is {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    shown = ascii(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
