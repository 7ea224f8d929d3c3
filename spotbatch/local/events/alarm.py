"""When a CloudWatch alarm changes its state. Pure.

Source: CloudWatch user guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treats missing data": more
data points are fetched than are evaluated; if enough of them exist, the newest decide, otherwise missing points are
treated as configured for the alarm.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MORE_PERIODS: Final = 2  # fetched in addition to those evaluated, as in the guide's own table


class State(StrEnum):
    """StateValue of DescribeAlarms."""

    OK = "OK"
    ALARM = "ALARM"
    UNKNOWN = "INSUFFICIENT_DATA"


_BREACHES: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """`datapoints` of the newest `periods` must breach the threshold."""

    comparison: str
    threshold: float
    periods: int
    datapoints: int
    missing: str = "missing"  # missing, ignore, breaching or notBreaching


def state_of(condition: Condition, points: Sequence[float | None], before: State) -> State:
    """The state from the values of periods, newest last; None for a period without data.

    `points` has MORE_PERIODS more than the condition asks for.
    """
    breaches = _BREACHES.get(condition.comparison)
    if breaches is None:  # anomaly detection bands: not evaluated here
        return before
    real = [breaches(one, condition.threshold) for one in points if one is not None]
    newest = points[-condition.periods :]
    if all(one is not None for one in newest) or len(real) >= condition.periods:
        return _decided(condition, real[-condition.periods :])
    lacking = condition.periods - len(real)
    if condition.missing == "breaching":
        return _decided(condition, [*real, *[True] * lacking])
    if condition.missing == "notBreaching":
        return _decided(condition, [*real, *[False] * lacking])
    if condition.missing == "ignore":
        return _by_what_is_there(condition, real, lacking, before)
    if not real:
        return State.UNKNOWN
    return State.ALARM if sum(real) >= min(condition.datapoints, len(real)) else State.OK


def _decided(condition: Condition, breaching: Sequence[bool]) -> State:
    return State.ALARM if sum(breaching) >= condition.datapoints else State.OK


def _by_what_is_there(condition: Condition, real: Sequence[bool], lacking: int, before: State) -> State:
    """`ignore`: the state changes only if the missing points could not change it back."""
    if sum(real) >= condition.datapoints:
        return State.ALARM
    return State.OK if sum(real) + lacking < condition.datapoints else before


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One value of a metric, or an aggregate of several. The time is in UTC epoch seconds."""

    at: float
    total: float
    least: float
    most: float
    count: float = 1.0


def statistic(name: str, samples: Sequence[Sample]) -> float | None:
    """A statistic (Sum, Average, Minimum, Maximum, SampleCount, p95) of one period; None without data."""
    if not samples:
        return None
    total, count = sum(one.total for one in samples), sum(one.count for one in samples)
    plain = {
        "Sum": total,
        "Average": total / count if count else 0.0,
        "Minimum": min(one.least for one in samples),
        "Maximum": max(one.most for one in samples),
        "SampleCount": count,
    }
    if name in plain:
        return plain[name]
    return _percentile(float(name[1:]), samples) if name.startswith("p") else None


def _percentile(rank: float, samples: Sequence[Sample]) -> float | None:
    """None for aggregated values: CloudWatch has no percentiles for those either (user guide, "Percentiles")."""
    if any(one.count != 1 for one in samples):
        return None
    ordered = sorted(one.total for one in samples)
    place = rank / 100 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def periods_of(samples: Sequence[Sample], *, now: float, period: float, count: int, name: str) -> list[float | None]:
    """A statistic for each of the last `count` periods, newest last; the last one ends with this minute."""
    end = (now // 60 + 1) * 60
    found = []
    for number in range(count, 0, -1):
        start, stop = end - number * period, end - (number - 1) * period
        found.append(statistic(name, [one for one in samples if start <= one.at < stop]))
    return found


def reason(condition: Condition, points: Sequence[float | None], state: State) -> str:
    """The reason, worded as CloudWatch does."""
    known = [one for one in points[-condition.periods :] if one is not None]
    if state is State.UNKNOWN or not known:
        return (
            f"Unchecked: no data was received for {condition.periods} periods, which is treated as {condition.missing}"
        )
    shown = ", ".join(str(one) for one in known)
    word = "were" if state is State.ALARM else "were not"
    return (
        f"Threshold Crossed: {len(known)} datapoint(s) [{shown}] {word} {_words(condition.comparison)} the threshold "
        f"({condition.threshold})."
    )


def _words(comparison: str) -> str:
    words = {"GreaterThan": "greater than ", "LessThan": "less than ", "OrEqualTo": "or equal to ", "Threshold": ""}
    for name, word in words.items():
        comparison = comparison.replace(name, word)
    return comparison.strip()


def message(
    alarm: Mapping[str, Any], *, before: State, after: State, why: str, at: str, account_id: str, region: str
) -> str:
    """The message published to a topic (user guide, "Notifying users on alarm changes"). `alarm` is DescribeAlarms'."""
    trigger = {
        "MetricName": alarm.get("MetricName"),
        "Namespace": alarm.get("Namespace"),
        "StatisticType": "Statistic",
        "Statistic": str(alarm.get("Statistic") or "").upper(),
        "Dimensions": alarm.get("Dimensions", []),
        "Period": alarm.get("Period"),
        "EvaluationPeriods": alarm.get("EvaluationPeriods"),
        "ComparisonOperator": alarm.get("ComparisonOperator"),
        "Threshold": alarm.get("Threshold"),
        "TreatMissingData": alarm.get("TreatMissingData", "missing"),
    }
    return json.dumps({
        "AlarmName": alarm.get("AlarmName"),
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": account_id,
        "NewStateValue": after.value,
        "NewStateReason": why,
        "StateChangeTime": at,
        "Region": region,
        "AlarmArn": alarm.get("AlarmArn"),
        "OldStateValue": before.value,
        "Trigger": trigger,
    })  # fmt: skip
