"""`spotbatch retry`: run the failed children again, from their checkpoints."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

import typer

from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.environment import SPOTBATCH_RUN_ID
from spotbatch.batch.errors import NotFound, SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.cli import finding, runs
from spotbatch.cli.inputs import indexes_text, run_index
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.cli.runs import FailedUnit, Run, RunPart

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def retry(
    job: JobArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show which children, and submit nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the failed children of an array again, or a failed job, from their checkpoints.

    The new job has the same run id: `spotbatch results` of the old job finds the new outputs too.
    """
    jobs = Jobs()
    ids = finding.job_ids(job, jobs=jobs, stack=stack, queue=queue)
    described = jobs.describe(ids)
    if not described:
        raise NotFound(f"there is no job {job!r} here any more (AWS Batch forgets a job about a week after its end)")
    failed = runs.failed_of(jobs, described)
    run_id = finding.run_id(described[0])
    if not failed:
        raise NotFound(f"nothing of {job} has FAILED, so there is nothing to run again")
    if dry_run:
        return _say_plan(described[0], run_id, _indexes(failed), as_json=as_json)
    parts = [
        part
        for own in described
        if (mine := [each for each in failed if each.job.id == own.id])
        for part in again(jobs, own, _indexes(mine), stack=stack)
    ]
    _say_done(parts, run_id, _indexes(failed), as_json=as_json)
    if watch:
        from spotbatch.cli.watch import follow

        called = run_id if len(parts) > 1 else None
        follow([part.job_id for part in parts], jobs=jobs, as_json=as_json, called=called)
    return None


def _indexes(failed: Sequence[FailedUnit]) -> list[int]:
    return [each.index or 0 for each in failed]


def again(jobs: Jobs, found: Job, failed: list[int], *, stack: str | None = None) -> list[RunPart]:
    """Submit what FAILED of a job once more, and add it to the run's list. Raises NotFound where nothing has FAILED."""
    if not failed:
        raise NotFound(f"nothing of job {found.id} ({found.status}) has FAILED, so there is nothing to run again")
    run_id = finding.run_id(found)
    if found.array is None and found.array_index is None and run_index(found) is None:
        new = jobs.again(found.id, environment={SPOTBATCH_RUN_ID: run_id}, array_size=None)
        parts = [RunPart(job_id=new, indexes="")]
    else:
        parts = runs.resubmit(jobs, found.parent_id, run_id, failed)
    _remember(found, run_id, parts, stack)
    return parts


def failed_indexes(jobs: Jobs, job: Job) -> list[int]:
    """The indexes in their run of what FAILED: of an array's children, or of the job or child itself."""
    return _indexes(runs.failed_of(jobs, [job]))


def _remember(job: Job, run_id: str, parts: list[RunPart], stack: str | None) -> None:
    """Add the new jobs to the run's own list, so that the run can be asked about as a whole."""
    try:
        store: Artifacts = finding.store_of(job, stack=stack)
        try:
            run = runs.read_run(store, run_id)
        except NotFound:
            first = RunPart(job_id=job.parent_id, indexes=_all(job))
            began = job.created_at or time.time()
            run = Run(run_id=run_id, name=job.name, queue=job.queue, created_at=began, parts=(first,))
        runs.write_run(store, replace(run, parts=(*run.parts, *parts)))
    except SpotbatchError as error:
        text.hint(f"the run's list of jobs could not be kept: {error}")


def _all(job: Job) -> str:
    return f"0-{job.array.size - 1}" if job.array is not None else ""


def _say_plan(job: Job, run_id: str, failed: list[int], *, as_json: bool) -> None:
    if as_json:
        return json.write({"run_id": run_id, "job_id": job.id, "indexes": failed})
    return text.say(f"{len(failed)} to run again under run {run_id}: {indexes_text(failed)}")


def _say_done(parts: list[RunPart], run_id: str, failed: list[int], *, as_json: bool) -> None:
    if as_json:
        made = [{"job_id": part.job_id, "indexes": part.indexes} for part in parts]
        return json.write_event({"event": "submitted", "run_id": run_id, "jobs": made, "count": len(failed)})
    for part in parts:
        text.say(part.job_id)
    called = run_id if len(parts) > 1 else parts[0].job_id
    return text.hint(f"{len(failed):,} run again from their checkpoints; follow: spotbatch watch {called}")
