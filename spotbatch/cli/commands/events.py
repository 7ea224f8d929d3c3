"""`spotbatch events`: events from AWS Batch and EC2 while nobody watched, from the stack's event log group."""

import time
from typing import Annotated, Final

import typer

from spotbatch.aws import stack_outputs
from spotbatch.aws.events import Event, Events, Found, Kind, Wanted, group_of
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.runs import lookup, parse

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def events(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Only of this job (default: all).")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only job events, blocked queues, or Spot notices.")] = None,
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs that came to it.", case_sensitive=False)] = None,
    since: Annotated[str, typer.Option(help="Only events since: 30m, 12h, 7d.")] = "24h",
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=10_000)] = 100,
    group: Annotated[str | None, typer.Option(help="The event log group (default: the stack's).")] = None,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Job state changes, blocked queues and Spot notices, oldest first. A Spot notice names no stack: all are shown.

    The stack keeps them with the setting monitoring, for log_retention_days; a local region until it ends.
    """
    if kind is Kind.SPOT and (job or status):
        raise InvalidInput("a Spot notice names an instance and no job: leave JOB and --status out, or --kind spot")
    asked = Wanted(
        after=time.time() - parse.seconds(since),
        kind=kind,
        job=lookup.job_ids(job, jobs=Jobs(), stack=stack, queue=queue)[-1] if job else "",
        status=status or "",
    )
    found = Events(group=group or group_of(stack_outputs.read(stack).stack)).newest(asked, limit=limit)
    if as_json:
        return json.write(found.events)
    return _show(found, limit)


def _show(found: Found, limit: int) -> None:
    if not found.events:
        return text.say("no events")
    heads = ("WHEN", "KIND", "JOB OR HOST", "NAME", "STATUS", "ATTEMPTS", "REASON")
    text.table(heads, [_row(each) for each in found.events], right=(5,))
    if not found.is_whole:
        text.hint(f"there are more than these {min(limit, len(found.events))}: --limit or a shorter --since")
    return None


def _row(event: Event) -> tuple[str, ...]:
    code = f"exit {event.exit_code}" if event.exit_code else ""
    known = event.status in JobStatus.__members__
    status = text.status(JobStatus(event.status)) if known else event.status
    attempts = str(event.attempts) if event.attempts else ""
    reason = ": ".join(each for each in (code, event.reason) if each)
    return (text.moment(event.at), event.kind, event.subject, event.name, status, attempts, reason)
