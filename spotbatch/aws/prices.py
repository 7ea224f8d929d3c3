"""Prices from AWS: instance types, on-demand and Spot prices, placement scores, and what was actually billed."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from spotbatch.aws import session
from spotbatch.batch.errors import SpotbatchError, Unavailable
from spotbatch.pricing.catalogue import catalogue
from spotbatch.pricing.history import Price

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_pricing.type_defs import FilterTypeDef

PRICE_LIST_REGION: Final = "us-east-1"  # the Pricing API answers in three regions only, for all of them
_MOST_TYPES: Final = 2_000
_MOST_PRICES: Final = 500_000  # 7 days of 708 types in 6 zones are about 27,000
_NAMES_A_CALL: Final = 40  # a filter's value holds 1,024 characters
_SCORED_TYPES: Final = 10  # scores for one or two types are always low; AWS asks for three or more
_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeSpec:
    """An instance type as described by EC2."""

    name: str
    vcpus: int
    memory_mib: int
    architecture: str
    gpus: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How likely a Spot request is to succeed in a zone, 1 to 10, according to AWS (GetSpotPlacementScores)."""

    zone_id: str
    score: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """The result of one refresh. `problems` says what AWS did not provide, and why."""

    region: str
    at: float  # UTC epoch seconds
    since: float  # from when on the Spot prices are complete
    types: tuple[TypeSpec, ...]
    on_demand: Mapping[str, Decimal]
    on_demand_date: str
    spot: tuple[Price, ...]
    scores: tuple[Score, ...]
    problems: tuple[str, ...]


def fetch(region: str, names: Sequence[str], *, now: float, days: int = 7) -> Fetched:
    """Fetch everything from AWS about these types and families (`c5`, `m5.large`).

    What an API refuses is listed in `problems`, and the rest is kept. Raises Unavailable if nothing was fetched.
    """
    problems: list[str] = []
    since = now - days * 86_400
    ec2 = session.client("ec2", region=region)
    types: tuple[TypeSpec, ...] = ()
    listed: tuple[Mapping[str, Decimal], str] = ({}, "")
    spot: tuple[Price, ...] = ()
    scores: tuple[Score, ...] = ()
    types = _tried(problems, "instance types", lambda: tuple(instance_types(ec2, names)), types)
    found = [each.name for each in types] or [each.name for each in catalogue().expand(names)]
    listed = _tried(problems, "on-demand prices", lambda: on_demand_prices(region, found), listed)
    spot = _tried(problems, "Spot prices", lambda: tuple(spot_prices(ec2, found, since=since, until=now)), spot)
    scores = _tried(problems, "placement scores", lambda: placement_scores(ec2, region, found), scores)
    on_demand, date = listed
    if not (types or on_demand or spot):
        reasons = dict.fromkeys(problem.partition(": ")[2] for problem in problems)  # each once: often all are the same
        raise Unavailable("no prices could be fetched: " + "; ".join(reasons or ["AWS knows none of these types"]))
    return Fetched(
        region=region,
        at=now,
        since=since,
        types=types,
        on_demand=on_demand,
        on_demand_date=date,
        spot=spot,
        scores=scores,
        problems=tuple(problems),
    )


def _tried(problems: list[str], what: str, ask: Callable[[], _Found], otherwise: _Found) -> _Found:
    from botocore.parsers import ResponseParserError  # not a BotoCoreError: raised when a proxy answers with HTML

    try:
        return ask()
    except (SpotbatchError, ResponseParserError) as error:
        problems.append(f"{what} were not refreshed: {str(error).partition(chr(10))[0]}")
        return otherwise


def instance_types(ec2: "EC2Client", names: Iterable[str]) -> Iterator[TypeSpec]:
    """EC2's data on these types and families. Bare metal is left out: AWS Batch does not choose it from a family."""
    patterns = [name if "." in name else f"{name}.*" for name in names]
    pages = ec2.get_paginator("describe_instance_types").paginate(
        Filters=[{"Name": "instance-type", "Values": patterns}, {"Name": "bare-metal", "Values": ["false"]}]
    )
    found = (each for page in pages for each in page["InstanceTypes"])
    for each in islice(found, _MOST_TYPES):
        architectures = each.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
        yield TypeSpec(
            name=str(each["InstanceType"]),
            vcpus=each["VCpuInfo"]["DefaultVCpus"],
            memory_mib=each["MemoryInfo"]["SizeInMiB"],
            architecture="arm64" if "arm64" in architectures else "x86_64",
            gpus=sum(one.get("Count", 0) for one in each.get("GpuInfo", {}).get("Gpus", [])),
        )


def spot_prices(ec2: "EC2Client", names: Sequence[str], *, since: float, until: float) -> Iterator[Price]:
    """Every change of the Spot price (Linux) of these types, in each zone, over a period.

    EC2 includes the last change before the period, so that the price at its start is known too.
    """
    if not names:
        return
    pages = ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(names),  # type: ignore[arg-type] # any string is sent; the stubs list today's types
        ProductDescriptions=["Linux/UNIX"],
        StartTime=datetime.fromtimestamp(since, UTC),
        EndTime=datetime.fromtimestamp(until, UTC),
    )
    found = (each for page in pages for each in page["SpotPriceHistory"])
    for each in islice(found, _MOST_PRICES):
        yield Price(
            instance_type=str(each["InstanceType"]),
            zone=each["AvailabilityZone"],
            since=each["Timestamp"].timestamp(),
            usd_per_hour=Decimal(each["SpotPrice"]),
        )


def on_demand_prices(region: str, names: Sequence[str]) -> tuple[Mapping[str, Decimal], str]:
    """USD per hour of Linux on shared hardware, from the price list, and the publication date of the newest."""
    client = session.client("pricing", region=PRICE_LIST_REGION)
    found: dict[str, Decimal] = {}
    date = ""
    for start in range(0, len(names), _NAMES_A_CALL):
        some = names[start : start + _NAMES_A_CALL]
        pages = client.get_paginator("get_products").paginate(
            ServiceCode="AmazonEC2", Filters=_product_filters(region, some), FormatVersion="aws_v1"
        )
        for document in (each for page in pages for each in page["PriceList"]):
            name, usd, published = _product(document)
            if name in some and usd is not None:
                found[name] = usd
                date = max(date, published)
    return found, date


def _product_filters(region: str, names: Sequence[str]) -> "list[FilterTypeDef]":
    exact = {
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }
    filters: list[FilterTypeDef] = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in exact.items()
    ]
    return [*filters, {"Type": "ANY_OF", "Field": "instanceType", "Value": ",".join(names)}]


def _product(document: str) -> tuple[str, Decimal | None, str]:
    """A product's instance type, its USD per hour and the list's day; None if it has no such price.

    Raises Unavailable if the document does not have the price list's format.
    """
    try:
        product = json.loads(document)
        name = str(product["product"]["attributes"]["instanceType"])
        terms = product["terms"].get("OnDemand", {}).values()
        prices = [one for term in terms for one in term["priceDimensions"].values() if one["unit"] == "Hrs"]
        usd = [Decimal(one["pricePerUnit"]["USD"]) for one in prices]
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise Unavailable(
            f"the price list holds a product that cannot be read ({error!r}): {document[:200]}"
        ) from error
    above = [each for each in usd if each > 0]
    return name, (above[0] if above else None), str(product.get("publicationDate", ""))[:10]


def placement_scores(ec2: "EC2Client", region: str, names: Sequence[str], *, vcpus: int = 256) -> tuple[Score, ...]:
    """For each zone, how likely a request for this many Spot vCPUs of these types is to succeed; best first."""
    if not names:
        return ()
    answer = ec2.get_spot_placement_scores(
        InstanceTypes=list(names[:_SCORED_TYPES]),
        TargetCapacity=vcpus,
        TargetCapacityUnitType="vcpu",
        SingleAvailabilityZone=True,
        RegionNames=[region],
        MaxResults=30,
    )
    found = (
        Score(zone_id=each.get("AvailabilityZoneId", ""), score=each.get("Score", 0))
        for each in answer["SpotPlacementScores"]
    )
    return tuple(sorted(found, key=lambda one: (-one.score, one.zone_id)))


def billed_by_day(tag: tuple[str, str], *, start: float, stop: float) -> Mapping[str, Decimal]:
    """Cost Explorer's figures for resources with a cost allocation tag: unblended USD by UTC day.

    Cost Explorer lags by about a day, costs 0.01 USD per request, and must be enabled, as must the tag.
    Raises Unavailable or InvalidInput if it is not.
    """
    first = datetime.fromtimestamp(start, UTC).date()
    last = datetime.fromtimestamp(stop, UTC).date() + timedelta(days=1)  # the end is not included
    client = session.client("ce", region=PRICE_LIST_REGION)
    found: dict[str, Decimal] = {}
    page: dict[str, str] = {}
    for _ in range(100):
        answer = client.get_cost_and_usage(
            TimePeriod={"Start": first.isoformat(), "End": last.isoformat()},
            Granularity="DAILY",
            Metrics=["UnblendedCost"],
            Filter={"Tags": {"Key": tag[0], "Values": [tag[1]]}},
            **page,
        )
        for each in answer["ResultsByTime"]:
            found[each["TimePeriod"]["Start"]] = Decimal(each["Total"]["UnblendedCost"]["Amount"])
        if not answer.get("NextPageToken"):
            break
        page = {"NextPageToken": answer["NextPageToken"]}
    return found
