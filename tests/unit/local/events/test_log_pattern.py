"""Filter patterns match what CloudWatch Logs' guide says they match."""

import json
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.events.log_pattern import test_of as pattern_test
from spotbatch.local.events.metric_filter import Datum, data_of, embedded, summaries

EVENT: dict[str, Any] = {
    "detail-type": "Batch Job State Change",
    "detail": {
        "status": "FAILED",
        "statusReason": "Host EC2 (instance i-1) terminated.",
        "container": {"exitCode": 210},
        "attempts": [{"stoppedAt": 1, "container": {"exitCode": 1}}, {"statusReason": "x"}],
        "isTerminated": False,
        "nothing": None,
        "odd name": "v",
    },
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.detail.status = "FAILED" }', True),
        ("{ $.detail.status = FAILED }", True),
        ('{ $.detail.status != "FAILED" }', False),
        ('{ $.detail.gone != "FAILED" }', False),
        ('{ $.detail.statusReason = "Host EC2*" }', True),
        ('{ $.detail.statusReason = "*terminated." }', True),
        ('{ $.detail.statusReason = "host*" }', False),
        ("{ $.detail.container.exitCode = 210 }", True),
        ("{ $.detail.container.exitCode = 2.1e2 }", True),
        ("{ $.detail.container.exitCode > 200 && $.detail.container.exitCode <= 210 }", True),
        ("{ $.detail.container.exitCode < 210 }", False),
        ("{ $.detail.status > 1 }", False),
        ("{ $.detail.attempts[0].container.exitCode = 1 }", True),
        ("{ $.detail.attempts[2].stoppedAt NOT EXISTS }", True),
        ('{ $.detail.attempts[2].stoppedAt = "F" }', False),
        ('{ $.detail.status[0] = "F" }', False),
        ("{ $.detail.attempts.container.exitCode = 1 }", False),
        ("{ $.detail.container.exitCode.x IS NULL }", False),
        ("{ $.detail.attempts[0].stoppedAt EXISTS }", True),
        ('{ $.detail-type = "Batch Job State Change" }', True),
        ("{ $.detail['odd name'] = v }", True),
        ("{ $.detail.isTerminated IS FALSE }", True),
        ("{ $.detail.isTerminated IS TRUE }", False),
        ("{ $.detail.nothing IS NULL }", True),
        ("{ $.detail.gone IS NULL }", False),
        ('{ ($.detail.status = "X") || ($.detail.container.exitCode = 210 && $.detail.gone NOT EXISTS) }', True),
        ('{ $.detail.status = "X" || $.detail.status = "Y" && $.detail.gone NOT EXISTS }', False),
        ("{ $.detail.status = %^FA.*D$% }", True),
        ("{ $.detail.attempts[*].container.exitCode = 1 }", True),
        ("", True),
        ("FAILED", True),
        ('"EC2 (instance" FAILED', True),
        ("FAILED SUCCEEDED", False),
        ("?SUCCEEDED ?FAILED", True),
        ("?SUCCEEDED ?RUNNING", False),
        ("FAILED -terminated", False),
        ("FAILED -other", True),
        ("%i-[0-9]+%", True),
    ],
)
def test_a_pattern_matches_as_cloudwatch_logs_has_it(pattern: str, expected: bool) -> None:
    assert pattern_test(pattern)(json.dumps(EVENT)) is expected


def test_a_condition_on_json_matches_no_other_text() -> None:
    assert not pattern_test("{ $.a NOT EXISTS }")("no json")


@pytest.mark.parametrize(
    "pattern", ["{ $.a = }", "{ a = 1 }", "{ $.a ~ 1 }", "{ ($.a = 1 }", "{ $.a = 1", "[a, b]", "x" * 1025]
)
def test_a_pattern_that_aws_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        pattern_test(pattern)


ONE = {"metricNamespace": "n", "metricName": "m", "metricValue": "1"}


def events(*messages: Any, at: int = 60_000) -> list[dict[str, Any]]:
    return [{"timestamp": at, "message": one if isinstance(one, str) else json.dumps(one)} for one in messages]


def test_a_filter_counts_what_matches_and_gives_its_default_to_minutes_without() -> None:
    test = pattern_test("{ $.x = 1 }")
    assert [one.value for one in data_of(test, [ONE], events({"x": 1}, {"x": 2}, {"x": 1}))] == [1.0, 1.0]
    assert data_of(test, [ONE], events({"x": 2})) == []
    assert [one.value for one in data_of(test, [{**ONE, "defaultValue": 0}], events({"x": 2}))] == [0.0]
    assert [one.value for one in data_of(test, [{**ONE, "defaultValue": 0}], events({"x": 2}, {"x": 1}))] == [1.0]


def test_a_filter_takes_values_and_dimensions_from_the_event() -> None:
    each = {**ONE, "metricValue": "$.took", "dimensions": {"Queue": "$.q"}, "unit": "Seconds"}
    found = data_of(
        pattern_test(""), [each], events({"took": 2.5, "q": "a"}, {"took": "no number", "q": "a"}, {"took": 1})
    )
    assert found == [
        Datum(namespace="n", name="m", value=2.5, at_ms=60_000, dimensions=(("Queue", "a"),), unit="Seconds")
    ]


def test_the_embedded_metric_format_is_read() -> None:
    directive = {"Namespace": "n", "Dimensions": [[]], "Metrics": [{"Name": "a"}, {"Name": "b", "Unit": "Count"}]}
    document = {"_aws": {"Timestamp": 120_000, "CloudWatchMetrics": [directive]}, "a": 1, "b": [2, 3]}
    found = embedded(events(document, "plain"))
    assert [(one.name, one.value, one.at_ms) for one in found] == [
        ("a", 1.0, 120_000),
        ("b", 2.0, 120_000),
        ("b", 3.0, 120_000),
    ]


def test_values_of_one_minute_are_put_together() -> None:
    data = [Datum(namespace="n", name="m", value=float(number), at_ms=60_000 + number) for number in range(3)]
    (summary,) = summaries(data)
    assert summary.values == (0.0, 1.0, 2.0)
    assert summary.minute_ms == 60_000
