"""`--inputs`: one child per input. The list is kept in the artifact store, a thousand lines per object."""

import glob
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from spotbatch.aws.artifacts import Artifacts, Bucket, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.environment import SPOTBATCH_INPUT_LIST, SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.runs import artifact_store

_GLOB: Final = frozenset("*?[")
_MOST_INPUTS: Final = 1_000_000
_SENT_FILE: Final = re.compile(r".+/inputs/files/[0-9]{7}/(.+)")
_LONGEST_LINE: Final = 8192
PICKLE_MARK: Final = "#pickle:"  # in a line of `Client.map`: stands between displayed text and pickle


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """The inputs given: literal lines, or local files that must be uploaded to the store first."""

    source: str
    lines: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @classmethod
    def of_lines(cls, lines: Iterable[str], *, source: str = "a list") -> "Inputs":
        """Inputs from a program. Raises InvalidInput for none, for too many, and for one that is not a single line."""
        found = cls(source=source, lines=tuple(lines))
        if not found.lines:
            raise InvalidInput(f"inputs of {source}: there are none, so there is nothing to submit")
        for number, line in enumerate(found.lines, start=1):
            if not isinstance(line, str) or not line.strip() or "\n" in line:
                raise InvalidInput(f"input {number} of {source} is one line of text, not {line!r}")
        return _checked(found)

    @property
    def count(self) -> int:
        return len(self.lines) or len(self.files)


def find_inputs(written: str) -> Inputs:
    """A file of lines (- is standard input), files by a pattern, or the objects of s3://bucket/prefix or a pattern.

    Raises NotFound or InvalidInput if that yields nothing, or too much.
    """
    if written.startswith("s3://"):
        found = Inputs(source=written, lines=tuple(_objects(written)))
    elif _GLOB & set(written):
        paths = (Path(each) for each in sorted(glob.glob(written, recursive=True)))  # noqa: PTH207 - absolute patterns too
        found = Inputs(source=written, files=tuple(path for path in paths if path.is_file()))
    else:
        found = Inputs(source=written, lines=tuple(_lines(written)))
    if not found.count:
        raise NotFound(f"--inputs {written}: nothing is there, so there is nothing to submit")
    return _checked(found)


def _checked(found: Inputs) -> Inputs:
    """Raises InvalidInput for more inputs than a run may have, or for an input that is too long."""
    if found.count > _MOST_INPUTS:
        raise InvalidInput(f"--inputs {found.source}: a run has at most {_MOST_INPUTS:,} inputs, not {found.count:,}")
    for number, line in enumerate(found.lines, start=1):
        if len(line) > _LONGEST_LINE:
            raise InvalidInput(
                f"--inputs {found.source}: input {number} has {len(line)} characters, at most {_LONGEST_LINE}"
            )
    return found


def _lines(written: str) -> list[str]:
    try:
        text = sys.stdin.read() if written == "-" else Path(written).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"--inputs {written}: there is no such file") from None
    except IsADirectoryError:
        every = written.rstrip("/")
        raise InvalidInput(
            f"--inputs {written} is a folder: --inputs '{every}/*' makes one child of each file in it, "
            f"--inputs '{every}/**' of those in its folders too"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--inputs {written}: it cannot be read as text ({error})") from error
    # not splitlines(): a form feed or U+2028, which JSON may contain, does not end a line of a file
    # Windows editors start a file with a byte order mark, which belongs to no line
    return [line for each in text.removeprefix("\ufeff").split("\n") if (line := each.removesuffix("\r")).strip()]


def _objects(url: str) -> list[str]:
    """The objects below a folder, or whose keys match a pattern, or otherwise those whose keys have this prefix.

    The prefix is taken literally: to S3, `day/` and `day//` differ. Markers of empty folders are not inputs.
    """
    bucket, _, wanted = url.removeprefix("s3://").partition("/")
    store = Bucket(url=f"s3://{bucket}", bucket=bucket, prefix="")
    literal = wanted[: min((wanted.find(each) for each in _GLOB if each in wanted), default=len(wanted))]
    try:
        if literal != wanted:
            objects = [found for found in store.beginning_with(literal) if fnmatchcase(found.key, wanted)]
        else:
            folder = wanted if not wanted or wanted.endswith("/") else f"{wanted}/"
            objects = list(store.beginning_with(folder)) or list(store.beginning_with(wanted))
    except SpotbatchError as error:
        raise type(error)(f"--inputs {url}: {error}") from error
    for each in objects:
        if each.key.endswith("/") and each.size_bytes:
            raise InvalidInput(
                f"--inputs {url}: the object {each.key!r} has {each.size_bytes} bytes and the name of a folder, so no "
                "child can have it as a file: give it another key"
            )
    return [f"s3://{bucket}/{each.key}" for each in objects if not each.key.endswith("/")]


def store_inputs(store: Artifacts, run_id: str, inputs: Inputs) -> None:
    """Put the list into the store, together with the files. The jobs are submitted afterwards."""
    lines = list(inputs.lines) or [_send(store, run_id, number, path) for number, path in enumerate(inputs.files)]
    for first in range(0, len(lines), layout.INPUTS_A_LIST):
        part = json.dumps(lines[first : first + layout.INPUTS_A_LIST], ensure_ascii=False)
        store.write(layout.input_list(run_id, first), part.encode())


def _send(store: Artifacts, run_id: str, number: int, path: Path) -> str:
    """Upload under the path given by the user, so that every screen can show it the same way."""
    named = path.name if path.is_absolute() or ".." in path.parts else path.as_posix()
    key = f"{layout.run_prefix(run_id)}/inputs/files/{number:07d}/{named}"
    store.upload(path, key)
    return f"{store.url.rstrip('/')}/{key.removesuffix(named)}{named.replace('%', '%25')}"


def input_label(line: str) -> str:
    """An input as the user knows it: the path of a sent file, a pickled item's text, or the line itself."""
    if PICKLE_MARK in line:
        return line.rpartition(PICKLE_MARK)[0]
    found = _SENT_FILE.fullmatch(line)
    return found[1].replace("%25", "%") if found is not None else line


@dataclass(kw_only=True)
class InputNames:
    """The inputs of a run's children, read a thousand at a time and only on demand."""

    store: Artifacts | None
    run_id: str
    _lists: dict[str, list[str]] = field(default_factory=dict)

    def of(self, index: int | None) -> str:
        """The input of a child by its index in the run, as given by the user; "" if it has none."""
        if self.store is None or index is None:
            return ""
        key = layout.input_list(self.run_id, index)
        if key not in self._lists:
            try:
                self._lists[key] = list(read_json(self.store, key))
            except NotFound:
                self._lists[key] = []
        lines = self._lists[key]
        place = index % layout.INPUTS_A_LIST
        return input_label(str(lines[place])) if place < len(lines) else ""


def input_names(job: Job) -> InputNames:
    """The names for a job's children; empty if the job was submitted without --inputs."""
    has_list = job.environment.get(SPOTBATCH_INPUT_LIST) == "1"
    return InputNames(
        store=artifact_store.store_of(job) if has_list else None,
        run_id=job.environment.get(SPOTBATCH_RUN_ID) or job.parent_id,
    )
