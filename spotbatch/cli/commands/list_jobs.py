"""`spotbatch list`: the jobs of a queue, newest first."""

import time
from typing import Annotated, Final

import typer

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.runs import destination, lookup, parse
from spotbatch.runs.inputs import input_names
from spotbatch.runs.units import run_index

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_DEFAULT_SINCE: Final = "7d"  # AWS Batch keeps ended jobs for about that long


@app.command()
def list_jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this status.", case_sensitive=False)] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name; a trailing * matches any end.")] = None,
    since: Annotated[str, typer.Option(help="Only jobs submitted since: 30m, 12h, 7d.")] = _DEFAULT_SINCE,
    array: Annotated[str | None, typer.Option(metavar="JOB", help="The children of this array instead.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 50,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """The jobs of the queue, newest first; with --array an array's children by index."""
    now = time.time()
    jobs = Jobs()
    if array is not None:
        parent = jobs.get(lookup.one_job(array, jobs=jobs, stack=stack, queue=queue))
        return _show_children(parent, _children(jobs, parent, status, limit), now, as_json=as_json)
    after = now - parse.seconds(since)
    found = _of_queue(jobs, destination.queue_of(stack=stack, queue=queue), status, name, after, limit)
    if as_json:
        return json.write([_plain(each) for each in found])
    if not found:
        return text.say("no jobs")
    rows = [_row(each, now) for each in found]
    text.table(("JOB", "NAME", "STATUS", "SIZE", "SUBMITTED", "RAN FOR", "REASON"), rows, right=(3,))
    if len(found) == limit:
        text.hint(f"these are {limit}; --limit shows more")
    return None


def _of_queue(
    jobs: Jobs, queue: str, status: JobStatus | None, name: str | None, after: float, limit: int
) -> list[JobSummary]:
    """AWS Batch filters by one thing at a time; the others are applied here."""
    most = limit if status is None and name is None else 10_000
    if name is not None:
        found = jobs.named(queue, name, limit=most)
    elif status is not None:
        found = jobs.in_status(queue, status, limit=most)
    else:
        found = jobs.created_after(queue, after, limit=10_000)
    kept = [one for one in found if status in (None, one.status) and (one.created_at or after) >= after]
    return kept[:limit]


def _children(jobs: Jobs, parent: Job, status: JobStatus | None, limit: int) -> list[JobSummary]:
    if parent.array is None:
        raise InvalidInput(f"job {parent.id} is no array: it has no children to list")
    wanted = [status] if status is not None else [each for each in JobStatus if parent.array.status_summary.get(each)]
    found = [child for each in wanted for child in jobs.children(parent.id, each, limit=limit)]
    return sorted(found, key=lambda child: child.array_index or 0)[:limit]


def _show_children(parent: Job, found: list[JobSummary], now: float, *, as_json: bool) -> None:
    """Children by index, each with its input where there is one."""
    names = input_names(parent)
    inputs = {child.id: names.of(run_index(parent, child.array_index)) for child in found}
    if as_json:
        return json.write([{**_plain(child), "input": inputs[child.id] or None} for child in found])
    if not found:
        return text.say("no children")
    rows = []
    for child in found:
        _, _, status, _, _, ran, reason = _row(child, now)
        rows.append((str(child.array_index), status, ran, inputs[child.id], reason))
    text.table(("CHILD", "STATUS", "RAN FOR", "INPUT", "REASON"), rows, right=(0,))
    return None


def _row(job: JobSummary, now: float) -> tuple[str, ...]:
    end = job.stopped_at or now
    ran = text.duration(end - job.started_at) if job.started_at else "-"
    reason = job.reason or job.status_reason if job.status is JobStatus.FAILED else ""
    code = f"exit {job.exit_code}: " if reason and job.exit_code else ""
    size = str(job.array_size) if job.array_size else ""
    return (job.id, job.name, text.status(job.status), size, text.ago(job.created_at, now), ran, code + reason)


def _plain(job: JobSummary) -> dict[str, object]:
    return {
        "job_id": job.id,
        "name": job.name,
        "status": job.status,
        "status_reason": job.status_reason,
        "reason": job.reason,
        "exit_code": job.exit_code,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "stopped_at": job.stopped_at,
        "array_size": job.array_size,
        "array_index": job.array_index,
        "definition": job.definition,
    }
