"""A job with a deadline on the screen: its moves, its state and its end, one line or event per change."""

import time
from collections.abc import Mapping
from typing import Any

import typer

from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import JobFailed
from spotbatch.cli.output import json, text
from spotbatch.runs import deadline
from spotbatch.runs.deadline import Ended, Moved, Progressed


def say_submitted(answer: Mapping[str, Any], *, as_json: bool) -> str:
    """Show the region's response to a submission; returns the run id."""
    run_id = str(answer["run_id"])
    if as_json:
        json.write_event({"event": "submitted", **answer})
    else:
        text.say(run_id)
        text.hint(f"to be done by {text.moment(answer['deadline_at'])}; follow it: spotbatch watch {run_id}")
    return run_id


def show(run_id: str, *, jobs: Jobs, store: Artifacts, as_json: bool) -> None:
    """Follow a run over its moves, a line or an event for each change: `watch` of a job with a deadline.

    Raises JobFailed if the job failed or came too late, typer.Exit(130) on Ctrl-C, which leaves the job running.
    """
    try:
        for change in deadline.follow(run_id, jobs=jobs, store=store):
            event, line, facts = _worded(change)
            if as_json:
                json.write_event({"event": event, "run_id": run_id, **facts})
            else:
                text.say(f"{text.clock(time.time())}  {event:<7} {line}")
            if isinstance(change, Ended):
                _raise_if_missed(change)
    except KeyboardInterrupt:
        text.hint(f"the job goes on. Come back with: spotbatch watch {run_id}")
        raise typer.Exit(130) from None


def _worded(change: Moved | Progressed | Ended) -> tuple[str, str, Mapping[str, Any]]:
    """The name of the event, its line for people, and its facts for programs."""
    match change:
        case Moved():
            facts: dict[str, Any] = {
                "place": change.place,
                "why": change.why,
                "job_id": change.job_id,
                "at": change.at,
            }
            return "began" if change.is_first else "moved", f"{deadline.PLACES[change.place]}: {change.why}", facts
        case Progressed(job=job, report=report):
            done = f", {report.in_words}" if report else ""
            facts = {"job_id": job.id, "status": job.status, "done": report.done if report else None}
            return "status", f"{job.status}{done}; deadline: {change.verdict}", facts
        case Ended():
            facts = {"outcome": change.outcome, "moves": change.moves, "deadline_at": change.deadline_at}
            return "ended", f"{change.verdict}, {change.moves} moves", facts


def _raise_if_missed(ended: Ended) -> None:
    if ended.outcome == "failed":
        raise JobFailed(f"the job FAILED: `spotbatch logs {ended.last_job_id}` shows what it wrote")
    if ended.outcome == "late":
        raise JobFailed(f"the job SUCCEEDED, and later than promised: {ended.verdict}")
