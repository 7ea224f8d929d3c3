"""Where the units of a run with a deadline should run: a published policy behind the exact safety net. Pure.

The policy is Uniform Progress (Wu et al., NSDI '24), which keeps no state between looks and needs no library, so
the function runs anywhere. The policy in docs/policy.md that saves more needs numpy.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from spotbatch.batch.status import JobStatus
from spotbatch.controller.run import LOOK_SECONDS, Deadline, Part, Place, Run
from spotbatch.controller.seen import PartSeen, Unit
from spotbatch.policy.baselines import UniformProgress
from spotbatch.policy.interface import Move, Terms, View, is_safe

_FIRST_QUESTION: Final = 0.05  # fraction of the deadline's length to wait before asking for Spot again after leaving it
_POLICY: Final = UniformProgress()


def places_of(run: Run, part: Part, seen: Mapping[int, PartSeen], now: float) -> Iterator[tuple[int, Place, str]]:
    """For each open unit of a part that was seen: its index, where it should run, and why."""
    wanted = run.wishes.deadline
    if wanted is None or part.number not in seen:
        return
    terms = wanted.terms(run.created_at)
    is_spot_up = _is_spot_up(run, seen)
    for index, unit in seen[part.number].units.items():
        if index not in part.open or unit.status.is_terminal:
            continue
        view = view_of(run, part, unit, now, terms, is_spot_up=is_spot_up)
        move = _move(wanted, terms, view, now)
        place = Place.ON_DEMAND if move is Move.ON_DEMAND or _is_given_up(run, part) else Place.SPOT
        yield index, place, _why(wanted, terms, view, place, now)


def is_safe_as_it_is(run: Run, part: Part, unit: Unit, now: float) -> bool:
    """Whether a unit running on Spot may stay there even if none of its work so far counts."""
    wanted = run.wishes.deadline
    if wanted is None or part.need.place is not Place.SPOT or unit.started_at is None:
        return False
    terms = wanted.terms(run.created_at)
    view = view_of(run, part, unit, now, terms, is_spot_up=True)
    return _move(wanted, terms, view, now) is Move.SPOT


def _move(wanted: Deadline, terms: Terms, view: View, now: float) -> Move:
    """The place that the policy wants, or on demand where that place would not be safe."""
    move = Move.ON_DEMAND if now >= wanted.at else _POLICY.start(terms).decide(view)
    return move if is_safe(terms, view, move) else Move.ON_DEMAND


def view_of(run: Run, part: Part, unit: Unit, now: float, terms: Terms, *, is_spot_up: bool) -> View:
    """One unit in the policy's terms.

    On Spot only work saved in a checkpoint counts as done, since the rest may be lost with the host. On demand, all
    work counts.
    """
    is_running = unit.status is JobStatus.RUNNING and unit.started_at is not None
    if part.need.place is Place.ON_DEMAND:
        began_at = unit.started_at if is_running and unit.started_at is not None else now
        pending = max(0.0, terms.changeover_seconds - (now - began_at))
        is_up = is_spot_up or now - part.at > _patience(run, part)
        return View(now - run.created_at, unit.worked_seconds, Move.ON_DEMAND, pending, is_up)
    if is_running and unit.started_at is not None:
        pending = max(0.0, terms.changeover_seconds - (now - unit.started_at))
        return View(now - run.created_at, unit.kept_seconds, Move.SPOT, pending, True)
    waited = now - max(part.at, unit.last_end_at or 0.0)
    assert run.wishes.deadline is not None  # noqa: S101 - checked by the caller
    is_up = is_spot_up or waited <= 3 * run.wishes.deadline.changeover_seconds + LOOK_SECONDS
    return View(now - run.created_at, unit.kept_seconds, Move.WAIT, 0.0, is_up)


def _is_given_up(run: Run, part: Part) -> bool:
    """Whether these units have been reclaimed as often as allowed, so that they stay on demand."""
    most = run.wishes.on_demand_after
    return most is not None and part.need.place is Place.ON_DEMAND and part.need.losses >= most


def _is_spot_up(run: Run, seen: Mapping[int, PartSeen]) -> bool:
    """Whether any unit of the run currently has a Spot host."""
    spot = {part.number for part in run.parts if part.need.place is Place.SPOT}
    return any(
        unit.status is JobStatus.RUNNING
        for number, each in seen.items()
        if number in spot
        for unit in each.units.values()
    )


def _patience(run: Run, part: Part) -> float:
    """Spot's return cannot be observed from outside: the job probes by moving there, less often each time."""
    assert run.wishes.deadline is not None  # noqa: S101 - checked by the caller
    before = sum(
        1
        for each in run.parts
        if each.number < part.number and each.need.place is Place.ON_DEMAND and len(each.indexes.common(part.indexes))
    )
    return float((run.wishes.deadline.at - run.created_at) * _FIRST_QUESTION * 2**before)


def _why(wanted: Deadline, terms: Terms, view: View, place: Place, now: float) -> str:
    """The reason for a move, in words and numbers."""
    left = in_words(wanted.work_seconds - view.done_seconds)
    figures = f"{in_words(wanted.at - now)} to the deadline, {left} of work left"
    if place is Place.SPOT:
        return f"Spot has capacity, and there is time to lose it: {figures}"
    if now >= wanted.at:
        return "the deadline has passed"
    if view.is_spot_available or not is_safe(terms, view, Move.SPOT):
        return f"a lost Spot host could now cost the deadline: {figures}"
    return f"Spot has no capacity, and the work is behind: {figures}"


def in_words(seconds: float) -> str:
    """`2 h 5 min`, `3 min`: whole minutes, so that units with similar progress share one reason."""
    hours, minutes = divmod(max(0, round(seconds / 60)), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
