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


def walk(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    """Of each type that changes: what happens. A type that is added or goes says so."""
    old, new = resources(json.dumps(before)), resources(json.dumps(after))
    found = {new[name]["Type"]: "added" for name in set(new) - set(old)}
    found |= {old[name]["Type"]: "removed" for name in set(old) - set(new)}
    for name in set(old) & set(new):
        if old[name] != new[name]:
            found[new[name]["Type"]] = outcome(old[name], new[name])
    return {kind.removeprefix("AWS::"): what for kind, what in found.items()}


IN_PLACE = {"Batch::ComputeEnvironment": "updated"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, {}),
        ({}, {"max_vcpus": 512}, IN_PLACE),
        ({}, {"bid_percentage": 60}, IN_PLACE),
        ({}, {"allocation_strategy": "SPOT_PRICE_CAPACITY_OPTIMIZED"}, IN_PLACE),
        ({}, {"instance_types": ["c6i", "m6i", "r6i"]}, IN_PLACE),
        ({}, {"instance_types": ["g5"], "job_gpus": 0}, IN_PLACE),
        ({}, {"volume_gib": 100}, {"EC2::LaunchTemplate": "updated"}),
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
        ({"service_role": "dedicated"}, {"service_role": "dedicated", "max_vcpus": 512}, IN_PLACE),
        (
            {"service_role": "dedicated"},
            {"service_role": "dedicated", "instance_types": ["c6i"]},
            {"Batch::ComputeEnvironment": "replaced"},
        ),
    ],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else str(each),
)
def test_a_changed_setting_does_to_a_live_stack_just_this(
    before: dict[str, Any], after: dict[str, Any], expected: dict[str, str]
) -> None:
    assert walk(before, after) == expected


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
