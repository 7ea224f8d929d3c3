"""The region's own run controller, for stacks without one: the same function, table and rules, loaded as a stack.

It is created when it is first asked for, and kept like any stack. The function is the controller installed here.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from spotbatch import __version__
from spotbatch.controller.resources import (
    EXPIRY,
    HANDLER,
    INDEX,
    KEY,
    LONGEST_SECONDS,
    SCHEDULE,
    SCHEDULE_VARIABLE,
    TABLE_VARIABLE,
)
from spotbatch.local.api.region import STACK, Region
from spotbatch.local.events.shapes import JOB_STATE

NAME: Final = "SpotbatchController"
SCHEDULE_NAME: Final = f"{NAME}-controller-tick"
DESCRIPTION: Final = f"The local region's own controller of runs ({__version__})"


LoadStack = Callable[[str, dict[str, Any], dict[str, str], dict[str, str]], Awaitable[Mapping[str, Any]]]


async def outputs(region: Region, load: LoadStack) -> dict[str, str]:
    """The outputs of this stack, which is loaded if the region does not have this version of it."""
    found = region.find(STACK, NAME)
    if found is None or found["Description"] != DESCRIPTION:
        await load(NAME, template(), {}, {})
        found = region.get(STACK, NAME)
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def template() -> dict[str, Any]:
    """The stack's template. Its outputs are named as the default stack's."""
    target = [{"Arn": {"Fn::GetAtt": ["Function", "Arn"]}, "Id": "controller"}]
    source, kind = JOB_STATE
    module, _, name = HANDLER.rpartition(".")
    failed = {"source": [source], "detail-type": [kind], "detail": {"status": ["FAILED"]}}
    return {
        "Description": DESCRIPTION,
        "Resources": {
            "Runs": {"Type": "AWS::DynamoDB::Table", "Properties": _table()},
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
                    "Handler": f"index.{name}",
                    "Code": {"ZipFile": f"from {module} import {name}  # noqa: F401\n"},
                    "Timeout": LONGEST_SECONDS,
                    "MemorySize": 512,
                    "Environment": {
                        "Variables": {TABLE_VARIABLE: {"Ref": "Runs"}, SCHEDULE_VARIABLE: SCHEDULE_NAME},
                    },
                },
            },
            "Tick": _rule(ScheduleExpression=SCHEDULE, State="DISABLED", Targets=target, Name=SCHEDULE_NAME),
            "Failed": _rule(EventPattern=failed, State="ENABLED", Targets=target),
        },
        "Outputs": {"ControllerTableName": {"Value": {"Ref": "Runs"}}, "ControllerScheduleName": _value(SCHEDULE_NAME)},
    }


def _table() -> dict[str, Any]:
    return {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in (KEY, INDEX)],
        "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": INDEX,
                "KeySchema": [{"AttributeName": INDEX, "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        "TimeToLiveSpecification": {"AttributeName": EXPIRY, "Enabled": True},
    }


def _rule(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::Events::Rule", "Properties": properties}


def _value(text: str) -> Mapping[str, str]:
    return {"Value": text}
