"""Worlds on virtual time: the same seed gives the same bytes, work adds up, and reclaims cost what they cost."""

import json
from dataclasses import asdict, replace
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from random import Random

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import Pool
from spotbatch.policy.fitted_model import FITTED
from spotbatch.pricing.history import Prices, flat
from spotbatch.pricing.report import report_from
from spotbatch.simulate.charts import draw_gantt, draw_savings, draw_spread
from spotbatch.simulate.engine import World
from spotbatch.simulate.montecarlo import MonteCarlo, percentile, run_many
from spotbatch.simulate.observer import Recorder, Watcher
from spotbatch.simulate.result import RunResult
from spotbatch.simulate.scenario import Jobs, Scenario, Timings
from spotbatch.simulate.spot_capacity import (
    Calm,
    CapacityAtRate,
    CapacityByModel,
    CapacityFromTrace,
    Outage,
    SpotCapacity,
)
from spotbatch.simulate.trace import Trace

POOLS = tuple(
    Pool(instance_type="c5.2xlarge", zone=zone, vcpus=8, memory_mib=15000, usd_per_hour=0.1) for zone in ("a", "b", "c")
)
PRICES = Prices(
    spot=flat({"c5.2xlarge": Decimal("0.10")}, source="test", as_of="today"),
    on_demand=flat({"c5.2xlarge": Decimal("0.34")}, source="test", as_of="today"),
)


def scenario(count: int = 200, capacity: SpotCapacity | None = None, **timings: float) -> Scenario:
    return Scenario(
        jobs=Jobs(count=count, work_seconds=1800.0, work_spread=0.3),
        pools=POOLS,
        max_vcpus=64,
        timings=Timings(**timings),  # type: ignore[arg-type]
        capacity=capacity or CapacityAtRate(reclaims_per_hour=1.0),
        seed=7,
    )


def run(world: Scenario) -> RunResult:
    """With the scheduler's invariants checked after every event."""
    return World(world, Watcher(PRICES, is_spot=world.is_spot), is_checked=True).run()


def upside_down(*minutes: int) -> CapacityFromTrace:
    """Every zone alike, up and down in turn for so many minutes; a day long."""
    ticks: list[bool] = []
    for place, length in enumerate(minutes):
        ticks += [place % 2 == 0] * length
    ticks += [True] * (1440 - len(ticks))
    return CapacityFromTrace(
        traces={zone: Trace(zone=zone, tick_seconds=60.0, available=tuple(ticks)) for zone in ("a", "b", "c")}
    )


def test_without_interruptions_each_job_is_attempted_once_and_nothing_is_lost() -> None:
    result = run(scenario(capacity=Calm()))
    assert (result.attempts, result.succeeded, result.interruptions) == (200, 200, 0)
    assert result.lost_seconds == result.restart_seconds == 0
    assert result.hosts == 8


def test_interrupted_jobs_are_retried_until_all_succeed() -> None:
    result = run(scenario())
    assert result.interruptions > 0
    assert result.reclaimed_hosts > 0
    assert result.succeeded == 200
    assert result.attempts == 200 + result.interruptions


def test_with_a_notice_no_work_is_lost_and_without_one_what_no_checkpoint_holds() -> None:
    kept = run(scenario())
    lost = World(
        replace(scenario(), timings=Timings(is_saved_on_notice=False)), Watcher(PRICES, is_spot=True), is_checked=True
    ).run()
    assert kept.lost_seconds == 0
    assert 0 < lost.lost_seconds <= lost.interruptions * 600.0  # a checkpoint every 600 s of work


def test_work_that_is_done_adds_up_to_the_work_that_there_was() -> None:
    calm, stormy = run(scenario(capacity=Calm())), run(scenario())
    assert stormy.succeeded == calm.succeeded
    assert stormy.work_seconds == pytest.approx(calm.work_seconds, rel=0.1)  # drawn in another order
    even = replace(scenario(), jobs=Jobs(count=200, work_seconds=1800.0))
    assert run(even).work_seconds == pytest.approx(200 * 1800.0)


def test_an_outage_takes_every_host_of_its_pool_within_the_spread_and_launches_wait_for_its_end() -> None:
    world = replace(scenario(capacity=upside_down(30, 60)), timings=Timings(reclaim_spread_seconds=180.0))
    recorder = Recorder(PRICES, world)
    result = World(world, recorder, is_checked=True).run()
    first = [each for each in recorder.timeline().hosts if each.launched_at < 1800]
    assert all(each.is_reclaimed for each in first)
    ends = [each.ended_at for each in first if each.ended_at is not None]
    assert 1800 + 120 <= min(ends) <= max(ends) <= 1800 + 180 + 120
    assert result.refused_launches > 0
    assert not [each for each in recorder.timeline().hosts if 1800 <= each.launched_at < 90 * 60]
    assert result.succeeded == 200


def test_a_fleet_without_any_capacity_is_given_up_and_says_so() -> None:
    never = CapacityFromTrace(
        traces={zone: Trace(zone=zone, tick_seconds=600.0, available=(False, False)) for zone in ("a", "b", "c")}
    )
    result = run(replace(scenario(count=3, capacity=never), most_days=0.5))
    assert not result.is_finished
    assert result.succeeded == 0
    assert result.usd == 0


def test_a_users_own_failure_ends_the_job_without_a_retry() -> None:
    world = replace(scenario(capacity=Calm()), jobs=Jobs(count=200, work_seconds=600.0, failure_rate=0.3))
    result = run(world)
    assert result.attempts == 200
    assert 30 < result.failed < 90
    assert result.failed + result.succeeded == 200


@pytest.mark.parametrize(
    "capacity", [CapacityAtRate(reclaims_per_hour=0.5), CapacityByModel(model=FITTED), upside_down(20, 9)]
)
def test_the_same_seed_gives_the_same_bytes_on_one_core_and_on_two(capacity: SpotCapacity) -> None:
    plan = MonteCarlo(scenario=scenario(count=60, capacity=capacity), runs=4, prices=PRICES)
    one, two = (json.dumps([asdict(each) for each in run_many(plan, cores=cores)], default=str) for cores in (1, 2))
    assert one == two
    assert len({each["seed"] for each in json.loads(one)}) == 4


def test_each_run_of_a_trace_has_a_window_of_its_own() -> None:
    plan = MonteCarlo(scenario=scenario(count=5, capacity=upside_down(30, 30)), runs=4)
    assert [each.offset_seconds for each in run_many(plan, cores=1)] == [0.0, 21600.0, 43200.0, 64800.0]


def test_money_is_the_same_by_the_simulator_and_by_the_cost_report() -> None:
    recorder = Recorder(PRICES, scenario())
    result = World(scenario(), recorder).run()
    timeline = recorder.timeline()
    report = report_from(
        timeline.hosts, timeline.attempts, PRICES, until=result.makespan_seconds + 1e6, is_simulated=True
    )
    assert abs(report.paid_usd - result.usd) < Decimal("0.000001")
    assert result.usd > 0
    assert result.on_demand_usd >= result.usd


def test_the_saving_is_against_an_undisturbed_run_on_demand() -> None:
    (result,) = run_many(MonteCarlo(scenario=scenario(capacity=Calm()), runs=1, prices=PRICES), cores=1)
    assert result.undisturbed_usd is not None
    assert result.saving_percent == pytest.approx(100 * (1 - 0.10 / 0.34), abs=0.01)


@pytest.mark.parametrize("capacity", [CapacityAtRate(reclaims_per_hour=2.0), CapacityByModel(model=FITTED)])
def test_outages_come_in_order_and_do_not_overlap(capacity: SpotCapacity) -> None:
    found = list(islice(capacity.outages(POOLS[0], Random(3)), 200))
    assert all(each.begins < each.ends for each in found)
    assert all(before.ends <= after.begins for before, after in pairwise(found))


def test_a_rate_of_reclaims_is_what_hosts_see() -> None:
    capacity = CapacityAtRate(reclaims_per_hour=0.5, correlation=1.0, outage_seconds=1.0)
    found = list(islice(capacity.outages(POOLS[0], Random(11)), 4000))
    assert 4000 / (found[-1].ends / 3600) == pytest.approx(0.5, rel=0.05)


def test_a_chart_of_many_hosts_is_no_taller_than_a_screen(tmp_path: Path) -> None:
    from matplotlib.image import imread

    many = replace(scenario(count=700), max_vcpus=2048)
    recorder = Recorder(PRICES, many)
    World(many, recorder).run()
    draw_gantt(recorder.timeline(), tmp_path / "gantt.png")
    height, width = imread(tmp_path / "gantt.png").shape[:2]
    assert len(recorder.timeline().hosts) > 60
    assert height <= width


def test_charts_are_written_and_too_many_hosts_are_refused(tmp_path: Path) -> None:
    recorder = Recorder(PRICES, scenario(count=40))
    result = World(scenario(count=40), recorder).run()
    draw_gantt(recorder.timeline(), tmp_path / "gantt.svg")
    draw_spread([result, result], tmp_path / "spread.png")
    draw_savings({"ours": [(50.0, 0.2), (60.0, 0.4)]}, tmp_path / "savings.png")
    assert "<svg" in (tmp_path / "gantt.svg").read_text()
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in ("spread.png", "savings.png"))
    timeline = recorder.timeline()
    with pytest.raises(InvalidInput, match="too many for a chart"):
        draw_gantt(replace(timeline, hosts=timeline.hosts * 200), tmp_path / "no.png")
    with pytest.raises(InvalidInput, match="could not be written"):
        draw_spread([result], tmp_path / "missing" / "no.png")


def test_scenarios_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(InvalidInput, match="no pool takes a job of 99 vCPUs"):
        replace(scenario(), jobs=Jobs(count=1, work_seconds=1.0, vcpus=99))
    with pytest.raises(InvalidInput, match="max_vcpus 4 is less"):
        replace(scenario(), max_vcpus=4)
    with pytest.raises(InvalidInput, match="correlation"):
        CapacityAtRate(reclaims_per_hour=1.0, correlation=1.5)
    with pytest.raises(InvalidInput, match="can be simulated, not 0"):
        MonteCarlo(scenario=scenario(), runs=0)


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([5.0], 95) == 5.0
    with pytest.raises(InvalidInput):
        percentile([], 50)


def test_pools_of_a_region_are_down_together_as_often_as_the_correlation_says() -> None:
    def course(zone: str, number: int) -> Outage:
        pool = replace(POOLS[0], zone=zone)
        return next(
            CapacityByModel(model=FITTED, correlation=0.49, common_seed=number).outages(pool, Random(f"{number}{zone}"))
        )

    same = sum(course("us-east-1a", number) == course("us-east-1b", number) for number in range(400))
    other = sum(course("us-east-1a", number) == course("us-west-2a", number) for number in range(400))
    assert same / 400 == pytest.approx(0.49, abs=0.08)
    assert other == 0
