"""Everything that a page about some jobs shows: plain values for the templates, texts and shapes, no HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.array_children import interruptions
from spotbatch.web.charts import Gantt
from spotbatch.web.failure_rows import FailureRow, failure_rows
from spotbatch.web.heat_map import HeatMap, heat_map_of
from spotbatch.web.money_view import Drawings, Money
from spotbatch.web.progress import Progress, progress_of, standing
from spotbatch.web.run_list import ended_at
from spotbatch.web.sources import Sources
from spotbatch.web.state import State, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One of several jobs of a run: how far it is."""

    id: str
    kind: str
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
    seen: int
    left_out: int  # arrays whose children, hosts and money are not in the rest of this
    rate_a_minute: float | None
    seconds_left: float | None
    children: tuple[HeatMap, ...]
    failures: tuple[FailureRow, ...]
    failed_unread: int
    gantt: Gantt | None
    money: Money | None


def run_view(state: State, sources: Sources, target: Target, drawings: Drawings) -> RunView | None:
    """What a page about a run or a job shows; None while nothing is known."""
    with state.lock:
        members = state.members(target)
        if not members:
            return None
        units = list(state.units(members))
        counts = state.counts(members)
        rate = state.units_per_second(members)
        account = state.accounts.get(target.id)
        arrays = [state.children_of(job) for job in state.detailed(members) if job.array is not None]
        children = tuple(heat_map_of(array) for array in arrays)
    progress = progress_of(standing(counts, sources.redone_units(members)))
    hosts, money = drawings.of(target.id, account)
    lost, again = interruptions(units, sources.interruptions_of)
    failed = [unit for unit in units if unit.status is JobStatus.FAILED]
    created = [job.created_at for job in members if job.created_at is not None]
    started = [unit.started_at for unit in (*members, *units) if unit.started_at is not None]
    return RunView(
        members=members,
        parts=_parts(state, members) if len(members) > 1 else (),
        name=members[0].name,
        progress=progress,
        created_at=min(created, default=None),
        started_at=min(started, default=None),
        stopped_at=ended_at(members),
        interruptions=lost,
        retries=again,
        seen=len(units),
        left_out=len(members) - len(state.detailed(members)),
        rate_a_minute=rate * 60 if rate else None,
        seconds_left=(progress.total - progress.done) / rate if rate and progress.done < progress.total else None,
        children=children,
        failures=failure_rows(failed, account.inputs if account is not None else {}),
        failed_unread=max(0, counts[JobStatus.FAILED] - len(failed)),
        gantt=hosts,
        money=money,
    )


def _parts(state: State, members: Sequence[Job]) -> tuple[Part, ...]:
    return tuple(
        Part(
            id=job.id,
            kind=f"array of {job.array.size:,}" if job.array is not None else "job",
            progress=progress_of(state.counts([job])),
        )
        for job in members
    )
