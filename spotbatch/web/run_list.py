"""The list: one row per run, from the state."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.artifact_store import run_id as run_id_of
from spotbatch.web.choice import Choice
from spotbatch.web.progress import Progress, progress_of
from spotbatch.web.run_units import standing_counts
from spotbatch.web.state import State
from spotbatch.web.target import Target

_RUNS_SHOWN: Final = 200
_SHORT_ID: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """A line of the list: a run of several jobs, or one job."""

    key: str  # the run's id, or the job's
    href: str
    name: str
    label: str
    kind: str
    progress: Progress | None
    created_at: float | None
    took_seconds: float | None  # from its submission to its end
    why: str

    @property
    def target(self) -> Target:
        """Its page."""
        return Target(kind="run" if self.href.startswith("/runs/") else "job", id=self.key)


def run_rows(state: State, choice: Choice) -> tuple[RunRow, ...]:
    """The list: jobs grouped by run, those selected by a choice, in its order."""
    with state.lock:
        runs: dict[str, list[Job]] = defaultdict(list)
        unread = []
        for summary in state.listed.values():
            job = state.jobs.get(summary.id)
            if job is None:
                unread.append(summary)
            else:
                runs[run_id_of(job)].append(job)
        rows = [_row(state, run_id, jobs) for run_id, jobs in runs.items()]
    rows += [
        RunRow(
            key=one.id,
            href=f"/jobs/{one.id}",
            name=one.name,
            label=one.id[:_SHORT_ID],
            kind=f"array of {one.array_size:,}" if one.array_size else "job",
            progress=None,
            created_at=one.created_at,
            took_seconds=None,
            why="",
        )
        for one in unread
    ]
    wanted = [row for row in rows if _is_wanted(row, choice)]
    return tuple(sorted(wanted, key=_ORDERS.get(choice.order, _newest))[:_RUNS_SHOWN])


def _newest(row: RunRow) -> tuple[float, str]:
    return (-(row.created_at or 0.0), row.name)


_ORDERS: Final[Mapping[str, Callable[[RunRow], tuple[float, str]]]] = {
    "oldest": lambda row: (row.created_at or 0.0, row.name),
    "name": lambda row: (0.0, row.name.casefold()),
    "longest": lambda row: (-(row.took_seconds or 0.0), row.name),
}


def _is_wanted(row: RunRow, choice: Choice) -> bool:
    if choice.status is not None and (row.progress is None or row.progress.status != choice.status.value):
        return False
    return choice.search.casefold() in f"{row.name} {row.label} {row.href} {row.why}".casefold()


def _row(state: State, run_id: str, jobs: list[Job]) -> RunRow:
    jobs = sorted(jobs, key=lambda job: job.created_at or 0.0)
    first = jobs[0]
    progress = progress_of(standing_counts(jobs, state.counts))
    is_run = len(jobs) > 1
    sizes = [job.array.size for job in jobs if job.array is not None]
    kind = f"{len(jobs)} jobs" if is_run else f"array of {sizes[0]:,}" if sizes else "job"
    end = ended_at(jobs)
    is_failed = progress.status == "FAILED"
    failed = (
        next((job for job in reversed(jobs) if job.status is JobStatus.FAILED), None)
        if is_failed or not is_run
        else None
    )
    return RunRow(
        key=run_id if is_run else first.id,
        href=f"/runs/{run_id}" if is_run else f"/jobs/{first.id}",
        name=first.name,
        label=run_id if is_run and run_id != first.id else first.id[:_SHORT_ID],
        kind=kind,
        progress=progress,
        created_at=first.created_at,
        took_seconds=end - first.created_at if end is not None and first.created_at is not None else None,
        why=(failed.reason or failed.status_reason) if failed is not None else "",
    )


def ended_at(jobs: Sequence[Job]) -> float | None:
    """When the last of them ended; None while any is still going."""
    if any(not job.status.is_terminal for job in jobs):
        return None
    return max((job.stopped_at for job in jobs if job.stopped_at is not None), default=None)
