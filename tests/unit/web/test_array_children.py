"""An array's children as the dashboard knows them: what is deduced, who is asked about next, how often AWS is asked."""

from spotbatch.batch.status import JobStatus
from spotbatch.web.array_children import ArrayChildren, cells, interruptions, retried
from spotbatch.web.rate_limit import SECONDS_A_CALL, RateLimit
from tests.unit.web_builders import child, parent


def indexes(ids: list[str]) -> list[int]:
    return [int(each.partition(":")[2]) for each in ids]


def test_a_fresh_array_of_ten_thousand_is_known_without_asking_about_any_child() -> None:
    array = ArrayChildren(parent=parent(10_000, RUNNABLE=10_000), size=10_000)
    assert set(array.statuses()) == {JobStatus.RUNNABLE}
    assert array.lacking() is None


def test_children_that_the_parent_does_not_count_yet_are_submitted() -> None:
    assert set(ArrayChildren(parent=parent(5), size=5).statuses()) == {JobStatus.SUBMITTED}


def test_small_groups_are_listed_and_the_rest_follows_from_the_summary() -> None:
    array = ArrayChildren(parent=parent(10_000, RUNNABLE=9_980, RUNNING=16, FAILED=4), size=10_000)
    listed = []
    while (status := array.lacking()) is not None:
        listed.append(status)
        for index in {JobStatus.FAILED: range(4), JobStatus.RUNNING: range(4, 20)}[status]:
            array.take_status(index, status)
    assert listed == [JobStatus.FAILED, JobStatus.RUNNING]
    found = array.statuses()
    assert [found[index] for index in (0, 4, 20, 9_999)] == [
        JobStatus.FAILED,
        JobStatus.RUNNING,
        JobStatus.RUNNABLE,
        JobStatus.RUNNABLE,
    ]


def test_an_old_answer_about_one_child_does_not_grey_out_the_other_thousands() -> None:
    array = ArrayChildren(parent=parent(10_000, RUNNABLE=9_984, RUNNING=15, SUCCEEDED=1), size=10_000)
    for index in range(16):
        array.take_status(index, JobStatus.RUNNING)  # one of them has ended since
    assert array.statuses()[16:] == [JobStatus.RUNNABLE] * 9_984


def test_where_the_summary_leaves_two_statuses_nothing_is_made_up() -> None:
    array = ArrayChildren(parent=parent(10, RUNNABLE=5, RUNNING=5), size=10)
    assert array.statuses() == [None] * 10


def test_children_that_run_are_asked_about_first_and_nobody_is_forgotten() -> None:
    array = ArrayChildren(parent=parent(300, RUNNABLE=290, RUNNING=10), size=300)
    for index in range(290, 300):
        array.take_status(index, JobStatus.RUNNING)
    asked: set[int] = set()
    for _ in range(40):
        turn = indexes(array.wanted(20))
        assert len(turn) == 20
        asked |= set(turn)
    assert asked == set(range(300))
    rounds = [indexes(array.wanted(20)) for _ in range(10)]
    assert all(sum(index in turn for turn in rounds) >= 2 for index in range(290, 300)), rounds


def test_children_that_have_ended_are_not_asked_about_again() -> None:
    array = ArrayChildren(parent=parent(3, SUCCEEDED=2, RUNNING=1), size=3)
    for index in (0, 2):
        array.take_unit(child(index, JobStatus.SUCCEEDED))
    assert indexes(array.wanted(100)) == [1]
    array.take_unit(child(1, JobStatus.FAILED))
    assert array.is_all_seen
    assert array.wanted(100) == []


def test_a_child_that_is_not_of_the_array_changes_nothing() -> None:
    array = ArrayChildren(parent=parent(3, RUNNING=3), size=3)
    array.take_unit(child(7, JobStatus.FAILED))
    array.take_status(9, JobStatus.FAILED)
    assert array.seen == 0


def test_cells_say_status_and_further_attempts_in_one_character() -> None:
    units = {2: child(2, JobStatus.RUNNING, interrupted=True)}
    assert retried(units) == {2}
    statuses = [JobStatus.SUCCEEDED, None, JobStatus.RUNNING, JobStatus.FAILED]
    assert cells(statuses, retried(units)) == "5.e6"


def test_the_pace_allows_a_burst_and_then_less_than_one_call_a_second() -> None:
    now, made = 0.0, 0
    limit = RateLimit(calls_made=lambda: made, clock=lambda: now)
    while now < 600:
        wait = limit.wait_seconds()
        now += wait
        if not wait:
            made += 1
    assert made <= 600 / SECONDS_A_CALL + 13, made
    assert made >= 500


def test_calls_that_others_make_are_waited_for_but_not_for_minutes() -> None:
    now, made = 0.0, 0
    limit = RateLimit(calls_made=lambda: made, clock=lambda: now)
    made += 15  # a page was opened
    assert 3 < limit.wait_seconds() < 5
    made += 1000  # somebody went through hundreds
    assert 9 < limit.wait_seconds() < 11


def test_interruptions_are_counted_as_children_come_and_as_they_change() -> None:
    array = ArrayChildren(parent=parent(10, RUNNING=10), size=10)
    seen = [child(index, JobStatus.RUNNING, interrupted=index % 3 == 0) for index in range(10)]
    later = [child(index, JobStatus.SUCCEEDED, interrupted=index % 2 == 0) for index in range(10)]
    for unit in (*seen, *seen, *later, *later[:4]):
        array.take_unit(unit)
    assert (array.lost, array.again) == interruptions(array.units.values()) == (5, 5)
