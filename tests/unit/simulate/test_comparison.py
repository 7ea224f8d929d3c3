"""What people ask before they choose: variants of one run with one seed, and placement over the zones of a scenario."""

from dataclasses import replace
from decimal import Decimal

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.placement import PlacementTerms, SpotPool
from spotbatch.policy.trace import Trace
from spotbatch.pricing.catalogue import catalogue
from spotbatch.pricing.history import prices_of
from spotbatch.simulate.comparison import Question, answers, variants
from spotbatch.simulate.placements import (
    drawn_pool_windows,
    placement_policies,
    score_placements,
    windows_of_traces,
)
from spotbatch.simulate.pools import pools_of
from spotbatch.simulate.scenario import Jobs, Scenario
from spotbatch.simulate.spot_capacity import CapacityAtRate

ZONES = ("us-east-1a", "us-east-1b", "us-west-2a")
SCENARIO = Scenario(
    jobs=Jobs(count=30, work_seconds=1800.0, memory_mib=1024),
    pools=pools_of(catalogue().expand(["c5.large", "c5.xlarge", "m5.large"]), ZONES, is_spot=True),
    max_vcpus=16,
    capacity=CapacityAtRate(reclaims_per_hour=0.5),
    seed=3,
)


@pytest.mark.parametrize("question", list(Question))
def test_every_question_has_answers_that_differ_in_what_was_asked_alone(question: Question) -> None:
    found = variants(SCENARIO, question)
    assert len({each.name for each in found}) == len(found) >= 2
    for each in found:
        assert sum(part.jobs.count for part in each.parts) == SCENARIO.jobs.count
        assert {part.seed for part in each.parts} == {SCENARIO.seed}
        assert sum(part.max_vcpus for part in each.parts) <= SCENARIO.max_vcpus


def test_the_names_say_what_is_compared() -> None:
    assert [each.name for each in variants(SCENARIO, Question.REGIONS)] == ["us-east-1", "us-east-1, us-west-2"]
    assert "1 type, 1 zone" in [each.name for each in variants(SCENARIO, Question.POOLS)]
    assert [each.name for each in variants(SCENARIO, Question.FLEET)][::3] == ["Spot", "on demand"]
    assert "on the notice only" in [each.name for each in variants(SCENARIO, Question.CHECKPOINT)]


def test_one_region_and_one_pool_are_nothing_to_compare() -> None:
    alone = replace(SCENARIO, pools=SCENARIO.pools[:1])
    for question in (Question.REGIONS, Question.POOLS):
        with pytest.raises(InvalidInput, match="nothing to compare"):
            variants(alone, question)


def test_on_demand_is_never_interrupted_and_the_same_seed_gives_the_same_answers() -> None:
    prices = prices_of(catalogue())
    found = variants(SCENARIO, Question.FLEET)
    first = answers(found, 2, prices, cores=1)
    assert first == answers(found, 2, prices, cores=1)
    by_name = {each.name: each for each in first}
    assert sum(by_name["on demand"].interruptions) == 0
    assert sum(by_name["Spot"].interruptions) > 0
    assert all(each.unfinished == 0 and min(each.usd) > Decimal(0) for each in first)


# ---- one job over the zones ----

TERMS = PlacementTerms(
    work_seconds=4 * 3600.0,
    deadline_seconds=6 * 3600.0,
    changeover_seconds=300.0,
    tick_seconds=600.0,
    pools=tuple(SpotPool(name=zone, region=zone[:-1], usd_per_hour=1.0) for zone in ZONES),
    on_demand_usd_per_hour={"us-east-1": 3.0, "us-west-2": 3.0},
    is_reclaim_seen_at_once=True,
)


def test_drawn_windows_are_the_seeds_and_no_policy_beats_the_optimum_or_is_late() -> None:
    windows = drawn_pool_windows(TERMS, 3, seed=4)
    assert windows == drawn_pool_windows(TERMS, 3, seed=4)
    assert windows != drawn_pool_windows(TERMS, 3, seed=5)
    scores = {each.name: each for each in score_placements(TERMS, windows, placement_policies())}
    assert set(scores) == {"UP over pools", "SkyNomad", "joint table", "omniscient optimum"}
    assert all(each.above_optimum >= -1e-9 for each in scores.values())
    assert scores["joint table"].late == 0


def test_windows_of_traces_are_spread_over_them_with_their_prices() -> None:
    length = 3 * TERMS.ticks
    prices = tuple(float(number) for number in range(1, length + 1))
    traces = [Trace(zone=zone, tick_seconds=600.0, available=(True,) * length, usd_per_hour=prices) for zone in ZONES]
    windows = windows_of_traces(TERMS, traces, 3)
    assert [each.usd_per_hour and each.usd_per_hour[ZONES[0]][0] for each in windows] == [1.0, 37.0, 73.0]
    with pytest.raises(InvalidInput, match="36 ticks"):
        windows_of_traces(TERMS, [replace(traces[0], available=(True,) * 9, usd_per_hour=())], 3)
