"""Turns log events into data points, by metric filters and the embedded metric format. Pure.

Sources: CloudWatch Logs user guide, "Creating metrics from log events using filters" (metricValue, defaultValue,
dimensions); CloudWatch user guide, "Specification: Embedded metric format".
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.local.events.log_pattern import Test, parsed, value_at

_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Datum:
    """One value of a metric. The time is in UTC epoch milliseconds."""

    namespace: str
    name: str
    value: float
    at_ms: int
    dimensions: tuple[tuple[str, str], ...] = ()
    unit: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """All values of one metric in one minute."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    unit: str
    minute_ms: int
    values: tuple[float, ...]


def data_of(
    test: Test, transformations: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]
) -> list[Datum]:
    """The data points that a filter extracts from log events ({"timestamp", "message"})."""
    found = []
    missed: dict[int, int] = {}
    matched: set[int] = set()
    for event in events:
        at, message = int(event["timestamp"]), str(event["message"])
        if test(message):
            matched.add(at // _MINUTE_MS)
            found += [one for each in transformations for one in _transformed(each, message, at)]
        else:
            missed.setdefault(at // _MINUTE_MS, at)
    # The default applies to minutes with log events but no match; it is not available with dimensions.
    for each in transformations:
        default = each.get("defaultValue")
        if default is not None and not each.get("dimensions"):
            found += [_datum(each, float(default), at) for minute, at in missed.items() if minute not in matched]
    return found


def _transformed(each: Mapping[str, Any], message: str, at: int) -> list[Datum]:
    written = str(each.get("metricValue", ""))
    event = parsed(message) if written.startswith("$") or each.get("dimensions") else None
    value = value_at(event, written) if written.startswith("$") else written
    dimensions = []
    for name, selector in (each.get("dimensions") or {}).items():
        text = value_at(event, str(selector))
        if text is None:  # the guide: an event without the field produces no data point
            return []
        dimensions.append((str(name), str(text)))
    try:
        return [_datum(each, float(value), at, tuple(dimensions))]
    except (TypeError, ValueError):
        return []  # a value that is not a number is dropped


def _datum(each: Mapping[str, Any], value: float, at: int, dimensions: tuple[tuple[str, str], ...] = ()) -> Datum:
    return Datum(
        namespace=str(each["metricNamespace"]),
        name=str(each["metricName"]),
        value=value,
        at_ms=at,
        dimensions=dimensions,
        unit=str(each.get("unit") or ""),
    )


def embedded(events: Iterable[Mapping[str, Any]]) -> list[Datum]:
    """The data points embedded in log events: {"_aws": {"CloudWatchMetrics": [...]}, ...}."""
    found = []
    for event in events:
        message = str(event["message"])
        document = parsed(message) if '"CloudWatchMetrics"' in message else None
        if isinstance(document, dict) and isinstance(document.get("_aws"), dict):
            found += _embedded(document, int(event["timestamp"]))
    return found


def _embedded(document: Mapping[str, Any], written_at: int) -> list[Datum]:
    head = document["_aws"]
    at = head.get("Timestamp") if isinstance(head.get("Timestamp"), int) else written_at
    found = []
    for directive in head.get("CloudWatchMetrics") or []:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = tuple((str(name), str(document.get(name, ""))) for name in names)
            for metric in directive.get("Metrics") or []:
                values = document.get(metric.get("Name"))
                found += [
                    Datum(
                        namespace=str(directive.get("Namespace", "")),
                        name=str(metric["Name"]),
                        value=float(value),
                        at_ms=at,
                        dimensions=dimensions,
                        unit=str(metric.get("Unit") or ""),
                    )
                    for value in (values if isinstance(values, list) else [values])
                    if isinstance(value, int | float) and not isinstance(value, bool)
                ]
    return found


def summaries(data: Iterable[Datum]) -> list[Summary]:
    """Data points by metric and minute: CloudWatch stores these at no finer resolution."""
    found: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for one in data:
        found[one.namespace, one.name, one.dimensions, one.unit, one.at_ms // _MINUTE_MS].append(one.value)
    return [
        Summary(
            namespace=namespace,
            name=name,
            dimensions=dimensions,
            unit=unit,
            minute_ms=minute * _MINUTE_MS,
            values=tuple(values),
        )
        for (namespace, name, dimensions, unit, minute), values in found.items()
    ]
