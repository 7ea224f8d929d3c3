"""What an hour of one job costs, on Spot and on demand: its share of a host of the cheapest type that fits."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import JobRequest
from spotbatch.runs.capacity import need_of, requirements_of

_PRICED_TYPES: Final = ("c5", "m5", "r5")  # the default stack's


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitPrice:
    """USD per hour of one job."""

    spot_usd_per_hour: Decimal
    on_demand_usd_per_hour: Decimal


def unit_price(jobs: Jobs, wanted: JobRequest) -> UnitPrice:
    """The price of one such job. Raises NotFound if none is known."""
    from spotbatch.aws.price_cache import current_catalogue
    from spotbatch.pricing.instance_selection import choices

    need = need_of(requirements_of(wanted, jobs.definition(wanted.definition).requirements))
    types = current_catalogue().expand(_PRICED_TYPES)
    ranked = choices(types, need, jobs=1, work_seconds=3600, save_seconds=5, restart_seconds=180)
    best = next((each for each in ranked if each.spot_usd_per_job_hour), None)
    if best is None or best.spot_usd_per_job_hour is None:
        raise NotFound(f"no Spot price is known for a type of {', '.join(_PRICED_TYPES)} that holds such a job")
    return UnitPrice(
        spot_usd_per_hour=best.spot_usd_per_job_hour, on_demand_usd_per_hour=best.on_demand_usd_per_job_hour
    )
