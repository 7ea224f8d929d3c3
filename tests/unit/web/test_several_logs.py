"""Logs of several children together: which are chosen, that lines stand by time with their child, and hostile lines."""

from spotbatch.aws.logs import LogEvent
from spotbatch.batch.status import JobStatus
from spotbatch.web.run_units import run_units
from spotbatch.web.several_logs import ANY, MOST_CHILDREN, SeveralLogs, chosen_indexes, merged
from spotbatch.web.target import Target
from tests.unit.web_builders import ARRAY, NOW, child, counted, shown


def chosen(statuses: list[JobStatus], written: str) -> tuple[int, ...]:
    children = [child(index, status) for index, status in enumerate(statuses)]
    world = shown(counted(40, children), children)
    members = world.state.members(Target(kind="job", id=ARRAY))
    return chosen_indexes(run_units(members), world.state.find, written)


def test_without_a_choice_those_that_run_are_shown_then_those_that_failed_then_the_first() -> None:
    ended, failed, runs = JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNING
    assert chosen([ended, failed, runs, runs], ANY) == (2, 3)
    assert chosen([ended, failed, ended], ANY) == (1,)
    assert chosen([runs] * 9, ANY) == tuple(range(MOST_CHILDREN))
    assert chosen([], ANY) == tuple(range(MOST_CHILDREN))


def test_what_was_written_is_taken_as_far_as_it_exists() -> None:
    assert chosen([], "38-99,3") == (38, 39, 3)
    assert chosen([], "0-39") == tuple(range(MOST_CHILDREN))
    for wrong in ("x", "1-", "-1", "<script>", "5-2", "999999999999"):
        assert chosen([], wrong) == ()


def test_lines_stand_by_time_each_with_its_child_and_keep_their_order_within_one() -> None:
    def events(*at: float) -> list[LogEvent]:
        return [LogEvent(at=each, text=f"at {number}", stream="s") for number, each in enumerate(at)]

    found = merged([(7, events(1.0, 3.0, 3.0)), (9, events(2.0, 3.0))])
    assert [(line.index, line.text) for line in found] == [
        (7, "at 0"),
        (9, "at 0"),
        (7, "at 1"),
        (7, "at 2"),
        (9, "at 1"),
    ]
    assert len({line.id for line in found}) == 5


def test_the_page_attributes_each_line_and_hostile_text_stays_text() -> None:
    evil = "\x1b]0;title\x07</pre><script>alert(1)</script>"
    world = shown(counted(4, [child(0, JobStatus.RUNNING)]), [child(0, JobStatus.RUNNING)])
    target = Target(kind="job", id=ARRAY, children='3"><script>alert(2)</script>')
    event = LogEvent(at=NOW, text=evil, stream="s")
    world.state.several[target] = SeveralLogs(children=((3, f"{ARRAY}:3", "RUNNING"),), lines=merged([(3, [event])]))
    html = world.pages.page(target).html
    assert "<script>alert" not in html
    assert "\x07" not in html
    assert '<span class="whose w0">3</span>' in html
    assert f'href="/jobs/{ARRAY}:3"' in html
