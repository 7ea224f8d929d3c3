"""FOCUS 1.2 and the Cost and Usage Report: charges add up to their origin, and what is written is read back."""

import csv
import gzip
import io
from collections import defaultdict
from decimal import Decimal
from random import Random

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.cur import beside, read_split
from spotbatch.pricing.focus import COLUMNS, focus_csv, in_places
from spotbatch.pricing.report import CostReport, report_from
from tests.unit.pricing.test_report import PRICES, a_host, an_attempt

LEGACY = ("lineItem/UsageStartDate", "lineItem/CurrencyCode", "splitLineItem/ParentResourceId",
          "splitLineItem/SplitCost", "splitLineItem/UnusedCost")  # fmt: skip
CUR2 = ("line_item_usage_start_date", "line_item_currency_code", "split_line_item_parent_resource_id",
        "split_line_item_split_cost", "split_line_item_unused_cost")  # fmt: skip


def drawn(seed: int) -> CostReport:
    """A run over a few days on a few hosts, some of which EC2 took in their first hour."""
    chance = Random(seed)
    hosts, attempts = [], []
    for number in range(chance.randint(1, 4)):
        begin = chance.uniform(0, 150_000)
        end = begin + chance.choice([500, 4000, 90_000])
        is_reclaimed = chance.random() < 0.4
        hosts.append(a_host(instance_id=f"i-{number}", launched_at=begin, started_at=begin + 30, ended_at=end,
                            is_reclaimed=is_reclaimed, zone="us-east-1a"))  # fmt: skip
        for index in range(chance.randint(0, 5)):
            start = chance.uniform(begin, end)
            attempts.append(
                an_attempt(
                    instance_id=f"i-{number}",
                    array_index=index,
                    vcpus=chance.choice([1, 2, 3]),
                    started_at=start,
                    stopped_at=chance.uniform(start, end),
                    tags={"team": 'ö, "x"'},
                )
            )
    return report_from(hosts, attempts, PRICES, until=300_000)


def rows_of(report: CostReport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(focus_csv(report, account="123456789012"))))


@pytest.mark.parametrize("seed", range(30))
def test_allocated_charges_add_up_to_their_origin_and_the_file_to_the_bill(seed: int) -> None:
    report = drawn(seed)
    origins: dict[str, Decimal] = defaultdict(Decimal)
    wanted: dict[str, Decimal] = defaultdict(Decimal)
    hours: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows_of(report):
        origins[row["x_OriginChargeId"]] += Decimal(row["BilledCost"])
        hours[row["ResourceId"]] += Decimal(row["PricingQuantity"])
        assert Decimal(row["BilledCost"]) >= 0
    for each in report.entries:
        wanted[f"{each.host.instance_id}/{each.day}"] += each.paid_usd
    assert origins == {key: value.quantize(Decimal("1e-9")) for key, value in wanted.items()}
    assert abs(sum(origins.values()) - report.paid_usd) < Decimal("0.000001")
    for host in report.hosts:
        assert float(hours[host.instance_id]) == pytest.approx(
            ((host.ended_at or 0) - host.launched_at) / 3600, abs=1e-4
        )


def test_rows_have_the_columns_of_the_specification_in_its_order_and_its_words() -> None:
    text = focus_csv(drawn(3), account="123456789012")
    header = text.split("\r\n", 1)[0].split(",")
    assert tuple(header[: len(COLUMNS)]) == COLUMNS
    assert len(COLUMNS) == 57
    assert list(COLUMNS) == sorted(COLUMNS)
    assert all(name.startswith("x_") for name in header[len(COLUMNS) :])
    for row in rows_of(drawn(3)):
        assert (row["ChargeCategory"], row["ChargeFrequency"], row["BillingCurrency"]) == (
            "Usage",
            "Usage-Based",
            "USD",
        )
        assert row["SkuId"] == row["SkuPriceId"] == row["SkuMeter"] == row["SkuPriceDetails"] == ""
        assert row["BillingAccountType"] == row["SubAccountType"] == "Account"
        assert row["x_UsageType"].startswith(("SpotUsage:", "BoxUsage:"))
        assert row["PricingCategory"] in ("Dynamic", "Standard")
        assert row["ChargePeriodStart"].endswith("T00:00:00Z")
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]


@pytest.mark.parametrize("seed", range(30))
def test_the_unit_price_times_the_quantity_is_the_cost(seed: int) -> None:
    for row in rows_of(drawn(seed)):
        prices = {row[name] for name in row if name.endswith("UnitPrice")}
        assert len(prices) == 1, "listed, contracted and in the pricing currency: there is one price"
        cost = Decimal(prices.pop()) * Decimal(row["PricingQuantity"])
        assert abs(cost - Decimal(row["ListCost"])) < Decimal("0.00000005")
        assert row["ListCost"] == row["ContractedCost"]


def test_rounding_leaves_no_dust() -> None:
    third = Decimal(1) / 3
    assert sum(in_places([third, third, third])) == 1
    assert in_places([]) == []
    chance = Random(1)
    for _ in range(200):
        amounts = [Decimal(chance.random()) / 10**9 for _ in range(chance.randint(1, 40))]
        assert sum(in_places(amounts), Decimal(0)) == sum(amounts, Decimal(0)).quantize(Decimal("1e-9"))


# ---- the Cost and Usage Report ----


def cur_of(report: CostReport, names: tuple[str, ...]) -> bytes:
    """The report's ledger in the columns of AWS: a row of a task for each attempt, what is unused beside it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("lineItem/ProductCode", *names))
    for each in report.entries:
        paid = str(each.paid_usd)
        costs = (paid, "0") if each.attempt is not None else ("0", paid)
        writer.writerow(("AmazonECS", f"{each.day}T00:00:00Z", "USD", each.host.instance_id, *costs))
    writer.writerow(("AmazonEC2", "1970-01-01T00:00:00Z", "USD", "", "", ""))  # the instance itself: counted once
    writer.writerow(("AmazonECS", "1970-01-01T00:00:00Z", "USD", "i-other", "9", "9"))
    return out.getvalue().encode()


@pytest.mark.parametrize("names", [LEGACY, CUR2], ids=["legacy", "CUR 2.0"])
@pytest.mark.parametrize("seed", range(5))
def test_a_report_made_from_our_ledger_is_read_back_to_the_last_digit(seed: int, names: tuple[str, ...]) -> None:
    report = drawn(seed)
    ids = {each.instance_id for each in report.hosts}
    for raw in (cur_of(report, names), gzip.compress(cur_of(report, names))):
        days = beside(report, read_split("cur.csv", raw, ids))
        assert all(day.allocated_usd == day.reckoned_usd for day in days)
        assert sum(day.allocated_usd for day in days) == report.paid_usd


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"a,b\n1,2\n", "no split cost allocation data"),
        (b"\xff\xfe", "no CSV"),
        (b"\x1f\x8bxx", "no CSV"),
        (",".join(CUR2).encode() + b"\n2026-01-01,EUR,i-0,1,1\n", "'EUR'"),
        (",".join(CUR2).encode() + b"\n2026-01-01,USD,i-0,x,1\n", "line 2: 'x' is no amount"),
        (",".join(CUR2).encode() + b"\n2026-01-01,USD,i-0,NaN,1\n", "no amount"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_is_wrong(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        read_split("cur.csv", raw, {"i-0"})
