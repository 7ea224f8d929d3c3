"""`spotbatch prices`: the known prices, their age, and the latest from AWS."""

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json, text

if TYPE_CHECKING:
    from spotbatch.aws.prices import Fetched
    from spotbatch.pricing.catalogue import Catalogue, InstanceType

_DEFAULT_TYPES: Final = "c5,m5,r5"  # the default stack's
Types = Annotated[str, typer.Option(help="Instance types and families, with commas; `all` for the whole catalogue.")]

app: Final = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Prices of instance types."
)


@app.command()
def show(types: Types = _DEFAULT_TYPES, as_json: JsonOption = False) -> None:
    """Prices, their sources and their age."""
    from spotbatch.aws.price_cache import age_text, current_catalogue, kept

    fetched = kept()
    known = current_catalogue(fetched)
    found = known.expand(_names(types, known))
    age = age_text(fetched, time.time())
    if as_json:
        return json.write(_document(known, found, fetched, age))
    rows = [_row(each) for each in found]
    heads = ["type", "vCPUs", "memory MiB", "usable", "on-demand", "as of", "Spot", "as of", "saving", "interrupted"]
    text.table(heads, rows, right=(1, 2, 3, 4, 6, 8, 9))
    text.hint(f"USD per hour in {known.region}; {age}")
    for problem in fetched.problems if fetched else ():
        text.hint(f"missing: {problem}")
    _say_region(known)
    return None


@app.command()
def refresh(
    types: Types = _DEFAULT_TYPES,
    days: Annotated[int, typer.Option(min=1, max=90, help="How far back to fetch Spot prices.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Ask AWS: instance types, on-demand and Spot prices by zone, placement scores. Needs credentials that may read."""
    from spotbatch.aws.price_cache import cache_path, region_name, write
    from spotbatch.aws.prices import fetch
    from spotbatch.pricing.catalogue import catalogue
    from spotbatch.runs import endpoint

    if endpoint.wants_local():
        raise InvalidInput(
            "the local region has no prices of its own, and what its moto makes up is none: refresh without --local "
            "(and SPOTBATCH_LOCAL). Bills of the local region are made at the catalogue's prices"
        )
    region = region_name()
    fetched = fetch(region, _names(types, catalogue()), now=time.time(), days=days)
    path = cache_path(region)
    write(fetched, path)
    if as_json:
        return json.write({"path": path, **_counts(fetched), "problems": fetched.problems})
    counts = _counts(fetched)
    text.say(
        f"{region}: {counts['types']} types, {counts['on_demand_prices']} on-demand prices, "
        f"{counts['spot_prices']} Spot price changes in {counts['zones']} zones, kept in {path}"
    )
    for score in fetched.scores:
        text.say(f"placement score of {score.zone_id}: {score.score} of 10")
    for problem in fetched.problems:
        text.hint(f"missing: {problem}")
    return None


def _names(types: str, known: "Catalogue") -> list[str]:
    if types.strip() == "all":
        return list(known.families)
    names = [name.strip() for name in types.split(",") if name.strip()]
    if not names:
        raise InvalidInput(f"--types names no type: give types and families with commas, as {_DEFAULT_TYPES}, or all")
    return names


def _row(kind: "InstanceType") -> list[str]:
    spot = kind.spot_usd_per_hour
    return [
        kind.name,
        str(kind.vcpus),
        str(kind.memory_mib),
        str(kind.usable_memory_mib),
        f"{kind.on_demand_usd_per_hour:.4f}",
        kind.on_demand_date,
        "not known" if spot is None else f"{spot:.4f}",
        kind.spot_date,
        "-" if spot is None else f"{100 - 100 * spot / kind.on_demand_usd_per_hour:.0f} %",
        kind.interruption_band or "not known",
    ]


def _document(
    known: "Catalogue", found: "tuple[InstanceType, ...]", fetched: "Fetched | None", age: str
) -> dict[str, object]:
    from spotbatch.pricing.history import prices_of

    return {
        "region": known.region,
        "sources": prices_of(known).sources,
        "age": age,
        "missing": fetched.problems if fetched else (),
        "placement_scores": fetched.scores if fetched else (),
        "types": [
            {
                "instance_type": each.name,
                "vcpus": each.vcpus,
                "memory_mib": each.memory_mib,
                "usable_memory_mib": each.usable_memory_mib,
                "architecture": each.architecture,
                "gpus": each.gpus,
                "on_demand_usd_per_hour": each.on_demand_usd_per_hour,
                "on_demand_date": each.on_demand_date,
                "spot_usd_per_hour": each.spot_usd_per_hour,
                "spot_date": each.spot_date,
                "interruption_band": each.interruption_band,
            }
            for each in found
        ],
    }


def _counts(fetched: "Fetched") -> dict[str, int]:
    return {
        "types": len(fetched.types),
        "on_demand_prices": len(fetched.on_demand),
        "spot_prices": len(fetched.spot),
        "zones": len({each.zone for each in fetched.spot}),
    }


def _say_region(known: "Catalogue") -> None:
    from spotbatch.aws.price_cache import region_name

    if known.region != region_name():
        text.hint(f"these are prices of {known.region}; those of {region_name()} are not known before a refresh")
