"""Pictures of hosts and money: their sums are the report's, and they stay small however many attempts there were."""

from dataclasses import replace
from itertools import pairwise

import pytest

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.charts import WASTED, curve
from spotbatch.web.host_chart import HostChart, HostRow, host_chart
from spotbatch.web.progress import progress_of
from tests.unit.web_builders import NOW, bill, child


def some(count: int) -> list[Job]:
    return [child(index, JobStatus.SUCCEEDED, interrupted=index % 10 == 0) for index in range(count)]


def rows_of(drawn: HostChart) -> list[HostRow]:
    return [row for group in drawn.groups for row in group.rows]


def test_the_last_point_of_the_curve_is_the_report() -> None:
    report = bill(some(40))
    drawn = curve(report, NOW)
    assert drawn is not None
    wasted = sum(float(amount) for part, amount in report.parts.items() if part in WASTED)
    paid_wasted = sum(float(each.paid_usd) for each in report.entries if each.part in WASTED)
    assert drawn.paid[-1] == pytest.approx(float(report.paid_usd))
    assert drawn.on_demand[-1] == pytest.approx(float(report.on_demand_undisturbed_usd))
    assert drawn.wasted[-1] == pytest.approx(paid_wasted)
    assert wasted > 0, "some attempts were interrupted, so something was lost"


def test_money_never_goes_back() -> None:
    drawn = curve(bill(some(40)), NOW)
    assert drawn is not None
    for line in (drawn.paid, drawn.on_demand, drawn.wasted):
        assert all(after >= before - 1e-12 for before, after in pairwise(line))
        assert line[0] == pytest.approx(0, abs=1e-9)


def test_a_run_without_hosts_has_no_pictures() -> None:
    report = bill([])
    assert curve(report, NOW) is None
    assert host_chart(report, NOW).groups == ()


def test_reclaimed_hosts_are_marked_and_interrupted_attempts_told_apart() -> None:
    drawn = host_chart(bill(some(20)), NOW)
    reclaimed = [row for row in rows_of(drawn) if row.host.is_reclaimed]
    assert {row.host.instance_id for row in reclaimed} == {"arn:0", "arn:10"}
    assert all(AttemptOutcome.INTERRUPTED in row.paths for row in reclaimed)
    assert all(0 <= row.x <= 1000 and row.x + row.width <= 1001 for row in rows_of(drawn))


def test_ten_thousand_attempts_are_a_picture_of_a_few_thousand_characters() -> None:
    drawn = host_chart(bill(some(10_000)), NOW)
    assert sum(len(path) for row in rows_of(drawn) for path in row.paths.values()) < 100_000
    assert len(rows_of(drawn)) == 50


def test_of_many_hosts_those_that_were_reclaimed_are_drawn() -> None:
    units = [child(index, JobStatus.SUCCEEDED) for index in range(50)]
    report = bill(units)
    many = report.__class__(
        entries=report.entries,
        hosts=tuple(
            replace(host, instance_id=f"{host.instance_id}-{more}") for more in range(4) for host in report.hosts
        ),
        attempts=report.attempts,
        other=(),
        advice=(),
        sources=(),
        notes=(),
        is_simulated=True,
    )
    drawn = host_chart(many, NOW)
    assert (len(rows_of(drawn)), drawn.count, sum(group.left_out for group in drawn.groups)) == (60, 200, 140)
    assert drawn.is_folded


def test_a_bar_shows_every_status_that_has_a_unit_and_fills_its_width() -> None:
    progress = progress_of({JobStatus.SUCCEEDED: 9_998, JobStatus.FAILED: 1, JobStatus.RUNNING: 1})
    assert [each.status for each in progress.segments] == [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNING]
    assert all(each.width >= 5 for each in progress.segments)
    assert sum(each.width for each in progress.segments) == pytest.approx(1000, abs=1)
    assert (progress.done, progress.percent, progress.status) == (9_999, 99, "RUNNING")


def test_hosts_of_one_kind_are_one_group_however_many_they_are() -> None:
    report = bill(some(10_000))
    kinds = {host.instance_id: ("c5.large", "m5.xlarge")[number % 2] for number, host in enumerate(report.hosts)}
    mixed = replace(report, hosts=tuple(replace(host, instance_type=kinds[host.instance_id]) for host in report.hosts))
    groups = host_chart(mixed, NOW).groups
    assert {group.instance_type: group.count for group in groups} == {"c5.large": 25, "m5.xlarge": 25}
    assert sum(group.attempts for group in groups) == len(report.attempts)
    assert all(len(group.alive) + len(group.busy) < 2_000 for group in groups)


def test_the_time_axes_end_with_the_work() -> None:
    units = some(20)
    report = bill(units)
    last = max(attempt.stopped_at or 0 for unit in units for attempt in unit.attempts)
    idle_on = replace(report, hosts=tuple(replace(host, ended_at=NOW + 86_400) for host in report.hosts))
    assert host_chart(idle_on, NOW).ticks[-1] == last
    drawn = curve(report, NOW + 3600)
    assert drawn is not None
    assert drawn.times[-1] == last
    assert drawn.paid[-1] == pytest.approx(float(report.paid_usd)), "what came after the work is in its last point"
