"""The story of a run under the controller: where it stands, each move and why, and what it was promised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from spotbatch import wording
from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.controller.request import RUN_TAG
from spotbatch.controller.run import Outcome
from spotbatch.runs import artifact_store


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Some of a run's units as they were submitted, first or by a move. `at`: UTC epoch seconds."""

    at: float
    place: str  # SPOT or ON_DEMAND
    memory_mib: int
    job_id: str
    indexes: str  # in the run, as "0-4,7"; "" for a single job
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """One line of the story: what the controller did and why. `at`: UTC epoch seconds."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlStory:
    """A run under the controller. Times are UTC epoch seconds; None: not asked for, or not known yet."""

    run_id: str
    outcome: str  # running, succeeded, failed, or stopped (by its budget)
    ended_at: float | None
    deadline_at: float | None
    max_usd: Decimal | None
    spent_usd: Decimal | None  # as of the last change
    learnt_mib: int | None  # the memory that a unit succeeded with after it was killed for lack of it
    succeeded: int
    failed: int
    stopped: int
    placements: tuple[Placement, ...]
    actions: tuple[Action, ...]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """The story from its document, `controller.json`."""
        plain = ("run_id", "outcome", "ended_at", "deadline_at", "learnt_mib", "succeeded", "failed", "stopped")
        return cls(
            **{name: found[name] for name in plain},
            max_usd=None if found["max_usd"] is None else Decimal(found["max_usd"]),
            spent_usd=None if found["spent_usd"] is None else Decimal(found["spent_usd"]),
            placements=tuple(Placement(**each) for each in found["parts"]),
            actions=tuple(Action(**each) for each in found["notes"]),
        )

    @property
    def is_over(self) -> bool:
        return self.outcome != Outcome.RUNNING

    @property
    def is_late(self) -> bool:
        """Whether it ended after its deadline."""
        return self.deadline_at is not None and self.ended_at is not None and self.ended_at > self.deadline_at

    @property
    def standing(self) -> str:
        """The state in a few words."""
        words = [self.outcome]
        if self.deadline_at is not None:
            words.append(f"to be done by {wording.moment(self.deadline_at)}")
        if self.max_usd is not None and self.spent_usd is not None:
            words.append(f"about {self.spent_usd:.2f} of {self.max_usd} USD at the last change")
        return ", ".join(words)


def is_controlled(members: Sequence[Job]) -> bool:
    """Whether these jobs of a run are the controller's."""
    return any(RUN_TAG in job.tags for job in members)


def story_of(store: Artifacts, run_id: str) -> Mapping[str, Any]:
    """The controller's record of a run. Raises NotFound."""
    found: Mapping[str, Any] = read_json(store, layout.controller_story(run_id))
    return found


def story_of_job(job: Job, stack: str | None) -> Mapping[str, Any] | None:
    """The story that a job belongs to; None if it is not under control or the store cannot be read."""
    try:
        return read_story(job, stack)
    except SpotbatchError:
        return None


def read_story(job: Job, stack: str | None) -> Mapping[str, Any] | None:
    """The same, None if it is not under control. Raises NotFound, Unavailable."""
    if RUN_TAG not in job.tags:
        return None
    return story_of(artifact_store.store_of(job, stack=stack), job.tags[RUN_TAG])


def lines_of(story: Mapping[str, Any]) -> list[str]:
    """The story as lines: the current state, and what was done when and why."""
    told = ControlStory.of(story)
    return [f"controller   {told.standing}"] + [f"  {wording.clock(each.at)}  {each.text}" for each in told.actions]
