"""`spotbatch logs`: what a job wrote, so far or as it grows."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import DEFAULT_GROUP, LogEvent, Logs
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.runs import lookup
from spotbatch.runs.inputs import input_names
from spotbatch.runs.logs import AttemptBegan, follow, lines
from spotbatch.runs.units import failed_of, indexes_of, run_index, run_size

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_MOST_CHILDREN: Final = 50

Show = Callable[[LogEvent, str], None]


@app.command()
def logs(
    job: JobArgument,
    is_followed: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Of all failed children of an array.")] = False,
    attempt: Annotated[int | None, typer.Option(help="Of this attempt (default: the last).", min=1)] = None,
    tail: Annotated[int | None, typer.Option(help="Only the last lines, 10,000 at most.", min=1, max=10_000)] = None,
    grep: Annotated[str | None, typer.Option(help="Only lines in which this regular expression is found.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Each line with its time.")] = False,
    queue: QueueOption = None,
    stack: StackOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Every byte as it was written, control characters too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What a job wrote. Of an array, name one child (JOB:INDEX), or ask for --failed."""
    jobs = Jobs()
    show = _shower(grep, is_timed=timestamps, is_raw=raw, as_json=as_json)
    if failed and (is_followed or attempt):
        raise InvalidInput("--failed shows the last attempt of what has ended: leave out --follow and --attempt")
    if is_followed and attempt:
        raise InvalidInput("--follow shows every attempt as it comes: leave out --attempt, or --follow")
    if failed:
        parts = lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue)
        return _of_failed(jobs, parts, tail, show, as_json=as_json)
    parts = lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue)
    found = jobs.get(parts[-1])
    if len(parts) > 1 or found.array is not None:
        raise InvalidInput(_which_child(job, jobs.describe(parts), is_followed=is_followed))
    if is_followed:
        return _follow(jobs, found, show, tail)
    for event in lines(found, attempt=attempt, tail=tail):
        show(event, found.id)
    return None


def _which_child(called: str, run: Sequence[Job], *, is_followed: bool) -> str:
    """The message if a run has several logs; uses the name given by the user."""
    first = next((index for job in run for index in indexes_of(job) if index is not None), None)
    if first is None:  # one job, retried
        return f"{called} is {len(run)} jobs, the newest last: {', '.join(job.id for job in run)}: name one of them"
    way = "-f follows one child" if is_followed else "name a child by its index"
    return f"{called} has {text.count(run_size(run), 'child')}: {way}, as {called}:{first}" + (
        "" if is_followed else ", or give --failed"
    )


def _shower(grep: str | None, *, is_timed: bool, is_raw: bool, as_json: bool) -> Show:
    try:
        pattern = re.compile(grep) if grep is not None else None
    except re.error as error:
        raise InvalidInput(f"--grep takes a regular expression, not {grep!r}: {error}") from error

    def show(event: LogEvent, unit: str) -> None:
        if pattern is not None and not pattern.search(event.text):
            return
        if as_json:
            json.write_event({"at": event.at, "job_id": unit, "stream": event.stream, "text": event.text})
            return
        line = f"{text.styled(text.clock(event.at), 'dim')}  {event.text}" if is_timed else event.text
        if is_raw:
            sys.stdout.write(f"{line}\n")
        else:
            text.say(line)

    return show


def _of_failed(jobs: Jobs, parts: Sequence[str], tail: int | None, show: Show, *, as_json: bool) -> None:
    """The last attempt of each failed child of a run, under a heading."""
    run = jobs.describe(parts)
    ids = [each.unit_id for each in failed_of(jobs, run, limit=_MOST_CHILDREN)][:_MOST_CHILDREN]
    if not ids:
        return text.hint("no child has FAILED")
    logs = Logs(group=run[0].log_group or DEFAULT_GROUP)
    names = input_names(run[0])
    # the heading is part of the output: in a file the lines alone would not say whose they are
    head = text.hint if as_json else lambda line: text.say(text.styled(line, "bold"))
    for child in jobs.describe(ids):
        mine = names.of(run_index(child))
        code = f" with exit code {child.exit_code}" if child.exit_code is not None else ""
        head(f"==> {child.id}{f' ({mine})' if mine else ''} FAILED{code}: {child.reason or child.status_reason} <==")
        try:
            for event in lines(child, tail=tail, logs=logs):
                show(event, child.id)
        except NotFound as error:
            text.hint(str(error))
    if len(ids) == _MOST_CHILDREN:
        text.hint(
            f"these are the first {_MOST_CHILDREN}; `spotbatch list --array {parts[0]} --status FAILED` lists all"
        )
    return None


def _follow(jobs: Jobs, job: Job, show: Show, tail: int | None) -> None:
    """Every attempt, one after the other, until the job has ended. Raises typer.Exit(1) if it FAILED."""
    for change in follow(jobs, job, tail=tail):
        match change:
            case LogEvent():
                show(change, job.id)
            case AttemptBegan(number=number):
                text.hint(text.styled(f"==> attempt {number} <==", "bold"))
            case JobStatus():
                text.hint(f"the job has {change}")
                if change is JobStatus.FAILED:
                    raise typer.Exit(1)
