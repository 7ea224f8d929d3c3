"""`spotbatch results`: a job's outputs, fetched into a folder and verified."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.runs import artifact_store, lookup
from spotbatch.runs.inputs import InputNames, input_names
from spotbatch.runs.results import fetch, wanted, write_names
from spotbatch.runs.units import failed_of, run_size

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_TELL_EVERY_SECONDS: Final = 0.2


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

    Run it again to go on where it stopped: what is here already and is right is not fetched again. Exit code 1 where
    children have no outputs because they FAILED.
    """
    jobs = Jobs()
    described = jobs.describe(lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue))
    if not described:
        raise NotFound(f"there is no job {job!r} here any more; its outputs may still be in the store")
    found = described[0]
    store = artifact_store.store_of(found, stack=stack)
    files, missing = wanted(store, described, destination)
    meter = _Meter(total=sum(each.size_bytes for each in files))
    try:
        fetched = fetch(store, files, meter.add)
    except KeyboardInterrupt:
        text.hint(f"stopped; what is in {destination} is whole: the same command goes on from there")
        raise typer.Exit(130) from None
    finally:
        meter.close()
    names = input_names(found)
    write_names(names, described, destination)
    failed = sorted({each.index or 0 for each in failed_of(jobs, described)} & set(missing)) if missing else []
    if as_json:
        json.write(
            {
                "job_id": found.id,
                "destination": str(destination),
                "is_complete": not missing,
                "files": len(files),
                "bytes": sum(each.size_bytes for each in files),
                "fetched_files": fetched,
                "units_without_outputs": missing,
                "failed_units": failed,
            }
        )
    else:
        units = run_size(described)
        part = f"partial, {units - len(missing):,} of {units:,} children: " if missing else ""
        total = text.size(sum(each.size_bytes for each in files))
        text.say(f"{part}{text.count(len(files), 'file')}, {total}, verified, in {destination} ({fetched} fetched now)")
        _say_missing(job, described, missing, failed, names)
    if failed:
        raise typer.Exit(1)


def _say_missing(
    called: str, run: Sequence[Job], missing: Sequence[int], failed: Sequence[int], names: InputNames
) -> None:
    """Say which children lack outputs, and why: they FAILED, are not done, or never saved any."""
    others = [each for each in missing if each not in set(failed)]
    if failed:
        text.hint(f"no outputs of {_few(failed, names)}, which FAILED: `spotbatch retry {called}` runs them again")
    if others:
        is_over = all(each.status.is_terminal for each in run)
        why = "which saved none (only `spotrun` does)" if is_over else "which have not ended"
        text.hint(f"no outputs of {_few(others, names)}, {why}")


def _few(indexes: Sequence[int], names: InputNames) -> str:
    head = text.count(len(indexes), "child")
    shown = ", ".join(f"{each} ({mine})" if (mine := names.of(each)) else str(each) for each in indexes[:20])
    return f"{head}: {shown}, ..." if len(indexes) > 20 else f"{head}: {shown}"


class _Meter:
    """Shows the bytes so far on one line of a terminal's standard error."""

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
