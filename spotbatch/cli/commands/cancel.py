"""`spotbatch cancel`: stop jobs, whether they have started or not."""

from typing import Annotated, Final

import typer

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import JOB_HELP, JsonOption, QueueOption, StackOption, YesOption
from spotbatch.cli.output import json, text
from spotbatch.runs import lookup
from spotbatch.runs.cancel import stop

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def cancel(
    jobs_named: Annotated[list[str], typer.Argument(metavar="JOB...", help=JOB_HELP)],
    reason: Annotated[str, typer.Option(help="Kept with the job.")] = "cancelled by spotbatch cancel",
    yes: YesOption = False,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop jobs. What runs gets SIGTERM and 30 s; checkpoints stay. Asks before it stops an array."""
    jobs = Jobs()
    ids = [one for each in jobs_named for one in lookup.job_ids(each, jobs=jobs, stack=stack, queue=queue)]
    chosen = [jobs.get(each) for each in dict.fromkeys(ids)]
    for job in chosen:
        if job.array is not None and not job.status.is_terminal and not yes:
            _ask(job)
    stopped = [job.id for job in chosen if stop(jobs, job, reason)]
    if as_json:
        return json.write({"stopped": stopped, "already_ended": [job.id for job in chosen if job.id not in stopped]})
    for job in chosen:
        text.say(f"{job.id} is being stopped" if job.id in stopped else f"{job.id} has ended already ({job.status})")
    return None


def _ask(job: Job) -> None:
    import sys

    summary = job.array.status_summary if job.array is not None else {}
    left = sum(count for status, count in summary.items() if not status.is_terminal)
    running = summary.get(JobStatus.RUNNING, 0)
    question = f"array {job.name} ({job.id}) has {left} children left, {running} of them running. Stop them all?"
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Say so with --yes, since nobody can be asked here")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
