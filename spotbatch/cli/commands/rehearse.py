"""`spotbatch rehearse`: is my job Spot-safe, and what does an interruption cost it?"""

from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput, JobFailed
from spotbatch.batch.job import ResourceRequirements
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json, text
from spotbatch.rehearsal.private_region import private_region
from spotbatch.rehearsal.reclaim_plan import ReclaimPlan
from spotbatch.rehearsal.rehearsal import RehearsalRequest, Rehearsed, rehearse
from spotbatch.runs import job_file, parse
from spotbatch.runs.request import JobOptions

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_DEFAULT_VCPUS: Final = 1
_DEFAULT_MEMORY_MIB: Final = 2048


TraceFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Instead of rounds: Spot capacity as recorded (CSV or JSON).")
]
Faults = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="Besides, what else AWS does: hostile, or a file (see docs).")
]
Command = Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", help="What the job runs, after `--`.")]
TracePolarity = Annotated[
    str | None, typer.Option(help="What a 1 means, where the trace does not say: available or reclaimed.")
]
Notice = Annotated[
    str | None,
    typer.Option(help="From the notice to the reclaim, on AWS 2 minutes (default: 5s, 60s with --snapshot)."),
]
Snapshot = Annotated[
    bool, typer.Option("--snapshot", help="Dump the commands at the notice (as root; docs/snapshots.md).")
]


@app.command("rehearse")
def rehearse_command(
    command: Command = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A job file (TOML) instead.")] = None,
    sample: Annotated[int, typer.Option(help="How many jobs (children of an array) to run.", min=1, max=100)] = 2,
    total: Annotated[int | None, typer.Option("--of", help="How many the full run has, for its cost.", min=1)] = None,
    rounds: Annotated[int, typer.Option(help="How often all hosts are reclaimed meanwhile.", min=1, max=9)] = 2,
    rate: Annotated[float | None, typer.Option(help="Instead of rounds: reclaims per host and hour.")] = None,
    trace_file: TraceFile = None,
    trace_speed: Annotated[float, typer.Option(help="So many seconds of the trace pass in one.")] = 60.0,
    trace_polarity: TracePolarity = None,
    faults: Faults = None,
    seed: Annotated[int, typer.Option(help="Of the reclaims at a --rate, and of the --faults.")] = 0,
    notice: Notice = None,
    snapshot: Snapshot = False,
    vcpus: Annotated[int | None, typer.Option(help="vCPUs of a job.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of a job: 2048 (MiB), 2G.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, or NAME for this shell's value.")] = None,
    limit: Annotated[str, typer.Option(help="How long each of the two runs may take.")] = "30m",
    html: Annotated[Path | None, typer.Option(help="Write the report as a page, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a sample of your jobs on this machine, twice: undisturbed, and while their hosts are reclaimed.

    The commands run here as they are (no container), under the runtime. Exit code 1 if it is not Spot-safe.

    Hosts are reclaimed all at once, in --rounds; or each by chance at a --rate (60: about one a minute); or as a
    --trace-file recorded it. With --faults hostile AWS's other troubles come too: throttling, late and lost
    answers, failed pulls, hosts that never join, reclaims without a notice.

    Example: spotbatch rehearse --sample 4 --of 1000 -- python simulate.py
    """
    from spotbatch.rehearsal.report import as_document, as_html, as_lines

    asked = JobOptions(
        command=tuple(command or ()),
        vcpus=vcpus,
        memory_mib=parse.memory_mib(memory) if memory else None,
        env=parse.variables(env or ()),
        is_snapshot=snapshot,
    )
    if file is not None:
        asked = asked.with_defaults(job_file.read(file))
    if not asked.command:
        raise InvalidInput("there is nothing to rehearse: give the command after `--`, or a job file with a command")
    if html is not None and not html.parent.is_dir():
        raise InvalidInput(f"--html {html}: there is no folder {html.parent} to write it into")
    plan = ReclaimPlan(
        rounds=rounds,
        reclaims_per_host_hour=rate,
        trace_file=trace_file,
        trace_speed=trace_speed,
        trace_polarity=trace_polarity,
        seed=seed,
        faults=faults,
    )
    lead = notice or ("60s" if asked.is_snapshot else "5s")
    found = _run(asked, sample, plan, parse.seconds(lead), parse.seconds(limit))
    full = total or asked.array or sample
    if html is not None:
        html.write_text(as_html(found, asked.command, full), encoding="utf-8")
        text.hint(f"wrote {html}")
    if as_json:
        json.write(as_document(found, full))
    else:
        for line in as_lines(found, full):
            text.say(line)
    if not found.is_safe:
        word, _, why = found.verdict.partition(": ")
        raise JobFailed(f"{'not' if word == 'no' else word + ' to be'} Spot-safe: {why}")


def _run(asked: JobOptions, sample: int, plan: ReclaimPlan, notice_seconds: float, limit_seconds: float) -> Rehearsed:
    """Run in a separate region, whatever the AWS settings: nothing reaches the cloud."""
    vcpus = asked.vcpus or _DEFAULT_VCPUS
    needs = ResourceRequirements(vcpus=vcpus, memory_mib=asked.memory_mib or _DEFAULT_MEMORY_MIB)
    wanted = RehearsalRequest(
        asked=JobOptions(
            command=asked.command,
            vcpus=vcpus,
            memory_mib=needs.memory_mib,
            env=asked.env,
            is_snapshot=asked.is_snapshot,
        ),
        sample=sample,
        plan=plan,
        limit_seconds=limit_seconds,
    )
    max_vcpus = max(4, vcpus * sample)
    opened = partial(private_region, needs=needs, max_vcpus=max_vcpus, notice_seconds=notice_seconds, say=text.hint)
    if not asked.is_snapshot:
        return rehearse(opened, wanted, text.hint)
    drained = ("--draining", "on")  # as the stack's hosts: the next attempt does not wait for the end of a long notice
    return rehearse(lambda options: opened((*options, *drained)), wanted, text.hint)
