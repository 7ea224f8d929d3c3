"""Several pools: with one it is the plain replay, and more of them never leave less Spot."""

from random import Random

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.baselines import SpotOnly, UniformProgress
from spotbatch.policy.deadline import DeadlinePolicy
from spotbatch.policy.fitted import FITTED
from spotbatch.policy.interface import Terms
from spotbatch.policy.pools import replay_pools
from spotbatch.policy.replay import replay

TERMS = Terms(work_seconds=14400, deadline_seconds=21600, changeover_seconds=300, tick_seconds=600, price_ratio=3.0)


def drawn(seed: int) -> list[bool]:
    chance = Random(seed)
    return [chance.random() < 0.6 for _ in range(TERMS.ticks)]


@pytest.mark.parametrize("seed", range(5))
def test_one_pool_is_the_plain_replay(seed: int) -> None:
    for policy in (UniformProgress(), DeadlinePolicy(model=FITTED)):
        alone, one = replay(TERMS, policy, drawn(seed)), replay_pools(TERMS, policy, {"a": drawn(seed)})
        assert one.cost == pytest.approx(alone.cost)
        assert (one.is_late, one.reclaims) == (alone.is_late, alone.reclaims)


def test_a_reclaim_is_paid_for_even_where_another_pool_is_up() -> None:
    half = TERMS.ticks // 2
    one_then_other = {
        "a": [True] * half + [False] * (TERMS.ticks - half),
        "b": [False] * (half - 1) + [True] * (TERMS.ticks - half + 1),
    }
    outcome = replay_pools(TERMS, SpotOnly(), one_then_other)
    assert (outcome.reclaims, outcome.zones_used, outcome.is_late) == (1, 2, False)
    assert outcome.cost == pytest.approx(14400 + 2 * 300)


def test_a_start_takes_the_pool_that_has_been_up_the_longest() -> None:
    young_dies = {"old": [True] * TERMS.ticks, "young": [False, True] + [False] * (TERMS.ticks - 2)}
    assert replay_pools(TERMS, SpotOnly(), young_dies).reclaims == 0


@pytest.mark.parametrize("seed", range(5))
def test_ours_is_never_late_with_several_pools(seed: int) -> None:
    pools = {name: drawn(100 * seed + place) for place, name in enumerate("abc")}
    assert not replay_pools(TERMS, DeadlinePolicy(model=FITTED), pools).is_late


def test_no_pool_or_a_short_trace_is_refused() -> None:
    with pytest.raises(InvalidInput, match="one pool at least"):
        replay_pools(TERMS, SpotOnly(), {})
    with pytest.raises(InvalidInput, match="36 ticks"):
        replay_pools(TERMS, SpotOnly(), {"a": [True]})
