"""`spotbatch submit`: turn a command into a job in AWS Batch."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from spotbatch.aws.artifacts import open_artifacts
from spotbatch.aws.job_shapes import submit_shape
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.environment import SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput, SpotbatchError
from spotbatch.batch.job import JobRequest
from spotbatch.cli.options import JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.runs import job_file, parse
from spotbatch.runs.manifest import RunManifest
from spotbatch.runs.request import JobOptions
from spotbatch.runs.submit import Submission, prepare
from spotbatch.runs.submit import send as submit_prepared

if TYPE_CHECKING:
    from spotbatch.pricing.instance_selection import Need

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_PRICED_TYPES: Final = ("c5", "m5", "r5")  # the default stack's

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
InputsFrom = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|GLOB|s3://...",
        help="One child an input, which it finds in $SPOTBATCH_INPUT: a line, a file or an object.",
    ),
]
Code = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER", help="Send this folder along; the command runs in it (.gitignore, .spotbatchignore)."
    ),
]
Check = Annotated[bool, typer.Option("--check/--no-check", help="Refuse what no host of the queue could run.")]
JobFile = Annotated[Path | None, typer.Option("--file", "-f", help="A job file (TOML); options win over it.")]
Deadline = Annotated[
    str | None,
    typer.Option("--deadline", help="Done within, as 6h: it moves between Spot and on demand (controller)."),
]
Work = Annotated[
    str | None, typer.Option(help="How long one job takes on one host, uninterrupted: for --deadline and --dry-run.")
]
Changeover = Annotated[
    str | None, typer.Option(help="With --deadline: from a new host's launch to progress (default: 10m).")
]
OnDemandQueue = Annotated[
    str | None, typer.Option(help="With --deadline or --on-demand-after, in the local region (default: the stack's).")
]
OnDemandAfter = Annotated[
    int | None, typer.Option(help="After so many losses on Spot a child runs on demand, 1 to 10 (controller).")
]
GrowMemory = Annotated[
    str | None,
    typer.Option(metavar="2x[:16G]", help="What was killed for memory comes back with more, up to 8x or so much."),
]
MaxUsd = Annotated[
    str | None, typer.Option(help="Save and stop the run before it costs more; `retry --max-usd` goes on (controller).")
]
Snapshot = Annotated[
    bool, typer.Option("--snapshot", help="Dump the command at the notice and go on from there (docs/snapshots.md).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the SubmitJob request and the estimate; send nothing.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end.")]


_EXAMPLES: Final = (
    "Examples:\n\nspotbatch submit --array 12 --memory 2G -- python -m flights.bootstrap\n\n"
    "spotbatch submit --inputs 's3://bucket/raw/' --code . -- python convert.py"
)


@app.command(epilog=_EXAMPLES)
def submit(
    command: Command = None,
    array: Array = None,
    inputs: InputsFrom = None,
    code: Code = None,
    file: JobFile = None,
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
    deadline_in: Deadline = None,
    work: Work = None,
    changeover: Changeover = None,
    on_demand_queue: OnDemandQueue = None,
    on_demand_after: OnDemandAfter = None,
    grow_memory: GrowMemory = None,
    max_usd: MaxUsd = None,
    snapshot: Snapshot = False,
    dry_run: DryRun = False,
    watch: Watch = False,
    check: Check = True,
    as_json: JsonOption = False,
) -> None:
    """Send a command to AWS Batch. The job's id goes to standard output."""
    asked = JobOptions(
        command=tuple(command or ()),
        name=name,
        array=array,
        inputs=inputs,
        code=code,
        vcpus=vcpus,
        memory_mib=parse.memory_mib(memory) if memory else None,
        gpus=gpus,
        after=tuple(after or ()),
        after_each=tuple(after_each or ()),
        is_sequential=sequential,
        env=parse.variables(env or ()),
        retries=retries,
        timeout_seconds=parse.seconds(timeout) if timeout else None,
        tags=parse.pairs(tag or (), option="--tag"),
        parameters=parse.pairs(parameter or (), option="--parameter"),
        queue=queue,
        definition=definition,
        stack=stack,
        deadline_seconds=parse.seconds(deadline_in) if deadline_in else None,
        work_seconds=parse.seconds(work) if work else None,
        changeover_seconds=parse.seconds(changeover) if changeover else None,
        on_demand_queue=on_demand_queue,
        on_demand_after=on_demand_after,
        grow_memory=parse.growth(grow_memory) if grow_memory else None,
        max_usd=parse.usd(max_usd) if max_usd else None,
        is_snapshot=snapshot,
    )
    send(_with_file(asked, file), is_dry=dry_run, watch=watch, as_json=as_json, is_checked=check)


def _with_file(asked: JobOptions, file: Path | None) -> JobOptions:
    return asked.with_defaults(job_file.read(file)) if file else asked


def send(asked: JobOptions, *, is_dry: bool, watch: bool, as_json: bool, is_checked: bool = True) -> None:
    """Submit the request, or show what would be sent."""
    if is_dry and watch:
        raise InvalidInput("--dry-run sends nothing, so there is nothing to --watch")
    jobs = Jobs()
    prepared = prepare(asked, jobs=jobs, is_checked=is_checked)
    wanted = prepared.request
    if asked.is_for_controller and _send_to_controller(
        asked, prepared, jobs, is_dry=is_dry, watch=watch, as_json=as_json
    ):
        return None
    if is_dry:
        return _show_plan(jobs, prepared, asked.work_seconds, as_json=as_json)
    run = submit_prepared(jobs, prepared)
    called = run.run_id if len(run.parts) > 1 else run.job_ids[0]
    if prepared.inputs is not None:
        _say_run(run, called, as_json=as_json, watch=watch)
    else:
        _say(called, wanted, as_json=as_json, watch=watch)
    if watch:
        from spotbatch.cli.commands.watch import follow

        follow(run.job_ids, jobs=jobs, as_json=as_json, called=called)
    return None


def _send_to_controller(
    asked: JobOptions, prepared: Submission, jobs: Jobs, *, is_dry: bool, watch: bool, as_json: bool
) -> bool:
    """Whether the request was the controller's, which has it now, or would have had it."""
    from spotbatch.cli.output.control import ControlledRun, say_controlled  # 40 ms, which others do not pay
    from spotbatch.runs import control

    if (controller := control.control_of(asked, prepared.request, is_dry=is_dry)) is None:
        return False
    run = control.run_of(asked, prepared, controller, jobs, now=time.time())
    for note in run.notes:
        text.hint(note.text)
    if is_dry:
        json.write(control.first_requests(run))
        _show_price(jobs, prepared.request)
        return True
    run = control.submit(jobs, prepared, run, controller)
    say_controlled(run, as_json=as_json, watch=watch)
    if watch:
        ControlledRun(jobs=jobs, store=open_artifacts(run.artifacts_url), run_id=run.run_id, as_json=as_json).run()
    return True


def _show_plan(jobs: Jobs, prepared: Submission, work_seconds: float | None, *, as_json: bool) -> None:
    """Show the exact SubmitJob input, for many inputs each array's, and the estimate if --work is given."""
    wanted, inputs = prepared.request, prepared.inputs
    count = inputs.count if inputs is not None else wanted.array_size or 1
    if inputs is not None:
        text.hint(f"{text.count(inputs.count, 'input')} from {inputs.source}")
    shapes: list[dict[str, Any]] = [submit_shape(each) for each in prepared.requests]
    if work_seconds is None:
        json.write(shapes[0] if inputs is None else shapes)
        return _show_price(jobs, wanted)
    from spotbatch.cli.output.estimate import as_document, in_short
    from spotbatch.pricing.forecast import Plan
    from spotbatch.runs.estimate import forecast_of

    found, sources = forecast_of(Plan(jobs=count, work_seconds=work_seconds, need=_need(jobs, wanted)))
    if as_json:
        return json.write({"requests": shapes, "estimate": as_document(found, sources)})
    json.write(shapes[0] if inputs is None else shapes)
    for line in in_short(found):
        text.hint(line)
    return None


def _need(jobs: Jobs, wanted: JobRequest) -> "Need":
    """What each job requests: from the request, or else from its definition."""
    from spotbatch.runs.capacity import need_of, requirements_of  # with the catalogue

    return need_of(requirements_of(wanted, jobs.definition(wanted.definition).requirements))


def _show_price(jobs: Jobs, wanted: JobRequest) -> None:
    """Show what an hour of such a job costs. Its duration is not known here: `spotbatch estimate` accepts it."""
    from spotbatch.aws.price_cache import current_catalogue
    from spotbatch.pricing.instance_selection import choices

    try:
        need = _need(jobs, wanted)
        types = current_catalogue().expand(_PRICED_TYPES)
        count = wanted.array_size or 1
        ranked = choices(types, need, jobs=count, work_seconds=3600, save_seconds=5, restart_seconds=180)
    except SpotbatchError as error:
        return text.hint(f"its price is not known: {error}")
    best = next((each for each in ranked if each.spot_usd_per_job_hour is not None), None)
    if best is None:
        return text.hint(f"no type of {', '.join(_PRICED_TYPES)} holds such a job")
    return text.hint(
        f"an hour of one such job: about {best.spot_usd_per_job_hour:.4f} USD on Spot ({best.type.name}), "
        f"{best.on_demand_usd_per_job_hour:.4f} on demand; --work 30m estimates the whole run"
    )


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
        text.hint(f"its name is {sent.name}; follow it: spotbatch watch {job_id}")
    return None


def _say_run(run: RunManifest, called: str, *, as_json: bool, watch: bool) -> None:
    if as_json:
        return json.write_event(
            {
                "event": "submitted",
                "job_id": run.job_ids[0],
                "job_ids": run.job_ids,
                "run_id": run.run_id,
                "name": run.name,
                "queue": run.queue,
                "inputs": run.count,
            }
        )
    text.say(called)
    if not watch:
        many = f" in {len(run.parts)} arrays" if len(run.parts) > 1 else ""
        text.hint(f"{text.count(run.count, 'input')}{many}, named {run.name}; follow it: spotbatch watch {called}")
    return None
