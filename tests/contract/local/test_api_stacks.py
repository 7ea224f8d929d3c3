"""A template loaded into a region: its Batch resources work, and CloudFormation tells of its outputs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput
from tests.contract.cli_world import surroundings
from tests.contract.local_api_region import RunningRegion, running

TEMPLATE: dict[str, Any] = {
    "Description": "made by hand, in the shape of the CDK's",
    "Parameters": {"BootstrapVersion": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/cdk-bootstrap/x"}},
    "Rules": {"CheckBootstrapVersion": {"Assertions": [{"Assert": {"Fn::Not": [{"Fn::Contains": [["1"], "1"]}]}}]}},
    "Resources": {
        **surroundings("/spotbatch/x"),
        "Environment": {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {
                "Type": "managed",
                "ReplaceComputeEnvironment": False,
                "State": "ENABLED",
                "ComputeResources": {
                    "Type": "SPOT",
                    "AllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
                    "BidPercentage": 80,
                    "MinvCpus": 0,
                    "MaxvCpus": 256,
                    "InstanceTypes": ["c5.large", "m5.large"],
                    "InstanceRole": {"Fn::GetAtt": ["Profile", "Arn"]},
                    "SecurityGroupIds": [{"Fn::GetAtt": ["Guard", "GroupId"]}],
                    "Subnets": [{"Ref": "Net"}],
                    "UpdateToLatestImageVersion": True,
                },
                "UpdatePolicy": {},
            },
        },
        "Queue": {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {
                "Priority": 1,
                "ComputeEnvironmentOrder": [
                    {"ComputeEnvironment": {"Fn::GetAtt": ["Environment", "ComputeEnvironmentArn"]}, "Order": 1}
                ],
            },
        },
        "Definition": {
            "Type": "AWS::Batch::JobDefinition",
            "Properties": {
                "Type": "container",
                "JobDefinitionName": "work",
                "ContainerProperties": {
                    "Image": {"Fn::Join": ["", [{"Fn::GetAtt": ["Repo", "RepositoryUri"]}, ":latest"]]},
                    "Command": [],
                    "Environment": [
                        {
                            "Name": "SPOTBATCH_ARTIFACTS_URL",
                            "Value": {"Fn::Join": ["", ["s3://", {"Ref": "Bucket"}]]},
                        },
                        {"Name": "OTHER", "Value": "kept"},
                    ],
                    "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "512"}],
                    "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": {"Ref": "Log"}}},
                },
                "RetryStrategy": {
                    "Attempts": 3,
                    "EvaluateOnExit": [{"Action": "RETRY", "OnStatusReason": "Host EC2*"}],
                },
                "Timeout": {"AttemptDurationSeconds": 3600},
                "Tags": {"Project": "x"},
            },
        },
    },
    "Outputs": {
        "JobQueueName": {"Value": {"Fn::Select": [1, {"Fn::Split": ["/", {"Ref": "Queue"}]}]}},
        "JobDefinitionName": {"Value": "work", "Description": "of the jobs"},
        "ArtifactsBucketName": {"Value": {"Ref": "Bucket"}},
    },
}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    folder = tmp_path_factory.mktemp("region")
    (folder / "Work.template.json").write_text(json.dumps(TEMPLATE))
    with running(folder / "home", "--template", str(folder / "Work.template.json")) as started:
        yield started


def outputs(region: RunningRegion, stack: str) -> dict[str, str]:
    (found,) = region.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    assert found["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def test_a_job_is_submitted_by_what_the_outputs_name(region: RunningRegion) -> None:
    named = outputs(region, "Work")
    batch = region.client("batch")
    asked = {"jobQueue": named["JobQueueName"], "jobDefinition": named["JobDefinitionName"]}
    job_id = batch.submit_job(jobName="j", **asked)["jobId"]
    (found,) = batch.describe_jobs(jobs=[job_id])["jobs"]
    assert found["retryStrategy"]["attempts"] == 3
    assert found["timeout"] == {"attemptDurationSeconds": 3600}
    assert found["container"]["image"] == "123456789012.dkr.ecr.us-east-1.amazonaws.com/jobs:latest"
    batch.terminate_job(jobId=job_id, reason="seen enough")


def test_the_artifact_store_of_a_loaded_definition_is_the_regions_folder(region: RunningRegion) -> None:
    (found,) = region.client("batch").describe_job_definitions(jobDefinitionName="work")["jobDefinitions"]
    environment = {entry["name"]: entry["value"] for entry in found["containerProperties"]["environment"]}
    assert environment == {"SPOTBATCH_ARTIFACTS_URL": region.info.artifacts_url, "OTHER": "kept"}


def test_a_stacks_resources_are_listed_and_its_names_exist_elsewhere(region: RunningRegion) -> None:
    rows = region.client("cloudformation").describe_stack_resources(StackName="Work")["StackResources"]
    assert {row["LogicalResourceId"] for row in rows} == set(TEMPLATE["Resources"])
    summaries = region.client("cloudformation").list_stack_resources(StackName="Work")["StackResourceSummaries"]
    assert len(summaries) == len(rows)
    bucket = outputs(region, "Work")["ArtifactsBucketName"]
    assert bucket in {one["Name"] for one in region.client("s3").list_buckets()["Buckets"]}
    groups = region.client("logs").describe_log_groups(logGroupNamePrefix="/spotbatch/x")["logGroups"]
    assert [one["logGroupName"] for one in groups] == ["/spotbatch/x"]
    assert region.client("ecr").describe_repositories(repositoryNames=["jobs"])["repositories"]


def test_loading_the_same_template_again_changes_nothing(region: RunningRegion) -> None:
    region.admin.load_stack("Work", TEMPLATE)
    found = region.client("batch").describe_job_definitions(jobDefinitionName="work")["jobDefinitions"]
    assert [one["revision"] for one in found] == [1]


def test_a_changed_template_updates_the_environment_and_makes_a_revision(region: RunningRegion) -> None:
    changed = json.loads(json.dumps(TEMPLATE).replace('"work"', '"changing"'))
    region.admin.load_stack("Changing", changed)
    changed["Resources"]["Environment"]["Properties"]["ComputeResources"]["MaxvCpus"] = 64
    changed["Resources"]["Definition"]["Properties"]["ContainerProperties"]["Command"] = ["true"]
    region.admin.load_stack("Changing", changed)
    batch = region.client("batch")
    found = batch.describe_job_definitions(jobDefinitionName="changing")["jobDefinitions"]
    assert [(one["revision"], one["status"]) for one in found] == [(2, "ACTIVE"), (1, "INACTIVE")]
    name = outputs(region, "Changing")["JobQueueName"]
    (queue,) = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    arn = queue["computeEnvironmentOrder"][0]["computeEnvironment"]
    (environment,) = batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"]
    assert environment["computeResources"]["maxvCpus"] == 64


def test_a_template_that_batch_would_refuse_is_refused_with_the_resources_name(region: RunningRegion) -> None:
    wrong = json.loads(json.dumps(TEMPLATE))
    wrong["Resources"]["Definition"]["Properties"]["RetryStrategy"]["Attempts"] = 11
    with pytest.raises(InvalidInput, match=r"Resources\.Definition: RegisterJobDefinition refused it: .*1 to 10"):
        region.admin.load_stack("Wrong", wrong)


def test_a_stack_that_was_not_loaded_is_unknown(region: RunningRegion) -> None:
    cloudformation = region.client("cloudformation")
    with pytest.raises(cloudformation.exceptions.ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName="Nowhere")


def test_a_region_of_another_name_and_account_is_that_everywhere(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--region", "eu-west-1", "--account-id", "111122223333") as other:
        named = other.admin.load_stack("Work", TEMPLATE)["outputs"]
        assert other.client("sts").get_caller_identity()["Account"] == "111122223333"
        (bucket,) = other.client("s3").list_buckets()["Buckets"]
        assert bucket["Name"] == named["ArtifactsBucketName"]
        (queue,) = other.client("batch").describe_job_queues()["jobQueues"]
        assert queue["jobQueueArn"] == f"arn:aws:batch:eu-west-1:111122223333:job-queue/{named['JobQueueName']}"


def test_a_broken_template_file_ends_the_start_with_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "Bad.template.json").write_text(
        '{"Resources": {"A": {"Type": "T", "Properties": {"x": {"Fn::Nope": 1}}}}}'
    )
    starting = running(tmp_path / "home", "--template", str(tmp_path / "Bad.template.json"))
    with pytest.raises(AssertionError, match=r"ended with 2: .*Fn::Nope"), starting:
        pass
