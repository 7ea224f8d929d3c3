"""Two runs side by side: time, cost, interruptions and failures, and how the second differs. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from spotbatch import wording
from spotbatch.batch.status import JobStatus
from spotbatch.pricing.report import shown_usd
from spotbatch.web.account import Account
from spotbatch.web.run_view import RunView

_Value = float | Decimal | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One of the two runs, with its bill if there is one."""

    view: RunView
    account: Account | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRow:
    """One figure for both; "…" if it is not known yet, "at least" before one that may still grow."""

    label: str
    first: str
    second: str
    change: str  # of the second relative to the first


def comparison(first: Compared, second: Compared) -> tuple[ComparedRow, ...]:
    """The figures that decide between two ways to run the same work."""
    return (
        _row("Children", first, second, lambda one: one.view.progress.total, _count),
        _row("FAILED", first, second, lambda one: one.view.progress.count(JobStatus.FAILED), _count),
        _row("From submission to the end", first, second, _took, wording.duration),
        _row("Interruptions", first, second, lambda one: one.view.interruptions, _count, grows=_is_unread),
        _row("Attempts beyond the first", first, second, lambda one: one.view.retries, _count, grows=_is_unread),
        _row(
            "Hosts", first, second, lambda one: one.view.hosts.count if one.view.hosts else None, _count, grows=_grows
        ),
        _row("Paid for hosts", first, second, _money(lambda one: one.report.paid_usd), _usd, grows=_grows),
        _row(
            "Same work on demand",
            first,
            second,
            _money(lambda one: one.report.on_demand_undisturbed_usd),
            _usd,
            grows=_grows,
        ),
        _row("Paid for each child", first, second, _paid_each, _usd, grows=_grows),
    )


def _row(
    label: str,
    first: Compared,
    second: Compared,
    value: Callable[[Compared], _Value],
    shown: Callable[[float], str] | Callable[[Decimal], str],
    *,
    grows: Callable[[Compared], str] = lambda _: "",
) -> ComparedRow:
    values = [value(each) for each in (first, second)]
    texts = [
        "…" if found is None else f"{grows(each)} {shown(found)}".strip()  # type: ignore[arg-type]  # of its own kind
        for each, found in zip((first, second), values, strict=True)
    ]
    is_known = not (grows(first) or grows(second))
    return ComparedRow(label=label, first=texts[0], second=texts[1], change=_change(*values) if is_known else "")


def _change(first: _Value, second: _Value) -> str:
    """+12 %, -40 %, or "same"; "" if one is not known, or there is nothing to compare with."""
    if first is None or second is None:
        return ""
    if first == second:
        return "same"
    return f"{(float(second) / float(first) - 1) * 100:+,.0f} %" if first else ""


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _usd(amount: Decimal) -> str:
    return shown_usd(amount)


def _took(one: Compared) -> float | None:
    """Seconds; None while the run is in progress."""
    begun, ended = one.view.created_at, one.view.stopped_at
    return ended - begun if begun is not None and ended is not None else None


def _money(of: Callable[[Account], Decimal]) -> Callable[[Compared], Decimal | None]:
    return lambda one: of(one.account) if one.account is not None else None


def _paid_each(one: Compared) -> Decimal | None:
    total = one.view.progress.total
    return one.account.report.paid_usd / total if one.account is not None and total else None


def _hosts(one: Compared) -> float | None:
    return one.view.hosts.count if one.view.hosts is not None else None


def _is_unread(one: Compared) -> str:
    return "at least" if one.view.unread else ""


def _grows(one: Compared) -> str:
    return one.view.money.coverage if one.view.money is not None else ""
