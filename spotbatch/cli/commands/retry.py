"""`spotbatch retry`: rerun the failed children from their checkpoints."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.aws.artifacts import open_artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.environment import SPOTBATCH_CODE
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.cli.output.control import ControlledRun, say_controlled
from spotbatch.runs import artifact_store, control, lookup, parse
from spotbatch.runs.code import pack
from spotbatch.runs.manifest import RunPart
from spotbatch.runs.retry import indexes_of_failed, retry_run
from spotbatch.runs.units import failed_of

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def retry(
    job: JobArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show which children, and submit nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    code: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Run in this folder, not in the one that was sent at first.")
    ] = None,
    max_usd: Annotated[
        str | None, typer.Option(help="Go on with a run that its budget stopped: what the whole run may cost now.")
    ] = None,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the failed children of an array again, or a failed job, from their checkpoints.

    The new job has the same run id: `spotbatch results` of the old job finds the new outputs too.
    """
    jobs = Jobs()
    if max_usd is not None:
        return _resume(jobs, job, parse.usd(max_usd), stack=stack, queue=queue, watch=watch, as_json=as_json)
    ids = lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue)
    described = jobs.describe(ids)
    if not described:
        raise NotFound(f"there is no job {job!r} here any more (AWS Batch forgets a job about a week after its end)")
    failed = failed_of(jobs, described)
    run_id = artifact_store.run_id(described[0])
    if not failed:
        raise NotFound(f"nothing of {job} has FAILED, so there is nothing to run again")
    if dry_run:
        return _say_plan(described[0], run_id, indexes_of_failed(failed), as_json=as_json)
    packed = pack(code) if code is not None else None
    parts = retry_run(jobs, described, note=text.hint, stack=stack, code=packed)
    if packed is None and SPOTBATCH_CODE in described[0].environment:
        text.hint("it runs the code that was sent along at first; --code FOLDER sends what was mended since")
    _say_done(parts, run_id, indexes_of_failed(failed), as_json=as_json)
    if watch:
        from spotbatch.cli.commands.watch import follow

        called = run_id if len(parts) > 1 else None
        follow([part.job_id for part in parts], jobs=jobs, as_json=as_json, called=called)
    return None


def _resume(
    jobs: Jobs, named: str, max_usd: Decimal, *, stack: str | None, queue: str | None, watch: bool, as_json: bool
) -> None:
    """Resume a run that was stopped by its budget, with a new one."""
    found = jobs.get(lookup.job_ids(named, jobs=jobs, stack=stack, queue=queue)[-1])
    run = control.resume(jobs, artifact_store.run_id(found), max_usd, stack=stack)
    say_controlled(run, as_json=as_json, watch=watch)
    if watch:
        ControlledRun(jobs=jobs, store=open_artifacts(run.artifacts_url), run_id=run.run_id, as_json=as_json).run()


def _say_plan(job: Job, run_id: str, failed: list[int], *, as_json: bool) -> None:
    if as_json:
        return json.write({"run_id": run_id, "job_id": job.id, "indexes": failed})
    return text.say(f"{len(failed)} to run again under run {run_id}: {ArrayIndexes.of(failed)}")


def _say_done(parts: list[RunPart], run_id: str, failed: list[int], *, as_json: bool) -> None:
    if as_json:
        made = [{"job_id": part.job_id, "indexes": part.indexes} for part in parts]
        return json.write_event({"event": "submitted", "run_id": run_id, "jobs": made, "count": len(failed)})
    for part in parts:
        text.say(part.job_id)
    called = run_id if len(parts) > 1 else parts[0].job_id
    return text.hint(
        f"{len(failed):,} run again, from checkpoints where there are any; follow: spotbatch watch {called}"
    )
