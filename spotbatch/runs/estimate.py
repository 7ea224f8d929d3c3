"""What a run would cost: the plan with a sample's measurements, and the forecast with this machine's latest prices."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spotbatch.batch.errors import InvalidInput

if TYPE_CHECKING:
    from spotbatch.aws.artifacts import Artifacts
    from spotbatch.batch.attempt_record import AttemptRecord
    from spotbatch.pricing.catalogue import Catalogue, InstanceType
    from spotbatch.pricing.forecast import Forecast, Plan
    from spotbatch.pricing.records import Sample

DEFAULT_TYPES: Final = "c5,m5,r5"  # the default stack's
_MOST_RECORDS: Final = 100_000
_SAFE_PEAK: Final = 1.2


def forecast_of(
    plan: "Plan", *, types: str = DEFAULT_TYPES, architecture: str | None = None
) -> "tuple[Forecast, tuple[str, ...]]":
    """The forecast with this machine's latest prices, and their source. Raises InvalidInput, NotFound."""
    known, sources = _known()
    return _forecast(plan, _types(known, types, architecture)), sources


def as_measured(plan: "Plan", sample: "Sample", *, is_memory_given: bool, is_restart_given: bool) -> "Plan":
    """The plan with a sample run's measurements; the caller's values override all but the time and saves.

    A restart that is not given takes the plan's time, which is that of a host and its image, and the measured restore.
    """
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
        restart_seconds=plan.restart_seconds + (0.0 if is_restart_given else sample.restore_seconds or 0.0),
        interruptions_per_hour=rate,
    )


def _types(known: "Catalogue", written: str, architecture: str | None) -> "Sequence[InstanceType]":
    """The types that the fleet may have, all of one architecture, as in a job queue."""
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
    """The latest prices on this machine and, in words, their source, date, and whether they are from another region."""
    from spotbatch.aws.price_cache import age_text, current_catalogue, kept, region_name
    from spotbatch.pricing.history import prices_of

    fetched = kept()
    known = current_catalogue(fetched)
    said = [*prices_of(known).sources, f"prices: {age_text(fetched, time.time())}"]
    if known.region != region_name():
        said.append(f"prices are of {known.region}: those of {region_name()} are not known before a refresh")
    return known, tuple(said)


def measured(place: str) -> "Sample":
    from spotbatch.pricing.records import sample_of

    return sample_of(_records(place))


def _records(place: str) -> "Iterator[AttemptRecord]":
    """All attempt records of a job, or below a folder or URL. Raises InvalidInput if there are none."""
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
    """The store that holds a sample's records, and the prefix below which they are stored."""
    from spotbatch.aws.artifacts import open_artifacts

    if "://" in written:
        url, slash, run = written.partition("/runs/")
        return open_artifacts(url), f"runs/{run}" if slash else ""
    if Path(written).is_dir():
        return open_artifacts(Path(written).resolve().as_uri()), ""
    from spotbatch.aws.jobs import Jobs
    from spotbatch.batch.artifacts import run_prefix
    from spotbatch.runs import artifact_store, lookup

    jobs = Jobs()
    job = jobs.get(lookup.job_ids(written, jobs=jobs)[0])
    return artifact_store.store_of(job), run_prefix(artifact_store.run_id(job))
