"""The properties of AWS Batch's CloudFormation types: those of the published schemas, as cfn-lint ships them."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import ListShape, Shape, StructureShape
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.api import service_model
from spotbatch.local.api.cfn_properties import OPERATIONS, names_of, parameters_of


def places(schema: Any, node: Any, shape: Shape, place: str = "") -> Iterator[tuple[str, set[str], StructureShape]]:
    """Each structure of a schema with its properties' names, beside the API's structure."""
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    if isinstance(shape, StructureShape) and "properties" in node:
        yield place, set(node["properties"]), shape
        for name, inner in node["properties"].items():
            member = names_of(shape, schema["typeName"], place).get(name)
            if member is not None:
                yield from places(schema, inner, shape.members[member], f"{place}.{name}".lstrip("."))
    elif isinstance(shape, ListShape) and "items" in node:
        yield from places(schema, node["items"], shape.member, f"{place}[]")


@pytest.mark.parametrize("kind", OPERATIONS)
def test_the_properties_that_are_known_are_those_of_the_published_schema(kind: str) -> None:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    read_only = {path.rpartition("/")[2] for path in schema["readOnlyProperties"]}
    for place, published, shape in places(schema, schema, service_model.input_shape(OPERATIONS[kind])):
        known = set(names_of(shape, kind, place))
        assert published - known - read_only == set(), f"{kind} {place}: these would be refused"
        if "EksProperties" not in place and "NodeRangeProperties" not in place:  # checked otherwise, or refused as such
            assert known - published == set(), f"{kind} {place}: these would be taken"


@pytest.mark.parametrize(
    ("kind", "properties", "said"),
    [
        ("AWS::Batch::JobDefinition", {"RetryStrategyy": {}}, r"P\.RetryStrategyy: .*did you mean RetryStrategy"),
        ("AWS::Batch::JobDefinition", {"ContainerProperties": {"Comand": []}}, r"P\.ContainerProperties\.Comand: "),
        ("AWS::Batch::JobDefinition", {"ContainerProperties": {"command": []}}, r"command: .*did you mean Command"),
        ("AWS::Batch::JobDefinition", {"ContainerProperties": {"Environment": [{"Nam": 1}]}}, r"nt\[0\]\.Nam: "),
        ("AWS::Batch::ComputeEnvironment", {"ComputeResources": {"MaxVCpus": 1}}, r"MaxVCpus: .*did you mean MaxvCpus"),
        ("AWS::Batch::JobQueue", {"Prio": 1}, r"P\.Prio: "),
        ("AWS::Batch::SchedulingPolicy", {"Name": "x", "FairsharePolicy": {"X": 1}}, r"FairsharePolicy\.X: "),
    ],
)  # fmt: skip
def test_a_property_that_there_is_not_is_refused_with_its_name_and_place(kind: str, properties: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parameters_of(kind, properties, "P")


def test_numbers_booleans_and_names_are_taken_as_cloudformation_takes_them() -> None:
    resources = {"Type": "spot", "MinvCpus": "0", "MaxvCpus": 4.0, "UpdateToLatestImageVersion": "true", "Subnets": []}
    given = {"Type": "managed", "ComputeResources": resources, "ReplaceComputeEnvironment": False, "Tags": {"a": True}}
    asked, own = parameters_of("AWS::Batch::ComputeEnvironment", given, "P")
    assert asked == {
        "type": "MANAGED",
        "computeResources": {"type": "SPOT", "minvCpus": 0, "maxvCpus": 4, "subnets": []},
        "tags": {"a": "true"},
    }
    assert own == {"ReplaceComputeEnvironment": False}
    asked, _ = parameters_of(
        "AWS::Batch::JobDefinition", {"PropagateTags": "True", "Tags": [{"Key": "a", "Value": 1}]}, "P"
    )
    assert asked == {"propagateTags": True, "tags": {"a": "1"}}
