"""`spotbatch results`: a job's outputs, fetched into a folder and verified."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from spotbatch.aws.artifacts import Artifacts, read_json, safe_relative
from spotbatch.aws.jobs import Jobs
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import NotFound, Unavailable
from spotbatch.batch.job import Job
from spotbatch.cli import finding
from spotbatch.cli.inputs import InputNames, input_names
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.cli.runs import indexes_of

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
NAMES_FILE: Final = "inputs.tsv"  # folder, tab, input
_WIDTH: Final = 16
_READ_BYTES: Final = 1 << 20
_TELL_EVERY_SECONDS: Final = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFile:
    """One file that an output marker lists, and where it goes."""

    key: str
    to: Path
    size_bytes: int
    sha256: str


@app.command()
def results(
    job: JobArgument,
    destination: Annotated[Path, typer.Argument(help="The folder; an array's children get a folder each in it.")],
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the outputs of a job, or of the children that succeeded so far, and verify their checksums.

    With --inputs, inputs.tsv in the folder says which input each child's folder stands for.

    Run it again to go on where it stopped: what is here already and is right is not fetched again.
    """
    jobs = Jobs()
    described = jobs.describe(finding.job_ids(job, jobs=jobs, stack=stack, queue=queue))
    if not described:
        raise NotFound(f"there is no job {job!r} here any more; its outputs may still be in the store")
    found = described[0]
    store = finding.store_of(found, stack=stack)
    files, missing = wanted(store, described, destination)
    try:
        fetched = fetch(store, files)
    except KeyboardInterrupt:
        text.hint(f"stopped; what is in {destination} is whole: the same command goes on from there")
        raise typer.Exit(130) from None
    names = input_names(found)
    write_names(names, described, destination)
    if as_json:
        return json.write(
            {
                "job_id": found.id,
                "destination": str(destination),
                "files": len(files),
                "bytes": sum(each.size_bytes for each in files),
                "fetched_files": fetched,
                "units_without_outputs": missing,
            }
        )
    total = text.size(sum(each.size_bytes for each in files))
    text.say(f"{text.count(len(files), 'file')}, {total}, verified, in {destination} ({fetched} fetched now)")
    if missing:
        text.hint(f"no outputs yet of {text.count(len(missing), 'child')}: {_few(missing, names)}")
    return None


def wanted(store: Artifacts, jobs: Sequence[Job], destination: Path) -> tuple[list[OutputFile], list[int]]:
    """The files of a run's outputs, and the indexes of children that have none. Raises NotFound if there are none."""
    job = jobs[0]
    run = finding.run_id(job)
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


def fetch(store: Artifacts, files: Sequence[OutputFile]) -> int:
    """Fetch what is not here yet; gives how many files. Raises Unavailable where a file is not what was promised."""
    meter = _Meter(total=sum(each.size_bytes for each in files))
    fetched = 0
    with ThreadPoolExecutor(max_workers=_WIDTH) as workers:
        coming = [workers.submit(_fetch_one, store, each, meter) for each in files]
        try:
            for each in as_completed(coming):
                fetched += each.result()
        except BaseException:
            workers.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            meter.close()
    return fetched


def _fetch_one(store: Artifacts, file: OutputFile, meter: "_Meter") -> bool:
    if file.to.is_file() and file.to.stat().st_size == file.size_bytes and _sha256(file.to) == file.sha256:
        meter.add(file.size_bytes)
        return False
    try:
        file.to.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.to.with_name(f".{file.to.name}.part")
        store.download(file.key, scratch, meter.add)
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
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while data := opened.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def write_names(names: InputNames, jobs: Sequence[Job], destination: Path) -> None:
    """Keep beside the folders which input each stands for. Nothing where the run has no inputs, or is no array."""
    places = sorted({index for job in jobs for index in indexes_of(job) if index is not None})
    if names.store is None or len(places) < 2:
        return
    lines = "".join(f"{layout.unit_name(index)}\t{names.of(index)}\n" for index in places)
    try:
        (destination / NAMES_FILE).write_text(lines, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{destination / NAMES_FILE} cannot be written: {error.strerror or error}") from error


def _few(indexes: Sequence[int], names: InputNames) -> str:
    shown = ", ".join(f"{each} ({mine})" if (mine := names.of(each)) else str(each) for each in indexes[:20])
    return f"{shown}, ..." if len(indexes) > 20 else shown


class _Meter:
    """Bytes so far, on one line of a terminal's standard error."""

    def __init__(self, *, total: int) -> None:
        import sys
        import threading

        self._lock = threading.Lock()
        self._err = sys.stderr
        self._is_shown = self._err.isatty() and total > 0
        self._total, self._done, self._told_at = total, 0, 0.0

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if self._is_shown and now - self._told_at > _TELL_EVERY_SECONDS:
                self._told_at = now
                self._err.write(f"\r{text.size(self._done)} of {text.size(self._total)} ")
                self._err.flush()

    def close(self) -> None:
        if self._is_shown and self._told_at:
            self._err.write("\r\x1b[K")
            self._err.flush()
