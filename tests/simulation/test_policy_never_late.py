"""Never late: our policy against traces made to hurt, odd ticks, partial last ticks, and reclaims within a tick."""

from random import Random

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from spotbatch.policy.deadline import DeadlinePolicy
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.interface import EPSILON_SECONDS, Move, Terms, View
from spotbatch.policy.oracle import Optimum, grid_step
from spotbatch.policy.replay import replay

POLICY = DeadlinePolicy(model=FITTED)


@st.composite
def any_terms(draw: st.DrawFn) -> Terms:
    """Odd ticks, partial last ticks, from no slack to much, changeovers shorter and longer than a tick."""
    tick = draw(st.floats(min_value=7.0, max_value=2000.0))
    deadline = tick * draw(st.floats(min_value=1.5, max_value=60.0))
    changeover = deadline * draw(st.floats(min_value=0.0, max_value=0.2))
    room = deadline - changeover
    work = room * draw(st.floats(min_value=0.3, max_value=1.0))
    return Terms(
        work_seconds=max(work - 2 * EPSILON_SECONDS, 1.0),
        deadline_seconds=deadline,
        changeover_seconds=changeover,
        tick_seconds=tick,
        price_ratio=draw(st.floats(min_value=1.1, max_value=10.0)),
        is_reclaim_seen_at_once=draw(st.booleans()),
    )


def any_trace(terms: Terms, chance: Random) -> list[bool]:
    """Up and down with ends drawn anew for every trace, so that some flap at every tick."""
    ends = chance.choice([0.02, 0.2, 0.5, 1.0])
    out, is_up = [], chance.random() < 0.5
    for _ in range(terms.ticks):
        out.append(is_up)
        is_up ^= chance.random() < ends
    return out


@seed(20230215)
@settings(max_examples=60, deadline=None)
@given(terms=any_terms(), number=st.integers(min_value=0, max_value=10**9))
def test_ours_is_never_late_whatever_the_ticks_and_the_trace(terms: Terms, number: int) -> None:
    chance = Random(number)
    for _ in range(5):
        outcome = replay(terms, POLICY, any_trace(terms, chance))
        assert not outcome.is_late, (terms, number)


@seed(20230402)
@settings(max_examples=60, deadline=None)
@given(terms=any_terms(), number=st.integers(min_value=0, max_value=10**9))
def test_ours_is_in_time_even_if_every_spot_instance_dies_unseen_within_its_first_tick(
    terms: Terms, number: int
) -> None:
    """Only where the terms do not promise that reclaims are seen at once: a tick on Spot then brings nothing."""
    unseen = Terms(
        work_seconds=terms.work_seconds,
        deadline_seconds=terms.deadline_seconds,
        changeover_seconds=terms.changeover_seconds,
        tick_seconds=terms.tick_seconds,
        price_ratio=terms.price_ratio,
    )
    chance = Random(number)
    pilot = POLICY.start(unseen)
    elapsed = done = pending = 0.0
    instance = Move.WAIT
    while elapsed < unseen.deadline_seconds - EPSILON_SECONDS:
        move = pilot.decide(View(elapsed, done, instance, pending, chance.random() < 0.8))
        if move is not instance:
            instance, pending = move, unseen.changeover_seconds if move else 0.0
        length = min(unseen.tick_seconds, unseen.deadline_seconds - elapsed)
        if move is Move.ON_DEMAND:
            done += max(0.0, length - pending)
            pending = max(0.0, pending - length)
        elif move is Move.SPOT and chance.random() < 0.5:
            instance = Move.WAIT  # it died, and the tick's progress with it
        elif move is Move.SPOT:
            done += max(0.0, length - pending)
            pending = max(0.0, pending - length)
        elapsed += length
        if done >= unseen.work_seconds - EPSILON_SECONDS:
            return
    raise AssertionError(f"late with {unseen.work_seconds - done} s of work left: {unseen}, {number}")


def even_terms(deadline_ticks: int, work_ticks: int) -> Terms:
    return Terms(
        work_seconds=work_ticks * 600.0,
        deadline_seconds=deadline_ticks * 600.0,
        changeover_seconds=300.0,
        tick_seconds=600.0,
        price_ratio=3.0,
    )


@seed(1)
@settings(max_examples=60, deadline=None)
@given(work=st.integers(2, 12), slack=st.integers(1, 10), more=st.integers(1, 6), number=st.integers(0, 10**9))
def test_a_longer_deadline_never_costs_more_in_the_optimum(work: int, slack: int, more: int, number: int) -> None:
    long = even_terms(work + slack + more, work)
    trace = any_trace(long, Random(number))
    short = even_terms(work + slack, work)
    assert Optimum().cost(long, trace) <= Optimum().cost(short, trace) + 1e-6


@seed(2)
@settings(max_examples=40, deadline=None)
@given(work=st.integers(2, 12), slack=st.integers(1, 10), number=st.integers(0, 10**9))
def test_no_policy_is_cheaper_than_the_optimum(work: int, slack: int, number: int) -> None:
    terms = even_terms(work + slack, work)
    trace = any_trace(terms, Random(number))
    assert grid_step(terms) == 300.0
    outcome = replay(terms, POLICY, trace)
    assert outcome.cost >= Optimum().cost(terms, trace) - 1e-6
    assert outcome.cost > 0
