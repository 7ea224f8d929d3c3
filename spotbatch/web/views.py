"""From the state to what pages say: plain values for the templates, texts and shapes, no HTML."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from spotbatch.aws.logs import LogEvent
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.pricing.report import CostReport, shown_usd
from spotbatch.web.array_children import ArrayChildren, cells, index_ranges, interruptions, retried
from spotbatch.web.charts import WASTED, Curve, Gantt, area, curve, gantt, polyline
from spotbatch.web.sources import Account, Sources
from spotbatch.web.state import State, Target

BAR_WIDTH: Final = 1000
CHART_HEIGHT: Final = 200.0
_BAR_ORDER: Final = (
    JobStatus.SUCCEEDED,
    JobStatus.FAILED,
    JobStatus.RUNNING,
    JobStatus.STARTING,
    JobStatus.RUNNABLE,
    JobStatus.PENDING,
    JobStatus.SUBMITTED,
)
_RUNS_SHOWN: Final = 200
_FAILURES_SHOWN: Final = 20
_DRAWINGS_KEPT: Final = 20
_SHORT_ID: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A piece of a bar of 1000, for the units in one status."""

    status: JobStatus
    count: int
    x: float
    width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far some jobs are."""

    segments: tuple[Segment, ...]
    total: int
    done: int
    status: str  # of all of them, in one word

    @property
    def words(self) -> str:
        """For a fetcher who does not see the bar: 3 of 12 done: SUCCEEDED 3, RUNNING 9."""
        parts = ", ".join(f"{each.status} {each.count:,}" for each in self.segments)
        return f"{self.done:,} of {self.total:,} done: {parts}"

    @property
    def of_status(self) -> int:
        """What is told beside the status: how many FAILED where that is the end of it, or else how many are done."""
        return next((each.count for each in self.segments if each.status.value == self.status == "FAILED"), self.done)

    @property
    def percent(self) -> int:
        return 100 * self.done // self.total if self.total else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """A line of the list: a run of several jobs, or one job."""

    href: str
    name: str
    label: str
    kind: str
    progress: Progress | None
    created_at: float | None
    took_seconds: float | None  # from its submission to its end
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One of several jobs of a run: how far it is."""

    id: str
    kind: str
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Children:
    """One array's heat map, and its summary in words."""

    id: str
    name: str
    size: int
    cells: str
    seen: int
    groups: tuple[tuple[str, int, str], ...]  # status, count, which indexes
    retried: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureRow:
    """Units that FAILED for the same reason."""

    reason: str
    exit_code: int | None
    count: int
    example: str  # an id
    input: str  # of the example
    which: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Money:
    """A bill, written out."""

    paid: str
    on_demand: str
    saved: str
    saved_percent: str
    wasted: str
    is_saving: bool
    parts: tuple[tuple[str, str, float], ...]  # what it went to, USD, share of 1000
    waived: str  # of these parts; "" where nothing was
    chart: "Chart | None"
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Money over time, as shapes of 1000 by 200."""

    on_demand: str
    paid: str
    paid_line: str
    wasted: str
    top: str
    middle: str
    ticks: tuple[float, ...]
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
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
    children: tuple[Children, ...]
    failures: tuple[FailureRow, ...]
    failed_unread: int
    gantt: Gantt | None
    money: Money | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """A line of a log, and an id that it keeps while lines come and go around it."""

    id: str
    at: float
    text: str


def log_lines(events: Sequence[LogEvent]) -> tuple[LogLine, ...]:
    """A log's lines by when they were written, to the millisecond; those of one millisecond are numbered."""
    seen: Counter[int] = Counter()
    found = []
    for event in events:
        milliseconds = round(event.at * 1000)
        found.append(LogLine(id=f"l{milliseconds}-{seen[milliseconds]}", at=event.at, text=event.text))
        seen[milliseconds] += 1
    return tuple(found)


def progress_of(counts: Mapping[JobStatus, int]) -> Progress:
    """A bar from counts by status. Every status that has a unit is seen, if only as a sliver."""
    present = [(status, counts[status]) for status in _BAR_ORDER if counts.get(status)]
    total = sum(count for _, count in present)
    widths = [max(6.0, BAR_WIDTH * count / total) for _, count in present]
    scale = BAR_WIDTH / sum(widths) if widths else 1.0
    segments, x = [], 0.0
    for (status, count), width in zip(present, widths, strict=True):
        segments.append(Segment(status=status, count=count, x=round(x, 1), width=round(width * scale, 1)))
        x += width * scale
    done = counts.get(JobStatus.SUCCEEDED, 0) + counts.get(JobStatus.FAILED, 0)
    return Progress(segments=tuple(segments), total=total, done=done, status=_status_word(counts, total, done))


def _standing(counts: Mapping[JobStatus, int], redone: int) -> Mapping[JobStatus, int]:
    """Without what FAILED and was run again by a later job of the run: each unit of the work counts once."""
    return {**counts, JobStatus.FAILED: counts.get(JobStatus.FAILED, 0) - min(redone, counts.get(JobStatus.FAILED, 0))}


def _status_word(counts: Mapping[JobStatus, int], total: int, done: int) -> str:
    if total and done == total:
        return "FAILED" if counts.get(JobStatus.FAILED) else "SUCCEEDED"
    busy = (JobStatus.RUNNING, JobStatus.STARTING, JobStatus.RUNNABLE, JobStatus.PENDING)
    return next((status.value for status in busy if counts.get(status)), JobStatus.SUBMITTED.value)


def run_rows(state: State, sources: Sources) -> tuple[RunRow, ...]:
    """The list: jobs of one run together, the newest first."""
    with state.lock:
        runs: dict[str, list[Job]] = defaultdict(list)
        unread = []
        for summary in state.listed.values():
            job = state.jobs.get(summary.id)
            if job is None:
                unread.append(summary)
            else:
                runs[sources.run_id(job)].append(job)
        rows = [_row(state, sources, run_id, jobs) for run_id, jobs in runs.items()]
    rows += [
        RunRow(
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
    return tuple(sorted(rows, key=lambda row: -(row.created_at or 0.0))[:_RUNS_SHOWN])


def _row(state: State, sources: Sources, run_id: str, jobs: list[Job]) -> RunRow:
    first = min(jobs, key=lambda job: job.created_at or 0.0)
    progress = progress_of(_standing(state.counts(jobs), sources.redone_units(jobs)))
    is_run = len(jobs) > 1
    sizes = [job.array.size for job in jobs if job.array is not None]
    kind = f"{len(jobs)} jobs" if is_run else f"array of {sizes[0]:,}" if sizes else "job"
    end = _ended(jobs)
    is_failed = progress.status == "FAILED"
    failed = next((job for job in jobs if job.status is JobStatus.FAILED), None) if is_failed or not is_run else None
    return RunRow(
        href=f"/runs/{run_id}" if is_run else f"/jobs/{first.id}",
        name=first.name,
        label=run_id if is_run and run_id != first.id else first.id[:_SHORT_ID],
        kind=kind,
        progress=progress,
        created_at=first.created_at,
        took_seconds=end - first.created_at if end is not None and first.created_at is not None else None,
        why=(failed.reason or failed.status_reason) if failed is not None else "",
    )


def _ended(jobs: Sequence[Job]) -> float | None:
    """When the last of them ended; None while any goes on."""
    if any(not job.status.is_terminal for job in jobs):
        return None
    return max((job.stopped_at for job in jobs if job.stopped_at is not None), default=None)


@dataclass(kw_only=True, slots=True)
class Drawings:
    """Hosts and money as they were drawn last: they are drawn anew for a new bill, not for each browser."""

    _kept: dict[str, tuple[Account, Gantt | None, Money | None]] = field(default_factory=dict)

    def of(self, name: str, account: Account | None) -> tuple[Gantt | None, Money | None]:
        """The pictures of a page's bill."""
        if account is None or not account.report.hosts:
            return None, None
        kept = self._kept.get(name)
        if kept is None or kept[0] is not account:
            kept = (account, gantt(account.report, account.at), _money(account))
            self._kept = {**dict(list(self._kept.items())[-_DRAWINGS_KEPT:]), name: kept}
        return kept[1], kept[2]


def look(state: State, sources: Sources, target: Target, drawings: Drawings) -> Look | None:
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
        children = tuple(_children(array) for array in arrays)
    progress = progress_of(_standing(counts, sources.redone_units(members)))
    hosts, money = drawings.of(target.id, account)
    lost, again = interruptions(units, sources.interruptions_of)
    failed = [unit for unit in units if unit.status is JobStatus.FAILED]
    created = [job.created_at for job in members if job.created_at is not None]
    started = [unit.started_at for unit in (*members, *units) if unit.started_at is not None]
    return Look(
        members=members,
        parts=_parts(state, members) if len(members) > 1 else (),
        name=members[0].name,
        progress=progress,
        created_at=min(created, default=None),
        started_at=min(started, default=None),
        stopped_at=_ended(members),
        interruptions=lost,
        retries=again,
        seen=len(units),
        left_out=len(members) - len(state.detailed(members)),
        rate_a_minute=rate * 60 if rate else None,
        seconds_left=(progress.total - progress.done) / rate if rate and progress.done < progress.total else None,
        children=children,
        failures=_failures(failed, account.inputs if account is not None else {}),
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


def _children(array: ArrayChildren) -> Children:
    statuses = array.statuses()
    by_status: dict[JobStatus | None, list[int]] = defaultdict(list)
    for index, status in enumerate(statuses):
        by_status[status].append(index)
    again = retried(array.units)
    summary = array.summary
    shown = [status for status in _BAR_ORDER if summary.get(status)]
    groups = tuple((status.value, summary[status], index_ranges(by_status.get(status, ()))) for status in shown)
    counted = ", ".join(f"{count:,} {status}" for status, count, _ in groups)
    return Children(
        id=array.parent.id,
        name=array.parent.name,
        size=array.size,
        cells=cells(statuses, again),
        seen=array.seen,
        groups=groups,
        retried=index_ranges(sorted(again)) if again else "",
        label=f"Heat map of {array.size:,} children: {counted}",
    )


def _failures(failed: Sequence[Job], inputs: Mapping[str, str]) -> tuple[FailureRow, ...]:
    """Units that FAILED, together by their exit code and reason, the most frequent first."""
    groups: dict[tuple[int | None, str], list[Job]] = defaultdict(list)
    for unit in failed:
        groups[(unit.exit_code, unit.reason or unit.status_reason or "no reason was given")].append(unit)
    rows = [
        FailureRow(
            reason=reason,
            exit_code=code,
            count=len(units),
            example=units[0].id,
            input=inputs.get(units[0].id, ""),
            which=index_ranges([unit.array_index for unit in units if unit.array_index is not None]),
        )
        for (code, reason), units in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.count)[:_FAILURES_SHOWN])


def _money(account: Account) -> Money:
    report = account.report
    gross = report.gross_usd or Decimal(1)
    percent = report.saving_percent
    wasted = _wasted(report)
    drawn = curve(report, account.at)
    return Money(
        paid=shown_usd(report.paid_usd),
        on_demand=shown_usd(report.on_demand_undisturbed_usd),
        saved=shown_usd(report.saving_usd),
        saved_percent="" if percent is None else f"{percent:.0f} %",
        wasted=shown_usd(wasted),
        is_saving=report.saving_usd >= 0,
        parts=tuple(
            (part.value, shown_usd(amount), float(round(amount / gross * 1000, 1)))
            for part, amount in report.parts.items()
            if amount
        ),
        waived=shown_usd(report.credit_usd) if report.credit_usd else "",
        chart=_chart(drawn, report) if drawn is not None else None,
        notes=(*account.notes, *_other(report), *report.notes),
        sources=report.sources,
        advice=tuple(each.text for each in report.advice),
    )


def _other(report: CostReport) -> tuple[str, ...]:
    """What is billed beside the hosts: volumes, addresses, logs; the same with Spot and without."""
    return (f"{shown_usd(report.other_usd)} for volumes and the like come on top",) if report.other_usd else ()


def _wasted(report: CostReport) -> Decimal:
    """What interruptions cost: work done twice, and bringing back checkpoints."""
    return sum((amount for part, amount in report.parts.items() if part in WASTED), Decimal(0))


def _chart(drawn: Curve, report: CostReport) -> Chart:
    top = max(*drawn.on_demand, *drawn.paid) or 1.0
    height = CHART_HEIGHT
    step = (len(drawn.times) - 1) // 4
    return Chart(
        on_demand=polyline(drawn.on_demand, top, height),
        paid=area(drawn.paid, top, height),
        paid_line=polyline(drawn.paid, top, height),
        wasted=area(drawn.wasted, top, height),
        top=shown_usd(Decimal(str(top))),
        middle=shown_usd(Decimal(str(top / 2))),
        ticks=tuple(drawn.times[at * step] for at in range(5)),
        label=(
            f"Money over time: {shown_usd(report.paid_usd)} paid, {shown_usd(report.on_demand_undisturbed_usd)} on "
            f"demand, {shown_usd(_wasted(report))} wasted by interruptions"
        ),
    )
