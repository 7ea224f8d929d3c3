"""CPU and memory over time: beside the limits, in words too, and nothing where nothing was measured."""

from dataclasses import replace

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.status import JobStatus
from spotbatch.web.story import Story
from spotbatch.web.target import Target
from spotbatch.web.usage_chart import USAGE_HEIGHT, usage_chart
from tests.unit.web_builders import ARRAY, child, parent, shown

NEEDS = ResourceRequirements(vcpus=2, memory_mib=2048)


def record(**changes: object) -> AttemptRecord:
    points = [[2.0, 1.0, 100.0], [4.0, 2.0, 400.0], [8.0, 0.5, 300.0]]
    return AttemptRecord(**{"started_at": 1.0, "usage": points, **changes})  # type: ignore[arg-type]  # fields


def test_the_average_is_over_time_and_the_limit_is_the_containers_own() -> None:
    chart = usage_chart(record(memory_limit_mib=440.0), NEEDS)
    assert chart is not None
    cpu, memory = chart.plots
    assert cpu.said == "1.0 on average, 2.0 at most, of 2 vCPUs"
    assert memory.said == "400 MiB at most, of 440 MiB"
    assert memory.is_over, "within a tenth of what ends the attempt"
    assert not cpu.is_over, "shares of a CPU are no limit"
    assert chart.ticks == ("0 s", "4 s", "8 s")


def test_without_a_limit_of_its_own_what_it_asked_for_is_drawn_and_nothing_leaves_the_picture() -> None:
    chart = usage_chart(record(usage=[[2.0, 9.0, 5000.0], [4.0, 0.0, 0.0]]), NEEDS)
    assert chart is not None
    for plot in chart.plots:
        heights = [float(point.partition(",")[2]) for point in plot.line.split()]
        assert all(0 <= each <= USAGE_HEIGHT for each in (*heights, plot.limit_y))
    assert chart.plots[1].said == "4.9 GiB at most, of 2.0 GiB"


def test_an_attempt_that_ended_before_it_was_measured_twice_has_no_chart() -> None:
    assert usage_chart(record(usage=[[2.0, 1.0, 5.0]]), NEEDS) is None
    assert usage_chart(record(usage=[]), NEEDS) is None


def test_the_page_of_a_job_has_the_chart_of_its_last_attempt_open() -> None:
    unit = replace(child(0, JobStatus.SUCCEEDED, interrupted=True), requirements=NEEDS)
    world = shown(parent(2, SUCCEEDED=2), [unit])
    chart = usage_chart(record(), NEEDS)
    assert chart is not None
    world.state.detail(unit.id).story = Story(usage={1: chart, 2: chart})
    html = world.pages.regions(Target(kind="job", id=f"{ARRAY}:0"))["attempts"]
    assert 'id="d-usage-1">' in html
    assert 'id="d-usage-2" open>' in html
    assert 'aria-label="Memory over 8 s: 400 MiB at most, of 2.0 GiB"' in html
