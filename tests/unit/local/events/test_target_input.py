"""What a target gets of an event."""

import json
from typing import Any

import pytest

from spotbatch.local.events.target_input import message_for

EVENT: dict[str, Any] = {
    "detail-type": "Batch Job State Change",
    "time": "2026-11-30T02:00:00Z",
    "resources": ["arn:job"],
    "detail": {"jobName": 'a "job"', "exit": 1, "tags": {"k": "v"}, "attempts": [{"x": 1}]},
}


def sent(target: dict[str, Any]) -> str:
    return message_for(target, EVENT, rule_arn="arn:rule", rule_name="r")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, json.dumps(EVENT, separators=(",", ":"))),
        ({"Input": '{"x": 1}'}, '{"x": 1}'),
        ({"InputPath": "$.detail.exit"}, "1"),
        ({"InputPath": "$.detail.attempts[0].x"}, "1"),
        ({"InputPath": "$.detail.attempts"}, '[{"x":1}]'),
        ({"InputPath": "$['detail-type']"}, '"Batch Job State Change"'),
        ({"InputPath": "$.gone"}, "null"),
    ],
)
def test_a_target_gets_the_event_a_constant_or_a_part(target: dict[str, Any], expected: str) -> None:
    assert sent(target) == expected


def transformed(template: str) -> str:
    paths = {"name": "$.detail.jobName", "exit": "$.detail.exit", "tags": "$.detail.tags", "gone": "$.detail.gone"}
    return sent({"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}})


def test_a_template_of_json_stays_json_whatever_the_values_hold() -> None:
    text = transformed('{"n": <name>, "in": "job <name> ended with <exit><gone>", "t": <tags>, "g": <gone>}')
    assert json.loads(text) == {
        "n": 'a "job"',
        "in": 'job a "job" ended with 1',
        "t": {"k": "v"},
        "g": None,
    }


def test_a_template_knows_its_rule_and_the_whole_event() -> None:
    text = transformed(
        '{"rule": <aws.events.rule-name>, "arn": <aws.events.rule-arn>, "event": <aws.events.event.json>}'
    )
    assert json.loads(text) == {"rule": "r", "arn": "arn:rule", "event": EVENT}
