"""Jobs with a deadline: handed to the local region, which moves them between Spot and on demand; and their story."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import typer

from spotbatch.aws import stack_outputs
from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.aws.job_shapes import submit_shape
from spotbatch.aws.jobs import Jobs
from spotbatch.batch import artifacts as layout
from spotbatch.batch.environment import SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput, JobFailed, NotFound, SpotbatchError
from spotbatch.batch.job import Job, JobRequest
from spotbatch.cli import finding
from spotbatch.cli.output import json, text
from spotbatch.cli.reported import read_report
from spotbatch.cli.requesting import Asked
from spotbatch.cli.runs import new_run_id

DEADLINE_TAG: Final = "spotbatch-deadline"
_PLACES: Final = {"SPOT": "Spot", "ON_DEMAND": "on demand"}
_SHORTEST_SECONDS: Final = 1.1
_LONGEST_SECONDS: Final = 5.0
_PRICED_TYPES: Final = ("c5", "m5", "r5")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a user asks for beside the job itself."""

    deadline_seconds: float
    work_seconds: float
    on_demand_queue: str
    changeover_seconds: float | None = None


def wish_of(asked: Asked, *, is_dry: bool) -> Wish | None:
    """None where no deadline was given. Raises InvalidInput where half of it was."""
    if asked.deadline_seconds is None:
        work_seconds = None if is_dry else asked.work_seconds  # a dry run estimates with it
        if any(one is not None for one in (work_seconds, asked.on_demand_queue, asked.changeover_seconds)):
            raise InvalidInput("--work, --changeover and --on-demand-queue belong to a --deadline: give that too")
        return None
    if asked.work_seconds is None:
        raise InvalidInput(
            "--deadline needs --work: how long the job takes on one host without interruption, as --work 5h "
            "(`spotbatch rehearse` measures a sample)"
        )
    if asked.array is not None or asked.inputs is not None or asked.after or asked.after_each:
        raise InvalidInput("--deadline is for one job: not for an array, and not for a job that waits for others")
    if not finding.is_local():
        raise InvalidInput(
            "--deadline works in the local region only (--local): on AWS nothing moves the job yet. There, submit to "
            "the on-demand queue when time gets short: the checkpoint goes with the same SPOTBATCH_RUN_ID"
        )
    queue = asked.on_demand_queue or _on_demand_queue(asked.stack)
    return Wish(
        deadline_seconds=asked.deadline_seconds,
        work_seconds=asked.work_seconds,
        on_demand_queue=queue,
        changeover_seconds=asked.changeover_seconds,
    )


def request_of(wanted: JobRequest, wish: Wish, *, jobs: Jobs) -> dict[str, Any]:
    """What the region is asked for. Raises NotFound."""
    run_id = wanted.environment.get(SPOTBATCH_RUN_ID) or new_run_id(wanted.name)
    own = replace(
        wanted,
        environment={**wanted.environment, SPOTBATCH_RUN_ID: run_id},
        tags={**wanted.tags, DEADLINE_TAG: run_id},
    )
    return {
        "request": submit_shape(own),
        "deadline_seconds": wish.deadline_seconds,
        "work_seconds": wish.work_seconds,
        "changeover_seconds": wish.changeover_seconds,
        "price_ratio": _price_ratio(jobs, wanted),
        "spot_queue": wanted.queue,
        "on_demand_queue": wish.on_demand_queue,
    }


def submit(asked: Mapping[str, Any], *, as_json: bool) -> str:
    """Hand the job to the local region; its run id."""
    from spotbatch.cli.where import running_region
    from spotbatch.local.client import RegionClient

    answer = RegionClient(info=running_region()).promise(asked)
    run_id = str(answer["run_id"])
    if as_json:
        json.write_event({"event": "submitted", **answer})
    else:
        text.say(run_id)
        text.hint(f"to be done by {text.moment(answer['deadline_at'])}; follow it: spotbatch watch {run_id}")
    return run_id


def _on_demand_queue(stack: str | None) -> str:
    found = stack_outputs.read(stack)
    if not found.on_demand_queue:
        raise NotFound(
            f"stack {found.stack} has no queue for on-demand capacity: deploy it with --set on_demand_queue=true, or "
            "name one with --on-demand-queue"
        )
    return found.on_demand_queue


def _price_ratio(jobs: Jobs, wanted: JobRequest) -> float:
    """On-demand over Spot price of the cheapest type that holds the job. Raises NotFound where no price is known."""
    from spotbatch.aws.price_cache import current_catalogue
    from spotbatch.pricing.instance_selection import Need, choices

    needs = jobs.definition(wanted.definition).requirements
    need = Need(
        vcpus=wanted.vcpus or needs.vcpus,
        memory_mib=wanted.memory_mib or needs.memory_mib,
        gpus=wanted.gpus or needs.gpus,
    )
    types = current_catalogue().expand(_PRICED_TYPES)
    ranked = choices(types, need, jobs=1, work_seconds=3600, save_seconds=5, restart_seconds=180)
    best = next((each for each in ranked if each.spot_usd_per_job_hour), None)
    if best is None or best.spot_usd_per_job_hour is None:
        raise NotFound(f"no Spot price is known for a type of {', '.join(_PRICED_TYPES)} that holds such a job")
    return float(best.on_demand_usd_per_job_hour / best.spot_usd_per_job_hour)


# --- the story


def story_of(store: Artifacts, run_id: str) -> Mapping[str, Any]:
    """What the region kept of a run with a deadline. Raises NotFound."""
    found: Mapping[str, Any] = read_json(store, layout.deadline_story(run_id))
    return found


def following(written: str, *, jobs: Jobs, stack: str | None, queue: str | None, as_json: bool) -> "Following | None":
    """What follows the run with a deadline that a user names by its run id; None where it names none."""
    if finding.is_id(written):
        return None
    try:
        store = finding.store_at(jobs, finding.place(stack=stack, queue=queue))
        story_of(store, written)
    except SpotbatchError:
        return None
    return Following(jobs=jobs, store=store, run_id=written, as_json=as_json)


def story_of_job(job: Job, stack: str | None) -> Mapping[str, Any] | None:
    """The story that a job is part of; None where it has no deadline, or where the store cannot be read."""
    if DEADLINE_TAG not in job.tags:
        return None
    try:
        return story_of(finding.store_of(job, stack=stack), job.tags[DEADLINE_TAG])
    except SpotbatchError:
        return None


def lines_of(story: Mapping[str, Any], now: float) -> list[str]:
    """The story in lines: the deadline, and each place with the time and the reason."""
    lines = [f"deadline     {text.moment(story['deadline_at'])}: {verdict(story, now)}"]
    for number, part in enumerate(story["parts"]):
        what = "began on" if number == 0 else "moved to"
        lines.append(f"  {text.clock(part['at'])}  {what} {_PLACES[part['place']]}: {part['why']} ({part['job_id']})")
    if story["going"]:
        lines.append(f"  {text.clock(story['going']['at'])}  moves to {_PLACES[story['going']['to']]}")
    return lines


def verdict(story: Mapping[str, Any], now: float) -> str:
    """`met, 12 min early`, and so on."""
    if story["outcome"] == "failed":
        return "the job FAILED"
    ended_at, by = story["ended_at"], story["deadline_at"]
    if ended_at is None:
        left = by - now
        return f"{text.duration(left)} left" if left > 0 else f"passed {text.duration(-left)} ago; it runs on demand"
    return f"met, {text.duration(by - ended_at)} early" if ended_at <= by else f"{text.duration(ended_at - by)} late"


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
            story = story_of(self.store, self.run_id)
            is_news = self._tell(story)
            if story["outcome"] != "running":
                return self._end(story)
            pause = _SHORTEST_SECONDS if is_news else min(pause * 1.3, _LONGEST_SECONDS)
            self.sleep(pause)

    def _tell(self, story: Mapping[str, Any]) -> bool:
        moved = story["parts"][self._parts :]
        for number, part in enumerate(moved, start=self._parts):
            self._say("moved" if number else "began", f"{_PLACES[part['place']]}: {part['why']}", part)
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
        self._say("status", f"{now}; deadline: {verdict(story, self.clock())}", facts)
        return True

    def _say(self, event: str, line: str, facts: Mapping[str, Any]) -> None:
        if self.as_json:
            return json.write_event({"event": event, "run_id": self.run_id, **facts})
        return text.say(f"{text.clock(self.clock())}  {event:<7} {line}")

    def _end(self, story: Mapping[str, Any]) -> None:
        outcome = story["outcome"]
        facts = {"outcome": outcome, "moves": len(story["parts"]) - 1, "deadline_at": story["deadline_at"]}
        self._say("ended", f"{verdict(story, self.clock())}, {len(story['parts']) - 1} moves", facts)
        if outcome == "failed":
            last = story["parts"][-1]["job_id"]
            raise JobFailed(f"the job FAILED: `spotbatch logs {last}` shows what it wrote")
        if outcome == "late":
            raise JobFailed(f"the job SUCCEEDED, and later than promised: {verdict(story, self.clock())}")
