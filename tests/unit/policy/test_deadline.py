"""Our deadline policy: what it believes, when it moves, and what it costs to ask it."""

import math

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.deadline import Beliefs, DeadlinePolicy
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.hazard import HazardModel, Regime
from spotbatch.policy.interface import Move, Terms, View
from spotbatch.policy.replay import replay
from spotbatch.policy.table import solve

TERMS = Terms(
    work_seconds=8 * 3600, deadline_seconds=10 * 3600, changeover_seconds=720, tick_seconds=600, price_ratio=3.0
)


def constant(up_ends: float, down_ends: float) -> HazardModel:
    return HazardModel(
        edges_seconds=(0.0,),
        regimes=(Regime(weight=1.0, up_ends_per_hour=(up_ends,), down_ends_per_hour=(down_ends,)),),
    )


def two_regimes() -> HazardModel:
    steady = Regime(weight=0.5, up_ends_per_hour=(0.01,), down_ends_per_hour=(3.0,))
    shaky = Regime(weight=0.5, up_ends_per_hour=(3.0,), down_ends_per_hour=(0.3,))
    return HazardModel(edges_seconds=(0.0,), regimes=(steady, shaky))


def test_it_takes_spot_that_lasts_and_waits_a_little_for_spot_that_comes_back_soon() -> None:
    pilot = DeadlinePolicy(model=constant(0.01, 6.0)).start(TERMS)
    assert pilot.decide(View(0.0, 0.0, Move.WAIT, 0.0, True)) is Move.SPOT
    pilot = DeadlinePolicy(model=constant(0.01, 6.0)).start(TERMS)
    assert pilot.decide(View(0.0, 0.0, Move.WAIT, 0.0, False)) is Move.WAIT


def test_where_spot_never_comes_it_waits_as_long_as_waiting_is_free_and_is_in_time() -> None:
    outcome = replay(TERMS, DeadlinePolicy(model=FITTED), [False] * TERMS.ticks)
    assert not outcome.is_late
    assert outcome.starts == 1
    assert outcome.on_demand_seconds == pytest.approx(8 * 3600 + 720)


def test_it_stays_on_demand_where_spot_is_no_cheaper() -> None:
    same_price = Terms(
        work_seconds=8 * 3600, deadline_seconds=10 * 3600, changeover_seconds=720, tick_seconds=600, price_ratio=1.0
    )
    pilot = DeadlinePolicy(model=FITTED).start(same_price)
    assert pilot.decide(View(0.0, 0.0, Move.ON_DEMAND, 0.0, True)) is Move.ON_DEMAND


def test_without_slack_it_runs_on_demand_from_the_start() -> None:
    tight = Terms(
        work_seconds=9.8 * 3600, deadline_seconds=10 * 3600, changeover_seconds=720, tick_seconds=600, price_ratio=3.0
    )
    assert DeadlinePolicy(model=FITTED).start(tight).decide(View(0.0, 0.0, Move.WAIT, 0.0, True)) is Move.ON_DEMAND


def test_terms_that_cannot_be_met_are_run_on_demand_as_the_best_that_can_be_done() -> None:
    impossible = Terms(
        work_seconds=11 * 3600, deadline_seconds=10 * 3600, changeover_seconds=720, tick_seconds=600, price_ratio=3.0
    )
    assert not impossible.is_feasible
    assert DeadlinePolicy(model=FITTED).start(impossible).decide(View(0.0, 0.0, Move.WAIT, 0.0, True)) is Move.ON_DEMAND


def test_beliefs_move_to_the_regime_that_was_seen() -> None:
    model = two_regimes()
    beliefs = Beliefs(model, 600.0, DeadlinePolicy(model=model, is_wide=False).fresh())
    for is_up in (True, False, False, True, False, False):
        beliefs.see(is_up)
    assert beliefs.weights[1] > 0.95
    assert math.isclose(float(beliefs.weights.sum()), 1.0)


def test_a_pilot_can_be_carried_to_another_place_by_its_memory() -> None:
    policy = DeadlinePolicy(model=two_regimes())
    here = policy.start(TERMS)
    for is_up in (True, False, True, True):
        here.watch(is_up)
    there = policy.start(TERMS, here.memory)
    view = View(2400.0, 0.0, Move.WAIT, 0.0, False)
    assert there.decide(view) == here.decide(view)
    assert there.memory == here.memory


def test_a_memory_of_other_regimes_is_refused() -> None:
    memory = DeadlinePolicy(model=two_regimes(), is_wide=False).start(TERMS).memory
    with pytest.raises(InvalidInput, match="a memory of 2 regimes"):
        DeadlinePolicy(model=two_regimes()).start(TERMS, memory)


def test_a_pool_that_is_up_much_longer_than_those_fitted_is_found_out() -> None:
    policy = DeadlinePolicy(model=constant(2.0, 1.0))
    beliefs = Beliefs(policy.believed, 600.0, policy.fresh())
    for tick in range(120):
        beliefs.see(tick % 40 < 34)  # up for 5.7 h where half an hour was fitted, away for 1 h as fitted
    longer = max(range(len(policy.believed.regimes)), key=lambda place: beliefs.weights[place])
    found = policy.believed.regimes[longer]
    assert found.up_ends_per_hour == pytest.approx((2.0 / 3,))
    assert found.down_ends_per_hour == (1.0,)


def test_a_widened_model_doubts_each_side_by_itself_and_the_memory() -> None:
    own = constant(2.0, 0.5).widened()
    fitted, *others, without_memory = own.regimes
    assert fitted.weight == pytest.approx(0.9)
    assert [(each.up_ends_per_hour, each.down_ends_per_hour) for each in others] == [
        ((pytest.approx(2 / 3),), (0.5,)),
        ((6.0,), (0.5,)),
        ((2.0,), (pytest.approx(0.5 / 3),)),
        ((2.0,), (1.5,)),
    ]
    assert (without_memory.up_ends_per_hour, without_memory.down_ends_per_hour) == ((2.0,), (0.5,))
    assert FITTED.widened().regimes[:3] != FITTED.regimes  # less is believed of them
    assert [each.up_ends_per_hour for each in FITTED.widened().regimes[:3]] == [
        each.up_ends_per_hour for each in FITTED.regimes
    ]


def test_the_mean_of_a_period_is_that_of_its_survival() -> None:
    assert constant(0.5, 4.0).mean_hours((0.5,)) == pytest.approx(2.0)
    two = HazardModel(
        edges_seconds=(0.0, 3600.0),
        regimes=(Regime(weight=1.0, up_ends_per_hour=(1.0, 1.0), down_ends_per_hour=(1.0, 0.0)),),
    )
    assert two.mean_hours((0.0, 1.0)) == pytest.approx(2.0)
    assert two.mean_hours((1.0, 1.0)) == pytest.approx(1.0)
    assert two.mean_hours((1.0, 0.0)) == math.inf
    assert two.widened().regimes[-1].up_ends_per_hour == (1.0, 1.0)


def test_the_table_of_a_long_job_takes_less_than_100_megabytes() -> None:
    """How long a decision takes is printed by bench/policy.py."""
    long_job = Terms(
        work_seconds=48 * 3600, deadline_seconds=60 * 3600, changeover_seconds=720, tick_seconds=585, price_ratio=3.144
    )
    assert solve(long_job, FITTED.widened()).bytes < 100e6


def test_a_job_of_many_ticks_is_solved_on_coarser_ones_and_stays_small() -> None:
    month = Terms(
        work_seconds=25 * 86400, deadline_seconds=30 * 86400, changeover_seconds=60, tick_seconds=60, price_ratio=3.0
    )
    table = solve(month, FITTED.widened())
    assert table.bytes < 100e6
    assert table.step_seconds > 60


def test_hazards_are_rates_so_that_two_short_ticks_are_one_long_one() -> None:
    regime = FITTED.regimes[0]
    for age in (0.0, 500.0, 5000.0, 1e6):
        first = FITTED.end_probability(regime, True, age, 300.0)
        second = FITTED.end_probability(regime, True, age + 300.0, 300.0)
        both = FITTED.end_probability(regime, True, age, 600.0)
        assert both == pytest.approx(1 - (1 - first) * (1 - second))


@pytest.mark.parametrize("tick", [10.0, 585.0, 4000.0, 1e6])
def test_where_ages_go_within_a_tick_adds_up_to_one(tick: float) -> None:
    for bucket in range(len(FITTED.edges_seconds)):
        assert sum(share for _, share in FITTED.ages_after(bucket, tick)) == pytest.approx(1.0)


def test_a_model_that_makes_no_sense_is_refused() -> None:
    regime = FITTED.regimes[0]
    with pytest.raises(InvalidInput, match="add up to 1"):
        HazardModel(edges_seconds=FITTED.edges_seconds, regimes=(regime,))
    with pytest.raises(InvalidInput, match="ascend"):
        HazardModel(edges_seconds=(0.0, 5.0, 5.0), regimes=FITTED.regimes)
    with pytest.raises(InvalidInput, match="one rate"):
        HazardModel(edges_seconds=(0.0,), regimes=FITTED.regimes)
