"""The controller's rules, one behaviour a test; five hundred whole lives are in tests/simulation."""

from dataclasses import replace
from decimal import Decimal

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.status import JobStatus
from spotbatch.controller.decide import Submit, Terminate, decide, steps_of
from spotbatch.controller.run import Budget, Deadline, Growth, Move, Outcome, Place, Run, Wishes
from spotbatch.controller.seen import PartSeen, Unit
from tests.unit.controller.builders import NOW, a_run, begun, need

LOST = Unit(status=JobStatus.FAILED, outcome=AttemptOutcome.INTERRUPTED, losses=2)
KILLED_FOR_MEMORY = Unit(status=JobStatus.FAILED, outcome=AttemptOutcome.OUT_OF_MEMORY)
OWN_FAILURE = Unit(status=JobStatus.FAILED, outcome=AttemptOutcome.FAILED)
DONE = Unit(status=JobStatus.SUCCEEDED, outcome=AttemptOutcome.SUCCEEDED, is_done=True)
GROWTH = Wishes(growth=Growth(factor=2.0, most_mib=3000))
BUDGET = Budget(max_usd=Decimal(10), spot_usd_per_hour=Decimal(6), on_demand_usd_per_hour=Decimal(20))


def after(run: Run, *units: Unit, running: int = 0, at: float = NOW + 100) -> Run:
    """A run of one part after a look that found these units."""
    return decide(run, {1: PartSeen(running=running, units=dict(enumerate(units)))}, at)


def test_a_job_that_was_lost_as_often_as_it_may_goes_to_the_on_demand_queue() -> None:
    run = after(begun(a_run(wishes=Wishes(on_demand_after=2))), LOST)
    assert [move.need for move in run.moves] == [need(Place.ON_DEMAND, losses=2)]
    assert [type(step) for step in steps_of(run, NOW + 100)] == [Submit]


def test_a_job_that_was_lost_less_often_goes_on_on_spot() -> None:
    run = after(begun(a_run(wishes=Wishes(on_demand_after=3))), LOST)
    assert [move.need for move in run.moves] == [need(losses=2)]


def test_a_child_that_was_killed_for_memory_gets_more_and_no_more_than_it_may() -> None:
    run = after(begun(a_run(2, wishes=GROWTH)), KILLED_FOR_MEMORY, DONE)
    assert [(str(move.indexes), move.need.memory_mib) for move in run.moves] == [("0", 2000)]
    again = run.submitted(run.moves[0], "job-2", NOW)
    assert after_second(again, KILLED_FOR_MEMORY).moves[0].need.memory_mib == 3000


def after_second(run: Run, unit: Unit) -> Run:
    return decide(run, {2: PartSeen(units={0: unit})}, NOW + 200)


def test_what_had_all_the_memory_that_it_may_have_has_failed() -> None:
    run = replace(begun(a_run(wishes=GROWTH)), memory_mib=3000)
    part = replace(run.parts[0], need=need(memory_mib=3000))
    run = after(replace(run, parts=(part,)), KILLED_FOR_MEMORY)
    assert (run.outcome, str(run.failed)) == (Outcome.FAILED, "0")
    assert "3000 MiB, which is as much as it may have" in run.notes[-2].text


def test_without_growth_a_job_that_was_killed_for_memory_has_failed() -> None:
    assert after(begun(a_run()), KILLED_FOR_MEMORY).outcome is Outcome.FAILED


def test_what_a_child_succeeded_with_is_offered_for_the_next_run() -> None:
    run = after(begun(a_run(wishes=GROWTH)), KILLED_FOR_MEMORY)
    run = after_second(run.submitted(run.moves[0], "job-2", NOW), DONE)
    assert (run.outcome, run.learnt_mib) == (Outcome.SUCCEEDED, 2000)
    assert any("--memory 2000" in note.text for note in run.notes)


def test_the_commands_own_failure_is_the_end_of_it() -> None:
    wishes = Wishes(on_demand_after=1, growth=Growth(factor=2, most_mib=9000))
    assert after(begun(a_run(wishes=wishes)), OWN_FAILURE).outcome is Outcome.FAILED


def test_a_run_is_stopped_while_what_it_still_costs_fits_into_its_budget() -> None:
    run = replace(begun(a_run(wishes=Wishes(budget=BUDGET))), looked_at=NOW, usd_per_hour=Decimal(6))
    alive = Unit(status=JobStatus.RUNNING, started_at=NOW)
    run = after(run, alive, running=1, at=NOW + 3600)
    assert (run.spent_usd, run.moves) == (Decimal(6), ())
    run = after(run, alive, running=1, at=NOW + 3600 + 36 * 60)
    [step] = list(steps_of(run, NOW + 6000))
    assert isinstance(step, Terminate)
    assert run.spent_usd < BUDGET.max_usd
    stopped = Unit(status=JobStatus.FAILED, outcome=AttemptOutcome.STOPPED, is_ours=True)
    over = after(run, stopped, at=NOW + 6000)
    assert (over.outcome, str(over.stopped), over.moves) == (Outcome.STOPPED, "0", ())


def test_a_success_that_races_a_move_wins() -> None:
    run = begun(a_run(wishes=Wishes(budget=replace(BUDGET, max_usd=Decimal("0.01")))))
    run = after(run, Unit(status=JobStatus.RUNNING, started_at=NOW), running=1)
    assert len(run.moves[0].ending) == 1
    assert after(run, DONE, at=NOW + 160).outcome is Outcome.SUCCEEDED


def test_a_job_whose_spot_host_could_now_cost_the_deadline_is_moved() -> None:
    by = Deadline(at=NOW + 7200, work_seconds=3600, changeover_seconds=300, price_ratio=3.0)
    run = begun(a_run(wishes=Wishes(deadline=by)))
    calm = after(run, Unit(status=JobStatus.RUNNING, started_at=NOW, kept_seconds=60), at=NOW + 120)
    assert calm.moves == ()
    run = after(run, Unit(status=JobStatus.RUNNING, started_at=NOW, kept_seconds=600), at=NOW + 4000)
    assert [(move.need.place, len(move.ending)) for move in run.moves] == [(Place.ON_DEMAND, 1)]
    [step] = list(steps_of(run, NOW + 4000))
    assert isinstance(step, Terminate)
    assert "could now cost the deadline" in step.why


def test_children_that_need_the_same_are_gathered_into_one_job() -> None:
    run = after(begun(a_run(300, wishes=Wishes(on_demand_after=1))), LOST, Unit(status=JobStatus.RUNNING), LOST)
    assert [str(move.indexes) for move in run.moves] == ["0,2"]
    assert list(steps_of(run, NOW + 100)) == []
    assert [type(step) for step in steps_of(run, NOW + 125)] == [Submit]


def test_a_submission_whose_answer_nobody_heard_is_looked_for_a_minute_later() -> None:
    run = a_run()
    asked = run.with_move(replace(run.moves[0], asked_at=NOW))
    assert list(steps_of(asked, NOW + 59)) == []
    assert [step.is_search for step in steps_of(asked, NOW + 61) if isinstance(step, Submit)] == [True]


def test_a_job_that_a_person_cancelled_is_not_run_again() -> None:
    wishes = Wishes(on_demand_after=1, growth=Growth(factor=2, most_mib=9000))
    run = after(begun(a_run(wishes=wishes)), Unit(status=JobStatus.FAILED, outcome=AttemptOutcome.STOPPED))
    assert (run.outcome, run.moves) == (Outcome.FAILED, ())


def test_scattered_children_are_moved_in_jobs_whose_lists_of_indexes_fit() -> None:
    many = ArrayIndexes.of(range(0, 9000, 3))
    run = begun(a_run(9000)).wanting(many, need(Place.ON_DEMAND), NOW, "moved", many)
    assert len(run.moves) > 1
    assert ArrayIndexes.of_ranges(each for move in run.moves for each in move.indexes.ranges) == many
    assert all(len(str(move.indexes)) <= 3000 and move.ending == move.indexes for move in run.moves)


def unrecorded(run: Run) -> Run:
    return replace(run, is_recorded=False)


def test_a_child_whose_command_spotrun_does_not_run_is_not_run_again_under_another_index() -> None:
    """Alone it would have no AWS_BATCH_JOB_ARRAY_INDEX, and AWS Batch lets nobody set one."""
    run = after(unrecorded(begun(a_run(3, wishes=Wishes(on_demand_after=1)))), DONE, LOST, DONE)
    assert (run.outcome, str(run.failed), run.moves) == (Outcome.FAILED, "1", ())
    assert "apart a child needs spotrun" in run.notes[-2].text


def test_all_children_together_run_again_without_spotrun_since_their_indexes_are_as_before() -> None:
    run = after(unrecorded(begun(a_run(2, wishes=Wishes(on_demand_after=1)))), LOST, LOST)
    assert [str(move.indexes) for move in run.moves] == ["0-1"]


def test_a_single_job_and_the_first_submission_of_many_arrays_need_no_spotrun() -> None:
    single = after(unrecorded(begun(a_run(wishes=Wishes(on_demand_after=1)))), LOST)
    assert [move.need.place for move in single.moves] == [Place.ON_DEMAND]
    second = Move(number=2, indexes=ArrayIndexes.span(10_000, 10_000), need=need(), at=NOW, why="submitted")
    first = unrecorded(begun(a_run(20_000)))
    half = ArrayIndexes.span(0, 10_000)
    first = first.with_part(replace(first.parts[0], indexes=half, open=half))
    assert decide(replace(first, moves=(second,)), {}, NOW + 1).moves == (second,)


def test_a_run_that_is_given_up_is_over_and_says_why() -> None:
    run = begun(a_run(2)).given_up(NOW + 5, "it has more bytes than an item holds")
    assert (run.is_over, run.moves, run.ended_at) == (True, (), NOW + 5)
    assert run.notes[-1].text == "no longer under control: it has more bytes than an item holds"
