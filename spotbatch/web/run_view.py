"""Everything that a page about some jobs shows: plain values for the templates (texts and shapes), no HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.array_children import interruptions
from spotbatch.web.children_table import ChildrenTable, children_table
from spotbatch.web.choice import Choice
from spotbatch.web.failure_rows import FailureRow, failure_rows
from spotbatch.web.heat_map import HeatMap, heat_map_of
from spotbatch.web.host_chart import HostChart
from spotbatch.web.job_graph import JobGraph, job_graph
from spotbatch.web.money_view import Drawings, Money
from spotbatch.web.progress import Progress, progress_of
from spotbatch.web.run_list import ended_at
from spotbatch.web.run_units import RunUnits, indexes_of, run_units, standing_counts
from spotbatch.web.state import State
from spotbatch.web.target import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One of several jobs of a run: its progress, and how many of its units a later job reruns."""

    id: str
    kind: str
    indexes: str  # of the run
    replaced: int
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """Everything about some jobs that a page shows."""

    members: Sequence[Job]
    parts: tuple[Part, ...]  # of a run of several jobs
    name: str
    progress: Progress
    created_at: float | None
    started_at: float | None
    stopped_at: float | None
    interruptions: int
    retries: int
    units: int  # of all of its jobs
    unread: int  # of these: not included in the sums yet
    left_out: int  # arrays whose children, hosts and cost are not included in the rest
    rate_a_minute: float | None
    seconds_left: float | None
    heat_map: HeatMap | None
    table: ChildrenTable | None
    failures: tuple[FailureRow, ...]
    failed_unread: int
    hosts: HostChart | None
    money: Money | None
    graph: JobGraph | None
    has_success: bool  # or may have some yet


def run_view(state: State, target: Target, drawings: Drawings, choice: Choice, now: float) -> RunView | None:
    """What a page about a run or job shows; None while nothing is known."""
    with state.lock:
        members = state.members(target)
        if not members:
            return None
        units = list(state.units(members))
        rate = state.units_per_second(members)
        account = state.accounts.get(target.id)
        detailed = state.detailed(members)
        children = {job.id: state.children_of(job) for job in detailed if job.array is not None}
        heat_map = heat_map_of(target.id, detailed, children, state.counts) if children or len(members) > 1 else None
        known = dict(state.jobs)
        unread = sum(each.unread for each in children.values()) + _left_out_units(members, detailed)
    progress = progress_of(standing_counts(members, state.counts))
    hosts, money, uses = drawings.of(target.id, account)
    lost, again = interruptions(job for job in detailed if job.array is None)
    lost += sum(each.lost for each in children.values())
    again += sum(each.again for each in children.values())
    standing = run_units(members)
    inputs = account.inputs if account is not None else {}
    shown = run_units(detailed)
    table = children_table(shown, children, choice, uses=uses, inputs=inputs, now=now) if shown.spans else None
    failed = [unit for unit in units if unit.status is JobStatus.FAILED and standing.stands(unit)]
    created = [job.created_at for job in members if job.created_at is not None]
    started = [unit.started_at for unit in (*members, *units) if unit.started_at is not None]
    return RunView(
        members=members,
        parts=_parts(state, members, standing) if len(members) > 1 else (),
        name=members[0].name,
        progress=progress,
        created_at=min(created, default=None),
        started_at=min(started, default=None),
        stopped_at=ended_at(members),
        interruptions=lost,
        retries=again,
        units=sum(job.array.size if job.array is not None else 1 for job in members),
        unread=unread,
        left_out=len(members) - len(detailed),
        rate_a_minute=rate * 60 if rate else None,
        seconds_left=(progress.total - progress.done) / rate if rate and progress.done < progress.total else None,
        heat_map=heat_map,
        table=table,
        failures=failure_rows(failed, inputs, state.last_lines),
        failed_unread=max(0, progress.count(JobStatus.FAILED) - len(failed)),
        hosts=hosts,
        money=money,
        graph=job_graph(members, known, lambda job: progress_of(state.counts([job]))),
        has_success=progress.count(JobStatus.SUCCEEDED) > 0 or progress.done < progress.total,
    )


def _left_out_units(members: Sequence[Job], detailed: Sequence[Job]) -> int:
    inside = {job.id for job in detailed}
    return sum(job.array.size for job in members if job.array is not None and job.id not in inside)


def _parts(state: State, members: Sequence[Job], standing: RunUnits) -> tuple[Part, ...]:
    return tuple(
        Part(
            id=job.id,
            kind=f"array of {job.array.size:,}" if job.array is not None else "job",
            indexes=indexes_of(job).shown(most=4),
            replaced=standing.replaced.get(job.id, 0),
            progress=progress_of(state.counts([job])),
        )
        for job in members
    )
