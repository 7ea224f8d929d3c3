"""Metric filters and alarms on moto's data: log events become metric data, which change the state of alarms.

moto stores filters, data and alarms, but evaluates none of them. Each function runs on one of moto's threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.events import alarm as rules
from spotbatch.local.events import log_pattern, metric_filter, shapes
from spotbatch.local.events.alarm import Condition, Sample, State

_DEFAULT_PERIOD_SECONDS: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class AlarmChange:
    """An alarm's transition to another state: whom to notify, and of what."""

    name: str
    arn: str
    before: State
    after: State
    reason: str
    actions: Sequence[str]  # ARNs
    message: str

    @property
    def subject(self) -> str:
        return f'{self.after.value}: "{self.name}"'[:100]  # SNS allows 100 characters


@lru_cache(maxsize=256)
def _test(pattern: str) -> log_pattern.Test | None:
    try:
        return log_pattern.test_of(pattern)
    except InvalidInput:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """CloudWatch of one account and region in moto."""

    account_id: str
    region: str

    def take_logs(self, group: str, events: Sequence[Mapping[str, Any]]) -> None:
        """New log events of a group: creates data from its metric filters, and data embedded in the events."""
        from moto.logs.models import logs_backends

        backend: Any = logs_backends[self.account_id][self.region]
        data = metric_filter.embedded(events)
        for one in list(backend.filters.metric_filters):
            test = _test(str(one["filterPattern"])) if one["logGroupName"] == group else None
            if test is not None:
                data += metric_filter.data_of(test, one["metricTransformations"], events)
        if data:
            self._put(data)

    def _put(self, data: Sequence[metric_filter.Datum]) -> None:
        from moto.cloudwatch.models import cloudwatch_backends

        backend: Any = cloudwatch_backends[self.account_id][self.region]
        for one in metric_filter.summaries(data):
            member: dict[str, Any] = {
                "MetricName": one.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in one.dimensions],
                # moto compares them with its own times, which have no time zone
                "Timestamp": datetime.fromtimestamp(one.minute_ms / 1000, UTC).replace(tzinfo=None),
                "Unit": one.unit or None,
            }
            if len(one.values) == 1:
                member["Value"] = one.values[0]
            else:
                member["StatisticValues"] = {
                    "SampleCount": len(one.values),
                    "Sum": sum(one.values),
                    "Minimum": min(one.values),
                    "Maximum": max(one.values),
                }
            backend.put_metric_data(one.namespace, [member])

    def has_alarms(self) -> bool:
        from moto.cloudwatch.models import cloudwatch_backends

        return bool(cloudwatch_backends[self.account_id][self.region].alarms)

    def evaluate(self, now: float) -> list[AlarmChange]:
        """Set the state of each alarm on one metric; returns those that changed. No composite alarms or metric math."""
        from moto.cloudwatch.models import cloudwatch_backends

        backend: Any = cloudwatch_backends[self.account_id][self.region]
        changed = []
        for alarm in list(backend.alarms.values()):
            if alarm.metric_name and not alarm.metric_data_queries and not alarm.rule:
                change = self._evaluated(backend, alarm, now)
                if change is not None:
                    changed.append(change)
        return changed

    def _evaluated(self, backend: Any, alarm: Any, now: float) -> AlarmChange | None:
        condition = Condition(
            comparison=str(alarm.comparison_operator),
            threshold=float(alarm.threshold),
            periods=int(alarm.evaluation_periods),
            datapoints=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
            missing=str(alarm.treat_missing_data or "missing"),
        )
        points = rules.periods_of(
            _samples(backend, alarm),
            now=now,
            period=float(alarm.period or _DEFAULT_PERIOD_SECONDS),
            count=condition.periods + rules.MORE_PERIODS,
            name=str(alarm.statistic or alarm.extended_statistic),
        )
        before = State(alarm.state_value)
        after = rules.state_of(condition, points, before)
        if after is before:
            return None
        why = rules.reason(condition, points, after)
        alarm.update_state(why, "{}", after.value)
        actions = {
            State.ALARM: alarm.alarm_actions,
            State.OK: alarm.ok_actions,
            State.UNKNOWN: alarm.insufficient_data_actions,
        }[after]
        enabled = str(alarm.actions_enabled).lower() == "true"
        return AlarmChange(
            name=alarm.name,
            arn=alarm.alarm_arn,
            before=before,
            after=after,
            reason=why,
            actions=tuple(actions or ()) if enabled else (),
            message=self._message(alarm, before, after, why, now),
        )

    def _message(self, alarm: Any, before: State, after: State, why: str, now: float) -> str:
        described = {
            "AlarmName": alarm.name,
            "AlarmArn": alarm.alarm_arn,
            "AlarmDescription": alarm.description,
            "MetricName": alarm.metric_name,
            "Namespace": alarm.namespace,
            "Statistic": alarm.statistic,
            "Dimensions": [{"name": one.name, "value": one.value} for one in alarm.dimensions],
            "Period": alarm.period,
            "EvaluationPeriods": alarm.evaluation_periods,
            "ComparisonOperator": alarm.comparison_operator,
            "Threshold": alarm.threshold,
            "TreatMissingData": alarm.treat_missing_data or "missing",
        }
        at = shapes.precise(now).replace("Z", "+0000")
        return rules.message(
            described, before=before, after=after, why=why, at=at, account_id=self.account_id, region=self.region
        )


def _samples(backend: Any, alarm: Any) -> list[Sample]:
    """The data of an alarm's metric: with exactly this name and these dimensions."""
    wanted = sorted((one.name, one.value) for one in alarm.dimensions)
    return [
        _sample(one)
        for one in list(backend.metric_data)
        if one.name == alarm.metric_name
        and one.namespace == alarm.namespace
        and sorted((each.name, each.value) for each in one.dimensions) == wanted
    ]


def _sample(datum: Any) -> Sample:
    moment = datum.timestamp
    at = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    if hasattr(datum, "value"):
        return Sample(at=at, total=datum.value, least=datum.value, most=datum.value)
    return Sample(at=at, total=datum.sum, least=datum.min, most=datum.max, count=datum.sample_count)
