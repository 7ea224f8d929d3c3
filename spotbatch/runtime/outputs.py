"""Putting the command's outputs into the store, whole or not at all, and what a failed attempt leaves behind."""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.errors import Missing
from spotbatch.runtime.log import say
from spotbatch.runtime.storage.parallel import in_parallel
from spotbatch.runtime.storage.store import Store

WIDTH = 4
SCHEMA = 1
READ_BYTES = 1024 * 1024
SMALL_BYTES = 8 * 1024 * 1024  # sent in one request


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFile:
    """One file of the output folder."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Uploaded:
    """What was sent; nothing, where the store had it all."""

    files: tuple[OutputFile, ...]
    uploaded_bytes: int

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def upload_outputs(store: Store, prefix: str, marker: str, folder: Path, limit: Limit) -> Uploaded:
    """Send every file of `folder` below `prefix`, then the marker that lists them and makes them count.

    What the marker in the store already lists with the same content is not sent again.

    Raises:
        StoreError: not all could be sent within the limit; then the marker is not written.
    """
    files = list_outputs(folder)
    before = _marked(store, marker, limit)
    new = [file for file in files if before.get(file.path) != file]
    if before and not new and len(before) == len(files):
        return Uploaded(files=tuple(files), uploaded_bytes=0)
    if before and new:
        retrying(lambda: store.delete([marker]), limit)  # what it promises is about to be overwritten
    in_parallel(WIDTH, new, lambda file: send_file(store, f"{prefix}/{file.path}", folder / file.path, limit))
    body = {
        "schema": SCHEMA,
        "written_at": time.time(),
        "files": [{"path": file.path, "bytes": file.size, "sha256": file.sha256} for file in files],
    }
    retrying(lambda: store.put(marker, json.dumps(body, indent=1).encode()), limit)
    _remove_strays(store, prefix, {file.path for file in files}, limit)
    return Uploaded(files=tuple(files), uploaded_bytes=sum(file.size for file in new))


def list_outputs(folder: Path) -> list[OutputFile]:
    """Regular files below the folder, links to files followed, in order of path.

    Raises:
        OSError: a folder or file cannot be read.
    """
    found = []
    for top, folders, names in os.walk(folder, onerror=_raise):
        for name in folders:
            if Path(top, name).is_symlink():
                say(f"not saved: {Path(top, name).relative_to(folder)} is a link to a folder")
        for name in names:
            file = Path(top, name)
            if file.is_file():
                found.append(_output_file(folder, file))
    return sorted(found, key=lambda file: file.path)


def send_file(store: Store, key: str, file: Path, limit: Limit) -> None:
    """One file, in one request where it is small and in parts where it is large."""
    if file.stat().st_size <= SMALL_BYTES:
        data = file.read_bytes()
        retrying(lambda: store.put(key, data), limit)
    else:
        retrying(lambda: store.put_file(key, file), limit)


def _raise(error: OSError) -> None:
    raise error


def _output_file(folder: Path, file: Path) -> OutputFile:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as opened:
        while data := opened.read(READ_BYTES):
            digest.update(data)
            size += len(data)
    return OutputFile(path=file.relative_to(folder).as_posix(), size=size, sha256=digest.hexdigest())


def _marked(store: Store, marker: str, limit: Limit) -> dict[str, OutputFile]:
    """What the marker lists; nothing where there is none, or none that we understand."""
    try:
        body: dict[str, Any] = json.loads(retrying(lambda: store.get(marker), limit))
        listed = [OutputFile(path=f["path"], size=f["bytes"], sha256=f["sha256"]) for f in body["files"]]
    except (Missing, ValueError, KeyError, TypeError):
        return {}
    return {file.path: file for file in listed}


def _remove_strays(store: Store, prefix: str, paths: set[str], limit: Limit) -> None:
    """Files of an earlier attempt that was cut off while it uploaded, and that the marker does not list."""
    present = retrying(lambda: [key for key, _ in store.list(f"{prefix}/")], limit)
    strays = [key for key in present if key.removeprefix(f"{prefix}/") not in paths]
    if strays:
        retrying(lambda: store.delete(strays), limit)
