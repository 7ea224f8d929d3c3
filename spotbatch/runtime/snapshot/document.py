"""`snapshot.json`: that there is a snapshot, where, and what it needs. Written last; anyone may have written it."""

import json
from collections.abc import Mapping
from typing import Any

from spotbatch.batch.light_dataclass import as_dict, dataclass

SCHEMA = 1
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One snapshot of a command."""

    schema: int = SCHEMA
    attempt: int  # that made it
    prefix: str  # where its images and files are
    checkpoint: str  # the newest checkpoint then: a newer one wins. "" if there was none
    command: str  # a digest of the command line: another command is not gone on with
    inputs: str  # a digest of its inputs and code
    places: list[str]  # the folders that its processes know; they must have the same names
    pid: int
    pipes: list[list[object]]  # [name in /proc, 1 or 2]: its output
    memory_bytes: int
    file_bytes: int
    seconds: float  # that the command was stopped for the dump
    bad: str = ""  # why it could not be restored: it is not tried again

    def to_json(self) -> bytes:
        return json.dumps(as_dict(self), indent=1).encode()


def read_snapshot(data: bytes) -> Snapshot | None:
    """None if it is not one that this version can use."""
    try:
        found = json.loads(data[:_MOST_BYTES])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA:
        return None
    values: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        value = found.get(name, "" if name == "bad" else None)
        if not isinstance(value, kind) or isinstance(value, bool):
            return None
        values[name] = value
    if not all(isinstance(place, str) for place in values["places"]) or not all(map(_is_pipe, values["pipes"])):
        return None
    return Snapshot(**values)


def _is_pipe(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[1] in (1, 2)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "attempt": int,
    "prefix": str,
    "checkpoint": str,
    "command": str,
    "inputs": str,
    "places": list,
    "pid": int,
    "pipes": list,
    "memory_bytes": int,
    "file_bytes": int,
    "seconds": (int, float),
    "bad": str,
}
