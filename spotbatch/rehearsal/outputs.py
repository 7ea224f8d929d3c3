"""Comparison of the outputs of two runs of the same jobs: which files differ, and where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import NotFound, SpotbatchError

_KEPT_BYTES: Final = 256 * 1024  # of each file: enough to show where a text differs
_KEPT_IN_ALL: Final = 64 * 1024 * 1024
_LONGEST_EXCERPT: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One file: its checksum and its first bytes, or None if those were not kept."""

    sha256: str
    head: bytes | None = None


Outputs = Mapping[int | None, Mapping[str, Output]]  # by unit, then by path


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A file that differs between the two runs."""

    unit: int | None
    path: str
    place: str  # in words

    @property
    def in_words(self) -> str:
        whose = "" if self.unit is None else f" of child {self.unit}"
        return f"{self.path}{whose} differs {self.place}"


def read_outputs(store: Artifacts, run_id: str, index: int | None, *, room: int = _KEPT_IN_ALL) -> dict[str, Output]:
    """The outputs of one job or child; empty unless it succeeded. `room` is the budget for all file contents kept."""
    try:
        marker: Any = read_json(store, layout.output_marker(run_id, index))
    except NotFound:
        return {}
    found = {}
    for each in marker["files"]:
        head = None
        if each["bytes"] <= _KEPT_BYTES <= room:
            room -= each["bytes"]
            head = _content(store, f"{layout.output_prefix(run_id, index)}/{each['path']}")
        found[each["path"]] = Output(sha256=each["sha256"], head=head)
    return found


def _content(store: Artifacts, key: str) -> bytes | None:
    try:
        return store.read(key)
    except SpotbatchError:
        return None  # then the position is unknown; the checksum still shows that it differs


def differences(one: Outputs, other: Outputs) -> Iterator[Difference]:
    """Every file that differs, in order. `one` is the undisturbed run."""
    for unit in one:
        mine, theirs = one[unit], other.get(unit, {})
        for path in sorted({*mine, *theirs}):
            if path not in theirs:
                yield Difference(unit=unit, path=path, place="(it is missing in the other run)")
            elif path not in mine:
                yield Difference(unit=unit, path=path, place="(only the other run has it)")
            elif mine[path].sha256 != theirs[path].sha256:
                yield Difference(unit=unit, path=path, place=_place(mine[path].head, theirs[path].head))


def _place(one: bytes | None, other: bytes | None) -> str:
    """Where two contents diverge: by line for text, by byte otherwise."""
    if one is None or other is None:
        return "somewhere (it is too large to say where)"
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if b"\0" in one or b"\0" in other:
        return f"from byte {at:,} on"
    line = one.count(b"\n", 0, at) + 1
    return f"in line {line:,}: {_line_at(one, at)} and {_line_at(other, at)}"


def _line_at(content: bytes, at: int) -> str:
    start = content.rfind(b"\n", 0, at) + 1
    line = content[start:].partition(b"\n")[0].decode(errors="replace")
    return repr(line if len(line) <= _LONGEST_EXCERPT else f"{line[:_LONGEST_EXCERPT]}…")
