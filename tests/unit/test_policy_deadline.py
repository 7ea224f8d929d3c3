"""Our deadline policy: what it believes, when it moves, and what it costs to ask it."""

import math

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.deadline import Beliefs, DeadlinePolicy
from spotbatch.policy.fitted import FITTED
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
    beliefs = Beliefs(model, 600.0, DeadlinePolicy(model=model).fresh())
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


def test_the_table_of_a_long_job_takes_less_than_100_megabytes() -> None:
    """How long a decision takes is printed by bench/policy.py."""
    long_job = Terms(
        work_seconds=48 * 3600, deadline_seconds=60 * 3600, changeover_seconds=720, tick_seconds=585, price_ratio=3.144
    )
    assert solve(long_job, FITTED).bytes < 100e6


def test_a_job_of_many_ticks_is_solved_on_coarser_ones_and_stays_small() -> None:
    month = Terms(
        work_seconds=25 * 86400, deadline_seconds=30 * 86400, changeover_seconds=60, tick_seconds=60, price_ratio=3.0
    )
    table = solve(month, constant(0.1, 1.0))
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
