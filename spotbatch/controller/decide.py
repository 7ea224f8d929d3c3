"""The controller's rules. Pure: they take the stored run, what is seen of it and the time, and return the new run.

Every decision is stored before anything is done. `steps_of` derives the steps from a stored run; each
step may run twice, or find its work already done.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.controller.place import places_of
from spotbatch.controller.run import LOOK_SECONDS, MOST_PARTS, Budget, Move, Need, Outcome, Part, Place, Run
from spotbatch.controller.seen import PartSeen, Unit

Seen = Mapping[int, PartSeen]  # by part number

MOST_LOSSES: Final = 100  # of one unit: losing host after host is not bad luck
SEARCH_SECONDS: Final = 60.0  # how long to wait before looking for a submission whose answer was lost: lists lag
STOP_SECONDS: Final = LOOK_SECONDS + 30 + LOOK_SECONDS  # how long a unit may cost after the last look within the budget
MANY: Final = 100  # children: more failures than this are handled together, and those with the same need become one job
_GATHER_SECONDS: Final = 20.0
_HOUR: Final = Decimal(3600)


APART: Final = "not run again: no attempt of this run was recorded, and apart a child needs spotrun to find its index"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminate:
    """Terminate these units of a part; the reason is the controller's."""

    part: Part
    indexes: ArrayIndexes
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Submit:
    """Submit a move. `is_search`: it may already have been submitted, so look for it first."""

    move: Move
    is_search: bool


def decide(run: Run, seen: Seen, now: float) -> Run:
    """The run after a look at it. If there is nothing to do, only the time of the look changes."""
    if run.is_over:
        return run
    run = replace(_with_cost(run, seen, now), looked_at=now)
    for part in run.parts:
        if part.number in seen:
            run = _with_ends(run, part, seen[part.number], now)
    run = _within_budget(run, now)
    run = _in_time(run, seen, now)
    return _ended(_without_apart(run, now), now)


def steps_of(run: Run, now: float) -> Iterator[Terminate | Submit]:
    """What to do about a stored run."""
    if run.is_over:
        return
    for move in run.moves:
        if len(move.ending):
            for part in run.parts:
                theirs = part.open.common(move.ending)
                if len(theirs):
                    yield Terminate(part=part, indexes=theirs, why=move.why)
        elif not move.is_stop and _is_due(run, move, now):
            yield Submit(move=move, is_search=move.asked_at is not None)


def _is_due(run: Run, move: Move, now: float) -> bool:
    if move.asked_at is not None:
        return now - move.asked_at >= SEARCH_SECONDS
    return run.size <= MANY or not run.parts or now - move.at >= _GATHER_SECONDS


# --- ends


def _with_ends(run: Run, part: Part, seen: PartSeen, now: float) -> Run:
    """Record which units of a part have ended, and request moves for those that go on."""
    if seen.is_gone and len(part.open):
        run = run.noted(now, f"{run.shown(part.open)}: AWS Batch knows job {part.job_id} no more")
        for move in run.moves:
            run = run.with_move(_left_out(move, part.open))
        run = replace(run, failed=run.failed.union(part.open))
        return run.with_part(replace(part, open=ArrayIndexes()))
    done: list[int] = []
    over: list[int] = []
    for index, unit in seen.units.items():
        if index in part.open and unit.status.is_terminal:
            (done if unit.is_done else over).append(index)
    ended = ArrayIndexes.of([*done, *over])
    if not len(ended):
        return run
    run = run.with_part(replace(part, open=part.open.without(ended)))
    if done:
        run = _succeeded(run, part, ArrayIndexes.of(done), now)
    for index in over:
        run = _after_failure(run, part, index, seen.units[index], now)
    return run


def _succeeded(run: Run, part: Part, done: ArrayIndexes, now: float) -> Run:
    """A success wins, even over a move in progress."""
    for move in run.moves:
        if len(move.ending.common(done)):
            run = run.noted(now, f"{run.shown(move.ending.common(done))} succeeded just before its move")
        run = run.with_move(_left_out(move, done))
    if part.need.memory_mib > run.memory_mib and part.need.memory_mib != run.learnt_mib:
        learnt = max(part.need.memory_mib, run.learnt_mib or 0)
        run = replace(run, learnt_mib=learnt).noted(
            now, f"{run.shown(done)} succeeded with {learnt} MiB: give --memory {learnt} the next time"
        )
    return replace(run, succeeded=run.succeeded.union(done))


def _left_out(move: Move, indexes: ArrayIndexes) -> Move:
    return replace(move, indexes=move.indexes.without(indexes), ending=move.ending.without(indexes))


def _after_failure(run: Run, part: Part, index: int, unit: Unit, now: float) -> Run:
    """FAILED: the unit was moved, it goes on elsewhere or with more memory, or this is final."""
    own = ArrayIndexes.of([index])
    move = next((each for each in run.moves if index in each.ending), None)
    was_moved = unit.is_ours or unit.outcome in (AttemptOutcome.INTERRUPTED, AttemptOutcome.LOST)
    if move is not None and was_moved:
        if move.is_stop:
            run = run.with_move(_left_out(move, own))
            return replace(run, stopped=run.stopped.union(own))
        return run.with_move(replace(move, ending=move.ending.without(own)))
    if move is not None:  # it ended on its own just before
        run = run.with_move(_left_out(move, own))
    need, why = _next_need(run, part, unit)
    if need is not None and len(run.parts) + len(run.moves) >= MOST_PARTS:
        need, why = None, f"{why}; the run has {MOST_PARTS} jobs, and no more are tried"
    if need is None:
        run = run.noted(now, f"{run.shown(own)} FAILED: {why}")
        return replace(run, failed=run.failed.union(own))
    if move is not None and move.is_stop:
        return replace(run, stopped=run.stopped.union(own))
    return run.wanting(own, need, now, why, ArrayIndexes())


def _next_need(run: Run, part: Part, unit: Unit) -> tuple[Need | None, str]:
    """What a unit that FAILED needs to go on, and why; None if it does not go on."""
    had = part.need
    if unit.outcome is AttemptOutcome.OUT_OF_MEMORY and run.wishes.growth is not None:
        more = run.wishes.growth.after(had.memory_mib)
        if more is None:
            return None, f"killed for memory with {had.memory_mib} MiB, which is as much as it may have"
        return replace(had, memory_mib=more), f"killed for memory with {had.memory_mib} MiB"
    if unit.is_ours:  # of a move that has since been abandoned
        return had, "it goes on"
    if unit.outcome is None or not unit.outcome.may_go_on:
        return None, _in_words(unit)
    losses = had.losses + unit.losses
    most = run.wishes.on_demand_after
    if had.place is Place.SPOT and most is not None and losses >= most:
        return replace(had, place=Place.ON_DEMAND, losses=losses), f"lost {losses} times on Spot"
    if losses >= MOST_LOSSES:
        return None, f"lost with its host {losses} times"
    return replace(had, losses=losses), f"its {unit.losses} attempts there were lost with their hosts"


def _in_words(unit: Unit) -> str:
    return "it never started" if unit.outcome is None else unit.outcome.value.lower().replace("_", " ")


# --- money


def _with_cost(run: Run, seen: Seen, now: float) -> Run:
    """Add the cost of the units since the last look, at the higher of the previous and the current rate."""
    budget, since = run.wishes.budget, run.looked_at
    if budget is None:
        return run
    needs = {part.number: part.need for part in run.parts}
    rate = sum((_rate(run, budget, needs[number]) * each.running for number, each in seen.items()), Decimal(0))
    hours = Decimal(max(0.0, now - since) if since is not None else 0.0) / _HOUR
    return replace(run, spent_usd=run.spent_usd + max(rate, run.usd_per_hour) * hours, usd_per_hour=rate)


def _within_budget(run: Run, now: float) -> Run:
    """Stop everything while the remaining budget still covers the cost of stopping."""
    budget = run.wishes.budget
    if budget is None:
        return run
    if not len(run.stopped) and not any(move.is_stop for move in run.moves):
        to_come = _rate_of_open(run, budget) * Decimal(STOP_SECONDS) / _HOUR
        if run.spent_usd + to_come < budget.max_usd:
            return run
        run = run.noted(
            now,
            f"saved and stopped: about {run.spent_usd:.2f} USD are spent, and until all is stopped "
            f"{to_come:.2f} more may be (--max-usd {budget.max_usd})",
        )
    return _stopping(run, now)


def _stopping(run: Run, now: float) -> Run:
    """Terminate what runs and submit nothing more. Moves that may already be submitted are kept until found."""
    asked = [move for move in run.moves if move.asked_at is not None]
    stops = [move for move in run.moves if move.is_stop]
    known = ArrayIndexes.of_ranges(each for move in (*asked, *stops) for each in move.indexes.ranges)
    living = ArrayIndexes.of_ranges(each for part in run.parts for each in part.open.ranges)
    waiting = ArrayIndexes.of_ranges(each for move in run.moves for each in move.indexes.ranges)
    ended = waiting.without(living).without(known)
    run = replace(run, stopped=run.stopped.union(ended), moves=(*asked, *stops))
    ending = living.without(known)
    if not len(ending):
        return run
    need = Need(place=Place.SPOT, memory_mib=run.memory_mib)
    move = Move(
        number=run.next_number,
        indexes=ending,
        need=need,
        at=now,
        why="to keep its budget",
        ending=ending,
        is_stop=True,
    )
    return replace(run, moves=(*run.moves, move), next_number=run.next_number + 1)


def _rate_of_open(run: Run, budget: Budget) -> Decimal:
    """USD per hour if everything that is open, or about to be, runs."""
    of_parts = sum((_rate(run, budget, part.need) * len(part.open) for part in run.parts), Decimal(0))
    return of_parts + sum((_rate(run, budget, move.need) * len(move.indexes) for move in run.moves), Decimal(0))


def _rate(run: Run, budget: Budget, need: Need) -> Decimal:
    """USD per hour for one unit; a unit with more memory is assumed to cost proportionally more."""
    return budget.rate(need.place) * need.memory_mib / run.memory_mib


# --- time


def _in_time(run: Run, seen: Seen, now: float) -> Run:
    """Move the units that the policy wants to run elsewhere."""
    if run.wishes.deadline is None or len(run.stopped) or any(move.is_stop for move in run.moves):
        return run
    for part in run.parts:
        moving = ArrayIndexes.of_ranges(each for move in run.moves for each in move.indexes.ranges)
        wanted: dict[tuple[Place, str], list[int]] = {}
        for index, place, why in places_of(run, part, seen, now):
            if place is not part.need.place and index not in moving:
                wanted.setdefault((place, why), []).append(index)
        for (place, why), indexes in wanted.items():
            some = ArrayIndexes.of(indexes)
            if not run.may_split and some != run.everything:
                continue
            run = run.wanting(some, replace(part.need, place=place), now, why, some)
    return _waiting_in_time(run, now)


def _waiting_in_time(run: Run, now: float) -> Run:
    """When time is short, submit on demand what is waiting to be submitted to Spot."""
    wanted = run.wishes.deadline
    assert wanted is not None  # noqa: S101 - checked by the caller
    left = wanted.at - now
    terms = wanted.terms(run.created_at)
    least = terms.work_seconds + terms.changeover_seconds
    # Its progress is not known here, so assume the worst: that it is at its beginning.
    for move in run.moves:
        is_waiting = move.asked_at is None and move.need.place is Place.SPOT and not move.is_stop
        if is_waiting and left < least + LOOK_SECONDS:
            need = replace(move.need, place=Place.ON_DEMAND)
            run = run.with_move(replace(move, need=need, why=f"{move.why}; no time is left for Spot"))
    return run


# --- the end


def _without_apart(run: Run, now: float) -> Run:
    """Give up what would run again under another child's index: some of an array whose command spotrun does not run."""
    if run.may_split:
        return run
    for move in run.moves:
        is_again = any(len(part.indexes.common(move.indexes)) for part in run.parts)
        if is_again and move.indexes != run.everything and move.asked_at is None and not move.is_stop:
            run = run.noted(now, f"{run.shown(move.indexes)} FAILED: {move.why}; {APART}")
            run = replace(run, failed=run.failed.union(move.indexes))
            run = run.with_move(replace(move, indexes=ArrayIndexes(), ending=ArrayIndexes()))
    return run


def _ended(run: Run, now: float) -> Run:
    if run.moves or any(len(part.open) for part in run.parts):
        return run
    outcome = Outcome.STOPPED if len(run.stopped) else Outcome.FAILED if len(run.failed) else Outcome.SUCCEEDED
    return replace(run, outcome=outcome, ended_at=now).noted(now, _verdict(run, outcome, now))


def _verdict(run: Run, outcome: Outcome, now: float) -> str:
    if outcome is not Outcome.SUCCEEDED:
        many = run.stopped if outcome is Outcome.STOPPED else run.failed
        return f"{outcome}: {run.shown(many)}"
    wanted = run.wishes.deadline
    if wanted is None:
        return "succeeded"
    return f"succeeded, {abs(wanted.at - now) / 60:.0f} min {'before' if now <= wanted.at else 'after'} its deadline"
