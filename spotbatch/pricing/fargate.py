"""What an attempt on Fargate costs at its on-demand price: by the second for what it asked for, a minute at least.

The prices are in `data/unit_prices.csv`; AWS Fargate pricing, Linux on x86. Fargate Spot is cheaper, at a price that
changes and is not known here; so is what a task has of storage beyond 20 GiB.
"""

from decimal import Decimal
from typing import Final

from spotbatch.pricing.units import unit_prices

MIN_SECONDS: Final = 60.0
_HOUR: Final = Decimal(3600)
_MIB_A_GIB: Final = Decimal(1024)


def on_demand_usd(*, vcpus: float, memory_mib: int, seconds: float) -> Decimal:
    """The price of one task (USD, us-east-1) that ran for so long, not rounded."""
    prices = unit_prices()
    billed = Decimal(str(max(seconds, MIN_SECONDS)))
    per_hour = (
        Decimal(str(vcpus)) * prices["fargate_vcpu"].usd + Decimal(memory_mib) / _MIB_A_GIB * prices["fargate_gib"].usd
    )
    return per_hour * billed / _HOUR
