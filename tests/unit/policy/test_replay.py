"""The replay of one job, and the yardsticks on traces small enough to follow by hand."""

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.baselines import Greedy, OnDemandOnly, SpotOnly, UniformProgress
from spotbatch.policy.interface import Move, Terms, View, is_safe
from spotbatch.policy.oracle import Optimum, grid_step
from spotbatch.policy.replay import replay, saving

SPOT, ON_DEMAND, WAIT = Move.SPOT, Move.ON_DEMAND, Move.WAIT


def terms(**changes: float) -> Terms:
    """Four hours of work in ten, half an hour of changeover, ticks of an hour, on-demand at three times Spot."""
    hours = {"work": 4.0, "deadline": 10.0, "changeover": 0.5, "tick": 1.0} | changes
    return Terms(
        work_seconds=hours["work"] * 3600,
        deadline_seconds=hours["deadline"] * 3600,
        changeover_seconds=hours["changeover"] * 3600,
        tick_seconds=hours["tick"] * 3600,
        price_ratio=3.0,
    )


def trace(text: str) -> list[bool]:
    return [each == "1" for each in text]


def test_on_demand_only_bills_the_work_and_one_changeover() -> None:
    outcome = replay(terms(), OnDemandOnly(), trace("0000000000"))
    assert outcome.on_demand_seconds == pytest.approx(4.5 * 3600)
    assert outcome.finished_at == pytest.approx(4.5 * 3600)
    assert outcome.cost == pytest.approx(3 * 4.5 * 3600)
    assert saving(outcome.cost, terms()) == pytest.approx(1 - 4.5 / 4)


def test_spot_only_pays_a_changeover_after_each_reclaim_and_may_be_late() -> None:
    outcome = replay(terms(), SpotOnly(), trace("1101110000"))
    assert outcome.starts == 2
    assert outcome.reclaims == 1  # the second instance finished in time
    assert outcome.spot_seconds == pytest.approx((2 + 3) * 3600)
    assert outcome.finished_at == pytest.approx(6 * 3600)
    assert replay(terms(), SpotOnly(), trace("1100000000")).is_late


def test_greedy_waits_for_spot_until_only_on_demand_is_in_time() -> None:
    outcome = replay(terms(), Greedy(), trace("0000000000"))
    assert not outcome.is_late
    assert outcome.moves[:4] == (WAIT,) * 4
    assert outcome.moves[-1] is ON_DEMAND


def test_uniform_progress_turns_to_on_demand_when_it_falls_behind_the_line() -> None:
    outcome = replay(terms(), UniformProgress(), trace("0000000000"))
    assert outcome.moves[0] is WAIT  # at the very start nothing is behind
    assert outcome.moves[1] is ON_DEMAND
    assert not outcome.is_late


def test_uniform_progress_as_coded_never_goes_from_on_demand_to_idle_and_as_written_does() -> None:
    after_a_while = View(3600.0, 3600.0 * 3, ON_DEMAND, 0.0, False)
    assert UniformProgress().start(terms()).decide(after_a_while) is ON_DEMAND
    assert UniformProgress(is_as_coded=False).start(terms()).decide(after_a_while) is WAIT


def test_uniform_progress_leaves_on_demand_only_two_changeovers_ahead_of_the_line() -> None:
    pilot = UniformProgress().start(terms())
    line_later = (3600.0 + 2 * 1800.0) * 0.4
    assert pilot.decide(View(3600.0, line_later - 1, ON_DEMAND, 0.0, True)) is ON_DEMAND
    assert pilot.decide(View(3600.0, line_later, ON_DEMAND, 0.0, True)) is SPOT


def test_the_optimum_knows_where_spot_will_be() -> None:
    cost = Optimum().cost(terms(), trace("0101011111"))
    assert cost == pytest.approx(4.5 * 3600)  # it waits for the long stretch at the end


def test_the_optimum_pays_for_on_demand_where_there_is_no_spot() -> None:
    assert Optimum().cost(terms(), trace("0000000000")) == pytest.approx(3 * 4.5 * 3600)


def test_the_optimum_refuses_terms_that_cannot_be_met() -> None:
    with pytest.raises(InvalidInput, match="do not fit"):
        Optimum().cost(terms(work=9.8), trace("1111111111"))


def test_a_policy_that_asks_for_spot_where_there_is_none_is_told_so() -> None:
    class Stubborn:
        name = "stubborn"

        def start(self, terms: Terms) -> "Stubborn":
            return self

        def decide(self, view: View) -> Move:
            return SPOT

    with pytest.raises(InvalidInput, match="stubborn asked for Spot at tick 1"):
        replay(terms(), Stubborn(), trace("1011111111"))


def test_a_trace_that_is_too_short_is_refused() -> None:
    with pytest.raises(InvalidInput, match="needs as many entries"):
        replay(terms(), SpotOnly(), trace("111"))


def test_the_net_counts_a_tick_on_spot_as_nothing_unless_a_reclaim_is_seen_at_once() -> None:
    # 4.8 h are left for 4 h of work and half an hour of changeover: after an idle hour it would be too late.
    view = View(5.2 * 3600, 0.0, SPOT, 0.0, True)
    assert not is_safe(terms(), view, SPOT)
    assert not is_safe(terms(), view, WAIT)
    assert is_safe(terms(), view, ON_DEMAND)
    seen = Terms(
        work_seconds=4 * 3600,
        deadline_seconds=36000,
        changeover_seconds=1800,
        tick_seconds=3600,
        price_ratio=3,
        is_reclaim_seen_at_once=True,
    )
    assert is_safe(seen, view, SPOT)
    assert not is_safe(seen, view._replace(instance=WAIT), SPOT)  # the changeover may be lost as well


def test_the_last_tick_is_as_short_as_it_is() -> None:
    uneven = terms(deadline=9.75)
    assert uneven.ticks == 10
    outcome = replay(uneven, SpotOnly(), trace("0000000001"))
    assert outcome.spot_seconds == pytest.approx(0.75 * 3600)


@pytest.mark.parametrize(
    ("name", "value"), [("work", 0.0), ("deadline", -1.0), ("tick", 0.0), ("changeover", -1.0), ("tick", float("nan"))]
)
def test_terms_that_make_no_sense_are_refused_with_the_value(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=r"must be"):
        terms(**{name: value})


def test_a_grid_that_is_not_exact_bounds_the_optimum_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Terms(
        work_seconds=10 * 3600, deadline_seconds=20 * 3600, changeover_seconds=720, tick_seconds=585, price_ratio=3.0
    )
    seen = trace("1110000011000100000001111000000" * 4)
    exact = Optimum().cost(job, seen)
    monkeypatch.setattr("spotbatch.policy.oracle._MOST_CELLS", 417)
    assert grid_step(job) == 97.5, "a sixth of a tick"
    assert 0.98 * exact < Optimum().cost(job, seen) <= exact
