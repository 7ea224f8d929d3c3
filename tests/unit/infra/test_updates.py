"""What a changed setting does to a live stack: update in place, replacement or nothing, by CloudFormation's schemas.

The schemas ship with cfn-lint. They say which properties can only be created; what AWS then does is AWS's to show.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]  # it ships no types

from app import CostOptimizedBatchProcessingStack
from spotbatch.infra import StackSettings

from aws_cdk import App  # isort: skip  # after infra, which chooses its Node
from aws_cdk.assertions import Template  # isort: skip

Resources = Mapping[str, dict[str, Any]]
VERSION = "LatestVersionNumber"  # of a launch template: another after each update


@lru_cache(maxsize=32)
def resources(settings: str) -> Resources:
    """The resources of the stack with these settings (JSON)."""
    chosen = StackSettings.read(json.loads(settings))
    found: Resources = Template.from_stack(
        CostOptimizedBatchProcessingStack(App(), "TestStack", settings=chosen)
    ).to_json()["Resources"]
    return found


def changed_paths(old: Any, new: Any, path: str = "/properties") -> Iterator[str]:
    """The places at which two property trees differ; lists count as a whole."""
    if old == new:
        return
    yield path
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            yield from changed_paths(old.get(key), new.get(key), f"{path}/{key}")


def outcome(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What CloudFormation does to a resource whose properties changed."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", new["Type"]).schema
    fixed = set(schema.get("createOnlyProperties", []))
    # An environment keeps these in place exactly if it may be updated (Batch user guide, "Updating").
    if new["Properties"].get("ReplaceComputeEnvironment", True):
        fixed |= set(schema.get("conditionalCreateOnlyProperties", []))
    paths = set(changed_paths(old.get("Properties", {}), new.get("Properties", {})))
    return "replaced" if paths & fixed else "updated"


def renewed(value: Any, changes: Mapping[str, str]) -> Any:
    """A value with the references changed that resolve to something else afterwards."""
    if isinstance(value, list):
        return [renewed(each, changes) for each in value]
    if not isinstance(value, dict):
        return value
    name, attribute = value.get("Fn::GetAtt") or [value.get("Ref"), ""]
    if len(value) == 1 and (changes.get(name) == "replaced" or (attribute == VERSION and name in changes)):
        return {"changed": value}
    return {key: renewed(each, changes) for key, each in value.items()}


def outcomes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    """Of each resource that changes, by logical id: what happens, also because of what it refers to."""
    old, new = resources(json.dumps(before)), resources(json.dumps(after))
    found: dict[str, str] = {}
    for _ in range(len(new)):  # until nothing follows from it any more
        before_this = dict(found)
        found = dict.fromkeys(set(new) - set(old), "added") | dict.fromkeys(set(old) - set(new), "removed")
        for name in set(old) & set(new):
            now = {**new[name], "Properties": renewed(new[name].get("Properties", {}), before_this)}
            if now != {"Properties": {}, **old[name]}:
                found[name] = outcome(old[name], now)
        if found == before_this:
            break
    return found


def walk(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    """Of each type that changes: all that happens to resources of it."""
    both = {**resources(json.dumps(before)), **resources(json.dumps(after))}
    found: dict[str, set[str]] = {}
    for name, what in outcomes(before, after).items():
        found.setdefault(both[name]["Type"].removeprefix("AWS::"), set()).add(what)
    return {kind: ", ".join(sorted(each)) for kind, each in found.items()}


IN_PLACE = {"Batch::ComputeEnvironment": "updated"}
ROUTES = {"EC2::Route": "removed"}
WITHOUT_NAT = {"EC2::Subnet": "updated", "EC2::VPCEndpoint": "updated", "EC2::LaunchTemplate": "updated", **IN_PLACE}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, {}),
        ({}, {"max_vcpus": 512}, IN_PLACE),
        ({}, {"bid_percentage": 60}, IN_PLACE),
        ({}, {"allocation_strategy": "SPOT_PRICE_CAPACITY_OPTIMIZED"}, IN_PLACE),
        ({}, {"instance_types": ["c6i", "m6i", "r6i"]}, IN_PLACE),
        ({}, {"instance_types": ["g5"], "job_gpus": 0}, IN_PLACE),
        ({}, {"volume_gib": 100}, {"EC2::LaunchTemplate": "updated", **IN_PLACE}),
        ({}, {"retain_data": False}, {"S3::Bucket": "updated", "ECR::Repository": "updated"}),
        ({}, {"egress_ports": [443, 80]}, {"EC2::SecurityGroup": "updated"}),
        ({}, {"egress": "public"}, WITHOUT_NAT | {"EC2::NatGateway": "removed", "EC2::EIP": "removed", **ROUTES}),
        (
            {"egress": "public"},
            {},
            WITHOUT_NAT | {"EC2::NatGateway": "added", "EC2::EIP": "added", "EC2::Route": "added"},
        ),
        (
            {},
            {"egress": "nat-instance"},
            {
                "EC2::NatGateway": "removed",
                "EC2::EIP": "removed",
                "EC2::Route": "updated",
                "EC2::Instance": "added",
                "EC2::SecurityGroup": "added",
                "IAM::Role": "added",
                "IAM::InstanceProfile": "added",
            },
        ),
        ({}, {"job_memory_mib": 4096}, {"Batch::JobDefinition": "updated"}),
        ({}, {"image_tag": "v2"}, {"Batch::JobDefinition": "updated"}),
        (
            {},
            {"on_demand_fallback": True},
            {
                "Batch::ComputeEnvironment": "added",
                "Batch::JobQueue": "updated",
                "Lambda::Function": "updated",  # it looks at both environments
            },
        ),
        ({}, {"log_retention_days": 90}, {"Logs::LogGroup": "updated"}),
        ({}, {"images_kept": 20}, {"ECR::Repository": "updated"}),
        (
            {},
            {"service_role": "dedicated"},
            {
                "Batch::ComputeEnvironment": "added, removed",  # AWS Batch refuses to change the role
                "Batch::JobQueue": "updated",
                "Lambda::Function": "updated",
                "IAM::Role": "added",
                "IAM::Policy": "added",
            },
        ),
        ({"service_role": "dedicated"}, {"service_role": "dedicated", "max_vcpus": 512}, IN_PLACE),
        (
            {"service_role": "dedicated"},
            {"service_role": "dedicated", "instance_types": ["c6i"]},
            {"Batch::ComputeEnvironment": "replaced", "Batch::JobQueue": "updated", "Lambda::Function": "updated"},
        ),
    ],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else str(each),
)
def test_a_changed_setting_does_to_a_live_stack_just_this(
    before: dict[str, Any], after: dict[str, Any], expected: dict[str, str]
) -> None:
    assert walk(before, after) == expected


def test_another_environment_tag_replaces_nothing() -> None:
    """CloudFormation replaces a compute environment whose own tags change: it has none that a setting changes."""
    changes = outcomes({}, {"environment": "staging"})
    assert set(changes.values()) == {"updated"}


def test_another_range_of_addresses_would_replace_the_network_so_deploy_refuses_it() -> None:
    changes = walk({}, {"vpc_cidr": "10.1.0.0/16"})
    for kind in ("EC2::VPC", "EC2::Subnet", "EC2::NatGateway", "EC2::SecurityGroup", "EC2::VPCGatewayAttachment"):
        assert changes[kind] == "replaced", kind


def test_what_is_replaced_has_no_name_that_would_clash() -> None:
    for each in resources("{}").values():
        if each["Type"] in ("AWS::Batch::ComputeEnvironment", "AWS::Batch::JobQueue", "AWS::EC2::LaunchTemplate"):
            assert not [key for key in each["Properties"] if key.endswith("Name")]


def test_no_change_of_settings_loses_the_data() -> None:
    """Bucket and registry are the same resources under every setting that has to do with them."""
    rich = {"kms_key": True, "access_logs": True, "immutable_tags": True, "image_tag": "v1", "glacier_days": 120}
    changes = walk({}, rich)
    assert changes["ECR::Repository"] == "updated"
    old, new = resources("{}"), resources(json.dumps(rich))
    for name, each in old.items():
        if each["Type"] == "AWS::S3::Bucket":
            assert outcome(each, new[name]) == "updated"


def test_the_old_revision_of_the_job_definition_stays_usable() -> None:
    (definition,) = [each for each in resources("{}").values() if each["Type"] == "AWS::Batch::JobDefinition"]
    assert definition["Properties"]["ResourceRetentionPolicy"] == {"SkipDeregisterOnUpdate": True}
