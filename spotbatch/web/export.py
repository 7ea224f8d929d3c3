"""A finished run as one file: the same page with its style and script inside, which asks nothing of the network."""

import base64
import hashlib
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Job
from spotbatch.web.render import ROOT, Pages
from spotbatch.web.sources import Sources
from spotbatch.web.state import State, Target

_MOST_CHILDREN: Final = 20_000


def export(sources: Sources, jobs: Jobs, target: Target, members: list[Job], now: float) -> str:
    """The page of some jobs as they stand at `now` (UTC epoch seconds), everything about them read first."""
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
    state.accounts[target.id] = sources.account(list(state.units(members)), [])
    if len(members) == 1 and members[0].array is None:
        state.detail(members[0].id).story = sources.story(members[0])
    return Pages(state=state, sources=sources, now=lambda: now).page(target, inline=inline()).html


def inline() -> dict[str, str]:
    """The style, the script, and a policy that allows these two by their hashes and nothing else."""
    css = (ROOT / "static" / "dashboard.css").read_text(encoding="utf-8")
    js = (ROOT / "static" / "heat_map.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(js)}'; base-uri 'none'"
    return {"css": css, "js": js, "policy": policy}


def _hash(text: str) -> str:
    """As the browser computes it (CSP level 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
