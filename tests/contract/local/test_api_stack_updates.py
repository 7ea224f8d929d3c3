"""Stacks as CloudFormation keeps them: updated, replaced, rolled back and removed; made by its API or by a load."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import InvalidInput, SpotbatchError
from tests.contract.local_api_region import RunningRegion, refusal, running, until

MIME = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="=="\n\n--==\n\necho\n--==--\n'
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Environment": {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {
                "Type": "MANAGED",
                "ReplaceComputeEnvironment": False,
                "ComputeResources": {
                    "Type": "SPOT",
                    "AllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
                    "MaxvCpus": 16,
                    "InstanceTypes": ["c5.large", "m5.large"],
                    "InstanceRole": "arn:aws:iam::123456789012:instance-profile/x",
                    "SecurityGroupIds": ["sg-1"],
                    "Subnets": ["subnet-1"],
                },
            },
        },
        "Queue": {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {
                "JobQueueName": "old-queue",
                "Priority": 1,
                "ComputeEnvironmentOrder": [{"ComputeEnvironment": {"Ref": "Environment"}, "Order": 1}],
            },
        },
        "Definition": {
            "Type": "AWS::Batch::JobDefinition",
            "Properties": {
                "Type": "container",
                "JobDefinitionName": "job",
                "ContainerProperties": {
                    "Image": "busybox",
                    "Command": ["true"],
                    "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "256"}],
                },
            },
        },
    },
    "Outputs": {"Definition": {"Value": {"Ref": "Definition"}}, "Queue": {"Value": {"Ref": "Queue"}}},
}


@pytest.fixture
def region(tmp_path: Path) -> Iterator[RunningRegion]:
    with running(tmp_path / "home", "--boot-seconds", "0.05", "--stop-grace-seconds", "1") as started:
        yield started


def changed(**places: Any) -> dict[str, Any]:
    """The template with other values at places such as Queue__Properties__Priority; None removes."""
    found = copy.deepcopy(TEMPLATE)
    for place, value in places.items():
        *path, last = place.split("__")
        node = found["Resources"]
        for part in path:
            node = node[part]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return found


def state_of(region: RunningRegion) -> dict[str, Any]:
    """All of AWS Batch's resources, without what goes on by itself."""
    batch = region.client("batch")
    found = {
        "environments": batch.describe_compute_environments()["computeEnvironments"],
        "queues": batch.describe_job_queues()["jobQueues"],
        "definitions": batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"],
        "policies": batch.list_scheduling_policies()["schedulingPolicies"],
    }
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


def revisions(region: RunningRegion, name: str = "job") -> list[tuple[int, str]]:
    found = region.client("batch").describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
    return [(one["revision"], one["status"]) for one in found]


def queues(region: RunningRegion) -> list[str]:
    return [one["jobQueueName"] for one in region.client("batch").describe_job_queues()["jobQueues"]]


# ---- updates ----


def test_a_changed_definition_is_a_new_revision_and_the_old_one_is_deregistered(region: RunningRegion) -> None:
    region.admin.load_stack("S", TEMPLATE)
    loaded = region.admin.load_stack("S", changed(Definition__Properties__ContainerProperties__Command=["false"]))
    assert revisions(region) == [(2, "ACTIVE"), (1, "INACTIVE")]
    assert loaded["outputs"]["Definition"].endswith(":job-definition/job:2")
    region.admin.load_stack("S", changed(Definition__Properties__ContainerProperties__Command=["false"]))
    assert revisions(region) == [(2, "ACTIVE"), (1, "INACTIVE")]


def test_a_retention_policy_keeps_the_old_revision(region: RunningRegion) -> None:
    region.admin.load_stack("S", TEMPLATE)
    keeps = {"SkipDeregisterOnUpdate": True}
    region.admin.load_stack(
        "S",
        changed(
            Definition__Properties__ResourceRetentionPolicy=keeps,
            Definition__Properties__Timeout={"AttemptDurationSeconds": 60},
        ),
    )
    assert revisions(region) == [(2, "ACTIVE"), (1, "ACTIVE")]


def test_a_renamed_queue_replaces_the_old_one_whose_jobs_end(region: RunningRegion) -> None:
    region.admin.load_stack("S", TEMPLATE)
    batch = region.client("batch")
    job = batch.submit_job(
        jobName="j", jobQueue="old-queue", jobDefinition="job", containerOverrides={"command": ["sleep", "60"]}
    )["jobId"]
    until(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "RUNNING")
    region.admin.load_stack("S", changed(Queue__Properties__JobQueueName="new-queue"))
    assert queues(region) == ["new-queue"]
    assert batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "FAILED"
    assert revisions(region) == [(1, "ACTIVE")]


def test_what_is_gone_from_the_template_is_removed_in_order(region: RunningRegion) -> None:
    region.admin.load_stack("S", TEMPLATE)
    only = {"Resources": {"Definition": TEMPLATE["Resources"]["Definition"]}}
    region.admin.load_stack("S", only)
    found = state_of(region)
    assert (found["environments"], found["queues"]) == ([], [])
    assert revisions(region) == [(1, "ACTIVE")]


def test_what_a_deletion_policy_retains_stays(region: RunningRegion) -> None:
    region.admin.load_stack("S", changed(Queue__DeletionPolicy="Retain", Environment__DeletionPolicy="Retain"))
    region.admin.load_stack("S", {"Resources": {"Definition": TEMPLATE["Resources"]["Definition"]}})
    assert queues(region) == ["old-queue"]


def test_a_member_that_is_taken_out_is_awss_default_again(region: RunningRegion) -> None:
    limits = [{"Reason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "State": "RUNNABLE", "MaxTimeSeconds": 600,
               "Action": "CANCEL"}]  # fmt: skip
    region.admin.load_stack(
        "S",
        changed(
            Queue__Properties__JobStateTimeLimitActions=limits,
            Queue__Properties__Tags={"a": "1"},
            Environment__Properties__ComputeResources__MinvCpus=2,
        ),
    )
    region.admin.load_stack("S", TEMPLATE)
    found = state_of(region)
    assert (found["queues"][0]["jobStateTimeLimitActions"], found["queues"][0]["tags"]) == ([], {})
    assert found["environments"][0]["computeResources"]["minvCpus"] == 0


def test_an_environment_is_replaced_where_cloudformation_replaces_it(region: RunningRegion) -> None:
    region.admin.load_stack("S", changed(Environment__Properties__ReplaceComputeEnvironment=None))
    (before,) = state_of(region)["environments"]
    other = {"Environment__Properties__ReplaceComputeEnvironment": None}
    region.admin.load_stack("S", changed(Environment__Properties__ComputeResources__MaxvCpus=8, **other))
    (same,) = state_of(region)["environments"]
    assert (same["computeEnvironmentName"], same["computeResources"]["maxvCpus"]) == (
        before["computeEnvironmentName"], 8
    )  # fmt: skip
    for types in (["c5.large"], ["m5.large"]):
        region.admin.load_stack("S", changed(Environment__Properties__ComputeResources__InstanceTypes=types, **other))
    (after,) = state_of(region)["environments"]
    assert after["computeEnvironmentName"] != before["computeEnvironmentName"]
    (queue,) = state_of(region)["queues"]
    assert queue["computeEnvironmentOrder"][0]["computeEnvironment"] == after["computeEnvironmentArn"]


def test_a_named_resource_that_would_be_replaced_is_refused(region: RunningRegion) -> None:
    named = {"Environment__Properties__ComputeEnvironmentName": "mine"}
    region.admin.load_stack("S", changed(**named))
    before = state_of(region)
    with pytest.raises(InvalidInput, match=r"custom-named resource requires replacing\. Rename mine"):
        region.admin.load_stack("S", changed(Environment__Properties__Tags={"a": "b"}, **named))
    assert state_of(region) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"Queue__Properties__Priority": -1, "Definition__Properties__Timeout": {"AttemptDurationSeconds": 60}},
        {"Queue__Properties__SchedulingPolicyArn": "arn:aws:batch:us-east-1:123456789012:scheduling-policy/x",
         "Environment__Properties__ComputeResources__MaxvCpus": 99},
        {"Definition__Properties__ContainerProperties__Command": [""],
         "Definition__Properties__ContainerProperties__Image": "no spaces allowed",
         "Environment__Properties__ComputeResources__MaxvCpus": 99},
        {"Environment__Properties__ComputeResources__MaxvCpus": 99, "Definition__Properties__JobDefinitionName": "!"},
        {"Queue__Properties__ComputeEnvironmentOrder": [{"ComputeEnvironment": "nowhere", "Order": 1}],
         "Queue__Properties__JobQueueName": "another"},
    ],
)  # fmt: skip
def test_a_load_that_fails_leaves_everything_as_it_was(region: RunningRegion, wrong: Any) -> None:
    with pytest.raises(SpotbatchError):
        region.admin.load_stack("S", changed(**wrong))
    assert state_of(region) == {"environments": [], "queues": [], "definitions": [], "policies": []}
    region.admin.load_stack("S", TEMPLATE)
    before = state_of(region)
    with pytest.raises(SpotbatchError):
        region.admin.load_stack("S", changed(**wrong))
    assert state_of(region) == before
    region.admin.load_stack("S", TEMPLATE)
    assert state_of(region) == before


def test_what_was_loaded_is_known_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "home") as first:
        first.admin.load_stack("S", TEMPLATE)
        before = state_of(first)
    with running(tmp_path / "home") as again:
        again.admin.load_stack("S", TEMPLATE)
        assert state_of(again) == before
        again.admin.load_stack("S", changed(Queue__Properties__JobQueueName="other"))
        assert queues(again) == ["other"]


# ---- user data ----


def with_user_data(text: str) -> dict[str, Any]:
    template = changed(Environment__Properties__ComputeResources__LaunchTemplate={"LaunchTemplateId": {"Ref": "Boot"}})
    data = {"UserData": {"Fn::Base64": {"Fn::Sub": text}}}
    template["Resources"]["Boot"] = {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"LaunchTemplateData": data}}
    return template


def test_user_data_that_is_no_mime_archive_makes_the_environment_invalid(region: RunningRegion) -> None:
    reason = "CLIENT_ERROR - Launch Template UserData is not MIME multipart format"
    for text in ("#!/bin/bash\necho", f"\n{MIME}", "#cloud-config\n"):
        with pytest.raises(InvalidInput, match=f"ComputeEnvironment went INVALID with error: {reason}"):
            region.admin.load_stack("S", with_user_data(text))
    assert state_of(region)["environments"] == []
    region.admin.load_stack("S", with_user_data(MIME + "# ${AWS::Region}"))
    assert [one["status"] for one in state_of(region)["environments"]] == ["VALID"]


def test_user_data_of_a_launch_template_made_by_ec2s_api_is_looked_at_too(region: RunningRegion) -> None:
    from base64 import b64encode

    ec2, batch = region.client("ec2"), region.client("batch")
    for name, text in (("plain", "#!/bin/sh\n"), ("mime", MIME)):
        data = {"UserData": b64encode(text.encode()).decode()}
        ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        resources = {
            "type": "EC2", "maxvCpus": 4, "instanceTypes": ["c5.large"], "subnets": ["s"], "securityGroupIds": ["g"],
            "instanceRole": "r", "launchTemplate": {"launchTemplateName": name},
        }  # fmt: skip
        batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)
    found = {one["computeEnvironmentName"]: one for one in state_of(region)["environments"]}
    assert (found["plain"]["status"], found["mime"]["status"]) == ("INVALID", "VALID")
    assert found["plain"]["statusReason"].endswith("is not MIME multipart format")
    order = [{"order": 1, "computeEnvironment": "plain"}]
    said = refusal(batch.create_job_queue, jobQueueName="q", priority=1, computeEnvironmentOrder=order)
    assert "plain is INVALID" in said


# ---- CloudFormation's own API ----


def test_stacks_are_made_changed_and_removed_by_cloudformations_api(region: RunningRegion) -> None:
    cloudformation = region.client("cloudformation")
    made = cloudformation.create_stack(StackName="S", TemplateBody=json.dumps(TEMPLATE))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="S", WaiterConfig={"Delay": 1})
    assert queues(region) == ["old-queue"]
    assert "AlreadyExists" in refusal(cloudformation.create_stack, StackName="S", TemplateBody=json.dumps(TEMPLATE))
    assert "No updates are to be performed" in refusal(
        cloudformation.update_stack, StackName="S", TemplateBody=json.dumps(TEMPLATE)
    )
    renamed = json.dumps(changed(Queue__Properties__JobQueueName="new"))
    assert cloudformation.update_stack(StackName="S", TemplateBody=renamed)["StackId"] == made["StackId"]
    cloudformation.get_waiter("stack_update_complete").wait(StackName="S", WaiterConfig={"Delay": 1})
    assert queues(region) == ["new"]
    resource = cloudformation.describe_stack_resource(StackName="S", LogicalResourceId="Queue")
    assert resource["StackResourceDetail"]["PhysicalResourceId"].endswith("job-queue/new")
    events = cloudformation.describe_stack_events(StackName="S")["StackEvents"]
    assert {"CREATE_COMPLETE", "UPDATE_COMPLETE"} <= {one["ResourceStatus"] for one in events}
    assert cloudformation.get_template(StackName="S")["TemplateBody"]
    cloudformation.delete_stack(StackName=made["StackId"])
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="S", WaiterConfig={"Delay": 1})
    assert state_of(region) == {"environments": [], "queues": [], "definitions": [], "policies": []}


def test_a_stack_that_cannot_be_made_is_rolled_back_and_says_why(region: RunningRegion) -> None:
    cloudformation = region.client("cloudformation")
    wrong = json.dumps(changed(Queue__Properties__ComputeEnvironmentOrder=[{"ComputeEnvironment": "x", "Order": 1}]))
    cloudformation.create_stack(StackName="S", TemplateBody=wrong)
    (stack,) = cloudformation.describe_stacks(StackName="S")["Stacks"]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Resources.Queue" in stack["StackStatusReason"]
    assert state_of(region)["environments"] == []
    cloudformation.delete_stack(StackName="S")
    until(lambda: not [one for one in cloudformation.describe_stacks()["Stacks"] if one["StackName"] == "S"])
    assert "does not exist" in refusal(cloudformation.describe_stacks, StackName="S")
    assert "ValidationError" in refusal(cloudformation.create_stack, StackName="T", TemplateBody="{")
    assert cloudformation.create_stack(
        StackName="Plain", TemplateBody=json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    )["StackId"]


def test_a_stack_takes_parameters_yaml_and_a_template_on_s3(region: RunningRegion) -> None:
    cloudformation, s3 = region.client("cloudformation"), region.client("s3")
    text = """
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Name: {Type: String}
  Vcpus: {Type: Number, Default: 1, MaxValue: 4}
Resources:
  Job:
    Type: AWS::Batch::JobDefinition
    Properties:
      Type: container
      JobDefinitionName: !Sub "${Name}-job"
      ContainerProperties:
        Image: !Join [":", [busybox, latest]]
        ResourceRequirements:
          - {Type: VCPU, Value: !Ref Vcpus}
          - {Type: MEMORY, Value: "128"}
"""
    s3.create_bucket(Bucket="templates")
    s3.put_object(Bucket="templates", Key="a/job.yaml", Body=text.encode())
    url = "https://templates.s3.us-east-1.amazonaws.com/a/job.yaml"
    given = [{"ParameterKey": "Name", "ParameterValue": "mine"}]
    cloudformation.create_stack(StackName="Y", TemplateURL=url, Parameters=given)
    assert revisions(region, "mine-job") == [(1, "ACTIVE")]
    (stack,) = cloudformation.describe_stacks(StackName="Y")["Stacks"]
    assert {"ParameterKey": "Name", "ParameterValue": "mine"} in stack["Parameters"]
    more = [{"ParameterKey": "Name", "UsePreviousValue": True}, {"ParameterKey": "Vcpus", "ParameterValue": "2"}]
    cloudformation.update_stack(StackName="Y", TemplateURL=url, Parameters=more)
    assert revisions(region, "mine-job") == [(2, "ACTIVE"), (1, "INACTIVE")]
    too_many = [{"ParameterKey": "Name", "ParameterValue": "x"}, {"ParameterKey": "Vcpus", "ParameterValue": "9"}]
    assert "Vcpus" in refusal(cloudformation.create_stack, StackName="Z", TemplateURL=url, Parameters=too_many)
    assert "Name" in refusal(cloudformation.create_stack, StackName="Z", TemplateURL=url)


def test_deleting_a_stack_goes_on_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--stop-grace-seconds", "30") as first:
        first.admin.load_stack("S", TEMPLATE)
        batch = first.client("batch")
        stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
        asked = {"jobName": "j", "jobQueue": "old-queue", "jobDefinition": "job"}
        job = batch.submit_job(**asked, containerOverrides={"command": stubborn})["jobId"]
        until(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "RUNNING")
        first.client("cloudformation").delete_stack(StackName="S")
        (stack,) = first.client("cloudformation").describe_stacks(StackName="S")["Stacks"]
        assert stack["StackStatus"] == "DELETE_IN_PROGRESS"
        first.process.kill()
        first.process.wait()
    with running(tmp_path / "home") as again:
        until(lambda: state_of(again)["environments"] == [], seconds=40)


def test_an_export_of_one_stack_is_imported_by_another(region: RunningRegion) -> None:
    exporting = copy.deepcopy(TEMPLATE)
    exporting["Outputs"]["Queue"]["Export"] = {"Name": {"Fn::Sub": "${AWS::StackName}-queue"}}
    importing = {
        "Resources": {"Other": {**TEMPLATE["Resources"]["Definition"]}},
        "Outputs": {"Queue": {"Value": {"Fn::ImportValue": "S-queue"}}},
    }
    with pytest.raises(InvalidInput, match=r"no stack .* exports 'S-queue'.*--import 'S-queue=VALUE'"):
        region.admin.load_stack("T", importing)
    given = region.admin.load_stack("T", importing, imports={"S-queue": "given"})
    assert given["outputs"] == {"Queue": "given"}
    region.admin.load_stack("S", exporting)
    assert region.admin.load_stack("U", importing)["outputs"]["Queue"].endswith("job-queue/old-queue")
