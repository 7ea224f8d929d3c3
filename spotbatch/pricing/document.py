"""A cost report as a document: plain JSON in which every amount is a string, and every list has a limit."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

from spotbatch.pricing.ledger import Entry
from spotbatch.pricing.report import CostReport, Group, usd

_MOST_LINES: Final = 1000  # for hosts, and for each kind of group
_MOST_TAGS: Final = 20


def document_of(report: CostReport) -> dict[str, object]:
    """Everything for a program to read: USD as strings with nine places, so that no float rounds a cent away.

    The first 1,000 hosts, and the first 1,000 groups of each kind, are listed; the rest is summed up in one group.
    """
    outcomes = Counter(each.outcome.value for each in report.attempts)
    return {
        "is_simulated": report.is_simulated,
        "paid_usd": usd(report.paid_usd),
        "gross_usd": usd(report.gross_usd),
        "first_hour_credit_usd": usd(report.credit_usd),
        "on_demand_usd": usd(report.on_demand_usd),
        "on_demand_undisturbed_usd": usd(report.on_demand_undisturbed_usd),
        "saving_usd": usd(report.saving_usd),
        "saving_percent": None if report.saving_percent is None else float(round(report.saving_percent, 2)),
        "other_usd": usd(report.other_usd),
        "parts_usd": {part.value: usd(amount) for part, amount in report.parts.items()},
        "other": [
            {"item": one.item, "quantity": usd(one.quantity), "unit": one.unit, "usd": usd(one.usd)}
            for one in report.other
        ],
        "hosts": {
            "count": len(report.hosts),
            "reclaimed": report.reclaimed_hosts,
            "lines": _host_lines(report.entries),
        },
        "attempts": {"count": len(report.attempts), "interrupted": report.interruptions, "by_end": dict(outcomes)},
        "by": {key: [_group_json(one) for one in _capped(report.by(key))] for key in _keys(report)},
        "advice": [one.to_json() for one in report.advice],
        "packing": [one.to_json() for one in report.packing],
        "sources": list(report.sources),
        "notes": list(report.notes),
    }


def _keys(report: CostReport) -> Iterable[str]:
    """What the document is grouped by: the fixed keys, and the tags that the attempts carry."""
    tags = sorted({tag for each in report.attempts for tag in each.tags if tag})
    return ("job", "array", "queue", "day", *(f"tag:{tag}" for tag in tags[:_MOST_TAGS]))


def _capped(groups: Sequence[Group]) -> Sequence[Group]:
    """The first groups; everything beyond the limit is summed up in one group, so that the totals still match."""
    if len(groups) <= _MOST_LINES:
        return groups
    rest = groups[_MOST_LINES:]
    others = Group(
        name=f"({len(rest)} others)",
        paid_usd=sum((each.paid_usd for each in rest), Decimal(0)),
        on_demand_usd=sum((each.on_demand_usd for each in rest), Decimal(0)),
        lost_usd=sum((each.lost_usd for each in rest), Decimal(0)),
        attempts=sum(each.attempts for each in rest),
        interruptions=sum(each.interruptions for each in rest),
    )
    return (*groups[:_MOST_LINES], others)


def _group_json(group: Group) -> dict[str, object]:
    return {
        "name": group.name,
        "paid_usd": usd(group.paid_usd),
        "on_demand_usd": usd(group.on_demand_usd),
        "lost_usd": usd(group.lost_usd),
        "attempts": group.attempts,
        "interruptions": group.interruptions,
    }


def _host_lines(entries: Iterable[Entry]) -> list[dict[str, object]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for each in entries:
        found[each.host.instance_id].append(each)
    return [_host_line(of_host) for of_host in islice(found.values(), _MOST_LINES)]


def _host_line(entries: Sequence[Entry]) -> dict[str, object]:
    host = entries[0].host
    return {
        "instance_id": host.instance_id,
        "instance_type": host.instance_type,
        "zone": host.zone,
        "is_spot": host.is_spot,
        "is_reclaimed": host.is_reclaimed,
        "paid_usd": usd(sum((each.paid_usd for each in entries), Decimal(0))),
        "gross_usd": usd(sum((each.gross_usd for each in entries), Decimal(0))),
        "on_demand_usd": usd(sum((each.on_demand_usd for each in entries), Decimal(0))),
    }
