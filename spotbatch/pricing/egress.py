"""The price of moving data from one AWS region to another."""

import csv
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from spotbatch.batch.errors import NotFound

PROVENANCE: Final = (
    "egress between regions: 1,122 pairs as the SkyNomad artifact (Apache-2.0) collected them, January 2026; "
    "not verified here"
)
_DATA: Final = Path(__file__).parent / "data" / "egress_usd_per_gb.csv"


@lru_cache(maxsize=1)
def egress_prices() -> Mapping[tuple[str, str], float]:
    """USD per GB by (from, to); only pairs with a known price are included."""
    rows = csv.DictReader(_DATA.read_text(encoding="utf-8").splitlines())
    return {(row["from_region"], row["to_region"]): float(row["usd_per_gb"]) for row in rows}


def egress_between(regions: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """USD per GB for each ordered pair of these regions. Raises NotFound for a pair without a known price."""
    known = egress_prices()
    pairs = [(one, other) for one in regions for other in regions if one != other]
    if missing := [pair for pair in pairs if pair not in known]:
        one, other = missing[0]
        raise NotFound(f"the price of a GB from {one} to {other} is not in the list: see spotbatch/pricing/data")
    return {pair: known[pair] for pair in pairs}
