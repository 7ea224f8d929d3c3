"""A bill as text and charts, and its hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from spotbatch.pricing.report import CostReport, shown_usd
from spotbatch.web.account import Account
from spotbatch.web.charts import WASTED, Curve, area, curve, polyline
from spotbatch.web.children_table import HostUse, host_uses
from spotbatch.web.host_chart import HostChart, host_chart

CHART_HEIGHT: Final = 200.0
_DRAWINGS_KEPT: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Money:
    """A bill as text."""

    coverage: str  # in the terms of `pricing.completeness.Coverage`
    paid: str
    on_demand: str
    saved: str
    saved_percent: str
    wasted: str
    is_saving: bool
    parts: tuple[tuple[str, str, float], ...]  # cause, USD, share of 1000
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


@dataclass(kw_only=True, slots=True)
class Drawings:
    """Hosts and cost as last drawn: they are redrawn for a new bill, not for each browser."""

    _kept: dict[str, tuple[Account, HostChart, Money, Mapping[str, HostUse]]] = field(default_factory=dict)

    def of(self, name: str, account: Account | None) -> tuple[HostChart | None, Money | None, Mapping[str, HostUse]]:
        """The charts of a page's bill, and where each unit ran."""
        if account is None or not account.report.hosts:
            return None, None, {}
        kept = self._kept.get(name)
        if kept is None or kept[0] is not account:
            report = account.report
            kept = (account, host_chart(report, account.at), money_of(account), host_uses(report))
            self._kept = {**dict(list(self._kept.items())[-_DRAWINGS_KEPT:]), name: kept}
        return kept[1:]


def money_of(account: Account) -> Money:
    report = account.report
    gross = report.gross_usd or Decimal(1)
    percent = report.saving_percent
    wasted = _wasted(report)
    drawn = curve(report, account.at)
    return Money(
        coverage=account.completeness.coverage.value,
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
    """What is billed besides the hosts: volumes, addresses, logs; the same with or without Spot."""
    return (f"{shown_usd(report.other_usd)} for volumes and the like come on top",) if report.other_usd else ()


def _wasted(report: CostReport) -> Decimal:
    """What interruptions cost: repeated work, and restoring checkpoints."""
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
