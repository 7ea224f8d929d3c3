"""How far a run is, from what DescribeJobs says."""

from dataclasses import replace

import pytest

from spotbatch.batch.job import ArrayProperties, Attempt, Job
from spotbatch.batch.status import JobStatus, host_terminated
from spotbatch.cli.output.screens import LineScreen, bar_cells, counts_line, ending, facts_line
from spotbatch.runs.tracker import Tracker

LOST = Attempt(started_at=1.0, stopped_at=2.0, status_reason=host_terminated("i-0123456789abcdef0"))
DONE = Attempt(started_at=3.0, stopped_at=4.0, exit_code=0)


def single(job_id: str = "j", status: JobStatus = JobStatus.RUNNING, **more: object) -> Job:
    job = Job(id=job_id, name="n", queue="q", definition="d:1", status=status)
    return replace(job, **more)  # type: ignore[arg-type]  # fields by name


def array(size: int, **counts: int) -> Job:
    summary = {JobStatus(name): count for name, count in counts.items()}
    return single("a", JobStatus.PENDING, array=ArrayProperties(size=size, status_summary=summary))


def test_one_call_asks_for_the_parent_and_up_to_99_children_in_turn() -> None:
    tracker = Tracker(ids=["a"])
    assert tracker.next_ids() == ["a"]
    tracker.take([array(250, RUNNING=250)], 0.0)
    turns = [tracker.next_ids() for _ in range(4)]
    assert all(turn[0] == "a" and len(turn) <= 100 for turn in turns)
    asked = [unit for turn in turns[:3] for unit in turn[1:]]
    assert sorted(asked) == sorted(f"a:{index}" for index in range(250))
    assert turns[3][1] == "a:0"


def test_a_run_of_a_hundred_arrays_still_takes_one_call() -> None:
    ids = [f"a{number}" for number in range(100)]
    tracker = Tracker(ids=ids)
    tracker.take([replace(array(10_000, RUNNING=10_000), id=each) for each in ids], 0.0)
    assert tracker.next_ids() == ids
    assert tracker.progress().total == 1_000_000


def test_a_child_that_has_ended_is_not_asked_for_again() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(2, RUNNING=1, SUCCEEDED=1), single("a:0", JobStatus.SUCCEEDED, array_index=0)], 0.0)
    assert tracker.next_ids() == ["a", "a:1"]


def test_interruptions_and_retries_are_counted_from_attempts() -> None:
    tracker = Tracker(ids=["j"])
    tracker.take([single(attempts=(LOST, LOST, DONE))], 0.0)
    progress = tracker.progress()
    assert (progress.interruptions, progress.retries, progress.is_complete) == (2, 2, True)


def test_what_somebody_stopped_was_not_interrupted() -> None:
    stopped = Attempt(exit_code=210, stopped_at=1.0)
    tracker = Tracker(ids=["j"])
    tracker.take([single(attempts=(LOST, stopped), is_terminated=True, status=JobStatus.FAILED)], 0.0)
    assert tracker.progress().interruptions == 1


def test_a_failure_is_told_once() -> None:
    tracker = Tracker(ids=["a"])
    failed = single("a:1", JobStatus.FAILED, array_index=1, exit_code=3)
    assert tracker.take([array(2, RUNNING=1, FAILED=1), failed], 0.0) == [failed]
    assert tracker.take([array(2, RUNNING=1, FAILED=1), failed], 1.0) == []
    assert tracker.unknown_failures == 0


def test_failures_that_no_turn_has_shown_are_known_by_their_number() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(10_000, FAILED=7, RUNNING=9_993)], 0.0)
    assert tracker.unknown_failures == 7


def test_rate_and_time_left_come_from_what_ended_while_watching() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(100, SUCCEEDED=10, RUNNING=90)], 0.0)
    assert tracker.progress().units_per_second is None
    tracker.take([array(100, SUCCEEDED=30, RUNNING=70)], 10.0)
    progress = tracker.progress()
    assert progress.units_per_second == 2.0
    assert progress.seconds_left == 35.0


def test_a_rate_forgets_what_was_more_than_five_minutes_ago() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(1000, SUCCEEDED=0, RUNNING=1000)], 0.0)
    tracker.take([array(1000, SUCCEEDED=900, RUNNING=100)], 10.0)
    tracker.take([array(1000, SUCCEEDED=910, RUNNING=90)], 310.0)
    assert tracker.progress().units_per_second == 10 / 300


def test_children_that_the_parent_does_not_count_yet_are_submitted() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(5)], 0.0)
    assert tracker.counts()[JobStatus.SUBMITTED] == 5


def test_the_run_is_over_when_the_parents_are_not_when_their_children_are() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(2, SUCCEEDED=2)], 0.0)
    assert not tracker.is_over
    tracker.take([replace(array(2, SUCCEEDED=2), status=JobStatus.SUCCEEDED)], 1.0)
    assert tracker.is_over


def test_every_status_that_is_there_gets_a_cell_and_the_bar_is_always_full() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(10_000, SUCCEEDED=9_997, FAILED=1, RUNNING=1, RUNNABLE=1)], 0.0)
    cells = dict(bar_cells(tracker.progress(), 60))
    assert sum(cells.values()) == 60
    assert cells[JobStatus.FAILED] == cells[JobStatus.RUNNING] == 1


def test_plain_lines_grow_fewer_in_a_long_run(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    screen = LineScreen(clock=lambda: now)
    tracker = Tracker(ids=["a"])
    for second in range(3600):
        now = float(second)
        tracker.take([array(4000, RUNNING=1, SUCCEEDED=second)], now)
        screen.show(list(tracker.jobs.values()), tracker.progress(), "")
        if second == 59:
            assert len(capsys.readouterr().out.splitlines()) == 61, "the title, and in its first minute every change"
    assert len(capsys.readouterr().out.splitlines()) < 300


def test_lines_name_what_there_is_and_leave_out_what_there_is_not() -> None:
    tracker = Tracker(ids=["a"])
    tracker.take([array(10_000, SUCCEEDED=1, RUNNING=9_999), single("a:3", attempts=(LOST, DONE))], 0.0)
    progress = tracker.progress()
    assert counts_line(progress) == "SUCCEEDED 1  RUNNING 9,999"
    assert facts_line(progress, "") == "1 interruption, 1 retry seen so far"
    done = replace(array(2, SUCCEEDED=1, FAILED=1), created_at=0.0, stopped_at=75.0)
    tracker = Tracker(ids=["a"])
    tracker.take([done], 0.0)
    assert ending([done], tracker.progress(), "0.10 USD") == "1 of 2 FAILED in 1 min 15 s, 0.10 USD"


def test_what_was_run_again_counts_once_and_its_first_failure_is_no_news() -> None:
    tracker = Tracker(ids=["a", "b"])
    first = replace(array(6, SUCCEEDED=4, FAILED=2), status=JobStatus.FAILED)
    second = single("b", JobStatus.FAILED, environment={"SPOTBATCH_ARRAY_INDEXES": "2,5"})
    second = replace(second, array=ArrayProperties(size=2, status_summary={JobStatus.FAILED: 1, JobStatus.RUNNING: 1}))
    old, new = single("a:2", JobStatus.FAILED, array_index=2), single("b:1", JobStatus.FAILED, array_index=1)
    assert tracker.take([first, second, old, new], 0.0) == [new]
    assert tracker.progress().total == 6
    assert counts_line(tracker.progress()) == "SUCCEEDED 4  FAILED 1  RUNNING 1"
    assert not tracker.take_failed("a:5")


def test_a_single_job_that_was_run_again_is_one_unit() -> None:
    tracker = Tracker(ids=["j", "k"])
    tracker.take([single("j", JobStatus.FAILED), single("k", JobStatus.SUCCEEDED)], 0.0)
    assert counts_line(tracker.progress()) == "SUCCEEDED 1"
    assert tracker.progress().is_over
