"""Bills and cost reports: what EC2 charges, how a host's life is divided, and what the report says of it."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.pricing.catalogue import catalogue
from spotbatch.pricing.document import document_of
from spotbatch.pricing.history import Price, PriceHistory, Prices, Usage, flat, prices_of
from spotbatch.pricing.ledger import Part, parts_of
from spotbatch.pricing.reconcile import reconcile
from spotbatch.pricing.report import UNSPENT, CostReport, report_from, shown_usd
from spotbatch.pricing.usage import AttemptUse, HostLife, Observed

SPOT = Decimal("0.36")
ON_DEMAND = Decimal("0.72")
PRICES = Prices(
    spot=flat({"big": SPOT}, source="test", as_of="2026-01-01"),
    on_demand=flat({"big": ON_DEMAND}, source="test", as_of="2026-01-02"),
)


def a_host(**changes: object) -> HostLife:
    base = HostLife(
        instance_id="i-1", instance_type="big", zone="z", vcpus=4, launched_at=0, started_at=0, ended_at=4000
    )
    return replace(base, **changes)  # type: ignore[arg-type] # a builder takes what the class takes


def an_attempt(**changes: object) -> AttemptUse:
    base = AttemptUse(
        job_id="j",
        job_name="sort",
        instance_id="i-1",
        vcpus=4,
        memory_mib=1024,
        started_at=0,
        stopped_at=4000,
        outcome=AttemptOutcome.SUCCEEDED,
    )
    return replace(base, **changes)  # type: ignore[arg-type] # a builder takes what the class takes


def a_report(*attempts: AttemptUse, host: HostLife | None = None) -> CostReport:
    return report_from([host or a_host()], attempts, PRICES, until=10_000)


def a_usage(start: float, stop: float, **changes: object) -> Usage:
    return replace(Usage(instance_type="big", zone="z", started_at=start, stopped_at=stop), **changes)  # type: ignore[arg-type] # as above


def test_a_host_is_billed_by_the_second() -> None:
    assert PRICES.spot.cost(a_usage(0, 1000)) == SPOT * 1000 / 3600


def test_a_begun_second_is_billed_whole() -> None:
    assert PRICES.spot.cost(a_usage(0, 99.2)) == SPOT * 100 / 3600


def test_a_host_costs_a_minute_at_the_least() -> None:
    assert PRICES.spot.cost(a_usage(0, 3)) == SPOT / 60


def test_ec2_charges_nothing_for_a_host_that_it_interrupts_in_the_first_hour() -> None:
    assert PRICES.spot.cost(a_usage(0, 3599, is_interrupted_by_ec2=True)) == 0
    assert PRICES.spot.cost(a_usage(0, 3600, is_interrupted_by_ec2=True)) == SPOT


def test_an_on_demand_host_is_never_waived() -> None:
    report = a_report(host=a_host(is_spot=False, is_reclaimed=True, ended_at=600))
    assert report.paid_usd == report.on_demand_usd == ON_DEMAND * 600 / 3600


def test_a_bill_follows_the_price_through_its_changes() -> None:
    steps = [(0, "0.36"), (1000, "0.72"), (2000, "1.08")]
    history = PriceHistory(
        [Price(instance_type="big", zone="z", since=at, usd_per_hour=Decimal(usd)) for at, usd in steps],
        source="test",
        as_of="now",
    )
    assert history.cost(a_usage(500, 2500)) == Decimal("0.05") + Decimal("0.2") + Decimal("0.15")
    assert history.mean("big", "z", 0, 2000) == Decimal("0.54")
    assert history.usd_per_hour("big", "z", 1999.999) == Decimal("0.72")
    assert history.usd_per_hour("big", "z", -5) == Decimal("0.36")


def test_a_price_that_is_not_known_is_said_and_never_guessed() -> None:
    with pytest.raises(NotFound, match="no price is known for tiny in zone z"):
        PRICES.spot.cost(Usage(instance_type="tiny", zone="z", started_at=0, stopped_at=1))


def test_a_price_below_nought_is_refused() -> None:
    with pytest.raises(InvalidInput, match="must be 0 or more, not -1"):
        Price(instance_type="big", usd_per_hour=Decimal(-1))


def test_work_and_idle_room_share_the_price_of_the_host() -> None:
    report = a_report(an_attempt(vcpus=1, stopped_at=2000))
    whole = SPOT * 4000 / 3600
    assert report.paid_usd == whole
    assert report.parts[Part.WORK] == whole / 8
    assert report.parts[Part.IDLE] == whole * 7 / 8


def test_memory_decides_on_the_share_where_it_is_the_greater() -> None:
    report = a_report(an_attempt(vcpus=1, memory_mib=6000), host=a_host(memory_mib=8000))
    assert report.parts[Part.WORK] == SPOT * 4000 / 3600 * 3 / 4


def test_shares_that_exceed_the_host_are_scaled_down_to_it() -> None:
    report = a_report(
        an_attempt(vcpus=4, memory_mib=1),
        an_attempt(job_id="k", vcpus=1, memory_mib=8000),
        host=a_host(memory_mib=8000),
    )
    assert report.parts[Part.IDLE] == 0
    assert {group.name: group.paid_usd for group in report.by("array")} == {
        "sort (j)": report.paid_usd / 2,
        "sort (k)": report.paid_usd / 2,
    }


def test_boot_and_the_billing_minimum_have_their_own_lines() -> None:
    report = a_report(an_attempt(started_at=10, stopped_at=20), host=a_host(started_at=10, ended_at=20))
    assert report.parts[Part.BOOT] == SPOT * 10 / 3600
    assert report.parts[Part.WORK] == SPOT * 10 / 3600
    assert report.parts[Part.MINIMUM] == SPOT * 40 / 3600


def test_the_first_hour_credit_is_a_line_of_its_own() -> None:
    cut = an_attempt(outcome=AttemptOutcome.INTERRUPTED, stopped_at=1800)
    report = a_report(cut, host=a_host(ended_at=1800, is_reclaimed=True))
    assert report.gross_usd == report.credit_usd == SPOT / 2
    assert report.paid_usd == 0
    assert report.parts[Part.LOST] == SPOT / 2
    assert "0.18 USD were waived" in report.notes[-1]


def test_an_interrupted_attempt_loses_what_came_after_its_last_checkpoint() -> None:
    seen = Observed(lost_seconds=400, restore_seconds=200, save_seconds=100)
    report = a_report(an_attempt(outcome=AttemptOutcome.INTERRUPTED, observed=seen), host=a_host(is_reclaimed=True))
    whole = report.paid_usd
    assert report.parts[Part.LOST] == whole / 10
    assert report.parts[Part.RESTART] == whole / 20
    assert report.parts[Part.CHECKPOINT] == whole / 40
    assert report.on_demand_undisturbed_usd == report.on_demand_usd * 85 / 100
    assert report.notes == ()


def test_an_interrupted_attempt_without_a_record_counts_as_lost_whole_and_the_report_says_so() -> None:
    report = a_report(an_attempt(outcome=AttemptOutcome.INTERRUPTED), host=a_host(is_reclaimed=True))
    assert report.parts[Part.LOST] == report.paid_usd
    assert "1 interrupted attempts have no record" in report.notes[0]
    assert report.saving_usd < 0


def test_the_users_own_failures_and_stops_are_told_apart() -> None:
    report = a_report(
        an_attempt(stopped_at=1000, outcome=AttemptOutcome.FAILED),
        an_attempt(started_at=1000, stopped_at=2000, outcome=AttemptOutcome.STOPPED, attempt=2),
    )
    assert report.parts[Part.FAILED] == report.parts[Part.STOPPED] == SPOT * 1000 / 3600


def test_groups_add_up_to_the_whole_and_days_are_cut_at_midnight() -> None:
    report = a_report(
        an_attempt(started_at=86_000, stopped_at=90_000, vcpus=2, queue="q", tags={"team": "a"}),
        host=a_host(launched_at=86_000, started_at=86_000, ended_at=90_000),
    )
    for key in ("job", "array", "queue", "tag:team", "tag:other", "day"):
        assert sum(group.paid_usd for group in report.by(key)) == pytest.approx(report.paid_usd)
    days = {group.name: group.paid_usd for group in report.by("day")}
    assert days == {"1970-01-01": SPOT * 400 / 3600, "1970-01-02": SPOT * 3600 / 3600}
    assert {group.name for group in report.by("tag:team")} == {"a", UNSPENT}


def test_an_unknown_grouping_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not by 'colour'"):
        a_report().by("colour")


def test_a_host_without_a_price_is_left_out_and_named() -> None:
    report = report_from([a_host(), a_host(instance_id="i-2", instance_type="odd")], [], PRICES, until=1)
    assert report.paid_usd == SPOT * 4000 / 3600
    assert "no price is known for odd: 1 host left out" in report.notes[0]


def test_attempts_on_hosts_that_nobody_knows_are_counted_and_named() -> None:
    assert "1 attempt ran on hosts that are not known" in a_report(an_attempt(instance_id="i-9")).notes[0]


def test_a_host_that_still_runs_is_billed_up_to_now() -> None:
    report = report_from(
        [a_host(ended_at=None)], [an_attempt(stopped_at=None, outcome=AttemptOutcome.RUNNING)], PRICES, until=1000
    )
    assert report.paid_usd == report.parts[Part.WORK] == SPOT * 1000 / 3600
    assert "1 host still runs" in report.notes[0]


def test_the_report_names_the_source_and_the_day_of_its_prices() -> None:
    assert a_report().sources == ("Spot: test, as of 2026-01-01", "on-demand: test, as of 2026-01-02")


def test_other_quantities_become_lines_beside_the_hosts() -> None:
    report = report_from([a_host()], [], PRICES, until=1, other_quantities={"nat_gateway_gib": 2, "public_ipv4": 10})
    assert report.other_usd == Decimal("0.09") + Decimal("0.05")
    assert "not verified here" in report.sources[-1]


def test_the_json_of_a_report_is_plain_json_and_adds_up() -> None:
    seen = Observed(lost_seconds=10, peak_memory_mib=100, cpu_seconds=300)
    attempt = an_attempt(outcome=AttemptOutcome.INTERRUPTED, observed=seen, tags={"team": "a"})
    document = json.loads(json.dumps(document_of(a_report(attempt))))
    parts = sum(Decimal(each) for each in document["parts_usd"].values())
    assert abs(parts - Decimal(document["gross_usd"])) < Decimal("0.00000001")
    assert document["attempts"] == {"count": 1, "interrupted": 1, "by_end": {"INTERRUPTED": 1}}
    assert document["hosts"]["lines"][0]["instance_id"] == "i-1"
    assert document["by"]["tag:team"][0]["name"] == "a"


def test_advice_shows_what_was_asked_for_and_not_used_with_its_money() -> None:
    seen = Observed(peak_memory_mib=900, cpu_seconds=3600)
    attempt = an_attempt(vcpus=4, memory_mib=8000, observed=seen)
    report = a_report(attempt, host=a_host(memory_mib=8000))
    by_resource = {one.resource: one for one in report.advice}
    assert by_resource["memory"].suggested == 1152
    assert by_resource["memory"].usd == 0, "the vCPUs alone take the whole host"
    assert by_resource["vCPUs"].suggested == 1
    alone = a_report(replace(attempt, vcpus=1), host=a_host(memory_mib=8000)).advice
    assert [one.resource for one in alone] == ["memory"]
    assert alone[0].usd == SPOT * 4000 / 3600 * 3 / 4
    half = a_report(replace(attempt, vcpus=1, memory_mib=4000), host=a_host(memory_mib=8000))
    assert half.advice[0].usd == half.parts[Part.WORK] / 2, "a quarter of the host is left for its vCPU"


def test_a_job_near_its_memory_limit_is_warned_about_first() -> None:
    report = a_report(an_attempt(observed=Observed(peak_memory_mib=1000, cpu_seconds=40)))
    assert report.advice[0].is_warning
    assert "or it may be killed" in report.advice[0].text


def test_every_outcome_has_its_part_of_the_bill() -> None:
    parts = {outcome: dict(parts_of(an_attempt(outcome=outcome), until=9000.0)).keys() for outcome in AttemptOutcome}
    assert {each for each, part in parts.items() if Part.LOST in part} == {
        AttemptOutcome.INTERRUPTED,
        AttemptOutcome.LOST,
    }
    assert {each for each, part in parts.items() if Part.STOPPED in part} == {
        AttemptOutcome.STOPPED,
        AttemptOutcome.TIMED_OUT,
    }
    assert {each for each, part in parts.items() if Part.WORK in part} == {
        AttemptOutcome.SUCCEEDED,
        AttemptOutcome.RUNNING,
    }
    assert {each for each, part in parts.items() if Part.FAILED in part} == {
        each for each in AttemptOutcome if each.is_failure
    }


def test_small_amounts_are_shown_with_more_places() -> None:
    assert shown_usd(Decimal("1234.567")) == "1,234.57 USD"
    assert shown_usd(Decimal("0.00123")) == "0.001230 USD"
    assert shown_usd(Decimal(0)) == "0.00 USD"


def test_the_catalogues_prices_serve_every_zone_and_name_their_days() -> None:
    prices = prices_of(catalogue())
    assert prices.on_demand.usd_per_hour("c5.large", "us-east-1f", 0) == Decimal("0.085")
    assert "2026-07-20" in prices.sources[1]
    assert "2025-06-28" in prices.sources[0]


def test_what_we_reckon_stands_beside_what_aws_billed_day_by_day() -> None:
    report = a_report(host=a_host(launched_at=86_000, started_at=86_000, ended_at=90_000))
    first, second, third = reconcile(
        report, {"1970-01-01": SPOT * 410 / 3600, "1970-01-05": Decimal(2), "1970-01-06": Decimal(0)}
    )
    assert (first.day, first.is_close) == ("1970-01-01", True)
    assert (second.day, second.billed_usd, second.is_close) == ("1970-01-02", None, None)
    assert (third.day, third.is_close) == ("1970-01-05", False)
    assert third.difference_usd == third.billed_usd == 2
    assert first.to_json()["billed_usd"] == "0.041000000"


def test_the_shares_of_all_jobs_of_a_host_add_up_to_its_bill_idle_time_by_use() -> None:
    attempts = [an_attempt(job_id="one", vcpus=1), an_attempt(job_id="two", vcpus=0.5)]
    whole = a_report(*attempts)
    parts = [report_from([a_host()], attempts, PRICES, until=1, job_ids=[job_id]) for job_id in ("one", "two")]
    cent = Decimal("0.0000001")
    assert abs(sum(each.paid_usd for each in parts) - whole.paid_usd) < cent
    assert abs(sum(each.parts[Part.IDLE] for each in parts) - whole.parts[Part.IDLE]) < cent
    assert abs(parts[0].paid_usd - 2 * parts[1].paid_usd) < cent
    assert [len(each.attempts) for each in parts] == [1, 1]
    assert "other jobs too" in parts[0].notes[-1]


def test_a_long_list_of_groups_is_cut_and_still_adds_up() -> None:
    attempts = [an_attempt(array_index=index, vcpus=0.001) for index in range(1005)]
    report = a_report(*attempts)
    document: Any = document_of(report)
    found = document["by"]["job"]
    assert len(found) == 1001
    assert found[-1]["name"] == "(6 others)"
    assert sum(Decimal(one["paid_usd"]) for one in found) == pytest.approx(report.paid_usd)
