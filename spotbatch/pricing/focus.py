"""A run's bill as FOCUS 1.2 (FinOps Open Cost and Usage Specification): each host-day, allocated to what ran there.

Column names and allowed values: focus.finops.org, specification v1.2, "Columns"; custom columns begin with `x_`
(attribute "Column Naming and Ordering"). The rows are allocated charges: those of one `x_OriginChargeId` (a host and a
UTC day) add up to what that host's day costs, exactly ("Data Generator-Calculated Split Cost Allocation Handling").

SkuId and SkuPriceId are null, where the specification wants values ("SKU Price ID"): Spot prices are in no price list
that AWS publishes, and the ids of the on-demand ones are not known here. SkuMeter and SkuPriceDetails must be null with
them; the usage type is in `x_UsageType`.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from spotbatch.pricing.ledger import Entry
from spotbatch.pricing.report import CostReport
from spotbatch.pricing.usage import HostLife

COLUMNS: Final = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "CapacityReservationId", "CapacityReservationStatus", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory",
    "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags",
)  # fmt: skip
OWN_COLUMNS: Final = (
    "x_OriginChargeId", "x_JobId", "x_JobName", "x_ArrayIndex", "x_Attempt", "x_Queue", "x_WentTo", "x_OnDemandCost",
    "x_UsageType", "x_IsEstimated",
)  # fmt: skip
_AWS: Final = "Amazon Web Services"
_UNIT_PRICES: Final = (
    "ListUnitPrice", "ContractedUnitPrice", "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice",
)  # fmt: skip
_PLACES: Final = Decimal("0.000000001")
_DAY: Final = 86_400


def focus_csv(report: CostReport, *, account: str) -> str:
    """The report's ledger as a FOCUS 1.2 CSV: one row per attempt (or none), cause, host and UTC day.

    `account` is the 12 digits of the billing account. Costs are rounded to nine places so that the rows of one
    origin charge still add up to it. Nothing here is an invoice: `x_IsEstimated` is true on every row.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=(*COLUMNS, *OWN_COLUMNS), restval="", lineterminator="\r\n")
    writer.writeheader()
    origins: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for each in report.entries:
        origins[each.host.instance_id, each.day].append(each)
    for (_, day), entries in sorted(origins.items()):
        writer.writerows(_rows(entries, day, account))
    return out.getvalue()


def _rows(entries: Sequence[Entry], day: str, account: str) -> Iterable[dict[str, str]]:
    """The allocated charges of one host-day."""
    host = entries[0].host
    shared = _of_host(host, day, account)
    billed = in_places([each.paid_usd for each in entries])
    gross = in_places([each.gross_usd for each in entries])
    on_demand = in_places([each.on_demand_usd for each in entries])
    hours = _hours(host, day, entries)
    price = _unit_price(sum(gross, Decimal(0)), sum(hours, Decimal(0)))
    shared |= dict.fromkeys(_UNIT_PRICES, f"{price:f}")
    for entry, paid, listed, twin, used in zip(entries, billed, gross, on_demand, hours, strict=True):
        costs = {"BilledCost": paid, "EffectiveCost": paid, "ListCost": listed, "ContractedCost": listed}
        quantity = {"PricingQuantity": used, "ConsumedQuantity": used, "x_OnDemandCost": twin}
        amounts = {name: f"{amount:f}" for name, amount in (costs | quantity).items()}
        yield shared | amounts | {"PricingCurrencyEffectiveCost": f"{paid:f}"} | _of_attempt(entry)


def _unit_price(usd: Decimal, hours: Decimal) -> Decimal:
    """The mean price of an hour on this day: times a row's hours it is the row's list cost, but for the ninth place."""
    return (usd / hours if hours else Decimal(0)).quantize(_PLACES)


def in_places(amounts: Sequence[Decimal]) -> list[Decimal]:
    """Amounts with nine places that add up to the total with nine places: the largest remainders are rounded up."""
    floors = [each.quantize(_PLACES, rounding=ROUND_FLOOR) for each in amounts]
    lacking = int((sum(amounts, Decimal(0)).quantize(_PLACES) - sum(floors, Decimal(0))) / _PLACES)
    order = sorted(range(len(amounts)), key=lambda place: (floors[place] - amounts[place], place))
    for place in order[:lacking]:
        floors[place] += _PLACES
    return floors


def _hours(host: HostLife, day: str, entries: Sequence[Entry]) -> list[Decimal]:
    """The host's hours on this day, split in proportion to each entry's cost."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    stop = start + _DAY if host.ended_at is None else min(start + _DAY, max(host.ended_at, host.launched_at + 60))
    hours = Decimal(str(round(max(0.0, stop - max(start, host.launched_at)), 3))) / 3600
    total = sum((each.gross_usd for each in entries), Decimal(0))
    parts = [each.gross_usd / total if total else Decimal(1) / len(entries) for each in entries]
    return in_places([hours * part for part in parts])


def _of_host(host: HostLife, day: str, account: str) -> dict[str, str]:
    """The columns shared by all rows of a host-day."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    month = start.replace(day=1)
    after = (month + timedelta(days=32)).replace(day=1)
    region = host.zone[:-1]
    return {
        "AvailabilityZone": host.zone,
        "BillingAccountId": account,
        "BillingAccountType": "Account",
        "SubAccountId": account,
        "SubAccountType": "Account",
        "BillingCurrency": "USD",
        "PricingCurrency": "USD",
        "BillingPeriodStart": _time(month),
        "BillingPeriodEnd": _time(after),
        "ChargePeriodStart": _time(start),
        "ChargePeriodEnd": _time(start + timedelta(days=1)),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "PricingCategory": "Dynamic" if host.is_spot else "Standard",
        "PricingUnit": "Hours",
        "ConsumedUnit": "Hours",
        "InvoiceIssuerName": _AWS,
        "ProviderName": _AWS,
        "PublisherName": _AWS,
        "RegionId": region,
        "RegionName": region,
        "ResourceId": host.instance_id,
        "ResourceName": host.instance_id,
        "ResourceType": "Instance",
        "ServiceCategory": "Compute",
        "ServiceSubcategory": "Virtual Machines",
        "ServiceName": "Amazon Elastic Compute Cloud",
        "x_UsageType": f"{'SpotUsage' if host.is_spot else 'BoxUsage'}:{host.instance_type}",
        "x_OriginChargeId": f"{host.instance_id}/{day}",
        "x_IsEstimated": "true",
    }


def _of_attempt(entry: Entry) -> dict[str, str]:
    attempt = entry.attempt
    if attempt is None:
        return {"ChargeDescription": f"{entry.host.instance_type}: {entry.part.value}", "x_WentTo": entry.part.value}
    return {
        "ChargeDescription": f"{entry.host.instance_type}: {entry.part.value} of {attempt.job_name}",
        "x_WentTo": entry.part.value,
        "x_JobId": attempt.job_id,
        "x_JobName": attempt.job_name,
        "x_ArrayIndex": "" if attempt.array_index is None else str(attempt.array_index),
        "x_Attempt": str(attempt.attempt),
        "x_Queue": attempt.queue,
        "Tags": _tags(attempt.tags),
    }


def _tags(tags: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(tags.items())), separators=(",", ":")) if tags else ""


def _time(when: datetime) -> str:
    """In the format of the attribute "Date/Time Format": UTC with a Z."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
