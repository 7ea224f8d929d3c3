"""A finished run as one file: the same page with its style and script embedded, needing no network."""

import base64
import hashlib
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Job
from spotbatch.runs.bill import neighbours
from spotbatch.runs.control_story import ControlStory, story_of_job
from spotbatch.web.account import account_of
from spotbatch.web.render import ROOT, Pages
from spotbatch.web.scope import Scope
from spotbatch.web.state import State
from spotbatch.web.story import story_of
from spotbatch.web.target import Target
from spotbatch.web.unit_records import UnitRecords

_MOST_CHILDREN: Final = 20_000


def export(scope: Scope, jobs: Jobs, target: Target, members: list[Job], now: float) -> str:
    """The page of some jobs as of `now` (UTC epoch seconds), after reading everything about them."""
    state = State(as_of=now)
    state.take(members, now)
    if target.kind == "run":
        state.runs[target.id] = tuple(job.id for job in members)
    for job in members:
        if job.array is not None:
            state.children_of(job)
            state.take(
                jobs.describe([f"{job.id}:{index}" for index in range(min(job.array.size, _MOST_CHILDREN))]), now
            )
    records = UnitRecords(stack=scope.stack)
    units = list(state.units(members))
    state.accounts[target.id] = account_of(
        units,
        neighbours(jobs, members),
        records,
        unread=sum(state.children_of(job).unread for job in members if job.array is not None),
        is_over=all(job.status.is_terminal for job in members),
    )
    if (told := story_of_job(members[-1], scope.stack)) is not None:
        state.controls[target.id] = ControlStory.of(told)
    if len(members) == 1 and members[0].array is None:
        state.detail(members[0].id).story = story_of(members[0], records)
    return Pages(state=state, scope=scope, now=lambda: now).page(target, inline=inline()).html


def inline() -> dict[str, str]:
    """The style, the script, and a policy that allows these two by their hashes and nothing else."""
    css = (ROOT / "static" / "dashboard.css").read_text(encoding="utf-8")
    js = (ROOT / "static" / "heat_map.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(js)}'; base-uri 'none'"
    return {"css": css, "js": js, "policy": policy}


def _hash(text: str) -> str:
    """As the browser computes it (CSP level 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
