"""What SubmitJob is sent for a move, and what the controller keeps and tells."""

from dataclasses import replace

import pytest

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import Damaged
from spotbatch.controller.document import from_json, to_json
from spotbatch.controller.edges import work_done
from spotbatch.controller.handler import run_id_of
from spotbatch.controller.request import request_of
from spotbatch.controller.run import Move, Place, Wishes
from spotbatch.controller.seen import Work
from tests.simulation.test_controller_lives import a_life
from tests.unit.controller.builders import NOW, a_run, begun, need

REQUEST = {
    "jobName": "work",
    "jobDefinition": "d:1",
    "dependsOn": [{"jobId": "other"}],
    "containerOverrides": {
        "command": ["work"],
        "environment": [{"name": "A", "value": "1"}],
        "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "500"}],
    },
    "tags": {"team": "t"},
}


def test_a_move_is_the_same_job_in_another_queue_with_other_memory() -> None:
    run = begun(a_run(5, request=REQUEST))
    move = Move(
        number=7,
        indexes=ArrayIndexes.of([1, 3]),
        need=need(Place.ON_DEMAND, 2000),
        at=NOW,
        why="",
    )
    assert request_of(run, move) == {
        "jobName": "work",
        "jobDefinition": "d:1",
        "jobQueue": "on-demand",
        "arrayProperties": {"size": 2},
        "containerOverrides": {
            "command": ["work"],
            "environment": [
                {"name": "A", "value": "1"},
                {"name": "SPOTBATCH_RUN_ID", "value": "run-1"},
                {"name": "SPOTBATCH_ARRAY_INDEXES", "value": "1,3"},
            ],
            "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "2000"}],
        },
        "tags": {"team": "t", "spotbatch-controlled": "run-1", "spotbatch-controlled-part": "7"},
    }


def test_what_a_run_waits_for_is_said_at_first_only() -> None:
    run = a_run(request=REQUEST)
    assert request_of(run, run.moves[0])["dependsOn"] == [{"jobId": "other"}]
    assert "dependsOn" not in request_of(begun(run), run.moves[0])


@pytest.mark.parametrize(("losses", "attempts"), [(0, 3), (1, 2), (5, 1)])
def test_on_spot_aws_batch_makes_no_more_attempts_than_may_be_lost(losses: int, attempts: int) -> None:
    run = a_run(wishes=Wishes(on_demand_after=3))
    sent = request_of(run, replace(run.moves[0], need=need(losses=losses)))["retryStrategy"]
    assert sent["attempts"] == attempts
    assert sent["evaluateOnExit"][-1] == {"action": "EXIT", "onReason": "*"}
    on_demand = replace(run.moves[0], need=need(Place.ON_DEMAND))
    assert "retryStrategy" not in request_of(run, on_demand)


def test_a_run_that_was_kept_is_read_as_it_was() -> None:
    for seed in (3, 7, 11, 29, 69):
        run = a_life(seed)[1]
        assert from_json(to_json(run), revision=run.revision) == run


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2, "run_id": "r"}', '{"schema": 1}'])
def test_what_is_no_run_of_this_version_is_refused(text: str) -> None:
    with pytest.raises(Damaged):
        from_json(text, revision=1)


def test_work_counts_as_kept_only_where_a_checkpoint_holds_it() -> None:
    over = AttemptRecord(
        attempt=1, started_at=0.0, ended_at=500.0, outcome="interrupted", checkpoints_saved=1, last_saved_at=400.0
    )
    running = AttemptRecord(
        attempt=2, started_at=1000.0, restore_seconds=10.0, checkpoints_saved=1, last_saved_at=1110.0
    )
    unsaved = AttemptRecord(attempt=2, started_at=1000.0)
    assert work_done([over, running], None, 3600, 1210.0) == Work(kept_seconds=500.0, worked_seconds=600.0)
    assert work_done([over, unsaved], None, 3600, 1300.0) == Work(kept_seconds=400.0, worked_seconds=700.0)
    assert work_done([], None, 3600, 0.0) == Work()


def test_a_command_that_reports_less_than_the_time_says_is_believed() -> None:
    running = AttemptRecord(attempt=1, started_at=0.0, checkpoints_saved=1, last_saved_at=1000.0)
    report = {"attempt": 1, "done": 10, "total": 100}
    assert work_done([running], report, 3600, 2000.0) == Work(kept_seconds=360.0, worked_seconds=360.0)
    for odd in ({"attempt": 1}, {"attempt": 1, "done": "x", "total": 0}, {"attempt": 2, "done": 1, "total": 100}):
        assert work_done([running], odd, 3600, 2000.0).kept_seconds == 1000.0


@pytest.mark.parametrize("event", [{}, {"detail": {}}, {"detail": {"container": {"environment": [{}]}}}, {"detail": 1}])
def test_an_event_of_a_job_that_names_no_run_names_none(event: dict[str, object]) -> None:
    assert run_id_of(event) == ""
