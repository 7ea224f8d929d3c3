"""`spotbatch submit`: a command becomes a job in AWS Batch."""

from dataclasses import replace
from typing import Annotated, Final

import typer

from spotbatch.aws.job_shapes import submit_shape
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.environment import SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import JobRequest
from spotbatch.cli import finding, parse
from spotbatch.cli.options import JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.cli.requesting import Asked, request

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_SIZE: Final = "What the job needs"
_ORDER: Final = "When it runs"

Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- COMMAND...", help="What runs in the container, after `--`.", show_default=False),
]
Array = Annotated[int | None, typer.Option(help="Children of an array, 2 to 10,000.")]
Vcpus = Annotated[int | None, typer.Option(help="vCPUs.")]
Memory = Annotated[str | None, typer.Option(help="Memory: 2048 (MiB), 512M, 2G.")]
Gpus = Annotated[int | None, typer.Option(help="GPUs.")]
After = Annotated[list[str] | None, typer.Option(help="Start after this job; may be given again.")]
AfterEach = Annotated[list[str] | None, typer.Option(help="Child i starts after child i of this array.")]
Sequential = Annotated[bool, typer.Option("--sequential", help="Child i starts after child i-1.")]
Env = Annotated[list[str] | None, typer.Option(help="NAME=VALUE, or NAME for this shell's value.")]
Retries = Annotated[int | None, typer.Option(help="Retries after lost hosts and interruptions, 0 to 9.")]
Timeout = Annotated[str | None, typer.Option(help="Of each attempt: 90, 15m, 2h; at least a minute.")]
Name = Annotated[str | None, typer.Option(help="The job's name (default: from the command).")]
Tag = Annotated[list[str] | None, typer.Option(help="KEY=VALUE; may be given again.")]
Parameter = Annotated[list[str] | None, typer.Option(help="KEY=VALUE for Ref::KEY in the definition's command.")]
Definition = Annotated[str | None, typer.Option(help="A job definition (default: the stack's).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the SubmitJob request and send nothing.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end.")]


@app.command()
def submit(
    command: Command = None,
    array: Array = None,
    vcpus: Vcpus = None,
    memory: Memory = None,
    gpus: Gpus = None,
    after: After = None,
    after_each: AfterEach = None,
    sequential: Sequential = False,
    env: Env = None,
    retries: Retries = None,
    timeout: Timeout = None,
    name: Name = None,
    tag: Tag = None,
    parameter: Parameter = None,
    queue: QueueOption = None,
    definition: Definition = None,
    stack: StackOption = None,
    dry_run: DryRun = False,
    watch: Watch = False,
    as_json: JsonOption = False,
) -> None:
    """Send a command to AWS Batch. The job's id goes to standard output.

    Example: spotbatch submit --array 12 --memory 2G -- python -m flights.bootstrap
    """
    asked = Asked(
        command=tuple(command or ()),
        name=name,
        array=array,
        vcpus=vcpus,
        memory_mib=parse.memory_mib(memory) if memory else None,
        gpus=gpus,
        retries=retries,
        timeout_seconds=parse.seconds(timeout) if timeout else None,
        env=parse.variables(env or ()),
        parameters=parse.tags(parameter or ()),
        tags=parse.tags(tag or ()),
        is_sequential=sequential,
    )
    if dry_run and watch:
        raise InvalidInput("--dry-run sends nothing, so there is nothing to --watch")
    jobs = Jobs()
    where = finding.place(stack=stack, queue=queue, definition=definition)
    asked = replace(
        asked,
        after=tuple(finding.job_id(each, jobs=jobs, queue=where.queue) for each in after or ()),
        after_each=tuple(finding.job_id(each, jobs=jobs, queue=where.queue) for each in after_each or ()),
    )
    wanted = request(asked, queue=where.queue, definition=where.definition)
    if dry_run:
        return json.write(submit_shape(wanted))
    job_id = jobs.submit(wanted)
    _say(job_id, wanted, as_json=as_json, watch=watch)
    if watch:
        from spotbatch.cli.watch import follow

        follow(job_id, jobs=jobs, as_json=as_json)
    return None


def _say(job_id: str, sent: JobRequest, *, as_json: bool, watch: bool) -> None:
    if as_json:
        return json.write_event(
            {
                "event": "submitted",
                "job_id": job_id,
                "run_id": sent.environment.get(SPOTBATCH_RUN_ID, job_id),
                "name": sent.name,
                "queue": sent.queue,
                "definition": sent.definition,
                "array_size": sent.array_size,
            }
        )
    text.say(job_id)
    if not watch:
        text.hint(f"follow it: spotbatch watch {job_id}")
    return None
