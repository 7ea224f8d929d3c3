"""Every rule of the audit, by a template in which one thing is wrong."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from spotbatch.audit.audit import RULES, audit
from spotbatch.audit.finding import Finding, Level
from spotbatch.audit.live import capitalized
from spotbatch.audit.read_template import facts_of, lines_of
from spotbatch.audit.sarif import sarif_of
from spotbatch.batch.errors import InvalidInput
from spotbatch.local.template_file import template_of
from spotbatch.pricing.catalogue import catalogue

DRAIN = "#!/bin/bash\necho ECS_ENABLE_SPOT_INSTANCE_DRAINING=true >> /etc/ecs/ecs.config\n"
GOOD: dict[str, Any] = {
    "Resources": {
        "Hosts": {
            "Type": "AWS::EC2::LaunchTemplate",
            "Properties": {"LaunchTemplateData": {"UserData": {"Fn::Base64": DRAIN}}},
        },
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 30}},
        "Environment": {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {
                "Type": "MANAGED",
                "ReplaceComputeEnvironment": False,
                "UpdatePolicy": {"TerminateJobsOnUpdate": False, "JobExecutionTimeoutMinutes": 600},
                "ComputeResources": {
                    "Type": "SPOT",
                    "AllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
                    "MinvCpus": 0,
                    "MaxvCpus": 256,
                    "InstanceTypes": ["c5", "m5", "r5"],
                    "Subnets": ["subnet-1", "subnet-2"],
                    "LaunchTemplate": {
                        "LaunchTemplateId": {"Ref": "Hosts"},
                        "Version": {"Fn::GetAtt": ["Hosts", "LatestVersionNumber"]},
                    },
                },
            },
        },
        "Work": {
            "Type": "AWS::Batch::JobDefinition",
            "Properties": {
                "Type": "container",
                "ContainerProperties": {
                    "Image": "x",
                    "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "2048"}],
                    "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": {"Ref": "Logs"}}},
                },
                "Timeout": {"AttemptDurationSeconds": 3600},
                "RetryStrategy": {
                    "Attempts": 10,
                    "EvaluateOnExit": [
                        {"Action": "RETRY", "OnStatusReason": "Host EC2*"},
                        {"Action": "retry", "OnReason": "CannotPull*"},
                        {"Action": "RETRY", "OnStatusReason": "Task failed to start"},
                        {"Action": "EXIT", "OnReason": "*"},
                    ],
                },
            },
        },
    }
}
Change = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], object]


def found_in(body: dict[str, Any]) -> list[Finding]:
    return audit(facts_of(body, types=catalogue()))


def changed(change: Change) -> dict[str, Any]:
    """The good template with one change, to its resources, compute resources or job definition."""
    body = copy.deepcopy(GOOD)
    resources = body["Resources"]
    change(resources, resources["Environment"]["Properties"]["ComputeResources"], resources["Work"]["Properties"])
    return body


def add(kind: str, **properties: Any) -> Change:
    return lambda all_, _c, _d: all_.update({"Added": {"Type": kind, "Properties": properties}})


def compute(**changes: Any) -> Change:
    return lambda _all, resources, _d: resources.update(changes)


def environment(**changes: Any) -> Change:
    return lambda all_, _c, _d: all_["Environment"]["Properties"].update(changes)


def retries(attempts: int, *entries: dict[str, str]) -> Change:
    return lambda _a, _c, work: work.update(RetryStrategy={"Attempts": attempts, "EvaluateOnExit": list(entries)})


def statement(**members: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", **members}]}


EXIT = {"Action": "EXIT", "OnReason": "*"}
LOST = {"Action": "RETRY", "OnStatusReason": "Host EC2*"}


def test_what_is_as_it_should_be_has_no_finding() -> None:
    assert found_in(GOOD) == []


@pytest.mark.parametrize(
    ("rule", "change", "seen"),
    [
        ("few-instance-types", compute(InstanceTypes=["c5.large"]), "c5.large: 1 instance type"),
        ("few-instance-types", compute(InstanceTypes=["c5.large", "m5.large"]), "2 instance types"),
        ("one-zone", compute(Subnets=["subnet-1"]), "1 subnet in one zone"),
        ("best-fit", lambda _a, c, _d: c.pop("AllocationStrategy"), "not set, so BEST_FIT"),
        ("best-fit", compute(AllocationStrategy="BEST_FIT"), "AllocationStrategy: BEST_FIT"),
        ("best-fit", compute(AllocationStrategy="BEST_FIT_PROGRESSIVE"), "BEST_FIT_PROGRESSIVE on Spot"),
        ("optimal", compute(InstanceTypes=["optimal"]), "InstanceTypes has optimal"),
        ("low-bid", compute(BidPercentage=30), "BidPercentage: 30; "),
        ("low-bid", compute(BidPercentage="20", InstanceTypes=["z9.large"]), "BidPercentage: 20"),
        ("idle-hosts", compute(MinvCpus=16), "MinvCpus: 16"),
        ("no-draining", lambda _a, c, _d: c.pop("LaunchTemplate"), "no launch template"),
        (
            "no-draining",
            lambda all_, _c, _d: all_["Hosts"]["Properties"].update(LaunchTemplateData={}),
            "the user data of Hosts does not set it",
        ),
        ("unpinned-launch-template", lambda _a, c, _d: c["LaunchTemplate"].pop("Version"), "not set, so $Default"),
        ("unpinned-launch-template", lambda _a, c, _d: c["LaunchTemplate"].update(Version="$Latest"), "$Latest"),
        (
            "name-blocks-replacement",
            environment(ComputeEnvironmentName="spot", ReplaceComputeEnvironment=True),
            "ComputeEnvironmentName: spot",
        ),
        ("no-update-policy", environment(ReplaceComputeEnvironment="true"), "ReplaceComputeEnvironment is not false"),
        ("no-update-policy", environment(UpdatePolicy={}), "JobExecutionTimeoutMinutes is 30"),
        ("lost-hosts-not-retried", lambda _a, _c, d: d.pop("RetryStrategy"), "Attempts: 1"),
        ("lost-hosts-not-retried", retries(3, EXIT), "Attempts: 3, 1 entries"),
        ("no-exit-entry", retries(5), "Attempts: 5: exit code 1 is retried"),
        ("no-exit-entry", retries(5, LOST), "Attempts: 5, 1 entries: exit code 1 is retried"),
        ("agent-errors-not-retried", retries(5, LOST, EXIT), "`Task failed to start` ends the job"),
        ("no-timeout", lambda _a, _c, d: d.pop("Timeout"), "Timeout is not set"),
        (
            "no-host-is-large-enough",
            lambda _a, c, d: (
                c.update(InstanceTypes=["c5.large", "c5.xlarge"]),
                d["ContainerProperties"].update(ResourceRequirements=[], Vcpus=1, Memory=8192),
            ),
            "c5.xlarge, has 4 vCPUs and gives jobs about",
        ),
        ("nat-hours", add("AWS::EC2::NatGateway"), "1 NAT gateway: Added"),
        ("s3-through-nat", add("AWS::EC2::NatGateway"), "no endpoint for S3"),
        ("logs-kept-for-ever", add("AWS::Logs::LogGroup"), "RetentionInDays is not set"),
        ("logs-kept-for-ever", lambda _a, _c, d: d["ContainerProperties"].pop("LogConfiguration"), "/aws/batch/job"),
        ("open-role", add("AWS::IAM::Policy", PolicyDocument=statement(Action="s3:*", Resource="*")), "Allow s3:*"),
        (
            "open-role",
            add("AWS::IAM::Role", ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonS3FullAccess"]),
            "AmazonS3FullAccess",
        ),
        (
            "open-role",
            add("AWS::IAM::Role", AssumeRolePolicyDocument=statement(Principal={"AWS": "*"}, Action="sts:AssumeRole")),
            "any account may take the role",
        ),
    ],
)
def test_one_thing_that_is_wrong_is_found_with_its_evidence(rule: str, change: Change, seen: str) -> None:
    found = {each.rule: each for each in found_in(changed(change))}
    assert rule in found, sorted(found)
    assert seen in found[rule].evidence
    assert found[rule].source.startswith("https://docs.aws.amazon.com/")
    assert found[rule].fix


def test_every_rule_is_in_the_table_above() -> None:
    marks = test_one_thing_that_is_wrong_is_found_with_its_evidence.pytestmark  # type: ignore[attr-defined]
    tried = {case[0] for case in marks[0].args[1]}
    assert len(tried) == len(RULES)


def test_what_only_a_deployment_knows_is_not_guessed_at() -> None:
    body = changed(compute(InstanceTypes={"Ref": "Types"}, Subnets={"Ref": "Nets"}, BidPercentage={"Ref": "Bid"}))
    body["Parameters"] = {
        "Types": {"Type": "CommaDelimitedList"},
        "Nets": {"Type": "List<AWS::EC2::Subnet::Id>"},
        "Bid": {"Type": "Number"},
    }
    assert found_in(body) == []


SAMPLE = """
AWSTemplateFormatVersion: '2010-09-09'
Description: as first templates for AWS Batch are written
Parameters:
  VPC: {Type: "AWS::EC2::VPC::Id"}
  SubnetA: {Type: "AWS::EC2::Subnet::Id"}
Resources:
  BatchInstanceRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: [ec2.amazonaws.com]}, Action: ["sts:AssumeRole"]}]
      ManagedPolicyArns:
        - !Sub arn:${AWS::Partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role
        - arn:aws:iam::aws:policy/AmazonS3FullAccess
  BatchProfile: {Type: "AWS::IAM::InstanceProfile", Properties: {Roles: [!Ref BatchInstanceRole]}}
  SpotEnvironment:
    Type: AWS::Batch::ComputeEnvironment
    Properties:
      ComputeEnvironmentName: !Sub ${AWS::StackName}-spot
      Type: MANAGED
      ComputeResources:
        Type: SPOT
        BidPercentage: 40
        MinvCpus: 0
        MaxvCpus: 64
        InstanceTypes: [optimal]
        Subnets: [!Ref SubnetA]
        SecurityGroupIds: [!ImportValue network-group]
        InstanceRole: !Ref BatchProfile
  Queue:
    Type: AWS::Batch::JobQueue
    Properties: {Priority: 1, ComputeEnvironmentOrder: [{Order: 1, ComputeEnvironment: !Ref SpotEnvironment}]}
  Job:
    Type: AWS::Batch::JobDefinition
    Properties:
      Type: container
      ContainerProperties:
        Image: !Sub ${AWS::AccountId}.dkr.ecr.${AWS::Region}.amazonaws.com/x
        Vcpus: 2
        Memory: 2000
      RetryStrategy: {Attempts: 3}
"""


def test_a_template_as_people_write_them_first() -> None:
    facts = facts_of(template_of(SAMPLE, "sample"), types=catalogue())
    found = audit(facts)
    assert found[0].level is Level.ERROR
    assert {each.rule for each in found} == {
        "name-blocks-replacement", "best-fit", "optimal", "low-bid", "no-draining", "no-update-policy",
        "no-exit-entry", "no-timeout", "logs-kept-for-ever", "open-role",
    }  # fmt: skip
    lines = lines_of(SAMPLE, facts)
    assert SAMPLE.splitlines()[lines["SpotEnvironment"] - 1].strip() == "SpotEnvironment:"
    sarif = json.loads(json.dumps(sarif_of(found, file="a.yaml", lines=lines, version="1")))
    [run] = sarif["runs"]
    assert len(run["results"]) == len(found)
    first = run["results"][0]
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == first["ruleId"] == "name-blocks-replacement"
    assert first["locations"][0]["physicalLocation"]["region"]["startLine"] == lines["SpotEnvironment"]


def test_a_template_without_aws_batch_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no resource of AWS Batch"):
        found_in({"Resources": {"B": {"Type": "AWS::S3::Bucket"}}})


def test_what_the_api_answers_is_spelt_as_templates_are() -> None:
    answer = {"computeResources": {"minvCpus": 0, "instanceTypes": ["c5"], "launchTemplate": {"version": "1"}}}
    wanted = {"ComputeResources": {"MinvCpus": 0, "InstanceTypes": ["c5"], "LaunchTemplate": {"Version": "1"}}}
    assert capitalized(answer) == wanted
