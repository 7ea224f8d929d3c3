"""CRIU's image files: their seal, and the one thing in them that would restore to a hang.

Images are restored by the host's root, with whatever identity and rights they state. So an image that a container could
have written must never be restored: the agent signs what it dumped (HMAC-SHA256) and restores nothing else. The
signature is also the check that every byte is as it was dumped.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from spotbatch.snapshots.protocol import SEAL_NAME

_COPY_BYTES = 1 << 20
_MOST_FILES = 20_000
_MOST_SEAL_BYTES = 8 << 20
# criu 4.2.1, images/fdinfo.proto (file_entry.tfd) and images/timerfd.proto: field numbers.
_TIMERFD, _VALUE, _INTERVAL = 12, (7, 8), (9, 10)
_HEAD_BYTES = 8  # two magic numbers; then entries, each a 32-bit size and a protobuf message


class BadImages(Exception):
    """These images are not what an agent with this key dumped."""


def seal(folder: int, key: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Sign all files of an open folder together with facts about them; the signature becomes one more file."""
    body = {"facts": facts, "files": {name: _measured(folder, name, None) for name in _names(folder)}}
    document = {**body, "signature": _signature(body, key)}
    target = os.open(SEAL_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    with os.fdopen(target, "wb") as file:
        file.write(json.dumps(document).encode())
    return document


def copy_sealed(source: int, target: int, key: bytes) -> dict[str, Any]:
    """Copy images to a folder that only the agent can write, checking each byte on the way; returns the facts.

    Raises:
        BadImages: the signature is not ours, or a file is missing or differs.
    """
    body = _read_seal(source, key)
    for name, stated in body["files"].items():
        if "/" in name or name in ("", ".", "..", SEAL_NAME):
            raise BadImages(f"a file name that no dump has: {name!r}")
        try:
            found = _measured(source, name, target)
        except OSError as error:
            raise BadImages(f"{name} cannot be read: {error.strerror}") from error
        if list(found) != list(stated):
            raise BadImages(f"{name} is not as it was dumped")
    facts = body["facts"]
    return facts if isinstance(facts, dict) else {}


def stuck_timers(files_image: bytes) -> int:
    """How many periodic timerfds in a `files.img` have no time left: criu restores them so that they never fire again
    (criu issue 3162).
    """
    count = 0
    for entry in _entries(files_image):
        for number, value in _fields(entry):
            if number == _TIMERFD and isinstance(value, bytes):
                timer = {at: each for at, each in _fields(value) if isinstance(each, int)}
                is_periodic = any(timer.get(at, 0) for at in _INTERVAL)
                count += is_periodic and not any(timer.get(at, 0) for at in _VALUE)
    return count


def _names(folder: int) -> list[str]:
    names = sorted(name for name in os.listdir(folder) if name.endswith(".img"))
    if len(names) > _MOST_FILES:
        raise BadImages(f"{len(names)} files")
    return names


def _read_seal(folder: int, key: bytes) -> dict[str, Any]:
    try:
        with os.fdopen(os.open(SEAL_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb") as file:
            document = json.loads(file.read(_MOST_SEAL_BYTES))
        body = {"facts": document["facts"], "files": document["files"]}
        is_ours = hmac.compare_digest(document["signature"], _signature(body, key))
        if is_ours and isinstance(body["files"], dict):
            return body
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadImages(f"the signature cannot be read: {error}") from error
    raise BadImages("they were not dumped by an agent that has this host's key")


def _signature(body: dict[str, Any], key: bytes) -> str:
    return hmac.new(key, json.dumps(body, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _measured(folder: int, name: str, copy_to: int | None) -> tuple[int, str]:
    """A file's size and SHA-256, and a copy of it if wanted. Links are not followed: a container may hold it."""
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise BadImages(f"{name} is no file")
        target = None
        if copy_to is not None:
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=copy_to)
        try:
            return _hash(source, target)
        finally:
            if target is not None:
                os.close(target)
    finally:
        os.close(source)


def _hash(source: int, target: int | None) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while data := os.read(source, _COPY_BYTES):
        digest.update(data)
        size += len(data)
        left = memoryview(data)
        while target is not None and left:
            left = left[os.write(target, left) :]
    return size, digest.hexdigest()


def _entries(image: bytes) -> Iterator[bytes]:
    at = _HEAD_BYTES
    while at + 4 <= len(image):
        size = int.from_bytes(image[at : at + 4], "little")
        yield image[at + 4 : at + 4 + size]
        at += 4 + size


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """A protobuf message's fields: (number, value), see protobuf.dev "Encoding". Raises ValueError, IndexError."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
