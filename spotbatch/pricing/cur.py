"""Split cost allocation data of the AWS Cost and Usage Report: what AWS itself allocated to the tasks on a run's hosts.

Columns: AWS Data Exports user guide, "Split line item columns" (CUR 2.0: split_line_item_parent_resource_id,
_split_cost, _unused_cost) and "Split line item details" (legacy CUR: splitLineItem/ParentResourceId, /SplitCost,
/UnusedCost). A row is one task's vCPU or memory on one EC2 instance in one hour or day; the instance's own row must not
be added to its tasks' rows, or it is counted twice.
"""

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.report import CostReport

_MOST_BYTES: Final = 1 << 30
_NAMES: Final[Mapping[str, tuple[str, str]]] = {  # ours: CUR 2.0, legacy
    "host": ("split_line_item_parent_resource_id", "splitLineItem/ParentResourceId"),
    "split": ("split_line_item_split_cost", "splitLineItem/SplitCost"),
    "unused": ("split_line_item_unused_cost", "splitLineItem/UnusedCost"),
    "start": ("line_item_usage_start_date", "lineItem/UsageStartDate"),
    "currency": ("line_item_currency_code", "lineItem/CurrencyCode"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostDay:
    """One host on one UTC day: what AWS allocated to its tasks and as unused, and our own estimate.

    `reckoned_usd` covers the run's own jobs only, so it is lower if other jobs also ran on the host.
    """

    instance_id: str
    day: str
    split_usd: Decimal
    unused_usd: Decimal
    reckoned_usd: Decimal

    @property
    def allocated_usd(self) -> Decimal:
        return self.split_usd + self.unused_usd


def read_split(name: str, raw: bytes, hosts: Collection[str]) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    """Split and unused cost by (instance, UTC day) of these hosts, from a CSV of the report, gzipped or not.

    Raises InvalidInput for a file without split cost allocation data, in another currency, or with an invalid row.
    """
    rows = csv.DictReader(io.StringIO(_text(name, raw)))
    columns = _columns(name, rows.fieldnames or ())
    found: dict[tuple[str, str], tuple[Decimal, Decimal]] = defaultdict(lambda: (Decimal(0), Decimal(0)))
    for row in rows:
        host = (row[columns["host"]] or "").rpartition("/")[2]
        if host not in hosts:
            continue
        currency = row[columns["currency"]]
        if currency != "USD":
            raise InvalidInput(f"{name}, line {rows.line_num}: the currency is {currency!r}, and our prices are in USD")
        key = (host, row[columns["start"]][:10])
        split, unused = found[key]
        amounts = (_amount(name, rows.line_num, row[columns[each]]) for each in ("split", "unused"))
        more_split, more_unused = amounts
        found[key] = (split + more_split, unused + more_unused)
    return dict(found)


def beside(report: CostReport, found: Mapping[tuple[str, str], tuple[Decimal, Decimal]]) -> tuple[HostDay, ...]:
    """The report's hosts by day next to what AWS allocated; hosts missing from the file have nothing allocated."""
    reckoned: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for each in report.entries:
        reckoned[each.host.instance_id, each.day] += each.paid_usd
    nothing = (Decimal(0), Decimal(0))
    return tuple(
        HostDay(
            instance_id=key[0],
            day=key[1],
            split_usd=found.get(key, nothing)[0],
            unused_usd=found.get(key, nothing)[1],
            reckoned_usd=reckoned.get(key, Decimal(0)),
        )
        for key in sorted(reckoned.keys() | found.keys(), key=lambda key: (key[1], key[0]))
    )


def _text(name: str, raw: bytes) -> str:
    try:
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(raw)) as packed:
                raw = packed.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise InvalidInput(f"{name} is larger than {_MOST_BYTES >> 20} MiB: give the days of the run only")
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name} is no CSV of a Cost and Usage Report: {error}") from error


def _columns(name: str, fields: Collection[str]) -> dict[str, str]:
    for place in (0, 1):
        columns = {ours: names[place] for ours, names in _NAMES.items()}
        if set(columns.values()) <= set(fields):
            return columns
    raise InvalidInput(
        f"{name} has no split cost allocation data (it lacks {_NAMES['host'][0]} or {_NAMES['host'][1]} and what goes "
        "with it): opt in under Billing, Cost Management preferences, and include it in the export, as CSV"
    )


def _amount(name: str, line: int, text: str | None) -> Decimal:
    try:
        found = Decimal(text or "0")
    except InvalidOperation as error:
        raise InvalidInput(f"{name}, line {line}: {text!r} is no amount") from error
    if not found.is_finite():
        raise InvalidInput(f"{name}, line {line}: {text!r} is no amount")
    return found
