"""`spotbatch list`: the jobs of a queue, newest first."""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Job
from spotbatch.batch.status import CONTAINER_EXITED, JobStatus
from spotbatch.cli.options import JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.runs import destination, job_list, lookup, parse
from spotbatch.runs.artifact_store import run_id
from spotbatch.runs.inputs import input_names
from spotbatch.runs.units import run_again, run_index

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_AGAIN: Final = "run again since"
_WAITING: Final = (JobStatus.SUBMITTED, JobStatus.RUNNABLE)
_DEFAULT_SINCE: Final = "7d"  # AWS Batch keeps ended jobs for about this long


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
        return _show_children(parent, job_list.children(jobs, parent, status=status, limit=limit), now, as_json=as_json)
    after = now - parse.seconds(since)
    at = destination.queue_of(stack=stack, queue=queue)
    found = job_list.of_queue(jobs, at, status=status, name=name, after=after, limit=limit)
    if as_json:
        return json.write([_plain(each) for each in found])
    if not found:
        return text.say("no jobs")
    standing = _standing(jobs, found)
    rows = [_row(each, now, standing.get(each.id)) for each in found]
    text.table(("JOB", "NAME", "STATUS", "SIZE", "SUBMITTED", "TOOK", "HOW IT STANDS"), rows, right=(3,))
    if any(each.status is JobStatus.FAILED and not standing.get(each.id, "").endswith(_AGAIN) for each in found):
        text.hint("`spotbatch doctor JOB` says why one FAILED")
    if len(found) == limit:
        text.hint(f"these are {limit}; --limit shows more")
    return None


def _standing(jobs: Jobs, found: Sequence[JobSummary]) -> dict[str, str]:
    """Each array's state in words, and what was retried since: one call of DescribeJobs per hundred jobs.

    ListJobs has neither; for a failed array it only says "Array Child Job failed".
    """
    names = {each.name for each in found if each.array_size}
    wanted = [each.id for each in found if each.array_size or (each.name in names and each.status.is_terminal)]
    described = sorted(jobs.describe(wanted), key=lambda each: each.created_at or 0.0) if wanted else []
    runs: dict[str, list[Job]] = defaultdict(list)
    for each in described:
        runs[run_id(each)].append(each)
    words: dict[str, str] = {}
    for run in runs.values():
        again = run_again(run)
        words |= {each.id: _in_words(each, len(again[each.id])) for each in run if each.array is not None}
    return words


def _in_words(array: Job, again: int) -> str:
    counts = array.array.status_summary if array.array is not None else {}
    size = array.array.size if array.array is not None else 1
    failed, done = counts.get(JobStatus.FAILED, 0), counts.get(JobStatus.SUCCEEDED, 0)
    parts = [f"{failed:,} of {size:,} FAILED"] if failed else []
    if not array.status.is_terminal:
        parts.insert(0, f"{done:,} of {size:,} done")
    if again:
        parts.append(f"{again:,} {_AGAIN}" if again < failed else _AGAIN)
    return ", ".join(parts)


def _show_children(parent: Job, found: list[JobSummary], now: float, *, as_json: bool) -> None:
    """Children by index, each with its input if it has one."""
    names = input_names(parent)
    inputs = {child.id: names.of(run_index(parent, child.array_index)) for child in found}
    if as_json:
        return json.write([{**_plain(child), "input": inputs[child.id] or None} for child in found])
    if not found:
        return text.say("no children")
    rows = []
    for child in found:
        ran = text.duration((child.stopped_at or now) - child.started_at) if child.started_at else "-"
        rows.append((str(child.array_index), text.status(child.status), ran, inputs[child.id], _reason(child)))
    text.table(("CHILD", "STATUS", "RAN FOR", "INPUT", "REASON"), rows, right=(0,))
    return None


def _row(job: JobSummary, now: float, standing: str | None) -> tuple[str, ...]:
    size = str(job.array_size) if job.array_size else ""
    words = _reason(job) if standing is None else standing
    return (job.id, job.name, text.status(job.status), size, text.ago(job.created_at, now), _took(job, now), words)


def _took(job: JobSummary, now: float) -> str:
    """From submission to end; so far, if it is running."""
    if job.created_at is None:
        return "-"
    if job.stopped_at:
        return text.duration(job.stopped_at - job.created_at)
    return f"{text.duration(now - job.created_at)} so far" if job.status not in _WAITING else "-"


def _reason(job: JobSummary) -> str:
    """Why it FAILED; AWS Batch's generic message for a failed command says less than the exit code."""
    if job.status is not JobStatus.FAILED:
        return ""
    code = f"exit code {job.exit_code}" if job.exit_code is not None else ""
    words = job.reason or job.status_reason
    return ": ".join(part for part in (code, "" if code and words == CONTAINER_EXITED else words) if part)


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
