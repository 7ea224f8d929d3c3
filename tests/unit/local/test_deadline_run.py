"""Promises of the local region: what is refused, how progress is measured, and when Spot is thought to be there."""

from collections.abc import Mapping
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import AttemptView, HostView, UnitView
from spotbatch.local.deadline.observation import in_words, is_spot_available, view_of, why
from spotbatch.local.deadline.progress import measured
from spotbatch.local.deadline.run import DeadlineRun, promise_from, promise_of
from spotbatch.policy.interface import Move

HOUR = 3600.0
REQUEST: dict[str, Any] = {
    "jobName": "work",
    "jobDefinition": "definition",
    "containerOverrides": {"environment": [{"name": "SPOTBATCH_RUN_ID", "value": "run"}]},
}


def asked(**changes: Any) -> Mapping[str, Any]:
    plain = {
        "request": REQUEST,
        "deadline_seconds": 6 * HOUR,
        "work_seconds": 4 * HOUR,
        "price_ratio": 2.5,
        "spot_queue": "spot",
        "on_demand_queue": "paid",
    }
    return {**plain, **changes}


def promised(**changes: Any) -> DeadlineRun:
    return promise_of(asked(**changes), now=0.0, changeover_seconds=180.0)


def on_spot(promise: DeadlineRun, at: float = 0.0) -> DeadlineRun:
    return promise.goes("SPOT", at, "begins").went("job-1", at)


def host(**changes: Any) -> HostView:
    plain: dict[str, Any] = {
        "instance_id": "i-1",
        "instance_type": "c5.large",
        "zone": "a",
        "environment": "spot",
        "is_spot": True,
        "vcpus": 2,
        "memory_mib": 3000,
        "launched_at": 0.0,
        "started_at": 1.0,
        "noticed_at": None,
        "ended_at": None,
        "end_cause": None,
        "running": 1,
    }
    return HostView(**{**plain, **changes})


def unit(status: JobStatus, **attempt: Any) -> UnitView:
    plain: dict[str, Any] = {
        "attempt": 1,
        "started_at": 1.0,
        "stopped_at": None,
        "exit_code": None,
        "reason": "",
        "status_reason": "",
        "log_stream": "",
        "instance_id": "i-1",
    }
    attempts = [AttemptView(**{**plain, **attempt})] if status is JobStatus.RUNNING else []
    return UnitView(status=status, created_at=0.0, attempts=attempts)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"deadline_seconds": 0}, "deadline_seconds is a number above 0"),
        ({"work_seconds": True}, "work_seconds is a number above 0"),
        ({"price_ratio": float("nan")}, "price_ratio is a number above 0"),
        ({"spot_queue": ""}, "spot_queue is the name of a queue"),
        ({"request": None}, "request is SubmitJob's body"),
        ({"request": {**REQUEST, "arrayProperties": {"size": 2}}}, "a deadline is for one job"),
        ({"request": {"jobName": "work"}}, "must set SPOTBATCH_RUN_ID"),
        ({"deadline_seconds": 4 * HOUR + 100}, "it must be 14581 s or more"),
    ],
)
def test_a_wrong_promise_is_refused_with_the_value_and_the_fix(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        promised(**changes)


def test_a_promise_comes_back_from_its_document_as_it_was() -> None:
    promise = on_spot(promised()).goes("ON_DEMAND", 9.0, "the safety net")
    assert promise_from(promise.to_document()) == promise
    assert "request" not in promise.to_story()


def test_each_submission_has_a_tag_of_its_own_so_that_a_crash_never_doubles_it() -> None:
    first = promised().goes("SPOT", 0.0, "")
    second = first.went("job-1", 1.0).goes("ON_DEMAND", 2.0, "")
    tags = [each.next_request()["tags"]["spotbatch-deadline-part"] for each in (first, second)]
    assert tags == ["run/1", "run/2"]
    assert [each.next_request()["jobQueue"] for each in (first, second)] == ["spot", "paid"]


def test_a_running_attempts_own_report_is_believed() -> None:
    records = [{"attempt": 2, "started_at": 100.0, "ended_at": None}]
    assert measured(records, {"done": 30, "total": 40, "attempt": 2}, 1000.0, 101.0) == 750.0


def test_a_report_of_an_attempt_that_is_gone_counts_for_nothing() -> None:
    gone = {"attempt": 1, "started_at": 0.0, "ended_at": None}
    running = {"attempt": 2, "started_at": 100.0, "ended_at": None, "restore_seconds": 5.0}
    assert measured([gone, running], {"done": 30, "total": 40, "attempt": 1}, 1000.0, 115.0) == 10.0


def test_work_of_an_ended_attempt_counts_up_to_its_last_checkpoint() -> None:
    saved = {"attempt": 1, "started_at": 0.0, "ended_at": 100.0, "checkpoints_saved": 3, "last_saved_at": 80.0}
    unsaved = {"attempt": 2, "started_at": 200.0, "ended_at": 300.0, "checkpoints_saved": 0}
    assert measured([saved, unsaved], None, 1000.0, 400.0) == 80.0


def test_a_killed_attempt_counts_up_to_its_last_checkpoint_too() -> None:
    killed = {"attempt": 1, "started_at": 0.0, "ended_at": None, "checkpoints_saved": 1, "last_saved_at": 30.0}
    running = {"attempt": 2, "started_at": 100.0, "ended_at": None}
    assert measured([killed, running], None, 1000.0, 110.0) == 40.0


def test_spot_is_there_while_a_host_lives_and_is_not_after_a_reclaim_or_a_long_wait() -> None:
    assert is_spot_available([host()], None, 10.0, 5.0)
    assert not is_spot_available([host(noticed_at=8.0)], None, 10.0, 5.0)
    assert is_spot_available([host(noticed_at=1.0, ended_at=2.0, end_cause="RECLAIMED")], None, 10.0, 5.0)
    assert not is_spot_available([], 1.0, 10.0, 5.0)
    assert is_spot_available([], 8.0, 10.0, 5.0)


def test_a_host_with_its_notice_is_no_instance_any_more() -> None:
    promise = on_spot(promised())
    running = unit(JobStatus.RUNNING)
    assert view_of(promise, running, [host()], 0.0, 60.0, 1.0).instance is Move.SPOT
    lost = view_of(promise, running, [host(noticed_at=59.0)], 0.0, 60.0, 1.0)
    assert (lost.instance, lost.is_spot_available) == (Move.WAIT, False)


def test_each_return_to_spot_that_failed_makes_the_next_question_later() -> None:
    first = on_spot(promised()).goes("ON_DEMAND", 0.0, "").went("job-2", 0.0)
    again = first.goes("SPOT", 0.0, "").went("job-3", 0.0).goes("ON_DEMAND", 0.0, "").went("job-4", 0.0)
    waits = unit(JobStatus.RUNNABLE)
    seen = [
        [view_of(promise, waits, [], 0.0, hours * HOUR, 1.0).is_spot_available for hours in (0.2, 0.4, 0.7)]
        for promise in (first, again)
    ]
    assert seen == [[False, True, True], [False, False, True]]


def test_the_reason_for_a_move_has_its_figures() -> None:
    promise = on_spot(promised())
    late = view_of(promise, unit(JobStatus.RUNNABLE), [], HOUR, 2.95 * HOUR, 1.0)
    said = why(promise, late, Move.ON_DEMAND)
    assert said.startswith("the safety net: a lost Spot host could now cost the deadline")
    assert said.endswith("3 h 3 min to the deadline, 3 h 0 min of work left")
    assert in_words(205) == "3 min 25 s"
