"""Outputs of a successful command that are not all stored yet: the next attempt only finishes the upload.

Before the first of them is sent, `output.pending.json` lists them all with their checksums. Files whose checksum is
found in the store, or in a folder that survived the attempt (`Workspace.keep`), need not be produced again. The
command runs again, from its last state, only if a file is in neither place.
"""

import time
from collections.abc import Mapping

from spotbatch.batch.errors import Corrupt, Missing, StoreError
from spotbatch.batch.light_dataclass import dataclass
from spotbatch.batch.light_json import dumps
from spotbatch.batch.light_types import Any
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say
from spotbatch.runtime.storage.store import Store

SCHEMA = 1
READ_BYTES = 1024 * 1024
RANGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """One file of the output folder."""

    path: str
    size: int
    sha256: str


def listing(files: list[OutputFile]) -> bytes:
    """The document that lists outputs: used as the marker, and while they are pending."""
    body = {
        "schema": SCHEMA,
        "written_at": time.time(),
        "files": [{"path": file.path, "bytes": file.size, "sha256": file.sha256} for file in files],
    }
    return dumps(body).encode()


def listed(data: bytes) -> dict[str, OutputFile] | None:
    """The outputs listed by such a document, by path; None if it cannot be understood."""
    import json  # 2 ms, which an attempt without earlier outputs need not pay

    try:
        body: dict[str, Any] = json.loads(data)
        files = [OutputFile(path=str(f["path"]), size=int(f["bytes"]), sha256=str(f["sha256"])) for f in body["files"]]
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    return {file.path: file for file in files}


def read_listing(store: Store, key: str, limit: Limit) -> dict[str, OutputFile]:
    """Empty if there is none.

    Raises:
        StoreError: the store did not answer within the limit.
    """
    try:
        return listed(retrying(lambda: store.get(key), limit)) or {}
    except (Missing, Corrupt):
        return {}


def output_file(folder: Path, file: Path) -> OutputFile:
    """A file with its checksum. Raises OSError."""
    import hashlib  # loads OpenSSL, which a start that has nothing to hash need not wait for

    digest, size = hashlib.sha256(), 0
    with file.open("rb") as opened:
        while data := opened.read(READ_BYTES):
            digest.update(data)
            size += len(data)
    return OutputFile(path=file.relative_to(folder).as_posix(), size=size, sha256=digest.hexdigest())


def kept_here(folder: Path | None, wanted: Mapping[str, OutputFile]) -> set[str]:
    """Those present in a folder of this machine with the expected content."""
    if folder is None:
        return set()
    return {path for path, file in wanted.items() if _is_file(folder, file)}


def in_store(store: Store, prefix: str, wanted: Mapping[str, OutputFile], limit: Limit) -> set[str]:
    """Those in the store below a prefix with the expected content: all of it is read.

    Raises:
        StoreError: the store did not answer within the limit.
    """
    found = set()
    sizes = retrying(lambda: {key.removeprefix(f"{prefix}/"): size for key, size in store.list(f"{prefix}/")}, limit)
    for path, file in wanted.items():
        if sizes.get(path) == file.size and _stored_digest(store, f"{prefix}/{path}", file.size, limit) == file.sha256:
            found.add(path)
    return found


def _is_file(folder: Path, file: OutputFile) -> bool:
    path = folder / file.path
    try:
        return path.is_file() and path.stat().st_size == file.size and output_file(folder, path) == file
    except OSError:
        return False


def _stored_digest(store: Store, key: str, size: int, limit: Limit) -> str:
    import hashlib  # as above

    digest = hashlib.sha256()
    try:
        for offset in range(0, size, RANGE_BYTES):
            span = (offset, min(RANGE_BYTES, size - offset))
            digest.update(retrying(lambda span=span: store.get_ranges(key, [span]), limit)[0])  # type: ignore[misc]
    except (Missing, Corrupt):
        return ""
    return digest.hexdigest()


def forget(store: Store, key: str, limit: Limit) -> None:
    """Delete the list of pending outputs. If that fails it stays: next to a marker it has no effect."""
    try:
        retrying(lambda: store.delete([key]), limit)
    except StoreError as problem:
        say(f"{key} stays: {problem}")
