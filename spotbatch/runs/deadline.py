"""Jobs with a deadline: passed to the local region, which moves them between Spot and on demand; and their story."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from spotbatch import wording
from spotbatch.aws import session, stack_outputs
from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.aws.job_shapes import submit_shape
from spotbatch.aws.jobs import Jobs
from spotbatch.batch import artifacts as layout
from spotbatch.batch.environment import SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.batch.job import Job, JobRequest
from spotbatch.runs import artifact_store, destination, lookup
from spotbatch.runs.endpoint import running_region
from spotbatch.runs.progress_report import Report, read_report
from spotbatch.runs.request import JobOptions
from spotbatch.runs.submit import new_run_id
from spotbatch.runs.unit_price import unit_price

DEADLINE_TAG: Final = "spotbatch-deadline"
PLACES: Final = {"SPOT": "Spot", "ON_DEMAND": "on demand"}
_SHORTEST_SECONDS: Final = 1.1  # to stay under one call per second
_LONGEST_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlineRequest:
    """What a user requests besides the job itself."""

    deadline_seconds: float
    work_seconds: float
    on_demand_queue: str
    changeover_seconds: float | None = None


def deadline_request(asked: JobOptions, *, is_dry: bool) -> DeadlineRequest | None:
    """The deadline request; None if no deadline was given. Raises InvalidInput if it is incomplete."""
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
    if not session.is_local():
        raise InvalidInput(
            "--deadline is kept by the stack's controller, or by the local region (--local): ./deploy.sh --set "
            "controller=true --set on_demand_queue=true"
        )
    queue = asked.on_demand_queue or _on_demand_queue(asked.stack)
    return DeadlineRequest(
        deadline_seconds=asked.deadline_seconds,
        work_seconds=asked.work_seconds,
        on_demand_queue=queue,
        changeover_seconds=asked.changeover_seconds,
    )


def request_of(wanted: JobRequest, with_deadline: DeadlineRequest, *, jobs: Jobs) -> dict[str, Any]:
    """The request to the region. Raises NotFound."""
    run_id = wanted.environment.get(SPOTBATCH_RUN_ID) or new_run_id(wanted.name)
    own = replace(
        wanted,
        environment={**wanted.environment, SPOTBATCH_RUN_ID: run_id},
        tags={**wanted.tags, DEADLINE_TAG: run_id},
    )
    price = unit_price(jobs, wanted)
    return {
        "request": submit_shape(own),
        "deadline_seconds": with_deadline.deadline_seconds,
        "work_seconds": with_deadline.work_seconds,
        "changeover_seconds": with_deadline.changeover_seconds,
        "price_ratio": float(price.on_demand_usd_per_hour / price.spot_usd_per_hour),
        "spot_queue": wanted.queue,
        "on_demand_queue": with_deadline.on_demand_queue,
    }


def submit(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Pass the job to the local region; returns its answer: `run_id`, `deadline_at` and other facts about the run."""
    from spotbatch.local.client import RegionClient  # which loads the scheduler

    answer: Mapping[str, Any] = RegionClient(info=running_region()).promise(asked)
    return answer


def _on_demand_queue(stack: str | None) -> str:
    found = stack_outputs.read(stack)
    if not found.on_demand_queue:
        make = (
            'set "on_demand_queue": true under "spotbatch" in cdk.json, then: '
            f"python app.py && spotbatch local load cdk.out/{found.stack}.template.json"
            if session.is_local()
            else "./deploy.sh --set on_demand_queue=true"
        )
        raise NotFound(
            f"stack {found.stack} has no queue for on-demand capacity: {make}; or name one with --on-demand-queue"
        )
    return found.on_demand_queue


# --- the story


def story_of(store: Artifacts, run_id: str) -> Mapping[str, Any]:
    """The region's record of a run with a deadline. Raises NotFound."""
    found: Mapping[str, Any] = read_json(store, layout.deadline_story(run_id))
    return found


def story_of_job(job: Job, stack: str | None) -> Mapping[str, Any] | None:
    """The story that a job belongs to; None if it has no deadline or the store cannot be read."""
    if DEADLINE_TAG not in job.tags:
        return None
    try:
        return story_of(artifact_store.store_of(job, stack=stack), job.tags[DEADLINE_TAG])
    except SpotbatchError:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """The run has started in a place, or has been moved to one."""

    place: str  # SPOT or ON_DEMAND
    why: str
    job_id: str
    at: float
    is_first: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Progressed:
    """The run's job has a new status or reports new progress."""

    job: Job
    report: Report | None
    verdict: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The run has ended: `outcome` is met, late or failed."""

    outcome: str
    verdict: str
    moves: int
    deadline_at: float
    last_job_id: str


def follow(
    run_id: str,
    *,
    jobs: Jobs,
    store: Artifacts,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Moved | Progressed | Ended]:
    """Yield changes in a run with a deadline until it ends; polls less often while nothing changes. Raises NotFound."""
    seen_parts, seen_status = 0, ""
    pause = _SHORTEST_SECONDS
    while True:
        story = story_of(store, run_id)
        parts = story["parts"]
        is_news = len(parts) > seen_parts
        for number, part in enumerate(parts[seen_parts:], start=seen_parts):
            yield Moved(
                place=part["place"], why=part["why"], job_id=part["job_id"], at=part["at"], is_first=number == 0
            )
        seen_parts = len(parts)
        if parts:
            job, report = jobs.get(parts[-1]["job_id"]), read_report(store, run_id, None)
            status = f"{job.status} {report.in_words if report else ''}"
            if status != seen_status:
                is_news, seen_status = True, status
                yield Progressed(job=job, report=report, verdict=verdict(story, clock()))
        if story["outcome"] != "running":
            yield Ended(
                outcome=story["outcome"],
                verdict=verdict(story, clock()),
                moves=len(parts) - 1,
                deadline_at=story["deadline_at"],
                last_job_id=parts[-1]["job_id"] if parts else "",
            )
            return
        pause = _SHORTEST_SECONDS if is_news else min(pause * 1.3, _LONGEST_SECONDS)
        sleep(pause)


def store_of_run(written: str, *, jobs: Jobs, stack: str | None, queue: str | None) -> Artifacts | None:
    """The store of the run with a deadline that a user refers to by run id; None if there is none."""
    if lookup.is_id(written):
        return None
    try:
        store = artifact_store.store_at(jobs, destination.destination(stack=stack, queue=queue))
        story_of(store, written)
    except SpotbatchError:
        return None
    return store


def lines_of(story: Mapping[str, Any], now: float) -> list[str]:
    """The story as lines: the deadline, and each place with the time and the reason."""
    lines = [f"deadline     {wording.moment(story['deadline_at'])}: {verdict(story, now)}"]
    for number, part in enumerate(story["parts"]):
        what = "began on" if number == 0 else "moved to"
        lines.append(f"  {wording.clock(part['at'])}  {what} {PLACES[part['place']]}: {part['why']} ({part['job_id']})")
    if story["going"]:
        lines.append(f"  {wording.clock(story['going']['at'])}  moves to {PLACES[story['going']['to']]}")
    return lines


def verdict(story: Mapping[str, Any], now: float) -> str:
    """`met, 12 min early`, and so on."""
    if story["outcome"] == "failed":
        return "the job FAILED"
    ended_at, by = story["ended_at"], story["deadline_at"]
    if ended_at is None:
        left = by - now
        return (
            f"{wording.duration(left)} left" if left > 0 else f"passed {wording.duration(-left)} ago; it runs on demand"
        )
    return (
        f"met, {wording.duration(by - ended_at)} early" if ended_at <= by else f"{wording.duration(ended_at - by)} late"
    )
