"""A job with a deadline on the screen: its moves, its state and its end, a line or an event for each change."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import typer

from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import JobFailed, SpotbatchError
from spotbatch.cli.output import json, text
from spotbatch.runs import artifact_store, deadline, destination, lookup
from spotbatch.runs.progress_report import read_report

_SHORTEST_SECONDS: Final = 1.1
_LONGEST_SECONDS: Final = 5.0


def say_submitted(answer: Mapping[str, Any], *, as_json: bool) -> str:
    """Show what the region answered to a submission; the run id."""
    run_id = str(answer["run_id"])
    if as_json:
        json.write_event({"event": "submitted", **answer})
    else:
        text.say(run_id)
        text.hint(f"to be done by {text.moment(answer['deadline_at'])}; follow it: spotbatch watch {run_id}")
    return run_id


def following(written: str, *, jobs: Jobs, stack: str | None, queue: str | None, as_json: bool) -> "Following | None":
    """What follows the run with a deadline that a user names by its run id; None where it names none."""
    if lookup.is_id(written):
        return None
    try:
        store = artifact_store.store_at(jobs, destination.destination(stack=stack, queue=queue))
        deadline.story_of(store, written)
    except SpotbatchError:
        return None
    return Following(jobs=jobs, store=store, run_id=written, as_json=as_json)


@dataclass(kw_only=True)
class Following:
    """Follows a run over its moves, one line for each change: `watch` of a job with a deadline."""

    jobs: Jobs
    store: Artifacts
    run_id: str
    as_json: bool
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    _told: str = ""
    _parts: int = 0

    def run(self) -> None:
        """Until the story ends; Ctrl-C leaves the job running. Raises typer.Exit(130) then, and"""
        try:
            self._run()
        except KeyboardInterrupt:
            text.hint(f"the job goes on. Come back with: spotbatch watch {self.run_id}")
            raise typer.Exit(130) from None

    def _run(self) -> None:
        """Raises JobFailed if the job failed or came too late."""
        pause = _SHORTEST_SECONDS
        while True:
            story = deadline.story_of(self.store, self.run_id)
            is_news = self._tell(story)
            if story["outcome"] != "running":
                return self._end(story)
            pause = _SHORTEST_SECONDS if is_news else min(pause * 1.3, _LONGEST_SECONDS)
            self.sleep(pause)

    def _tell(self, story: Mapping[str, Any]) -> bool:
        moved = story["parts"][self._parts :]
        for number, part in enumerate(moved, start=self._parts):
            self._say("moved" if number else "began", f"{deadline.PLACES[part['place']]}: {part['why']}", part)
        self._parts = len(story["parts"])
        if not story["parts"]:
            return bool(moved)
        job = self.jobs.get(story["parts"][-1]["job_id"])
        report = read_report(self.store, self.run_id, None)
        own = f", {report.in_words}" if report else ""
        now = f"{job.status}{own}"
        if now == self._told:
            return bool(moved)
        self._told = now
        facts = {"job_id": job.id, "status": job.status, "done": report.done if report else None}
        self._say("status", f"{now}; deadline: {deadline.verdict(story, self.clock())}", facts)
        return True

    def _say(self, event: str, line: str, facts: Mapping[str, Any]) -> None:
        if self.as_json:
            return json.write_event({"event": event, "run_id": self.run_id, **facts})
        return text.say(f"{text.clock(self.clock())}  {event:<7} {line}")

    def _end(self, story: Mapping[str, Any]) -> None:
        outcome = story["outcome"]
        facts = {"outcome": outcome, "moves": len(story["parts"]) - 1, "deadline_at": story["deadline_at"]}
        self._say("ended", f"{deadline.verdict(story, self.clock())}, {len(story['parts']) - 1} moves", facts)
        if outcome == "failed":
            last = story["parts"][-1]["job_id"]
            raise JobFailed(f"the job FAILED: `spotbatch logs {last}` shows what it wrote")
        if outcome == "late":
            raise JobFailed(f"the job SUCCEEDED, and later than promised: {deadline.verdict(story, self.clock())}")
