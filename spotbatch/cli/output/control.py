"""A run under the controller on the screen: each action, the state of the jobs, and the end."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import typer

from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import JobFailed, NotFound, SpotbatchError
from spotbatch.batch.status import JobStatus
from spotbatch.cli.output import json, text
from spotbatch.controller.run import Outcome, Run
from spotbatch.runs import artifact_store, control_story, destination, lookup
from spotbatch.runs.tracker import Tracker

_SHORTEST_SECONDS: Final = 1.1
_LONGEST_SECONDS: Final = 10.0
_SOON: Final = "it is under control, and its first job comes within two minutes"


def say_controlled(run: Run, *, as_json: bool, watch: bool) -> None:
    """Show that a run is under control; its id goes to standard output."""
    job_ids = [part.job_id for part in run.parts]
    if as_json:
        by = run.wishes.deadline.at if run.wishes.deadline is not None else None
        told = {"run_id": run.run_id, "job_ids": job_ids, "name": run.name, "deadline_at": by}
        return json.write_event({"event": "submitted", **told})
    text.say(run.run_id)
    if run.wishes.deadline is not None:
        text.hint(f"to be done by {text.moment(run.wishes.deadline.at)}")
    if not job_ids:
        text.hint(_SOON)
    if not watch:
        text.hint(f"follow it: spotbatch watch {run.run_id}")
    return None


def controlled_run(
    written: str, *, jobs: Jobs, stack: str | None, queue: str | None, as_json: bool
) -> "ControlledRun | None":
    """The follower of a controlled run that a user refers to by run id; None if there is none."""
    if lookup.is_id(written):
        return None
    try:
        store = artifact_store.store_at(jobs, destination.destination(stack=stack, queue=queue))
        control_story.story_of(store, written)
    except SpotbatchError:
        return None
    return ControlledRun(jobs=jobs, store=store, run_id=written, as_json=as_json)


def run_just_entered(
    written: str, *, jobs: Jobs, stack: str | None, queue: str | None, as_json: bool
) -> "ControlledRun | None":
    """The follower of a run that the controller's table has, and nothing else yet; None if it has not."""
    from spotbatch.runs import control  # the whole controller, which no other watch pays for

    if not control.is_known(written, stack):
        return None
    store = artifact_store.store_at(jobs, destination.destination(stack=stack, queue=queue))
    return ControlledRun(jobs=jobs, store=store, run_id=written, as_json=as_json)


@dataclass(kw_only=True)
class ControlledRun:
    """Follows a run under control, a line for each change."""

    jobs: Jobs
    store: Artifacts
    run_id: str
    as_json: bool
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    _notes: list[Mapping[str, Any]] = field(default_factory=list)
    _counts: str = ""

    def run(self) -> None:
        """Until the run is over; Ctrl-C leaves it running. Raises typer.Exit(130) then, and the errors of `_run`."""
        try:
            self._run()
        except KeyboardInterrupt:
            text.hint(f"the run goes on. Come back with: spotbatch watch {self.run_id}")
            raise typer.Exit(130) from None

    def _run(self) -> None:
        """Raises JobFailed if some of it failed, was stopped, or came too late."""
        pause = _SHORTEST_SECONDS
        while True:
            story = self._story()
            is_news = story is not None and self._tell(story)
            if story is not None and story["outcome"] != Outcome.RUNNING:
                return self._end(story)
            pause = _SHORTEST_SECONDS if is_news else min(pause * 1.3, _LONGEST_SECONDS)
            self.sleep(pause)

    def _story(self) -> Mapping[str, Any] | None:
        try:
            return control_story.story_of(self.store, self.run_id)
        except NotFound:
            return None  # nothing was done yet

    def _tell(self, story: Mapping[str, Any]) -> bool:
        news = [each for each in story["notes"] if each not in self._notes]
        self._notes = list(story["notes"])
        for each in news:
            self._say("controller", each["text"], {"at": each["at"], "text": each["text"]})
        tracker = Tracker(ids=[part["job_id"] for part in story["parts"]])
        tracker.take(self.jobs.describe(tracker.ids), self.clock())
        counts = {status.value: count for status, count in tracker.counts().items() if count}
        counts.pop(JobStatus.FAILED.value, None)  # a moved job is FAILED in its previous place
        line = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        if line and line != self._counts:
            self._counts = line
            self._say("status", line, {"counts": counts})
            return True
        return bool(news)

    def _say(self, event: str, line: str, facts: Mapping[str, Any]) -> None:
        if self.as_json:
            return json.write_event({"event": event, "run_id": self.run_id, **facts})
        return text.say(f"{text.clock(self.clock())}  {event:<10} {line}")

    def _end(self, story: Mapping[str, Any]) -> None:
        outcome = story["outcome"]
        facts = {key: story[key] for key in ("outcome", "ended_at", "deadline_at", "succeeded", "failed", "stopped")}
        self._say("ended", control_story.ControlStory.of(story).standing, {**facts, "jobs": len(story["parts"])})
        if outcome == Outcome.STOPPED:
            raise JobFailed(
                f"{story['stopped']:,} were saved and stopped by the budget: `spotbatch retry {self.run_id} "
                "--max-usd USD` goes on from their checkpoints"
            )
        if outcome == Outcome.FAILED:
            raise JobFailed(
                f"{story['failed']:,} FAILED: `spotbatch logs {self.run_id} --failed` shows what they wrote, "
                f"`spotbatch show {self.run_id}` the story"
            )
        if story["deadline_at"] is not None and story["ended_at"] > story["deadline_at"]:
            raise JobFailed("the run SUCCEEDED, and later than promised")
