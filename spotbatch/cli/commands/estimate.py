"""`spotbatch estimate`: what a run would cost and when it would end, before it starts."""

from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json, text
from spotbatch.cli.output.estimate import as_document, show
from spotbatch.runs import parse
from spotbatch.runs.estimate import DEFAULT_TYPES, as_measured, forecast_of, measured

_DEFAULT_MEMORY: Final = "2G"
_DEFAULT_RESTART: Final = "3m"

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


Memory = Annotated[
    str | None, typer.Option(help="Memory that a job asks for: 2048 (MiB), 4G (default: 2G, or as measured).")
]
Sample = Annotated[
    str | None, typer.Option(help="Measure time, memory, saves in a run: a job, s3://.../runs/ID or a folder.")
]
RestartTime = Annotated[
    str | None,
    typer.Option(help="From a reclaim until the work goes on (default: 3m, and with --sample its measured restore)."),
]
InterruptionsPerHour = Annotated[
    float | None, typer.Option(help="Of a host (default: from each type's Spot Instance Advisor band).")
]
CheapestShare = Annotated[float, typer.Option(help="Of the types that fit, by price: 1 is SPOT_CAPACITY_OPTIMIZED.")]


@app.command()
def estimate(
    jobs: Annotated[int, typer.Option("--jobs", "-n", help="How many jobs, or children of an array.")] = 100,
    time: Annotated[str, typer.Option("--time", help="How long one job works: 45m, 2h.")] = "1h",
    vcpus: Annotated[int, typer.Option(help="vCPUs that a job asks for.")] = 1,
    memory: Memory = None,
    gpus: Annotated[int, typer.Option(help="GPUs that a job asks for.")] = 0,
    sample: Sample = None,
    types: Annotated[str, typer.Option(help="Instance types and families, with commas, or `all`.")] = DEFAULT_TYPES,
    architecture: Annotated[str | None, typer.Option(help="Of the types: x86_64 or arm64.")] = None,
    max_vcpus: Annotated[int, typer.Option(help="The compute environment's limit.")] = 256,
    bid_percentage: Annotated[float, typer.Option(help="The most that a Spot host may cost, of on-demand.")] = 80,
    deadline: Annotated[str | None, typer.Option(help="What is the chance to be later than this? 6h")] = None,
    spread: Annotated[float, typer.Option(help="How uneven jobs are: standard deviation over mean.")] = 0.0,
    save_time: Annotated[str, typer.Option(help="How long saving a checkpoint takes.")] = "5s",
    restart_time: RestartTime = None,
    interruptions_per_hour: InterruptionsPerHour = None,
    on_demand_share: Annotated[float, typer.Option(help="Of the mixed fleet's hosts.")] = 0.25,
    cheapest_share: CheapestShare = 1.0,
    samples: Annotated[int, typer.Option(help="How many runs are drawn.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    idle: Annotated[bool, typer.Option("--idle", help="Only: what the stack costs while nothing runs.")] = False,
    template: Annotated[Path | None, typer.Option(help="The synthesized template to count idle resources in.")] = None,
    against: Annotated[
        str | None, typer.Option(help="With --idle: what changes against this deployed stack, or template file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write cost and finish time as a picture (png, svg, pdf).")] = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would cost and when it would end: on Spot, on demand and mixed."""
    if idle:
        from spotbatch.cli.output.idle_cost import show_idle

        return show_idle(template, against=against, as_json=as_json)
    if against is not None:
        raise InvalidInput("--against is of --idle: give that too")
    from spotbatch.pricing.forecast import Plan
    from spotbatch.pricing.instance_selection import Need

    plan = Plan(
        jobs=jobs,
        work_seconds=parse.seconds(time),
        need=Need(vcpus=vcpus, memory_mib=parse.memory_mib(memory or _DEFAULT_MEMORY), gpus=gpus),
        spread=spread,
        max_vcpus=max_vcpus,
        bid_percentage=bid_percentage,
        deadline_seconds=parse.seconds(deadline) if deadline else None,
        save_seconds=parse.seconds(save_time),
        restart_seconds=parse.seconds(restart_time or _DEFAULT_RESTART),
        interruptions_per_hour=interruptions_per_hour,
        on_demand_share=on_demand_share,
        cheapest_share=cheapest_share,
        samples=samples,
        seed=seed,
    )
    measurement = measured(sample) if sample else None
    if measurement:
        plan = as_measured(
            plan, measurement, is_memory_given=memory is not None, is_restart_given=restart_time is not None
        )
        if plan.interruptions_per_hour is None:
            text.hint(f"the sample ran {measurement.hours:.2g} h: too short to tell how often hosts are interrupted")
    found, sources = forecast_of(plan, types=types, architecture=architecture)
    if plot:
        from spotbatch.cli.output.estimate_plot import draw

        draw(found, plot)
        text.hint(f"wrote {plot}")
    if as_json:
        return json.write(as_document(found, sources))
    return show(found, sources, is_measured=measurement is not None)
