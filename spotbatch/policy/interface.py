"""The vocabulary of a placement policy: the terms of a job with a deadline, the view at a tick, and the chosen move."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from spotbatch.batch.errors import InvalidInput

EPSILON_SECONDS: Final = 1e-3  # float noise in sums of ticks; a deadline guard must allow this much


class Move(IntEnum):
    """Where the job is until the next tick."""

    WAIT = 0
    SPOT = 1
    ON_DEMAND = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a job needs and what it is promised ("Can't Be Late", Wu et al., NSDI '24, section 3). Raises InvalidInput.

    `changeover_seconds` passes without progress after each start of an instance: boot, restore, and the work lost
    since the last checkpoint. `tick_seconds` is the longest time between two decisions. `price_ratio` is the
    on-demand price over the Spot price. `is_reclaim_seen_at_once`: a decision follows every reclaim without delay, or
    reclaims fall on ticks, as in a replay; otherwise a reclaimed instance is noticed only at the next tick.
    """

    work_seconds: float
    deadline_seconds: float
    changeover_seconds: float
    tick_seconds: float
    price_ratio: float
    is_reclaim_seen_at_once: bool = False

    def __post_init__(self) -> None:
        for name in ("work_seconds", "deadline_seconds", "tick_seconds", "price_ratio"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"{name} must be a number above 0, not {value}")
        if not (math.isfinite(self.changeover_seconds) and self.changeover_seconds >= 0):
            raise InvalidInput(f"changeover_seconds must be 0 or more, not {self.changeover_seconds}")

    @property
    def ticks(self) -> int:
        """Decisions until the deadline; the last tick may be partial."""
        return math.ceil(self.deadline_seconds / self.tick_seconds - 1e-9)

    @property
    def slack_seconds(self) -> float:
        return self.deadline_seconds - self.work_seconds

    @property
    def is_feasible(self) -> bool:
        """Whether on-demand from the first second meets the deadline."""
        return self.slack_seconds + EPSILON_SECONDS >= self.changeover_seconds


class View(NamedTuple):
    """What is known when a move is due. `instance` is what the job has now: WAIT if its Spot instance was reclaimed, as
    that is already gone. `pending_seconds` is the remainder of that instance's changeover."""

    elapsed_seconds: float
    done_seconds: float
    instance: Move
    pending_seconds: float
    is_spot_available: bool


class Pilot(Protocol):
    """A policy applied to one job; it may remember what it saw."""

    def decide(self, view: View) -> Move:
        """The move until the next tick. Called once a tick, in order; SPOT only where Spot is available."""
        ...


class Policy(Protocol):
    """A rule for any job: `start` creates the pilot for one."""

    @property
    def name(self) -> str: ...

    def start(self, terms: Terms) -> Pilot: ...


def is_safe(terms: Terms, view: View, move: Move) -> bool:
    """The exact safety net: whether on-demand from the next tick on would still meet the deadline after this move.

    Waiting makes no progress for the length of the tick; the last tick before the deadline counts at its actual length.
    A Spot instance may die within the tick: then its progress does not count either, unless a reclaim is seen at once
    (the next decision then comes with it, and the work lost since the last checkpoint is part of the changeover); time
    spent on a changeover never counts. On-demand is as safe as it will ever be.
    """
    if move is Move.ON_DEMAND:
        return True
    time_left = terms.deadline_seconds - view.elapsed_seconds
    wasted = min(terms.tick_seconds, time_left)
    if move is Move.SPOT and terms.is_reclaim_seen_at_once:
        pending = view.pending_seconds if view.instance is Move.SPOT else terms.changeover_seconds
        wasted = min(wasted, pending)
    work_left = terms.work_seconds - view.done_seconds
    return work_left + terms.changeover_seconds + wasted <= time_left - EPSILON_SECONDS
