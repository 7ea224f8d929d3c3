"""CPU and memory over time in the attempt's record: bounded, and right on average however long the attempt runs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.batch.attempt_record import MOST_USAGE, AttemptRecord, read_record
from spotbatch.runtime.background import Ticket
from spotbatch.runtime.process.resource_monitor import FIRST_PUBLISHED_SECONDS, ResourceMonitor
from spotbatch.runtime.record import Usage, halved


def test_a_point_says_the_cores_since_the_one_before_and_the_most_memory() -> None:
    record = AttemptRecord()
    usage = Usage(record, 2.0)
    began = time.monotonic()
    for seconds, cpu_seconds, memory_mib in ((0, 0.0, 10.0), (1, 0.5, 90.0), (2, 1.0, 20.0), (4, 5.0, 30.0)):
        record.cpu_seconds = cpu_seconds
        usage.add(memory_mib, began + seconds)
    assert [point[1:] for point in record.usage] == [[0.5, 90.0], [2.0, 30.0]]
    assert read_record(AttemptRecord(started_at=1.0, usage=record.usage).to_json()) is not None


@given(st.lists(st.floats(0, 8), min_size=1, max_size=1500))
def test_however_long_it_runs_there_are_few_points_and_they_add_up(cores: list[float]) -> None:
    record = AttemptRecord()
    usage = Usage(record, 2.0)
    now = began = time.monotonic()
    usage.add(1.0, now)
    for each in cores:
        now += 2.0
        record.cpu_seconds += each * 2.0
        usage.add(each * 10, now)
    assert len(record.usage) < MOST_USAGE
    assert [point[0] for point in record.usage] == sorted({point[0] for point in record.usage})
    if len(cores) < MOST_USAGE:
        assert sum(point[1] for point in record.usage) * 2 == pytest.approx(record.cpu_seconds, abs=0.02 * len(cores))
    elif record.usage[-1][0] == pytest.approx(now - began, abs=0.1):
        starts = [0.0, *(point[0] for point in record.usage)]
        whole = sum(point[1] * (point[0] - start) for point, start in zip(record.usage, starts, strict=False))
        assert whole == pytest.approx(record.cpu_seconds, abs=0.1 * len(cores))
        assert max(point[2] for point in record.usage) == pytest.approx(max(cores) * 10, abs=0.1)


def test_two_points_become_one_with_their_average_and_their_most() -> None:
    assert halved([[2.0, 1.0, 5.0], [4.0, 0.0, 9.0], [6.0, 3.0, 1.0]]) == [[4.0, 0.5, 9.0], [6.0, 3.0, 1.0]]


def test_a_running_attempt_publishes_its_record_now_and_then_and_never_two_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    tickets: list[Ticket[None]] = []

    def publish() -> Ticket[None]:
        tickets.append(Ticket(lambda: None))
        return tickets[-1]

    monitor = ResourceMonitor(AttemptRecord(started_at=time.time()), [], publish=publish)

    def run(seconds: float) -> None:
        until = now[0] + seconds
        while now[0] < until:
            monitor.tick(list)
            now[0] += 2.0

    run(FIRST_PUBLISHED_SECONDS)
    assert not tickets
    run(60)
    assert len(tickets) == 1, "the first has not arrived yet"
    tickets[0].run()
    run(4)
    assert len(tickets) == 2
    for _ in range(60):
        run(60)
        tickets[-1].run()
    assert len(tickets) < 20
