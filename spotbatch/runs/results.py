"""A run's outputs: which files its markers list, and how they are fetched and verified."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spotbatch.aws.artifacts import Artifacts, read_json, safe_relative
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import NotFound, Unavailable
from spotbatch.batch.job import Job
from spotbatch.runs import artifact_store
from spotbatch.runs.inputs import InputNames, input_names
from spotbatch.runs.units import indexes_of

NAMES_FILE: Final = "inputs.tsv"  # folder, tab, input
_WIDTH: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFile:
    """One file listed by an output marker, and its destination."""

    key: str
    to: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """What a folder now contains. `missing`: the indexes of children that have no outputs yet."""

    folder: Path
    files: int
    size_bytes: int
    fetched: int
    missing: tuple[int, ...]


def collect(
    run: Sequence[Job], folder: Path, *, stack: str | None = None, on_bytes: Callable[[int], None] = lambda _: None
) -> Results:
    """Fetch and verify the outputs of a run's jobs, and record which input each folder stands for."""
    store = artifact_store.store_of(run[0], stack=stack)
    files, missing = wanted(store, run, folder)
    fetched = fetch(store, files, on_bytes)
    write_names(input_names(run[0]), run, folder)
    size = sum(each.size_bytes for each in files)
    return Results(folder=folder, files=len(files), size_bytes=size, fetched=fetched, missing=tuple(missing))


def wanted(store: Artifacts, jobs: Sequence[Job], destination: Path) -> tuple[list[OutputFile], list[int]]:
    """The files of a run's outputs, and the indexes of children that have none. Raises NotFound if there are none."""
    job = jobs[0]
    run = artifact_store.run_id(job)
    indexes = list(dict.fromkeys(index for each in jobs for index in indexes_of(each)))
    if len(indexes) == 1:
        marker = layout.output_marker(run, indexes[0])
        try:
            return list(_listed(store, marker, layout.output_prefix(run, indexes[0]), destination)), []
        except NotFound:
            raise NotFound(
                f"job {job.id} ({job.status}) has no outputs: the runtime saves them once the command succeeded"
            ) from None
    places = sorted(index for index in indexes if index is not None)
    files: list[OutputFile] = []
    missing: list[int] = []
    with ThreadPoolExecutor(max_workers=_WIDTH) as readers:
        coming = readers.map(lambda at: _of_child(store, run, at, destination), places)
        for index, found in zip(places, coming, strict=True):
            if found is None:
                missing.append(index)
            else:
                files += found
    if len(missing) == len(places):
        raise NotFound(f"no child of {job.id} has outputs yet: `spotbatch show {job.id}` tells how they stand")
    return files, missing


def _of_child(store: Artifacts, run: str, index: int, destination: Path) -> list[OutputFile] | None:
    folder = destination / layout.unit_name(index)
    try:
        return list(_listed(store, layout.output_marker(run, index), layout.output_prefix(run, index), folder))
    except NotFound:
        return None


def _listed(store: Artifacts, marker: str, prefix: str, folder: Path) -> Iterator[OutputFile]:
    found: Any = read_json(store, marker)
    for each in found["files"]:
        yield OutputFile(
            key=f"{prefix}/{each['path']}",
            to=folder / safe_relative(each["path"]),
            size_bytes=int(each["bytes"]),
            sha256=each["sha256"],
        )


def fetch(store: Artifacts, files: Sequence[OutputFile], on_bytes: Callable[[int], None] = lambda _: None) -> int:
    """Fetch missing files; returns how many. `on_bytes` is called, from any thread, with bytes received.

    Raises Unavailable if a file does not match its marker.
    """
    fetched = 0
    with ThreadPoolExecutor(max_workers=_WIDTH) as workers:
        coming = [workers.submit(_fetch_one, store, each, on_bytes) for each in files]
        try:
            for each in as_completed(coming):
                fetched += each.result()
        except BaseException:
            workers.shutdown(wait=True, cancel_futures=True)
            raise
    return fetched


def _fetch_one(store: Artifacts, file: OutputFile, on_bytes: Callable[[int], None]) -> bool:
    if file.to.is_file() and file.to.stat().st_size == file.size_bytes and _sha256(file.to) == file.sha256:
        on_bytes(file.size_bytes)
        return False
    try:
        file.to.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.to.with_name(f".{file.to.name}.part")
        store.download(file.key, scratch, on_bytes)
        if scratch.stat().st_size != file.size_bytes or _sha256(scratch) != file.sha256:
            scratch.unlink()
            raise Unavailable(
                f"{file.key} in {store.url} is not what the job saved (its checksum differs): fetch it again"
            )
        scratch.replace(file.to)
    except OSError as error:
        raise Unavailable(f"{file.to} cannot be written: {error.strerror or error}") from error
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_names(names: InputNames, jobs: Sequence[Job], destination: Path) -> None:
    """Record which input each folder stands for. Does nothing if the run has no inputs or is not an array."""
    places = sorted({index for job in jobs for index in indexes_of(job) if index is not None})
    if names.store is None or len(places) < 2:
        return
    lines = "".join(f"{layout.unit_name(index)}\t{names.of(index)}\n" for index in places)
    try:
        (destination / NAMES_FILE).write_text(lines, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{destination / NAMES_FILE} cannot be written: {error.strerror or error}") from error
