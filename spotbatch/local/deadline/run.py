"""A promise: one job, its deadline, and the history of where it ran and why. Pure, including its JSON form."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Self

from spotbatch.batch.environment import SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.interface import Move, Terms

Outcome = Literal["running", "met", "late", "failed"]

PART_TAG: Final = "spotbatch-deadline-part"  # run id and part number: used to find a submission after a crash
DEADLINE_TAG: Final = "spotbatch-deadline"
_MOST_TICKS: Final = 400
_SHORTEST_TICK_SECONDS: Final = 0.25
_LONGEST_TICK_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One job of the promise's run: AWS Batch cannot move a job between queues, so each move submits it anew."""

    job_id: str
    place: Literal["SPOT", "ON_DEMAND"]
    at: float  # submission time in UTC epoch seconds
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingMove:
    """A move that was decided: stored before anything is done, and completed after a crash."""

    to: Literal["SPOT", "ON_DEMAND"]
    at: float
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlineRun:
    """What was promised, and its current state. Times are UTC epoch seconds."""

    run_id: str
    name: str
    created_at: float
    deadline_at: float
    work_seconds: float
    changeover_seconds: float
    price_ratio: float
    spot_queue: str
    on_demand_queue: str
    request: Mapping[str, Any]  # SubmitJob's, without its queue
    parts: tuple[Part, ...] = ()
    going: PendingMove | None = None
    outcome: Outcome = "running"
    ended_at: float | None = None

    @property
    def terms(self) -> Terms:
        """The same in the policy's terms."""
        length = self.deadline_at - self.created_at
        tick = min(max(length / _MOST_TICKS, _SHORTEST_TICK_SECONDS), _LONGEST_TICK_SECONDS)
        return Terms(
            work_seconds=self.work_seconds,
            deadline_seconds=length,
            changeover_seconds=self.changeover_seconds,
            tick_seconds=tick,
            price_ratio=self.price_ratio,
            is_reclaim_seen_at_once=True,
        )

    def queue_of(self, place: Literal["SPOT", "ON_DEMAND"]) -> str:
        return self.spot_queue if place == "SPOT" else self.on_demand_queue

    def goes(self, to: Literal["SPOT", "ON_DEMAND"], at: float, why: str) -> Self:
        return replace(self, going=PendingMove(to=to, at=at, why=why))

    def went(self, job_id: str, at: float) -> Self:
        """The move is complete: the job is submitted in its new place."""
        assert self.going is not None  # noqa: S101 - callers come from `goes`
        part = Part(job_id=job_id, place=self.going.to, at=at, why=self.going.why)
        return replace(self, parts=(*self.parts, part), going=None)

    def ended(self, outcome: Outcome, at: float) -> Self:
        return replace(self, outcome=outcome, ended_at=at, going=None)

    def next_request(self) -> dict[str, Any]:
        """SubmitJob's input for its new place; the tag makes it findable if the answer is lost."""
        assert self.going is not None  # noqa: S101 - callers come from `goes`
        tags = {**self.request.get("tags", {}), PART_TAG: f"{self.run_id}/{len(self.parts) + 1}"}
        return {**self.request, "jobQueue": self.queue_of(self.going.to), "tags": tags}

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    def to_story(self) -> dict[str, Any]:
        """The public part: everything but the request."""
        return {key: value for key, value in asdict(self).items() if key != "request"}


def promise_from(document: Mapping[str, Any]) -> DeadlineRun:
    """The promise from which `to_document` made this."""
    going = document["going"]
    own = {**document, "parts": tuple(Part(**part) for part in document["parts"])}
    return DeadlineRun(**{**own, "going": PendingMove(**going) if going else None})


def promise_of(asked: Mapping[str, Any], *, now: float, changeover_seconds: float) -> DeadlineRun:
    """A new promise, from a client's request. `changeover_seconds` is the default if the client sets none.

    Raises InvalidInput for a wrong value, or a deadline that cannot be met.
    """
    request = asked.get("request")
    if not isinstance(request, dict):
        raise InvalidInput("request is SubmitJob's body, a JSON object")
    if "arrayProperties" in request or "dependsOn" in request:
        raise InvalidInput("a deadline is for one job: arrays and jobs that wait for others have none")
    length = _positive(asked, "deadline_seconds")
    if asked.get("changeover_seconds") is not None:
        changeover_seconds = _positive(asked, "changeover_seconds")
    made = DeadlineRun(
        run_id=_run_id(request),
        name=str(request.get("jobName", "")),
        created_at=now,
        deadline_at=now + length,
        work_seconds=_positive(asked, "work_seconds"),
        changeover_seconds=changeover_seconds,
        price_ratio=_positive(asked, "price_ratio"),
        spot_queue=_text(asked, "spot_queue"),
        on_demand_queue=_text(asked, "on_demand_queue"),
        request={key: value for key, value in request.items() if key != "jobQueue"},
    )
    if not made.terms.is_feasible:
        least = made.work_seconds + changeover_seconds
        raise InvalidInput(
            f"{made.work_seconds:.0f} s of work and {changeover_seconds:.0f} s to start do not fit into a deadline of "
            f"{length:.0f} s, even on demand from now on: it must be {math.ceil(least) + 1} s or more"
        )
    return made


def _run_id(request: Mapping[str, Any]) -> str:
    """The name of the work: with it each new job finds the previous one's checkpoint."""
    given = request.get("containerOverrides", {}).get("environment", [])
    found = next((one.get("value", "") for one in given if one.get("name") == SPOTBATCH_RUN_ID), "")
    if not found:
        raise InvalidInput(f"the request must set {SPOTBATCH_RUN_ID}: by it the job finds its checkpoint after a move")
    return str(found)


def _positive(asked: Mapping[str, Any], name: str) -> float:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise InvalidInput(f"{name} is a number above 0, not {value!r}")
    return float(value)


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} is the name of a queue, not {value!r}")
    return value


def place_of(move: Move) -> Literal["SPOT", "ON_DEMAND"]:
    """Where the job is as far as moves go. Waiting counts as the Spot queue: it is free until capacity comes."""
    return "ON_DEMAND" if move is Move.ON_DEMAND else "SPOT"
