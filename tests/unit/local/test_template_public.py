"""Templates as strangers write them: YAML, parameters of every type, foreign resources, what only the cloud knows."""

from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.template import Template
from spotbatch.local.template_file import read_template, stack_name_of, template_of

ACCOUNT, REGION = "123456789012", "eu-west-1"
TEXT = """
AWSTemplateFormatVersion: 2010-09-09
Description: as public ones are
Transform: AWS::LanguageExtensions
Metadata: {AWS::CloudFormation::Interface: {ParameterGroups: []}}
Parameters:
  Subnets: {Type: "List<AWS::EC2::Subnet::Id>"}
  Types: {Type: CommaDelimitedList, Default: "c5.large, m5.large"}
  Most: {Type: Number, Default: 16, MinValue: 1, MaxValue: 64}
  Image: {Type: "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", Default: /aws/service/ecs/optimized-ami/x/image_id}
  Spot: {Type: String, AllowedValues: [yes-please, no-thanks], Default: yes-please}
  Secret: {Type: String, NoEcho: true, MinLength: 3, Default: "{{resolve:ssm:/secret}}"}
Mappings:
  Sizes: {eu-west-1: {small: m5.large}}
Conditions:
  IsSpot: !Equals [!Ref Spot, yes-please]
  IsBoth: !And [!Condition IsSpot, !Not [!Equals [!Ref Most, 3]]]
Resources:
  Net:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: 10.1.0.0/16}
  Sub:
    Type: AWS::EC2::Subnet
    DependsOn: [Net]
    Properties:
      CidrBlock: !Select [1, !Cidr [!GetAtt Net.CidrBlock, 4, 8]]
  Odd:
    Type: Custom::Thing
    Properties:
      ServiceToken: !ImportValue somebodys-function
      Body: {Fn::Transform: {Name: AWS::Include, Parameters: {Location: s3://x/y}}}
      Password: "{{resolve:secretsmanager:db:SecretString:password}}"
  Nested:
    Type: AWS::CloudFormation::Stack
    Properties: {TemplateURL: https://x/y.yaml}
  Named:
    Type: AWS::S3::Bucket
    Properties: {BucketName: !ImportValue nobody-exports-it}
  Never:
    Type: AWS::SNS::Topic
    Condition: IsNever
  Environment:
    Type: AWS::Batch::ComputeEnvironment
    Properties:
      Type: MANAGED
      ComputeResources:
        Type: !If [IsBoth, SPOT, EC2]
        InstanceTypes: !Ref Types
        Subnets: !Split [",", !Join [",", !Ref Subnets]]
        MaxvCpus: !Ref Most
        ImageId: !Ref Image
        Tags: {Json: !ToJsonString {a: [1, !Ref "AWS::Region"]}, Count: !Length [a, b]}
        Ec2KeyPair: !If [IsSpot, !Ref "AWS::NoValue", key]
Outputs:
  Odd: {Value: !GetAtt Odd.Anything}
  Nested: {Value: !GetAtt Nested.Outputs.BucketArn}
  Id: {Value: !Sub "${Net}/${Net.CidrBlock}/${!Literal}"}
""".replace("  IsBoth:", "  IsNever: !Not [!Condition IsSpot]\n  IsBoth:")


def template(text: str = TEXT, **given: str) -> Template:
    more = {"Subnets": "subnet-1,subnet-2"} if "Subnets" in text else {}
    body = template_of(text, "it")
    return Template(stack="S", body=body, account_id=ACCOUNT, region=REGION, given={**more, **given})


def test_a_public_template_is_resolved_where_its_batch_resources_need_it() -> None:
    one = template()
    (environment,) = [each for each in one.resources() if each.type.startswith("AWS::Batch")]
    resources = one.resolve(environment.properties, "here")["ComputeResources"]
    image = resources.pop("ImageId")
    assert image.startswith("ami-")
    assert resources == {
        "Type": "SPOT",
        "InstanceTypes": ["c5.large", "m5.large"],
        "Subnets": ["subnet-1", "subnet-2"],
        "MaxvCpus": "16",
        "Tags": {"Json": '{"a":[1,"eu-west-1"]}', "Count": 2},
    }
    assert "Never" not in {each.logical_id for each in one.resources()}
    assert one.physical_id("Named").startswith("s-named-")


def test_outputs_that_read_foreign_resources_have_values_that_stay() -> None:
    first, again = ({key: value for key, value, *_ in template().outputs()} for _ in range(2))
    assert first == again
    assert first["Nested"].startswith("arn:aws:cloudformation:")
    assert first["Odd"]
    assert first["Id"].endswith("/10.1.0.0/16/${Literal}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}, ["10.0.0.0/24", "10.0.1.0/24"]),
        ({"Fn::Cidr": ["10.0.0.0/16", "2"]}, ["10.0.0.0/24", "10.0.1.0/24"]),
        ({"Fn::Cidr": ["fd00::/56", 1, 64]}, ["fd00::/64"]),
        ({"Fn::ToJsonString": {"a": {"Ref": "AWS::NoValue"}, "b": 1}}, '{"b":1}'),
        ({"Fn::Length": {"Ref": "Types"}}, 2),
        ({"Fn::FindInMap": ["Sizes", "nowhere", "small", {"DefaultValue": "d"}]}, "d"),
        ({"Fn::Join": ["-", [True, 1, 1.5]]}, "true-1-1.5"),
        ({"Fn::Select": ["1", {"Ref": "Types"}]}, "m5.large"),
    ],
)
def test_a_function_gives_what_cloudformation_gives(value: Any, expected: Any) -> None:
    assert template().resolve(value, "here") == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"Fn::Cidr": ["10.0.0.0/24", 300, 8]}, "no 300 blocks"),
        ({"Fn::Cidr": ["10.0.0.0/24", 2, 8]}, "no 2 blocks"),
        ({"Fn::Cidr": ["nonsense", 2, 8]}, "address block"),
        ({"Fn::ImportValue": "there"}, "no stack that is loaded here exports 'there'.*--import 'there=VALUE'"),
        ({"Fn::Transform": {"Name": "AWS::Include"}}, r"macro .AWS::Include. runs in the cloud"),
        ({"Ref": "Never"}, "condition does not hold"),
        ({"Fn::GetAtt": ["Environment", "Nope"]}, "AWS::Batch::ComputeEnvironment has no attribute Nope"),
    ],
)
def test_what_no_cloudformation_could_resolve_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        template().resolve(value, "here")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Nope": "1"}, "it has no parameter Nope; it has .*Subnets"),
        ({"Spot": "maybe"}, "yes-please"),
        ({"Most": "65"}, "between 1.0 and 64.0"),
        ({"Most": "many"}, "must be a number"),
        ({"Secret": "ab"}, "2 characters, not 3"),
    ],
)
def test_a_parameter_is_held_against_the_templates_own_rules(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        template(**given)


def test_parameters_without_a_default_are_named_with_the_option_that_gives_them() -> None:
    text = (
        "Parameters: {A: {Type: String}, B: {Type: Number}, C: {Type: String, Default: c}}\nResources: {R: {Type: T}}"
    )
    with pytest.raises(InvalidInput, match=r"give --parameter A=VALUE --parameter B=VALUE$"):
        template(text)


def test_dynamic_references_find_what_the_region_holds() -> None:
    held = {("ssm", "/secret"): "told", ("secretsmanager", "db:SecretString:password"): "p"}
    one = template()
    one.lookup = lambda service, name: held.get((service, name))
    assert one.with_dynamic_references(["a-{{resolve:ssm:/secret}}", {"b": one.reference("Secret", "x")}], "x") == [
        "a-told",
        {"b": "told"},
    ]
    assert one.with_dynamic_references("{{resolve:secretsmanager:db:SecretString:password}}", "x") == "p"
    with pytest.raises(InvalidInput, match=r"resolve:ssm:/other.* is not in this region: .*put-parameter"):
        one.with_dynamic_references("{{resolve:ssm:/other}}", "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Resources: {R: {Type: T}}\nResorces: {}", "no section Resorces"),
        ("Resources: {R: {Type: T, Propertiess: {}}}", r"Resources\.R: a resource has no Propertiess"),
        ("Resources: {R: {Type: T, DependsOn: Q}}", r"DependsOn names 'Q'"),
        ("Resources: {R: {Properties: {}}}", "needs a Type"),
        ("Outputs: {}", "no Resources"),
        ("Resources: {R: {Type: T, Properties: {A: !Nope x}}}", "Fn::Nope"),
    ],
)
def test_what_is_no_template_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        template(text).resources()


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x", "a: 1\na: 2", "a: [", "- 1", "a: {b: !!python/name:os.system ''}"]
)
def test_yaml_that_cloudformation_does_not_take_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^it "):
        template_of(text, "it")


def test_a_file_of_either_kind_is_read_and_names_its_stack(tmp_path: Path) -> None:
    for name, text in (
        ("a.yaml", "Resources: {R: {Type: T}}"),
        ("a.template.json", '{"Resources": {"R": {"Type": "T"}}}'),
    ):
        (tmp_path / name).write_text(text)
        assert read_template(tmp_path / name) == {"Resources": {"R": {"Type": "T"}}}
        assert stack_name_of(tmp_path / name) == "a"
    assert stack_name_of(Path("x/Stack.template")) == "Stack"
