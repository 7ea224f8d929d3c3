"""Jobs, children and bills for tests of the dashboard's pages, built from the real values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spotbatch.batch.attempt_outcome import AttemptOutcome, outcome_of
from spotbatch.batch.job import ArrayProperties, Attempt, Job
from spotbatch.batch.status import JobStatus, host_terminated
from spotbatch.pricing.catalogue import catalogue
from spotbatch.pricing.history import prices_of
from spotbatch.pricing.report import CostReport, report_from
from spotbatch.pricing.usage import AttemptUse, HostLife
from spotbatch.web.account import Account
from spotbatch.web.render import Pages
from spotbatch.web.scope import Scope
from spotbatch.web.state import State
from spotbatch.web.target import Target

NOW = 1_790_000_000.0
ARRAY = "0a0a0a0a-0000-4000-8000-000000000001"
TARGET = Target(kind="job", id=ARRAY)


def parent(size: int, *, name: str = "work", status: JobStatus = JobStatus.PENDING, **counts: int) -> Job:
    """An array's parent; `counts` are children by status, by name."""
    summary = {JobStatus(each): count for each, count in counts.items()}
    return Job(
        id=ARRAY,
        name=name,
        queue="q",
        definition="d:1",
        status=status,
        created_at=NOW - 3600,
        array=ArrayProperties(size=size, status_summary=summary),
    )


def child(index: int, status: JobStatus, *, interrupted: bool = False, reason: str = "") -> Job:
    """A child that began half an hour ago; interrupted: its first attempt's host was reclaimed."""
    ended = NOW - 60 if status.is_terminal else None
    code = None if ended is None else 0 if status is JobStatus.SUCCEEDED else 1
    lost = Attempt(
        started_at=NOW - 1800, stopped_at=NOW - 900, status_reason=host_terminated("i-1"), host=f"arn:{index % 50}"
    )
    last = Attempt(
        started_at=NOW - 800, stopped_at=ended, exit_code=code, reason=reason, log_stream="s", host=f"arn:{index % 50}"
    )
    has_begun = status in (JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED)
    return Job(
        id=f"{ARRAY}:{index}",
        name="work",
        queue="q",
        definition="d:1",
        status=status,
        created_at=NOW - 3600,
        started_at=NOW - 800 if has_begun else None,
        stopped_at=ended,
        attempts=(*((lost,) if interrupted else ()), *((last,) if has_begun else ())),
        attempts_allowed=5,
        array_index=index,
        exit_code=code,
        reason=reason,
    )


def bill(units: Sequence[Job]) -> CostReport:
    """The real report of these units on c5.large hosts, one for each ARN; an interruption took the host."""
    uses = [
        AttemptUse(
            job_id=unit.parent_id,
            job_name=unit.name,
            array_index=unit.array_index,
            attempt=number,
            instance_id=attempt.host or "",
            vcpus=1,
            memory_mib=512,
            started_at=attempt.started_at or NOW,
            stopped_at=attempt.stopped_at,
            outcome=_outcome(attempt),
        )
        for unit in units
        for number, attempt in enumerate(unit.attempts, start=1)
    ]
    hosts = [
        HostLife(
            instance_id=name,
            instance_type="c5.large",
            zone="us-east-1a",
            vcpus=2,
            memory_mib=3600,
            launched_at=NOW - 2000,
            started_at=NOW - 1900,
            ended_at=NOW,
            is_reclaimed=any(use.instance_id == name and use.outcome.is_waivable for use in uses),
        )
        for name in sorted({use.instance_id for use in uses})
    ]
    return report_from(hosts, uses, prices_of(catalogue()), until=NOW, is_simulated=True)


def _outcome(attempt: Attempt) -> AttemptOutcome:
    return outcome_of(
        is_running=attempt.stopped_at is None,
        exit_code=attempt.exit_code,
        reason=attempt.reason,
        status_reason=attempt.status_reason,
    )


SCOPE = Scope(queue="q")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A state with one array on it, and its pages."""

    state: State
    pages: Pages


def shown(of: Job, children: Sequence[Job], *, with_bill: bool = False) -> Shown:
    """What the pages have when an array and these of its children were described."""
    state = State(as_of=NOW)
    state.take([of], NOW)
    if of.array is not None:
        state.children_of(of)
    state.take(children, NOW)
    if with_bill:
        state.accounts[of.id] = Account(report=bill(children), at=NOW)
    return Shown(state=state, pages=pages_of(state))


def pages_of(state: State) -> Pages:
    """Pages at a fixed time and in a fixed place."""
    return Pages(state=state, scope=SCOPE, now=lambda: NOW, place=lambda: "AWS us-east-1")


def counted(size: int, children: Sequence[Job]) -> Job:
    """The parent whose summary fits these children; the others are RUNNABLE."""
    counts: dict[str, int] = {}
    for each in children:
        counts[each.status.value] = counts.get(each.status.value, 0) + 1
    rest = size - len(children)
    if rest:
        counts["RUNNABLE"] = counts.get("RUNNABLE", 0) + rest
    return replace(parent(size), array=ArrayProperties(size=size, status_summary=_by_status(counts)))


def _by_status(counts: dict[str, int]) -> dict[JobStatus, int]:
    return {JobStatus(name): count for name, count in counts.items()}
