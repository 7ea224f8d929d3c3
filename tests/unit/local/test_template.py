"""The template loader: functions give what CloudFormation gives; unknown ones are refused with their place."""

from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.template import Template
from spotbatch.local.template_file import read_template, stack_name_of

ACCOUNT, REGION = "123456789012", "eu-west-1"
RESOURCES: dict[str, Any] = {
    "Bucket": {"Type": "AWS::S3::Bucket"},
    "Named": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::Sub": "data-${AWS::AccountId}"}}},
    "Queue": {"Type": "AWS::Batch::JobQueue", "Properties": {"JobQueueName": "q"}},
    "Repo": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "r"}},
    "Definition": {"Type": "AWS::Batch::JobDefinition", "Properties": {"JobDefinitionName": "d"}},
}


def template(value: Any = None, **sections: Any) -> Template:
    body = {"Resources": RESOURCES, "Outputs": {"X": {"Value": value}}, **sections}
    return Template(stack="Stack", body=body, account_id=ACCOUNT, region=REGION, revision_of=lambda _name: 7)


def resolved(value: Any, **sections: Any) -> Any:
    return template(value, **sections).resolve(value, "here")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "AWS::Region"}, REGION),
        ({"Ref": "AWS::AccountId"}, ACCOUNT),
        ({"Ref": "Named"}, f"data-{ACCOUNT}"),
        ({"Ref": "Queue"}, f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/q"),
        ({"Ref": "Definition"}, f"arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/d:7"),
        ({"Fn::GetAtt": ["Repo", "Arn"]}, f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/r"),
        ({"Fn::GetAtt": "Queue.JobQueueArn"}, f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/q"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Named"}, "b"]]}, f"a-data-{ACCOUNT}-b"),
        ({"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":", 5]]}, "arn:aws:5"),
        ({"Fn::Split": ["/", "a/b/c"]}, ["a", "b", "c"]),
        ({"Fn::Select": [1, {"Fn::Split": ["/", "a/b/c"]}]}, "b"),
        ({"Fn::Select": ["2", ["a", "b", "c"]]}, "c"),
        ({"Fn::Select": [1, {"Fn::GetAZs": ""}]}, f"{REGION}b"),
        ({"Fn::Sub": "${Repo.RepositoryUri}:x ${!kept} ${AWS::URLSuffix}"}, None),
        ({"Fn::Sub": ["${a}/${b}", {"a": "1", "b": {"Ref": "AWS::Region"}}]}, f"1/{REGION}"),
        ({"Fn::Base64": "hi"}, "aGk="),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"Fn::FindInMap": ["M", {"Ref": "AWS::Region"}, "k"]}, "found"),
        ({"Fn::If": ["Here", "yes", "no"]}, "yes"),
        ({"Fn::If": ["There", "yes", {"Ref": "P"}]}, "default"),
        ({"Ref": "P", "other": 1}, {"Ref": "P", "other": 1}),
    ],
)
def test_a_function_gives_what_cloudformation_would_give(value: Any, expected: Any) -> None:
    sections = {
        "Mappings": {"M": {REGION: {"k": "found"}}},
        "Parameters": {"P": {"Type": "String", "Default": "default"}},
        "Conditions": {
            "Here": {"Fn::Equals": [{"Ref": "AWS::Region"}, REGION]},
            "There": {"Fn::And": [{"Condition": "Here"}, {"Fn::Not": [{"Condition": "Here"}]}]},
        },
    }
    if expected is None:
        expected = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/r:x ${{kept}} amazonaws.com"
    assert resolved(value, **sections) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"Ref": "Nothing"}, "Nothing"),
        ({"Fn::GetAtt": ["Nothing", "Arn"]}, "Nothing"),
        ({"Fn::GetAtt": ["Queue", "Color"]}, "AWS::Batch::JobQueue has no attribute Color"),
        ({"Fn::GetAtt": ["Bucket"]}, "two arguments"),
        ({"Fn::Join": ["-", "abc"]}, "needs a list"),
        ({"Fn::Select": [3, ["a"]]}, "no item '3'"),
        ({"Fn::If": ["Nowhere", 1, 2]}, "Nowhere"),
        ({"Fn::FindInMap": ["M", "a", "b"]}, r"M\.a\.b"),
        ({"Ref": ["x"]}, "needs a text"),
    ],
)
def test_a_function_used_wrongly_is_refused_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        resolved(value)


@pytest.mark.parametrize(
    ("sections", "place"),
    [
        (
            {"Resources": {"A": {"Type": "T", "Properties": {"B": [{"Fn::Nope": ["x"]}]}}}},
            r"Resources\.A\.Properties\.B\[0\]",
        ),
        ({"Outputs": {"O": {"Value": {"Fn::Nope": "x"}}}}, r"Outputs\.O\.Value"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"B": {"Fn::Equals": [1, 1]}}}}}, r"Fn::Equals"),
    ],
)
def test_an_unknown_function_is_refused_wherever_it_stands(sections: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput, match=place):
        template(**sections)


def test_a_resource_without_a_name_always_gets_the_same_one() -> None:
    first, again = resolved({"Ref": "Bucket"}), resolved({"Ref": "Bucket"})
    assert first == again
    assert first == first.lower()
    assert len(first) <= 63


def test_two_stacks_get_different_names() -> None:
    body = {"Resources": RESOURCES}
    names = {
        Template(stack=stack, body=body, account_id=ACCOUNT, region=REGION).physical_id("Bucket")
        for stack in ("A", "B")
    }
    assert len(names) == 2


def test_resources_and_outputs_whose_condition_does_not_hold_are_left_out() -> None:
    never = {"Never": {"Fn::Equals": ["a", "b"]}}
    resources = {"A": {"Type": "T", "Condition": "Never"}, "B": {"Type": "T"}}
    outputs = {"O": {"Value": "1", "Condition": "Never"}, "P": {"Value": 2, "Description": "two"}}
    one = template(Resources=resources, Outputs=outputs, Conditions=never)
    assert [resource.logical_id for resource in one.resources()] == ["B"]
    assert list(one.outputs()) == [("P", "2", "two", "")]


def test_what_refers_to_itself_ends() -> None:
    resources = {"A": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Ref": "A"}}}}
    assert isinstance(template(Resources=resources).physical_id("A"), str)
    deep: Any = "x"
    for _ in range(100):
        deep = {"Fn::Join": ["", [deep]]}
    with pytest.raises(InvalidInput, match="too deep"):
        template(Outputs={"O": {"Value": deep}})


@pytest.mark.parametrize("text", ["", "[]", '"x"', "{"])
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "S.template.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"S\.template\.json"):
        read_template(path)


def test_a_missing_template_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"python app\.py"):
        read_template(tmp_path / "S.template.json")


def test_a_template_without_resources_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no Resources"):
        template(Resources={})


def test_the_stacks_name_is_the_files() -> None:
    assert stack_name_of(Path("cdk.out/MyStack.template.json")) == "MyStack"
