"""Reclaims by a seeded rate and by a trace, on a clock that the test turns."""

from itertools import pairwise
from pathlib import PurePath

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.engine.spot_capacity import (
    TOGETHER_SECONDS,
    CapacityAtRate,
    CapacityFromTrace,
    PoolKey,
    SpotCapacity,
)
from spotbatch.policy.trace import Trace, traces_in

A = PoolKey(instance_type="c5.large", zone="us-east-1a")
B = PoolKey(instance_type="m5.large", zone="us-east-1b")
HOUR = 3600.0


def played(capacity: SpotCapacity, pools: list[PoolKey], hours: float) -> list[tuple[float, PoolKey]]:
    """Keep so many hosts alive in each of these pools; (time, pool) of each reclaim."""
    where = dict(enumerate(pools))
    for number, pool in where.items():
        capacity.host_up(number, pool, 0.0)
    found: list[tuple[float, PoolKey]] = []
    now, next_no = 0.0, len(pools)
    while (look := capacity.next_look(now)) is not None and look < hours * HOUR:
        now = look
        for number in capacity.due(now):
            found.append((now, where[number]))
            where[next_no] = where.pop(number)
            capacity.host_up(next_no, where[next_no], now)
            next_no += 1
    return found


def test_the_same_seed_gives_the_same_reclaims_and_another_seed_others() -> None:
    def run(seed: int) -> list[tuple[float, PoolKey]]:
        return played(CapacityAtRate(per_host_hour=0.5, seed=seed), [A, A, B], 200)

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_one_pools_reclaims_do_not_depend_on_the_hosts_of_another() -> None:
    def of_a(pools: list[PoolKey]) -> list[float]:
        return [when for when, pool in played(CapacityAtRate(per_host_hour=0.5, seed=3), pools, 200) if pool == A]

    assert of_a([A, A]) == of_a([A, A, B, B, B])


@pytest.mark.parametrize("hosts", [1, 2, 8])
def test_each_host_sees_the_rate_that_was_asked_for_however_large_its_pool(hosts: int) -> None:
    hours = 4_000.0
    found = played(CapacityAtRate(per_host_hour=0.5, seed=11), [A] * hosts, hours)
    assert len(found) / (hosts * hours) == pytest.approx(0.5, rel=0.08)


def test_reclaims_of_one_pool_come_together_and_those_of_two_pools_do_not() -> None:
    found = played(CapacityAtRate(per_host_hour=0.1, seed=5), [A] * 6 + [B], 5_000)
    times = [when for when, pool in found if pool == A]
    near = sum(
        1
        for place, when in enumerate(times)
        if any(abs(when - other) <= TOGETHER_SECONDS for other in times[max(0, place - 1) : place + 2] if other != when)
    )
    assert near / len(times) > 0.9
    others = [when for when, pool in found if pool == B]
    together = sum(1 for when in others if any(abs(when - other) <= TOGETHER_SECONDS for other in times))
    assert together / len(others) < 0.1


def test_a_host_that_has_gone_is_not_reclaimed_again() -> None:
    capacity = CapacityAtRate(per_host_hour=100.0, seed=1)
    capacity.host_up(1, A, 0.0)
    capacity.host_up(2, A, 0.0)
    capacity.host_gone(1)
    assert capacity.due(HOUR) == [2]
    assert capacity.due(2 * HOUR) == []
    assert capacity.next_look(2 * HOUR) is None


def trace(zone: str, bits: str, tick_seconds: float = 60.0) -> Trace:
    return Trace(zone=zone, tick_seconds=tick_seconds, available=tuple(bit == "1" for bit in bits))


def test_a_zones_hosts_are_reclaimed_together_when_its_trace_says_so() -> None:
    capacity = CapacityFromTrace([trace("us-east-1a", "1101"), trace("us-east-1b", "1111")], begins=1000.0)
    for number, pool in enumerate([A, A, B]):
        capacity.host_up(number, pool, 1000.0)
    assert capacity.next_look(1000.0) == 1000.0 + 120.0
    assert capacity.due(1119.0) == []
    assert capacity.due(1120.0) == [0, 1]
    assert not capacity.has_capacity(A, 1121.0)
    assert capacity.has_capacity(A, 1180.0)
    assert capacity.next_look(1180.0) is None  # only zone b has a host, and it is always up


def test_a_trace_begins_again_at_its_end_and_may_run_faster_than_the_clock() -> None:
    capacity = CapacityFromTrace([trace("us-east-1a", "1101")], begins=0.0, speed=60.0)
    capacity.host_up(1, A, 3.0)
    assert capacity.next_look(3.0) == 6.0  # the third entry of the second round: 360 s of the trace
    assert [capacity.has_capacity(A, second + 0.5) for second in range(8)] == [True, True, False, True] * 2


def test_a_pool_that_a_trace_refused_is_asked_again_in_the_traces_own_time() -> None:
    def wait(speed: float) -> float:
        return CapacityFromTrace([trace("us-east-1a", "01")], begins=0.0, speed=speed).relaunch_seconds

    assert (wait(1.0), wait(60.0)) == (30.0, 0.5)
    assert wait(1e6) >= 0.1  # however fast it runs, nobody asks in a busy loop


def test_zones_without_a_trace_of_their_name_take_the_traces_in_turn() -> None:
    capacity = CapacityFromTrace([trace("west-1", "10"), trace("west-2", "01")], begins=0.0)
    assert [capacity.trace_of(zone).zone for zone in ("x", "y", "z", "x")] == ["west-1", "west-2", "west-1", "west-1"]


def test_published_csv_and_json_give_the_same_sky() -> None:
    csv = b"zone,timestamp_utc,available\nus-east-1a,2023-01-01T00:00:00,1\nus-east-1a,2023-01-01T00:10:00,0\n"
    json = b'{"metadata": {"gap_seconds": 600, "zone": "us-east-1a"}, "data": [0, 1]}'
    from_csv = CapacityFromTrace(traces_in(PurePath("t.csv"), csv), begins=0.0)
    from spotbatch.policy.trace import Polarity

    from_json = CapacityFromTrace(traces_in(PurePath("t.json"), json, Polarity.RECLAIMED), begins=0.0)
    moments = [300.0 * step for step in range(10)]
    assert [from_csv.has_capacity(A, at) for at in moments] == [from_json.has_capacity(A, at) for at in moments]
    assert any(before != after for before, after in pairwise(from_csv.has_capacity(A, at) for at in moments))


def test_a_broken_gzip_file_is_an_error_in_words() -> None:
    with pytest.raises(InvalidInput, match="gzip"):
        traces_in(PurePath("t.csv.gz"), b"\x1f\x8bnothing")
