"""Placement over pools: the replay's bill, the table's sense, what is believed where nobody looks, and never late."""

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.coupling import NONE, fit_coupling
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.interface import Move
from spotbatch.policy.joint import JointPolicy
from spotbatch.policy.joint_table import Chance, solve_joint
from spotbatch.policy.placement import Market, Place, PlacementPolicy, PlacementTerms, PlacementView, SpotPool
from spotbatch.policy.pool_baselines import SkyNomad, UniformProgressOverPools
from spotbatch.policy.pool_beliefs import PoolBeliefs
from spotbatch.policy.pool_oracle import PoolsOptimum
from spotbatch.policy.pool_replay import replay_pools
from spotbatch.policy.region_table import RegionTable

HOUR = 3600.0
TERMS = PlacementTerms(
    work_seconds=4 * HOUR,
    deadline_seconds=6 * HOUR,
    changeover_seconds=300,
    tick_seconds=600,
    pools=(
        SpotPool(name="a1", region="a", usd_per_hour=1.0),
        SpotPool(name="a2", region="a", usd_per_hour=1.2),
        SpotPool(name="b1", region="b", usd_per_hour=1.1),
    ),
    on_demand_usd_per_hour={"a": 3.0, "b": 3.0},
    checkpoint_gb=10,
    egress_usd_per_gb={("a", "b"): 0.02, ("b", "a"): 0.02},
    is_reclaim_seen_at_once=True,
)
ALWAYS = {name: [True] * TERMS.ticks for name in ("a1", "a2", "b1")}
POLICIES: tuple[PlacementPolicy, ...] = (JointPolicy(model=FITTED), UniformProgressOverPools(), SkyNomad())


def drawn(terms: PlacementTerms, seed: int) -> dict[str, list[bool]]:
    chance = Random(seed)
    ends = chance.choice([0.02, 0.2, 0.5])
    found: dict[str, list[bool]] = {}
    for pool in terms.pools:
        is_up, trace = chance.random() < 0.5, []
        for _ in range(terms.ticks):
            trace.append(is_up)
            is_up ^= chance.random() < ends
        found[pool.name] = trace
    return found


def odd_terms(seed: int) -> PlacementTerms:
    """Odd ticks, partial last ticks, hardly any slack to much, changeovers shorter and longer than a tick."""
    chance = Random(seed)
    tick = chance.uniform(20, 2000)
    deadline = tick * chance.uniform(3, 50)
    changeover = deadline * chance.uniform(0, 0.15)
    return replace(
        TERMS,
        tick_seconds=tick,
        deadline_seconds=deadline,
        changeover_seconds=changeover,
        work_seconds=(deadline - changeover) * chance.uniform(0.3, 0.999),
        is_reclaim_seen_at_once=chance.random() < 0.5,
    )


# ---- the bill ----


class Always:
    """Spot in one pool, whatever it costs."""

    name = "always"

    def __init__(self, pool: str) -> None:
        self._pool = pool

    def start(self, terms: PlacementTerms) -> "Always":
        return self

    def decide(self, view: PlacementView, market: Market) -> Place:
        place = Place(Move.SPOT, self._pool[0], self._pool)
        if place == view.place or market.launch(self._pool):
            return place
        return Place(Move.WAIT, view.place.region)


def test_a_job_pays_its_pools_price_and_for_its_changeover_and_nothing_for_waiting() -> None:
    outcome = replay_pools(TERMS, Always("a2"), ALWAYS | {"a2": [False] * 2 + [True] * (TERMS.ticks - 2)})
    assert outcome.usd == pytest.approx(1.2 * (4 + 300 / HOUR))
    assert (outcome.is_late, outcome.starts, outcome.attempts) == (False, 1, 3)


def test_prices_by_tick_are_what_is_paid() -> None:
    prices = {name: [1.0] * 12 + [2.0] * (TERMS.ticks - 12) for name in ALWAYS}
    outcome = replay_pools(TERMS, Always("a1"), ALWAYS, prices)
    assert outcome.usd == pytest.approx(2 * 1.0 + (2 + 300 / HOUR) * 2.0)


def test_spot_that_was_not_launched_and_short_traces_are_refused() -> None:
    class Cheat(Always):
        def decide(self, view: PlacementView, market: Market) -> Place:
            return Place(Move.SPOT, "a", "a1")

    with pytest.raises(InvalidInput, match="launched nothing there"):
        replay_pools(TERMS, Cheat("a1"), ALWAYS)
    with pytest.raises(InvalidInput, match="36 ticks"):
        replay_pools(TERMS, Always("a1"), ALWAYS | {"b1": [True]})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"egress_usd_per_gb": {}}, "from a to b is not known"),
        ({"on_demand_usd_per_hour": {"a": 3.0}}, "region b must be above 0"),
        ({"pools": ()}, "1 to 64 pools"),
        ({"work_seconds": math.nan}, "work_seconds"),
    ],
)
def test_terms_that_say_too_little_are_refused_with_what_is_missing(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        replace(TERMS, **change)


# ---- what ours chooses ----


def test_the_cheapest_pool_is_tried_first_and_the_next_one_where_it_refuses() -> None:
    assert JointRun(ALWAYS).places[0].pool == "a1"
    assert JointRun(ALWAYS | {"a1": [False] * TERMS.ticks}).places[0].pool == "b1"


def test_a_checkpoint_that_is_dear_to_move_keeps_a_job_in_its_region() -> None:
    """After a reclaim in region a, region b is 0.9 USD an hour cheaper than a2: worth 0.2 USD of egress, and not 20."""
    up = ALWAYS | {"a1": [True] * 6 + [False] * (TERMS.ticks - 6)}
    dear = replace(TERMS, pools=(TERMS.pools[0], replace(TERMS.pools[1], usd_per_hour=2.0), TERMS.pools[2]))
    assert {each.region for each in JointRun(up, dear).places if each.move is Move.SPOT} == {"a", "b"}
    heavy = replace(dear, checkpoint_gb=1000)
    assert {each.region for each in JointRun(up, heavy).places if each.move is Move.SPOT} == {"a"}


class JointRun:
    """A replay under the joint table, with the places that it chose."""

    def __init__(self, up: dict[str, list[bool]], terms: PlacementTerms = TERMS) -> None:
        self.places: list[Place] = []
        self.name = "recorded"
        self.outcome = replay_pools(terms, self, up)

    def start(self, terms: PlacementTerms) -> "JointRun":
        self._pilot = JointPolicy(model=FITTED).start(terms)
        return self

    def decide(self, view: PlacementView, market: Market) -> Place:
        place = self._pilot.decide(view, market)
        self.places.append(place)
        return place


# ---- the table ----


def test_costs_to_go_rise_with_the_price_and_fall_with_every_pool_that_is_up() -> None:
    chances = [Chance(up_ends_per_hour=0.3, down_ends_per_hour=0.5)] * 3
    table, dear = solve_joint(TERMS, TERMS.pools, chances), solve_joint(dearer(1.5), dearer(1.5).pools, chances)
    assert table.bytes < 100e6
    now, later = table.costs[0], dear.costs[0]
    assert (later >= now - 1e-4).all()
    assert now[0, 7, -1] <= now[0, 3, -1] <= now[0, 0, -1]  # all up, two up, none up; waiting in region a


def dearer(factor: float) -> PlacementTerms:
    return replace(TERMS, pools=tuple(replace(each, usd_per_hour=each.usd_per_hour * factor) for each in TERMS.pools))


def test_a_pool_that_never_ends_makes_the_table_the_plain_bill() -> None:
    forever = [Chance(up_ends_per_hour=0.0, down_ends_per_hour=0.0)] * 3
    costs = solve_joint(TERMS, TERMS.pools, forever).costs[0]
    assert costs[0, 7, -1] == pytest.approx(1.0 * (4 + 300 / HOUR), rel=0.02)


# ---- what is believed ----


def test_beliefs_are_certain_where_a_job_looked_and_fade_where_it_does_not() -> None:
    beliefs = PoolBeliefs(FITTED, 600.0, TERMS.pools, NONE)
    before = beliefs.up_now()[0]
    beliefs.see(0, is_up=False)
    assert beliefs.up_now()[0] == 0.0
    assert beliefs.up_now()[1] == pytest.approx(before)
    for _ in range(3000):
        beliefs.pass_tick()
    assert beliefs.up_now()[0] == pytest.approx(beliefs.up_now()[1], abs=0.15)


def test_a_pool_seen_away_again_and_again_is_believed_to_be_scarce() -> None:
    beliefs = PoolBeliefs(FITTED.widened(), 600.0, TERMS.pools, NONE)
    for number in range(300):
        beliefs.pass_tick()
        beliefs.see(0, is_up=number % 12 == 0)
        beliefs.see(1, is_up=number % 12 != 0)
    scarce, steady, _ = beliefs.availability()
    assert scarce < 0.4 < 0.6 < steady


def test_the_coupling_of_a_region_is_found_in_its_traces() -> None:
    chance = Random(5)
    one = [is_up for _ in range(300) for is_up in [chance.random() < 0.5] * 8]
    same = [is_up if chance.random() < 0.95 else not is_up for is_up in one]
    apart = [is_up for _ in range(300) for is_up in [chance.random() < 0.5] * 8]
    together = fit_coupling([{"x": one, "y": same}])
    alone = fit_coupling([{"x": one, "y": apart}])
    assert together.lost_alone > 1.5 * together.lost_together
    assert alone.lost_alone == pytest.approx(alone.lost_together, abs=0.2)
    with pytest.raises(InvalidInput, match="two zones"):
        fit_coupling([{"x": one}])


# ---- never late, never cheaper than the optimum ----


@pytest.mark.parametrize("seed", range(10))
def test_nobody_is_late_by_our_net_whatever_the_ticks_and_the_traces(seed: int) -> None:
    terms = odd_terms(seed)
    for number in range(2):
        assert not replay_pools(terms, JointPolicy(model=FITTED), drawn(terms, 100 * seed + number)).is_late, seed


@pytest.mark.parametrize("seed", range(4))
def test_no_policy_is_cheaper_than_the_optimum_over_the_same_pools(seed: int) -> None:
    up = drawn(TERMS, seed)
    least = PoolsOptimum().usd(TERMS, up)
    for policy in POLICIES:
        outcome = replay_pools(TERMS, policy, up)
        assert outcome.is_late or outcome.usd >= least - 1e-6


def test_more_pools_never_cost_more_in_the_optimum() -> None:
    for seed in range(5):
        up = drawn(TERMS, seed)
        fewer = replace(TERMS, pools=TERMS.pools[:2])
        assert PoolsOptimum().usd(TERMS, up) <= PoolsOptimum().usd(fewer, up) + 1e-9


def test_on_demand_too_short_for_the_deadline_has_no_optimum() -> None:
    with pytest.raises(InvalidInput, match="do not fit"):
        PoolsOptimum().usd(replace(TERMS, work_seconds=6 * HOUR - 100), ALWAYS)


ONE_REGION = replace(
    TERMS, pools=TERMS.pools[:2], on_demand_usd_per_hour={"a": 3.0}, checkpoint_gb=0.0, egress_usd_per_gb={}
)


def a_view(**changes: Any) -> PlacementView:
    usual = {"elapsed_seconds": 0.0, "done_seconds": 0.0, "place": Place(Move.WAIT), "pending_seconds": 0.0}
    return PlacementView(**{**usual, "usd_per_hour": {"a1": 1.0, "a2": 1.2}, **changes})


def test_where_a_region_is_up_its_table_makes_spot_cheaper_than_on_demand_and_no_target_cheaper_where_it_is_away() -> (
    None
):
    table = RegionTable(ONE_REGION, FITTED)
    targets = [Place(Move.SPOT, "a", "a1"), Place(Move.ON_DEMAND, "a")]
    (spot, demand), wait = table.costs(a_view(), targets, is_up=True)
    assert spot < demand
    assert spot < wait
    (_, later), _ = table.costs(a_view(), targets, is_up=False)
    assert later > demand, "after on-demand there is less hope of Spot"


def test_what_the_regions_table_would_see_is_not_yet_seen() -> None:
    table = RegionTable(ONE_REGION, FITTED)
    table.see(True)
    targets = [Place(Move.SPOT, "a", "a1"), Place(Move.ON_DEMAND, "a")]
    before = table.costs(a_view(elapsed_seconds=600.0), targets, is_up=True)
    table.costs(a_view(elapsed_seconds=600.0), targets, is_up=False)
    assert table.costs(a_view(elapsed_seconds=600.0), targets, is_up=True) == before
    table.see(None)  # a tick without a look: the period is older
    assert table.costs(a_view(elapsed_seconds=600.0), targets, is_up=True)[0][0] <= before[0][0] + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_in_one_region_too_nobody_is_late_and_nobody_beats_the_optimum(seed: int) -> None:
    for number in range(5):
        up = drawn(ONE_REGION, 100 * seed + number)
        outcome = replay_pools(ONE_REGION, JointPolicy(model=FITTED), up)
        assert not outcome.is_late, seed
        assert outcome.usd >= PoolsOptimum().usd(ONE_REGION, up) - 1e-6
