"""The dedicated service role beside AWS's two policies for AWS Batch, action by action (moto has their texts)."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from app import CostOptimizedBatchProcessingStack
from spotbatch.infra import StackSettings
from spotbatch.infra.service_role import NOT_USED, USED

from aws_cdk import App  # isort: skip  # after infra, which chooses its Node
from aws_cdk.assertions import Template  # isort: skip

COMPARED: Final = {"AWSBatchServiceRole": "v14", "BatchServiceRolePolicy": "v8"}
MANAGED: Final[dict[str, Any]] = json.loads(aws_managed_policies_data)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def actions(statements: list[dict[str, Any]]) -> Iterator[str]:
    for each in statements:
        yield from as_list(each["Action"])


@pytest.fixture(scope="module")
def ours() -> list[dict[str, Any]]:
    settings = StackSettings.read({"service_role": "dedicated"})
    made = Template.from_stack(CostOptimizedBatchProcessingStack(App(), "TestStack", settings=settings)).to_json()
    (policy,) = [each for name, each in made["Resources"].items() if name.startswith("AccessBatchServiceRoleDefault")]
    found: list[dict[str, Any]] = policy["Properties"]["PolicyDocument"]["Statement"]
    return found


@pytest.mark.parametrize(("name", "version"), COMPARED.items())
def test_every_action_of_awss_policy_is_allowed_or_left_out_for_a_reason(
    ours: list[dict[str, Any]], name: str, version: str
) -> None:
    policy = MANAGED[name]
    assert policy["DefaultVersionId"] == version, "AWS has changed it: compare again, then write the new version here"
    theirs = set(actions(policy["Document"]["Statement"]))
    assert theirs - set(actions(ours)) <= set(NOT_USED)


def test_nothing_is_allowed_that_aws_itself_does_not_ask_for(ours: list[dict[str, Any]]) -> None:
    theirs = {each for name in COMPARED for each in actions(MANAGED[name]["Document"]["Statement"])}
    assert set(actions(ours)) <= theirs


def test_what_is_left_out_is_in_awss_policies_and_not_in_ours(ours: list[dict[str, Any]]) -> None:
    theirs = {each for name in COMPARED for each in actions(MANAGED[name]["Document"]["Statement"])}
    assert set(NOT_USED) <= theirs
    assert not set(NOT_USED) & set(actions(ours))
    assert all(len(reason.split()) >= 3 for reason in NOT_USED.values())


def test_tags_may_be_given_to_instances_and_launch_templates_as_they_are_made(ours: list[dict[str, Any]]) -> None:
    (tagging,) = [each for each in ours if "ec2:CreateTags" in as_list(each["Action"])]
    theirs = [
        each
        for each in MANAGED["BatchServiceRolePolicy"]["Document"]["Statement"]
        if "ec2:CreateTags" in actions([each])
    ]
    wanted = set(theirs[0]["Condition"]["StringEquals"]["ec2:CreateAction"]) - {"RequestSpotFleet"}
    assert set(as_list(tagging["Condition"]["StringEquals"]["ec2:CreateAction"])) == wanted


def test_instances_may_be_launched_from_what_awss_policy_names_as_far_as_an_ec2_environment_has_it(
    ours: list[dict[str, Any]],
) -> None:
    (launching,) = [each for each in ours if "ec2:RunInstances" in as_list(each["Action"])]
    arns = json.dumps(launching["Resource"])
    assert "::image/*" in arns
    assert "::snapshot/*" in arns
    assert set(USED) == {"autoscaling.amazonaws.com", "ecs.amazonaws.com", "spot.amazonaws.com"}
