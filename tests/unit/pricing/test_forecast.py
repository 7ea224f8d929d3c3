"""Estimates before a run: checkpoint intervals, which types are cheapest, and the seeded forecast."""

import math
import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.catalogue import InstanceType, catalogue
from spotbatch.pricing.checkpoint import best_interval_seconds, expected_seconds
from spotbatch.pricing.fleet_model import simulate
from spotbatch.pricing.forecast import Plan, forecast
from spotbatch.pricing.instance_selection import (
    Choice,
    Need,
    choices,
    interruptions_per_hour,
    jobs_per_host,
    measured_rate,
)

RUNS = settings(max_examples=60, deadline=None, derandomize=True)
TYPES = catalogue().expand(["c5", "m5", "r5"])
SMALL = Plan(jobs=50, work_seconds=3600, need=Need(vcpus=2, memory_mib=4096), samples=200)


def a_type(**changes: object) -> InstanceType:
    base = InstanceType(
        name="x.large",
        vcpus=4,
        memory_mib=16384,
        architecture="x86_64",
        gpus=0,
        on_demand_usd_per_hour=Decimal("0.4"),
        on_demand_date="2026-01-01",
        spot_usd_per_hour=Decimal("0.1"),
        spot_date="2026-01-01",
        interruption_band="<5%",
    )
    return replace(base, **changes)  # type: ignore[arg-type] # a builder takes what the class takes


@given(share=st.floats(1e-5, 0.1), mean=st.floats(60, 1e6), restart=st.floats(0, 600), factor=st.floats(0.05, 20))
@RUNS
def test_no_other_interval_is_much_better_than_dalys(share: float, mean: float, restart: float, factor: float) -> None:
    save = mean * share  # the first order holds where a save is short beside the mean time
    best = best_interval_seconds(save_seconds=save, seconds_between_interruptions=mean)
    work = 1000 * max(best, best * factor)
    ours, other = (
        expected_seconds(
            work,
            interruptions_per_hour=3600 / mean,
            restart_seconds=restart,
            save_seconds=save,
            interval_seconds=each,
        )
        for each in (best, best * factor)
    )
    assert ours <= other * 1.05


def test_the_closed_form_agrees_with_interruptions_that_are_played_out() -> None:
    seed, rate, work, restart = 7, 0.5, 7200.0, 120.0
    chance = random.Random(seed)
    total = 0.0
    for _ in range(20_000):
        done = False
        while not done:
            gap = chance.expovariate(rate / 3600)
            done = gap >= work
            total += work if done else gap + restart
    expected = expected_seconds(work, interruptions_per_hour=rate, restart_seconds=restart)
    assert total / 20_000 == pytest.approx(expected, rel=0.02), f"seed {seed}"


def test_without_checkpoints_long_work_hardly_ever_ends_and_overflows_to_infinity() -> None:
    assert expected_seconds(1e7, interruptions_per_hour=10, restart_seconds=1) == math.inf


@pytest.mark.parametrize(("save", "mean"), [(0, 10), (1, 0), (-1, 10)])
def test_an_interval_needs_times_above_nought(save: float, mean: float) -> None:
    with pytest.raises(InvalidInput, match="must be above 0"):
        best_interval_seconds(save_seconds=save, seconds_between_interruptions=mean)


def test_jobs_fit_a_host_by_usable_memory_and_not_by_its_label() -> None:
    assert jobs_per_host(a_type(), Need(vcpus=1, memory_mib=4096)) == 3
    assert jobs_per_host(a_type(gpus=1), Need(vcpus=1, memory_mib=1024, gpus=1)) == 1


def test_a_wider_band_means_more_interruptions_and_an_unknown_one_the_most() -> None:
    rates = [interruptions_per_hour(a_type(interruption_band=band)) for band in ("<5%", "5-10%", ">20%", None)]
    assert rates[0] < rates[1] < rates[2] == rates[3]


def test_no_reclaim_in_a_short_run_is_not_taken_for_never() -> None:
    assert measured_rate(0, 2.0) == 0.25
    with pytest.raises(InvalidInput, match="host hours above 0"):
        measured_rate(1, 0)


def test_a_job_that_no_type_can_hold_is_refused_with_what_the_largest_offers() -> None:
    with pytest.raises(InvalidInput, match=r"the largest, x\.large, offers 4 and 15272 MiB"):
        choices([a_type()], Need(vcpus=8), jobs=1, work_seconds=1, save_seconds=1, restart_seconds=1)


def test_the_cheapest_type_per_job_comes_first_and_unfilled_hosts_count() -> None:
    kinds = [a_type(), a_type(name="x.huge", vcpus=64, memory_mib=262144, spot_usd_per_hour=Decimal("0.8"))]
    for jobs, first in ((1, "x.large"), (64, "x.huge")):
        ranked = choices(kinds, Need(memory_mib=1024), jobs=jobs, work_seconds=3600, save_seconds=1, restart_seconds=60)
        assert ranked[0].type.name == first


def test_a_type_without_a_spot_price_comes_last_and_no_price_is_made_up() -> None:
    kinds = [a_type(name="x.dark", spot_usd_per_hour=None, on_demand_usd_per_hour=Decimal("0.01")), a_type()]
    ranked = choices(kinds, Need(), jobs=9, work_seconds=60, save_seconds=1, restart_seconds=60)
    assert [each.type.name for each in ranked] == ["x.large", "x.dark"]
    assert ranked[1].spot_usd_per_job_hour is None
    assert ranked[1].saving_percent is None


def test_the_same_seed_gives_the_same_forecast_and_another_seed_another() -> None:
    assert forecast(SMALL, TYPES) == forecast(SMALL, TYPES)
    assert (
        forecast(SMALL, TYPES).scenario("spot").costs != forecast(replace(SMALL, seed=1), TYPES).scenario("spot").costs
    )


def test_without_interruptions_and_with_one_type_a_forecast_is_exact() -> None:
    plan = Plan(
        jobs=8, work_seconds=3600, need=Need(memory_mib=1024), max_vcpus=4, interruptions_per_hour=0, boot_seconds=0
    )
    found = forecast(replace(plan, interval_seconds=36_000), [a_type()])
    for name, usd in (("spot", 0.2), ("on-demand", 0.8), ("mixed", 0.2)):
        each = found.scenario(name)
        assert [each.cost_usd.p50, each.cost_usd.p95] == pytest.approx([usd, usd])
        assert each.finish_seconds.p95 == pytest.approx(7200)
        assert each.interruptions.mean == 0
    assert found.checkpoint is None


def test_more_interruptions_cost_more_and_take_longer() -> None:
    calm, rough = (
        forecast(replace(SMALL, interruptions_per_hour=rate, work_seconds=6 * 3600), TYPES).scenario("spot")
        for rate in (0.01, 1.0)
    )
    assert rough.interruptions.mean > 20 * calm.interruptions.mean
    assert rough.finish_seconds.p50 > calm.finish_seconds.p50
    assert rough.cost_usd.mean > calm.cost_usd.mean


def test_the_number_of_interruptions_is_what_the_rate_says() -> None:
    plan = Plan(
        jobs=200, work_seconds=3600, need=Need(vcpus=2), interruptions_per_hour=0.2, samples=2000, restart_seconds=0
    )
    found = forecast(plan, TYPES).scenario("spot")
    assert found.interruptions.mean == pytest.approx(200 * 0.2, rel=0.1)


def test_hosts_of_one_pool_are_reclaimed_together() -> None:
    plan = replace(SMALL, pools=1, interruptions_per_hour=0.05, samples=1000)
    found = forecast(plan, TYPES).scenario("spot").interruptions
    assert found.p50 == 0
    assert found.p95 >= plan.jobs * 0.9, "when the pool goes, all go"


def test_a_deadline_is_missed_never_or_always_at_the_ends() -> None:
    for deadline, chance in ((10.0, 1.0), (1e8, 0.0)):
        assert forecast(replace(SMALL, deadline_seconds=deadline), TYPES).scenario("spot").chance_late == chance
    assert forecast(SMALL, TYPES).scenario("spot").chance_late is None


def test_quantiles_are_in_order_and_on_demand_is_never_interrupted() -> None:
    found = forecast(replace(SMALL, spread=0.5, deadline_seconds=9000), TYPES)
    for each in found.scenarios:
        for some in (each.cost_usd, each.finish_seconds, each.interruptions):
            assert 0 <= some.p50 <= some.p90 <= some.p95
    assert found.scenario("on-demand").interruptions.p95 == 0
    assert found.scenario("spot").cost_usd.p50 < found.scenario("mixed").cost_usd.p50
    assert found.scenario("mixed").cost_usd.p50 < found.scenario("on-demand").cost_usd.p50


def test_many_short_jobs_are_taken_in_blocks_without_losing_work() -> None:
    plan = Plan(
        jobs=100_000, work_seconds=36, need=Need(memory_mib=1024), max_vcpus=100, interruptions_per_hour=0, samples=50
    )
    found = forecast(plan, [a_type()]).scenario("on-demand")
    assert found.cost_usd.p50 == pytest.approx(1000 * 0.1, rel=0.02)


def test_uneven_jobs_keep_their_mean() -> None:
    plan = Plan(
        jobs=400, work_seconds=3600, need=Need(), spread=1.0, samples=400, max_vcpus=8, interruptions_per_hour=0
    )
    even = forecast(replace(plan, spread=0.0), [a_type()]).scenario("on-demand").finish_seconds.mean
    assert forecast(plan, [a_type()]).scenario("on-demand").finish_seconds.mean == pytest.approx(even, rel=0.05)


def test_a_measured_run_is_drawn_from_instead_of_the_mean() -> None:
    plan = replace(SMALL, jobs=1, measured_seconds=(100.0, 300.0), samples=500, interruptions_per_hour=0)
    found = forecast(plan, TYPES).scenario("on-demand")
    assert set(found.finishes) == {190.0, 390.0}


def test_short_jobs_are_told_that_checkpoints_gain_nothing_and_long_ones_what_they_gain() -> None:
    short = forecast(replace(SMALL, work_seconds=30), TYPES).checkpoint
    long = forecast(replace(SMALL, work_seconds=200_000), TYPES).checkpoint
    assert short is not None
    assert short.interval_seconds is None
    assert long is not None
    assert long.interval_seconds is not None
    assert long.seconds_with < long.seconds_without
    assert long.saved_usd is not None
    assert long.saved_usd > 0


def test_too_many_interruptions_for_ten_attempts_are_warned_about() -> None:
    found = forecast(replace(SMALL, work_seconds=40 * 3600, interruptions_per_hour=0.2), TYPES)
    assert any("AWS Batch gives it 10 attempts" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "words"), [({"jobs": 0}, "jobs of an estimate"), ({"on_demand_share": 2}, "0 to 1, not 2")]
)
def test_a_plan_out_of_bounds_is_refused_with_the_bounds(change: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        replace(SMALL, **change)  # type: ignore[arg-type] # wrong on purpose


def test_a_type_above_the_bid_gives_no_hosts() -> None:
    kinds = [a_type(), a_type(name="x.dear", spot_usd_per_hour=Decimal("0.39"))]
    found = forecast(SMALL, kinds)
    assert max(found.scenario("spot").costs) < found.scenario("on-demand").cost_usd.p50 * 0.9
    assert any("1 types that fit stand above the bid of 80 %" in note for note in found.notes)
    with pytest.raises(InvalidInput, match="of 20 % of its"):
        forecast(replace(SMALL, bid_percentage=20), kinds)


def test_the_sampled_time_of_a_long_job_agrees_with_dalys_expectation() -> None:
    plan = Plan(
        jobs=1,
        work_seconds=100_000,
        need=Need(vcpus=4),
        interruptions_per_hour=0.5,
        save_seconds=20,
        restart_seconds=300,
        boot_seconds=0,
        samples=4000,
    )
    found = forecast(plan, [a_type()])
    assert found.checkpoint is not None
    assert found.scenario("spot").finish_seconds.mean == pytest.approx(found.checkpoint.seconds_with, rel=0.02)


def test_a_last_block_that_is_not_full_holds_only_the_jobs_that_are_left() -> None:
    plan = Plan(jobs=2001, work_seconds=36, need=Need(vcpus=4), max_vcpus=4, interruptions_per_hour=0, boot_seconds=0)
    found = forecast(replace(plan, samples=50), [a_type()]).scenario("on-demand")
    assert found.finish_seconds.p50 == pytest.approx(2001 * 36)


def test_jobs_on_one_host_are_interrupted_together() -> None:
    plan = Plan(jobs=2, work_seconds=3600, need=Need(vcpus=2), interruptions_per_hour=0.3, pools=2, samples=2000)
    one_host = replace(plan, max_vcpus=4, restart_seconds=0, save_seconds=0.01, interval_seconds=1)
    outcome = simulate(one_host, choices_of(one_host), 0.0)
    assert outcome.hosts == 1
    odd = sum(each % 2 == 1 for each in outcome.interruptions)
    assert odd < 20, "only where one of the two ends a moment later, and is caught in it"
    assert sum(outcome.interruptions) > 500


def choices_of(plan: Plan) -> tuple[Choice, ...]:
    return choices(
        [a_type()],
        plan.need,
        jobs=plan.jobs,
        work_seconds=plan.work_seconds,
        save_seconds=plan.save_seconds,
        restart_seconds=plan.restart_seconds,
        rate_per_hour=plan.interruptions_per_hour,
    )
