"""Runs beside each other over time: how long they took, what they cost, interruptions and failures. Pure.

What is not known about a run is drawn grey, and a figure that may still grow says "at least".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from spotbatch import wording
from spotbatch.batch.status import JobStatus
from spotbatch.pricing.report import shown_usd
from spotbatch.web.account import Account
from spotbatch.web.charts import WIDTH
from spotbatch.web.run_list import RunRow

TRENDS_SHOWN: Final = 30
TREND_HEIGHT: Final = 90.0
_GAP_SHARE: Final = 0.25
_WIDEST: Final = 120.0
_LOWEST: Final = 2.0  # a bar of something that is not nothing can be seen


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFigures:
    """A run that has ended, or a day of them. None: not known yet."""

    label: str
    href: str  # of a run; "" for a day
    href_compared: str  # with the one of its name before it; "" for the first, and for days
    at: float  # when it ended, UTC epoch seconds
    runs: int
    took_seconds: float
    failed: int
    interruptions: int | None
    paid_usd: Decimal | None
    is_partial: bool  # interruptions and money may still grow


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendBar:
    """One run's bar: where it stands, and its figure in words."""

    x: float
    y: float
    width: float
    height: float
    kind: str  # known, partial or unknown
    href: str
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendPlot:
    """One figure of all runs."""

    title: str
    top: str
    bars: tuple[TrendBar, ...]
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trends:
    """All figures, oldest run first, and the same as rows, newest first."""

    plots: tuple[TrendPlot, ...]
    rows: tuple[RunFigures, ...]
    first_at: float
    last_at: float
    is_by_day: bool
    has_unknown: bool
    has_partial: bool


def ended_rows(rows: Sequence[RunRow]) -> list[RunRow]:
    """The newest runs of a list that have ended, oldest first: those that trends are about."""
    ended = [row for row in rows if row.took_seconds is not None and row.created_at is not None]
    return sorted(ended, key=_ended_at)[-TRENDS_SHOWN:]


def trends_of(rows: Sequence[RunRow], accounts: Mapping[str, Account], *, is_by_day: bool) -> Trends | None:
    """The trends of a list's runs; None if none has ended. `accounts` by the run's key."""
    ended = ended_rows(rows)
    figures, of_name = [], dict[str, RunRow]()
    for row in ended:
        figures.append(_figures(row, accounts.get(row.key), of_name.get(row.name)))
        of_name[row.name] = row
    if is_by_day:
        figures = _by_day(figures)
    if not figures:
        return None
    plots = (
        _plot("From submission to the end", figures, lambda one: one.took_seconds, wording.duration, is_final=True),
        _plot("Paid for hosts", figures, lambda one: _float(one.paid_usd), lambda usd: shown_usd(Decimal(str(usd)))),
        _plot("Interruptions", figures, lambda one: one.interruptions, _count),
        _plot("FAILED", figures, lambda one: one.failed, _count, is_final=True),
    )
    return Trends(
        plots=plots,
        rows=tuple(reversed(figures)),
        first_at=figures[0].at,
        last_at=figures[-1].at,
        is_by_day=is_by_day,
        has_unknown=any(bar.kind == "unknown" for plot in plots for bar in plot.bars),
        has_partial=any(bar.kind == "partial" for plot in plots for bar in plot.bars),
    )


def _ended_at(row: RunRow) -> float:
    return (row.created_at or 0.0) + (row.took_seconds or 0.0)


def _figures(row: RunRow, account: Account | None, before: RunRow | None) -> RunFigures:
    report = account.report if account is not None else None
    return RunFigures(
        label=row.name,
        href=row.href,
        href_compared=f"/compare?a={before.href}&b={row.href}" if before is not None else "",
        at=_ended_at(row),
        runs=1,
        took_seconds=row.took_seconds or 0.0,
        failed=row.progress.count(JobStatus.FAILED) if row.progress is not None else 0,
        interruptions=sum(each.outcome.is_lost_to_spot for each in report.attempts) if report is not None else None,
        paid_usd=report.paid_usd if report is not None else None,
        is_partial=account is not None and bool(account.unread or account.missing or not account.is_over),
    )


def _by_day(figures: Sequence[RunFigures]) -> list[RunFigures]:
    """Sums by the day (UTC) on which runs ended; a sum that lacks a run is partial, one that lacks all is not known."""
    days: dict[str, list[RunFigures]] = {}
    for each in figures:
        days.setdefault(datetime.fromtimestamp(each.at, UTC).strftime("%Y-%m-%d"), []).append(each)
    return [
        RunFigures(
            label=day,
            href="",
            href_compared="",
            at=of[-1].at,
            runs=len(of),
            took_seconds=sum(each.took_seconds for each in of),
            failed=sum(each.failed for each in of),
            interruptions=_sum([each.interruptions for each in of]),
            paid_usd=sum((each.paid_usd for each in of if each.paid_usd is not None), Decimal(0))
            if any(each.paid_usd is not None for each in of)
            else None,
            is_partial=any(each.is_partial or each.paid_usd is None for each in of),
        )
        for day, of in days.items()
    ]


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _plot(
    title: str,
    figures: Sequence[RunFigures],
    value: Callable[[RunFigures], float | None],
    shown: Callable[[float], str],
    *,
    is_final: bool = False,
) -> TrendPlot:
    known = [found for each in figures if (found := value(each)) is not None]
    top = max(known, default=0.0)
    slot = WIDTH / len(figures)
    width = min(_WIDEST, slot * (1 - _GAP_SHARE))
    bars = []
    for at, each in enumerate(figures):
        found = value(each)
        kind = "unknown" if found is None else "partial" if each.is_partial and not is_final else "known"
        share = 1.0 if found is None else found / top if top else 0.0
        height = round(max(_LOWEST, share * TREND_HEIGHT) if found is None or found else 0.0, 1)
        words = "not read yet" if found is None else f"{'at least ' if kind == 'partial' else ''}{shown(found)}"
        bars.append(
            TrendBar(
                x=round(at * slot + (slot - width) / 2, 1),
                y=round(TREND_HEIGHT - height, 1),
                width=round(width, 1),
                height=height,
                kind=kind,
                href=each.href,
                said=f"{each.label}, {wording.moment(each.at)}: {words}",
            )
        )
    last = bars[-1].said
    return TrendPlot(
        title=title,
        top=(f"at most {shown(top)}" if top else "none") if known else "not read yet",
        bars=tuple(bars),
        said=f"{title} of {len(figures)}; the last: {last}",
    )


def _float(usd: Decimal | None) -> float | None:
    return None if usd is None else float(usd)


def _count(number: float) -> str:
    return f"{number:,.0f}"
