"""The controller's record of one run: what was asked for, the submitted jobs, the moves in progress. Pure.

AWS Batch cannot move a job or change its memory: whatever is to run elsewhere, or with more, is submitted anew under
the same run id, by which it finds its checkpoint. So a run has *parts*, one job each, and *moves*, which are parts
that are wanted but not yet submitted. Each index of the run is open in at most one part.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.job import MAX_ARRAY_SIZE
from spotbatch.policy.interface import Terms

TICK_SECONDS: Final = 60.0  # the shortest rate of an EventBridge schedule (EventBridge guide, "rate expressions")
# One tick may be lost and the next one late: the longest time between two looks that promises account for.
LOOK_SECONDS: Final = 2 * TICK_SECONDS + 15
# From the decision to the new job: AWS Batch's 30 s between SIGTERM and SIGKILL, a lost event (one look), and
# a handler that dies in between, whose submission is looked for a minute later (two more looks).
HANDOVER_SECONDS: Final = 30 + 3 * LOOK_SECONDS
# A job's overrides must fit into 8 KiB (ECS API reference, RunTask, overrides): most of it is left to the command.
LONGEST_INDEXES: Final = 3000
MOST_NOTES: Final = 200
MOST_PARTS: Final = 500  # a look describes all that are open, and an item of the table holds 400 KB


class Place(StrEnum):
    """One of the run's two queues."""

    SPOT = "SPOT"
    ON_DEMAND = "ON_DEMAND"


class Outcome(StrEnum):
    """The state of a run as a whole."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # part of it FAILED, and nothing more will be tried
    STOPPED = "stopped"  # saved, and stopped by its budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadline:
    """Done by `at`. `work_seconds`: what one unit takes on one host without interruption. `at` is in epoch seconds."""

    at: float
    work_seconds: float
    changeover_seconds: float
    price_ratio: float

    def terms(self, created_at: float) -> Terms:
        """The same in the policy's terms: a changeover includes a handover; reclaims are noticed at the next look."""
        return Terms(
            work_seconds=self.work_seconds,
            deadline_seconds=self.at - created_at,
            changeover_seconds=self.changeover_seconds + HANDOVER_SECONDS,
            tick_seconds=LOOK_SECONDS,
            price_ratio=self.price_ratio,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """More memory, by a factor, for units killed for lack of memory; never more than `most_mib`."""

    factor: float
    most_mib: int

    def after(self, memory_mib: int) -> int | None:
        """The next size after this one; None if there is none."""
        more = min(int(memory_mib * self.factor), self.most_mib)
        return more if more > memory_mib else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Spend at most this much. The rates are for one unit running for an hour."""

    max_usd: Decimal
    spot_usd_per_hour: Decimal
    on_demand_usd_per_hour: Decimal

    def rate(self, place: Place) -> Decimal:
        return self.spot_usd_per_hour if place is Place.SPOT else self.on_demand_usd_per_hour


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What a user asked for besides the job itself. None: not asked for."""

    deadline: Deadline | None = None
    on_demand_after: int | None = None
    growth: Growth | None = None
    budget: Budget | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Where some units run next, with how much memory, and how often they have been reclaimed."""

    place: Place
    memory_mib: int
    losses: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One job of the run. `open`: those of its units that have not ended, as far as is known."""

    number: int
    job_id: str
    indexes: ArrayIndexes
    open: ArrayIndexes
    need: Need
    at: float
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Units that are to become a part of their own. `ending`: those that must first end where they run.

    `asked_at`: SubmitJob was about to be called, and its answer is not known. `is_stop`: they are not to be submitted.
    """

    number: int
    indexes: ArrayIndexes
    need: Need
    at: float
    why: str
    ending: ArrayIndexes = field(default_factory=ArrayIndexes)
    asked_at: float | None = None
    is_stop: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What the controller did, and why: one line of the run's story."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run under control. `revision` counts writes; `request` is SubmitJob's input without queue and array size."""

    run_id: str
    name: str
    created_at: float
    size: int  # 0: a single job, not an array
    spot_queue: str
    on_demand_queue: str
    request: Mapping[str, Any]
    wishes: Wishes
    memory_mib: int  # a unit's initial memory
    artifacts_url: str = ""  # where the run's artifacts are stored
    inputs: str = ""  # where its inputs were listed
    revision: int = 0
    next_number: int = 1
    parts: tuple[Part, ...] = ()
    moves: tuple[Move, ...] = ()
    succeeded: ArrayIndexes = field(default_factory=ArrayIndexes)
    failed: ArrayIndexes = field(default_factory=ArrayIndexes)
    stopped: ArrayIndexes = field(default_factory=ArrayIndexes)
    is_recorded: bool = False  # whether spotrun has recorded any attempt, so that children can run anew, apart
    learnt_mib: int | None = None  # what a unit succeeded with after being killed for lack of memory
    spent_usd: Decimal = Decimal(0)
    usd_per_hour: Decimal = Decimal(0)  # of the units that ran at the last look
    looked_at: float | None = None
    outcome: Outcome = Outcome.RUNNING
    ended_at: float | None = None
    notes: tuple[Note, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.outcome is not Outcome.RUNNING

    @property
    def is_late(self) -> bool:
        """Whether a deadline was missed; False as long as that is not known."""
        wanted = self.wishes.deadline
        return wanted is not None and self.ended_at is not None and self.ended_at > wanted.at

    @property
    def may_split(self) -> bool:
        """Whether some of its units can run anew as a job of their own: apart, AWS Batch counts children from 0 again.

        spotrun gives them back their index; AWS Batch refuses variables that begin with AWS_BATCH, so nothing else can.
        """
        return self.size == 0 or self.is_recorded

    @property
    def everything(self) -> ArrayIndexes:
        """The indexes of all its units."""
        return ArrayIndexes.span(0, max(1, self.size))

    def queue_of(self, place: Place) -> str:
        return self.spot_queue if place is Place.SPOT else self.on_demand_queue

    def noted(self, at: float, text: str) -> Self:
        """Add a line to the run's story; if the story is very long, its first half and the newest lines are kept."""
        kept = self.notes
        if len(kept) >= MOST_NOTES:
            kept = (*kept[: MOST_NOTES // 2], *kept[MOST_NOTES // 2 + 1 :])
        return replace(self, notes=(*kept, Note(at=at, text=text)))

    def given_up(self, at: float, why: str) -> Self:
        """No longer under control: its jobs go on as AWS Batch retries them."""
        kept = replace(self, moves=(), outcome=Outcome.FAILED, ended_at=at, notes=self.notes[: MOST_NOTES // 4])
        return kept.noted(at, f"no longer under control: {why}")

    def wanting(self, indexes: ArrayIndexes, need: Need, at: float, why: str, ending: ArrayIndexes) -> Self:
        """Add moves for these units. A move not yet submitted is extended by other units with the same needs."""
        for move in self.moves:
            both = move.indexes.union(indexes)
            if move.need == need and move.asked_at is None and not move.is_stop and _is_one_job(both):
                return self.with_move(replace(move, indexes=both, ending=move.ending.union(ending)))
        run = self
        for chunk in indexes.chunks(most=MAX_ARRAY_SIZE, longest_text=LONGEST_INDEXES):
            move = Move(number=run.next_number, indexes=chunk, need=need, at=at, why=why, ending=ending.common(chunk))
            run = replace(run, moves=(*run.moves, move), next_number=run.next_number + 1)
        return run

    def with_move(self, move: Move) -> Self:
        """Replace the move that has this number; a move without units is dropped."""
        kept = tuple(move if each.number == move.number else each for each in self.moves)
        return replace(self, moves=tuple(each for each in kept if len(each.indexes)))

    def with_part(self, part: Part) -> Self:
        return replace(self, parts=tuple(part if each.number == part.number else each for each in self.parts))

    def submitted(self, move: Move, job_id: str, at: float) -> Self:
        """The move is complete: its units are now a job."""
        part = Part(
            number=move.number,
            job_id=job_id,
            indexes=move.indexes,
            open=move.indexes,
            need=move.need,
            at=at,
            why=move.why,
        )
        own = replace(
            self,
            parts=(*self.parts, part),
            moves=tuple(each for each in self.moves if each.number != move.number),
        )
        where = "on Spot" if move.need.place is Place.SPOT else "on demand"
        return own.noted(at, f"{self.shown(move.indexes)} {where} with {move.need.memory_mib} MiB: {move.why}")

    def shown(self, indexes: ArrayIndexes) -> str:
        """Some of the units, for display."""
        return "the job" if self.size == 0 else f"index {indexes.shown(most=4)}"


def _is_one_job(indexes: ArrayIndexes) -> bool:
    """Whether one array can hold these."""
    return len(indexes) <= MAX_ARRAY_SIZE and len(str(indexes)) <= LONGEST_INDEXES
