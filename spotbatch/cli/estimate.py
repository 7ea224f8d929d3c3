"""`spotbatch estimate`: what a run would cost and when it would end, before it starts."""

import math
import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli import parse
from spotbatch.cli.estimate_show import as_document, show
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json, text

if TYPE_CHECKING:
    from spotbatch.aws.artifacts import Artifacts
    from spotbatch.batch.attempt_record import AttemptRecord
    from spotbatch.pricing.catalogue import Catalogue, InstanceType
    from spotbatch.pricing.forecast import Forecast, Plan
    from spotbatch.pricing.records import Sample

_DEFAULT_TYPES: Final = "c5,m5,r5"  # the default stack's
_DEFAULT_MEMORY: Final = "2G"
_MOST_RECORDS: Final = 100_000
_SAFE_PEAK: Final = 1.2

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def estimate(
    jobs: Annotated[int, typer.Option("--jobs", "-n", help="How many jobs, or children of an array.")] = 100,
    time: Annotated[str, typer.Option("--time", help="How long one job works: 45m, 2h.")] = "1h",
    vcpus: Annotated[int, typer.Option(help="vCPUs that a job asks for.")] = 1,
    memory: Annotated[
        str | None, typer.Option(help="Memory that a job asks for: 2048 (MiB), 4G (default: 2G, or as measured).")
    ] = None,
    gpus: Annotated[int, typer.Option(help="GPUs that a job asks for.")] = 0,
    sample: Annotated[
        str | None, typer.Option(help="Measure time, memory, saves in a run: a job, s3://.../runs/ID or a folder.")
    ] = None,
    types: Annotated[str, typer.Option(help="Instance types and families, with commas, or `all`.")] = _DEFAULT_TYPES,
    architecture: Annotated[str | None, typer.Option(help="Of the types: x86_64 or arm64.")] = None,
    max_vcpus: Annotated[int, typer.Option(help="The compute environment's limit.")] = 256,
    bid_percentage: Annotated[float, typer.Option(help="The most that a Spot host may cost, of on-demand.")] = 80,
    deadline: Annotated[str | None, typer.Option(help="What is the chance to be later than this? 6h")] = None,
    spread: Annotated[float, typer.Option(help="How uneven jobs are: standard deviation over mean.")] = 0.0,
    save_time: Annotated[str, typer.Option(help="How long saving a checkpoint takes.")] = "5s",
    restart_time: Annotated[str, typer.Option(help="From a reclaim until the work goes on.")] = "3m",
    interruptions_per_hour: Annotated[
        float | None, typer.Option(help="Of a host (default: from each type's Spot Instance Advisor band).")
    ] = None,
    on_demand_share: Annotated[float, typer.Option(help="Of the mixed fleet's hosts.")] = 0.25,
    cheapest_share: Annotated[
        float, typer.Option(help="Of the types that fit, by price: 1 is SPOT_CAPACITY_OPTIMIZED.")
    ] = 1.0,
    samples: Annotated[int, typer.Option(help="How many runs are drawn.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    idle: Annotated[bool, typer.Option("--idle", help="Only: what the stack costs while nothing runs.")] = False,
    template: Annotated[Path | None, typer.Option(help="The synthesized template to count idle resources in.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write cost and finish time as a picture (png, svg, pdf).")] = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would cost and when it would end: on Spot, on demand and mixed."""
    if idle:
        from spotbatch.cli.idle import show_idle

        return show_idle(template, as_json=as_json)
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
        restart_seconds=parse.seconds(restart_time),
        interruptions_per_hour=interruptions_per_hour,
        on_demand_share=on_demand_share,
        cheapest_share=cheapest_share,
        samples=samples,
        seed=seed,
    )
    measured = _measured(sample) if sample else None
    if measured:
        plan = as_measured(plan, measured, is_memory_given=memory is not None)
        if plan.interruptions_per_hour is None:
            text.hint(f"the sample ran {measured.hours:.2g} h: too short to tell how often hosts are interrupted")
    found, sources = forecast_of(plan, types=types, architecture=architecture)
    if plot:
        from spotbatch.cli.estimate_plot import draw

        draw(found, plot)
        text.hint(f"wrote {plot}")
    if as_json:
        return json.write(as_document(found, sources))
    return show(found, sources, is_measured=measured is not None)


def forecast_of(
    plan: "Plan", *, types: str = _DEFAULT_TYPES, architecture: str | None = None
) -> "tuple[Forecast, tuple[str, ...]]":
    """The forecast by the newest prices of this machine, and whence these are. Raises InvalidInput, NotFound."""
    known, sources = _known()
    return _forecast(plan, _types(known, types, architecture)), sources


def as_measured(plan: "Plan", sample: "Sample", *, is_memory_given: bool) -> "Plan":
    """The plan with what a sample run measured; what the caller gave goes before it, but for the time and the saves."""
    from spotbatch.pricing.records import mean_seconds

    need, rate = plan.need, plan.interruptions_per_hour
    if not is_memory_given and sample.peak_memory_mib:
        need = replace(need, memory_mib=math.ceil(sample.peak_memory_mib * _SAFE_PEAK / 128) * 128)
    if rate is None and sample.has_rate:
        rate = sample.interruptions_per_hour
    return replace(
        plan,
        work_seconds=mean_seconds(sample),
        measured_seconds=sample.work_seconds,
        need=need,
        save_seconds=sample.save_seconds or plan.save_seconds,
        interruptions_per_hour=rate,
    )


def _types(known: "Catalogue", written: str, architecture: str | None) -> "Sequence[InstanceType]":
    """The types that the fleet may have, all of one architecture, as a job queue has them."""
    names = known.families if written.strip() == "all" else [name.strip() for name in written.split(",")]
    found = known.expand(name for name in names if name)
    kinds = sorted({each.architecture for each in found})
    if architecture is None and len(kinds) > 1:
        raise InvalidInput(f"types of {' and '.join(kinds)} cannot share a queue: name one with --architecture")
    if architecture is not None and architecture not in kinds:
        raise InvalidInput(f"--architecture {architecture}: the types are of {' and '.join(kinds) or 'none'}")
    return [each for each in found if architecture in (None, each.architecture)]


def _forecast(plan: "Plan", types: "Sequence[InstanceType]") -> "Forecast":
    try:
        from spotbatch.pricing import fleet_model  # noqa: F401 - to say what is missing before anything is done
    except ModuleNotFoundError as error:
        raise InvalidInput(f"an estimate needs {error.name}: pip install 'spotbatch[money]'") from error
    from spotbatch.pricing.forecast import forecast

    return forecast(plan, types)


def _known() -> "tuple[Catalogue, tuple[str, ...]]":
    """The newest prices on this machine, and in words: whence, of when, and whether of another region."""
    from spotbatch.aws.price_cache import age_text, current_catalogue, kept, region_name
    from spotbatch.pricing.history import prices_of

    fetched = kept()
    known = current_catalogue(fetched)
    said = [*prices_of(known).sources, f"prices: {age_text(fetched, clock.time())}"]
    if known.region != region_name():
        said.append(f"prices are of {known.region}: those of {region_name()} are not known before a refresh")
    return known, tuple(said)


def _measured(place: str) -> "Sample":
    from spotbatch.pricing.records import sample_of

    return sample_of(_records(place))


def _records(place: str) -> "Iterator[AttemptRecord]":
    """All attempt records of a job, or below a folder or URL. Raises InvalidInput where there are none."""
    from spotbatch.aws.artifacts import read_json
    from spotbatch.batch.attempt_record import record_of

    store, prefix = _place_of(place)
    count = 0
    for found in store.list(prefix):
        if "/attempts/" in f"/{found.key}" and found.key.endswith(".json"):
            count += 1
            if count > _MOST_RECORDS:
                return
            if (record := record_of(read_json(store, found.key))) is not None:
                yield record
    if not count:
        raise InvalidInput(f"no attempt records lie below {place}: give a job, s3://bucket/runs/RUN or a folder")


def _place_of(written: str) -> "tuple[Artifacts, str]":
    """The store that holds a sample's records, and the prefix below which they stand."""
    from spotbatch.aws.artifacts import open_artifacts

    if "://" in written:
        url, slash, run = written.partition("/runs/")
        return open_artifacts(url), f"runs/{run}" if slash else ""
    if Path(written).is_dir():
        return open_artifacts(Path(written).resolve().as_uri()), ""
    from spotbatch.aws.jobs import Jobs
    from spotbatch.batch.artifacts import run_prefix
    from spotbatch.cli import finding

    jobs = Jobs()
    job = jobs.get(finding.job_id(written, jobs=jobs))
    return finding.store_of(job), run_prefix(finding.run_id(job))
