"""The result of the last price refresh, cached on this machine with its age and overlaid on the shipped catalogue.

There is one file per region and endpoint, so that prices from a local region's stand-in never pass for AWS's.
"""

import configparser
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.aws.prices import Fetched, Score, TypeSpec
from spotbatch.batch.errors import Damaged, InvalidInput, Unavailable
from spotbatch.pricing.catalogue import ON_DEMAND_SOURCE, SPOT_SOURCE, Catalogue, InstanceType, catalogue
from spotbatch.pricing.history import Price, PriceHistory, Prices, prices_of

SCHEMA: Final = 1
STALE_SECONDS: Final = 7 * 86_400.0
_DEFAULT_REGION: Final = "us-east-1"


def region_name(environ: Mapping[str, str] = os.environ) -> str:
    """The AWS region from the settings, as boto3 would find it, without loading boto3.

    The shipped catalogue's region if they name none.
    """
    if (chosen := session.connection()) is not None and chosen.session.region_name:
        return str(chosen.session.region_name)
    named = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    return named or _configured_region(environ) or _DEFAULT_REGION


def _configured_region(environ: Mapping[str, str]) -> str | None:
    """The region of the profile in the AWS configuration file, if a readable one exists."""
    path = Path(environ.get("AWS_CONFIG_FILE") or Path.home() / ".aws" / "config").expanduser()
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError):
        return None
    sections = ("default",) if profile == "default" else (f"profile {profile}", profile)
    return next((parser[name]["region"] for name in sections if parser.has_option(name, "region")), None)


def cache_path(region: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where a region's prices are cached: below XDG_CACHE_HOME, or ~/.cache."""
    root = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    endpoint = session.endpoint_url() if session.connection() is not None else environ.get("AWS_ENDPOINT_URL", "")
    where = f"-at-{re.sub(r'[^A-Za-z0-9]+', '-', endpoint)}" if endpoint else ""
    return root / "spotbatch" / f"prices-{region}{where}.json"


def write(fetched: Fetched, path: Path) -> None:
    """Store a refresh atomically. Raises Unavailable if the folder is not writable."""
    document = asdict(fetched) | {"schema": SCHEMA}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(document, file, default=str)
        Path(file.name).replace(path)
    except OSError as error:
        raise Unavailable(f"the prices could not be kept in {path}: {error.strerror}") from error


def read(path: Path) -> Fetched | None:
    """The last refresh; None if there was none. Raises Unavailable if the file is damaged or has another version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _fetched(document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, InvalidInput) as error:
        raise Damaged(f"the kept prices in {path} cannot be read ({error}): delete the file and refresh") from error


def _fetched(document: Any) -> Fetched:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {document['schema']!r}, not {SCHEMA}")
    return Fetched(
        region=str(document["region"]),
        at=float(document["at"]),
        since=float(document["since"]),
        types=tuple(TypeSpec(**each) for each in document["types"]),
        on_demand={str(name): Decimal(usd) for name, usd in document["on_demand"].items()},
        on_demand_date=str(document["on_demand_date"]),
        spot=tuple(Price(**(each | {"usd_per_hour": Decimal(each["usd_per_hour"])})) for each in document["spot"]),
        scores=tuple(Score(**each) for each in document["scores"]),
        problems=tuple(document["problems"]),
    )


def kept(region: str | None = None) -> Fetched | None:
    """The last refresh for a region (default: that of the settings) and the configured endpoint."""
    return read(cache_path(region or region_name()))


def current_catalogue(fetched: Fetched | None = None) -> Catalogue:
    """The shipped catalogue overlaid with the last refresh; `.region` says which region's prices these are.

    In a region other than the shipped one only refreshed types count, since prices differ by region.
    """
    fetched = kept() if fetched is None else fetched
    if fetched is None:
        return catalogue()
    shipped = catalogue()
    base = {each.name: each for each in shipped} if fetched.region == shipped.region else {}
    spot = _spot_means(fetched)
    specs = {each.name: each for each in fetched.types}
    for name in specs.keys() | (fetched.on_demand.keys() & base.keys()) | (spot.keys() & base.keys()):
        if (found := _merged(name, base.get(name), specs.get(name), spot.get(name), fetched)) is not None:
            base[name] = found
    return Catalogue(
        base.values(),
        source=_joined(f"AWS price list of {fetched.region}", ON_DEMAND_SOURCE, fetched.on_demand, base),
        spot_source=_joined(f"EC2 Spot price history of {fetched.region}, mean", SPOT_SOURCE, spot, base),
        region=fetched.region,
    )


def _joined(fresh: str, shipped: str, refreshed: Iterable[str], all_names: Iterable[str]) -> str:
    """The source of a list whose figures are partly refreshed and partly shipped."""
    new = set(refreshed)
    old = set(all_names) - new
    if not new:
        return shipped
    return f"{fresh} ({len(new)} types)" + (f"; for {len(old)} others: {shipped}" if old else "")


def _merged(
    name: str, shipped: InstanceType | None, spec: TypeSpec | None, spot: Decimal | None, fetched: Fetched
) -> InstanceType | None:
    """One type, each figure with its own date; None without an on-demand price, since it cannot be billed then."""
    listed = fetched.on_demand.get(name)
    if shipped is None:
        if spec is None or listed is None:
            return None
        shipped = _type_of(spec, listed, fetched)
    if listed is not None:
        shipped = replace(shipped, on_demand_usd_per_hour=listed, on_demand_date=fetched.on_demand_date)
    if spot is not None:
        shipped = replace(shipped, spot_usd_per_hour=spot, spot_date=day(fetched.at))
    return shipped


def _type_of(spec: TypeSpec, usd_per_hour: Decimal, fetched: Fetched) -> InstanceType:
    return InstanceType(
        name=spec.name,
        vcpus=spec.vcpus,
        memory_mib=spec.memory_mib,
        architecture=spec.architecture,
        gpus=spec.gpus,
        on_demand_usd_per_hour=usd_per_hour,
        on_demand_date=fetched.on_demand_date,
        spot_usd_per_hour=None,
        spot_date=day(fetched.at),
        interruption_band=None,
    )


def _spot_means(fetched: Fetched) -> Mapping[str, Decimal]:
    """Each type's Spot price: the mean over the fetched period and its zones."""
    history = _history(fetched)
    found = {}
    for name in {each.instance_type for each in fetched.spot}:
        means = [history.mean(name, zone, fetched.since, fetched.at) for zone in history.zones(name)]
        found[name] = (sum(means, Decimal(0)) / len(means)).quantize(Decimal("0.000001"))
    return found


def _history(fetched: Fetched) -> PriceHistory:
    return PriceHistory(
        fetched.spot,
        source=f"EC2 Spot price history of {fetched.region}, by zone",
        as_of=f"{day(fetched.since)} to {day(fetched.at)}",
    )


def current_prices(fetched: Fetched | None = None) -> Prices:
    """Prices for a bill: the refreshed Spot history by zone, and the catalogue's means for types without one."""
    fetched = kept() if fetched is None else fetched
    flat = prices_of(current_catalogue(fetched))
    if fetched is None or not fetched.spot:
        return flat
    known = {each.instance_type for each in fetched.spot}
    others = [
        Price(instance_type=each.name, usd_per_hour=each.spot_usd_per_hour)
        for each in current_catalogue(fetched)
        if each.name not in known and each.spot_usd_per_hour is not None
    ]
    real = _history(fetched)
    history = PriceHistory(
        (*fetched.spot, *others),
        source=f"{real.source} ({len(known)} types); for others: {SPOT_SOURCE}",
        as_of=real.as_of,
    )
    return Prices(spot=history, on_demand=flat.on_demand)


def age_text(fetched: Fetched | None, now: float) -> str:
    """The age of the prices in use, and how to refresh them."""
    if fetched is None:
        return "the catalogue that is shipped with spotbatch: `spotbatch prices refresh` asks AWS"
    hours = max(0.0, now - fetched.at) / 3600
    age = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours"
    stale = " (stale: `spotbatch prices refresh`)" if now - fetched.at > STALE_SECONDS else ""
    return f"refreshed {age} ago, {day(fetched.at)}{stale}"


def day(at: float) -> str:
    """The UTC day of a time."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()
