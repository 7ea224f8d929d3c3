"""`spotbatch cleanup`, which ./cleanup.sh runs: what it removes, what it keeps, and how it proves what is left.

Queues are moto's here, without jobs; jobs that run are in test_deploy_scripts.py, against AWS Batch of our own.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto.cloudformation.models import CloudFormationBackend

from spotbatch.aws import stacks, teardown
from spotbatch.batch.environment import STACK_TAG
from spotbatch.deployment import teardown as steps
from tests.contract.deploy_world import STACK, Account, answering, batch_beside

CLEANUP = ("cleanup", "--stack-name", STACK)
TAGS = [{"Key": STACK_TAG, "Value": STACK}]


@pytest.fixture(autouse=True)
def no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto's index of tags knows at once."""
    monkeypatch.setattr(steps, "LAG_SECONDS", 0.01)


def tagged(account: Account, stack: str = STACK) -> list[str]:
    """What AWS lists with the stack's tag: asked here, without any code of ours."""
    filters = [{"Key": STACK_TAG, "Values": [stack]}]
    found = account.client("resourcegroupstaggingapi").get_resources(TagFilters=filters)["ResourceTagMappingList"]
    return [each["ResourceARN"] for each in found]


# ---- what goes and what stays ----


def test_a_plain_cleanup_keeps_the_data_and_names_it(account: Account) -> None:
    small = account.stack()
    small.fill()
    said = account.run(*CLEANUP, "--yes")
    assert not small.exists()
    assert small.has_bucket()
    assert small.has_images()
    versions = account.client("s3").list_object_versions(Bucket=small.bucket)
    assert len(versions["Versions"]) == 3
    assert len(account.client("ecr").list_images(repositoryName=small.images)["imageIds"]) == 1
    assert f"bucket {small.bucket} (kept on purpose)" in said.out
    assert f"repository {small.images} (kept on purpose)" in said.out
    assert f"./cleanup.sh --stack-name {STACK} --everything" in said.out


def test_everything_deletes_all_versions_and_images_and_proves_that_nothing_is_left(account: Account) -> None:
    small = account.stack()
    small.fill()
    assert tagged(account), "the proof would prove nothing if the tag found nothing before"
    said = account.run(*CLEANUP, "--yes", "--everything")
    assert not small.exists()
    assert not small.has_bucket()
    assert not small.has_images()
    assert tagged(account) == []
    assert f"nothing is left of {STACK}" in said.out


def test_everything_after_a_plain_cleanup_finds_what_was_kept(account: Account) -> None:
    small = account.stack()
    small.fill()
    account.run(*CLEANUP, "--yes")
    dry = account.run(*CLEANUP, "--everything", "--dry-run")
    assert f"bucket {small.bucket}, kept when {STACK} was removed: deleted with all that it holds" in dry.out
    assert small.has_bucket()
    assert small.has_images()
    said = account.run(*CLEANUP, "--everything", "--yes")
    assert not small.has_bucket()
    assert not small.has_images()
    assert f"nothing is left of {STACK}" in said.out


def test_what_was_kept_is_not_deleted_unasked(account: Account) -> None:
    small = account.stack()
    account.run(*CLEANUP, "--yes")
    said = account.run(*CLEANUP, "--everything", code=2)
    assert "--yes" in said.err
    assert small.has_bucket()


def test_data_kept_from_an_earlier_stack_is_in_the_plan_before_it_goes(account: Account) -> None:
    small = account.stack()
    account.run(*CLEANUP, "--yes")
    later = {"Resources": {}, "Outputs": {"JobQueueName": {"Value": "queue"}}}
    account.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(later))
    dry = account.run(*CLEANUP, "--everything", "--dry-run")
    assert f"bucket {small.bucket}, kept when an earlier {STACK} was removed: deleted with all that it holds" in dry.out
    plain = account.run(*CLEANUP, "--yes")
    assert f"bucket {small.bucket} (kept on purpose)" in plain.out
    assert small.has_bucket()


def test_the_data_of_another_stack_is_not_touched(account: Account) -> None:
    small, other = account.stack(), account.stack("Other")
    account.run(*CLEANUP, "--yes", "--everything")
    assert not small.has_bucket()
    assert other.exists()
    assert other.has_bucket()
    assert other.has_images()
    assert tagged(account, "Other")


def test_a_stack_that_keeps_nothing_is_emptied_so_that_it_can_go(account: Account) -> None:
    small = account.stack(retain=False)
    small.fill()
    said = account.run(*CLEANUP, "--yes")
    assert not small.has_bucket()
    assert not small.has_images()
    assert f"nothing is left of {STACK}" in said.out


def test_emptying_a_large_bucket_tells_of_its_progress_now_and_then(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = account.stack()
    small.fill()  # three versions and a delete marker
    for name, value in account.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(teardown, "_OBJECTS_A_CALL", 1)
    monkeypatch.setattr(teardown, "_OBJECTS_A_LINE", 3)
    heard: list[str] = []
    assert teardown.empty_bucket(small.bucket, say=heard.append) == 4
    assert [line.partition(": ")[2] for line in heard] == [
        "3 objects and versions deleted so far", "4 objects and versions deleted",
    ]  # fmt: skip
    assert teardown.empty_bucket("gone", say=heard.append) == 0
    assert len(heard) == 2


def test_cleanup_twice_is_no_error(account: Account) -> None:
    account.stack(retain=False)
    account.run(*CLEANUP, "--yes")
    again = account.run(*CLEANUP, "--yes")
    assert f"there is no stack {STACK} here" in again.out
    assert f"nothing is left of {STACK}" in again.out


def test_a_dry_run_changes_nothing(account: Account) -> None:
    small = account.stack()
    small.fill()
    said = account.run(*CLEANUP, "--dry-run")
    assert f"{STACK} is CREATE_COMPLETE and has 3 resources" in said.out
    assert f"bucket {small.bucket}: kept (--everything deletes it)" in said.out
    assert "dry run: nothing was changed" in said.out
    assert small.exists()


def test_nobody_there_to_ask_means_no_removal_without_yes(account: Account) -> None:
    small = account.stack()
    said = account.run(*CLEANUP, code=2)
    assert "--yes" in said.err
    assert small.exists()


# ---- the proof ----


def test_what_was_made_beside_the_stack_and_is_left_is_named_and_is_an_error(account: Account) -> None:
    account.stack()
    specification = [{"ResourceType": "vpc", "Tags": TAGS}]
    vpc = account.client("ec2").create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=specification)["Vpc"]["VpcId"]
    said = account.run(*CLEANUP, "--yes", "--everything", code=4)
    assert vpc in said.out
    assert "nothing is left" not in said.out
    assert "run ./cleanup.sh" in said.err


def test_what_is_gone_and_still_listed_by_tag_is_asked_for_again(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS's index lags: right after the end of a stack it may list what is gone. Data that is kept changes nothing."""
    account.stack()
    ec2 = account.client("ec2")
    specification = [{"ResourceType": "vpc", "Tags": TAGS}]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=specification)["Vpc"]["VpcId"]

    def pauses(_: float) -> Iterator[float]:
        yield 0.0
        ec2.delete_vpc(VpcId=vpc)
        yield 1.0

    monkeypatch.setattr(stacks, "pauses", pauses)
    said = account.run(*CLEANUP, "--yes")
    assert said.out.count("AWS's index of tags still lists 1 more") == 1
    assert "bucket small-bucket (kept on purpose)" in said.out
    assert vpc not in said.out


def test_an_instance_that_runs_is_left_and_one_that_has_been_terminated_is_not(account: Account) -> None:
    account.stack(retain=False)
    ec2 = account.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    specification = [{"ResourceType": "instance", "Tags": TAGS}]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=specification)
    instance = made["Instances"][0]["InstanceId"]
    assert instance in account.run(*CLEANUP, "--yes", code=4).out
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.create_tags(Resources=[instance], Tags=TAGS)  # AWS lists it with its tags for an hour; moto forgets them
    assert any(instance in arn for arn in tagged(account))
    assert f"nothing is left of {STACK}" in account.run(*CLEANUP, "--yes").out


def test_a_missing_permission_to_ask_by_tag_keeps_no_stack_from_going_but_no_data_goes_unseen(account: Account) -> None:
    small = account.stack()
    refusal = b'{"__type": "AccessDeniedException", "Message": "not authorized to perform: tag:GetResources"}'
    with answering(lambda _: (400, refusal)) as endpoint:
        settings = {"AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API": endpoint}
        everything = account.run(*CLEANUP, "--yes", "--everything", code=4, **settings)
        assert small.exists()
        plain = account.run(*CLEANUP, "--yes", code=4, **settings)
    assert "tag:GetResources" in everything.err
    assert "note: what earlier stacks kept is unknown" in plain.out
    assert f"stack {STACK} is deleted" in plain.out
    assert "tag:GetResources" in plain.err
    assert not small.exists()
    assert small.has_bucket()


def test_log_groups_that_carry_the_tag_go_with_everything(account: Account) -> None:
    account.stack(retain=False)
    account.client("logs").create_log_group(logGroupName="/late", tags={STACK_TAG: STACK})
    account.run(*CLEANUP, "--yes", "--everything")
    assert account.client("logs").describe_log_groups(logGroupNamePrefix="/late")["logGroups"] == []


# ---- keys ----


def key_stack(account: Account) -> tuple[Any, str]:
    allowed = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    key = {"Type": "AWS::KMS::Key", "DeletionPolicy": "Retain", "Properties": {"KeyPolicy": json.dumps(policy)}}
    account.stack(resources={"Key": key})
    kms = account.client("kms")
    found = account.client("cloudformation").list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    [key_id] = [each["PhysicalResourceId"] for each in found if each["ResourceType"] == "AWS::KMS::Key"]
    kms.create_alias(AliasName="alias/small", TargetKeyId=key_id)
    tags = [{"TagKey": STACK_TAG, "TagValue": STACK}]
    kms.tag_resource(KeyId=key_id, Tags=tags)
    return kms, key_id


def test_a_plain_cleanup_keeps_the_key_that_the_kept_bucket_needs(account: Account) -> None:
    kms, key_id = key_stack(account)
    said = account.run(*CLEANUP, "--yes")
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Enabled"
    assert f"key {key_id} (kept on purpose)" in said.out


def test_everything_has_the_key_deleted_in_seven_days_and_says_how_to_get_it_back(account: Account) -> None:
    kms, key_id = key_stack(account)
    said = account.run(*CLEANUP, "--yes", "--everything")
    found = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    assert found["KeyState"] == "PendingDeletion"
    assert f"key {key_id} is deleted on {found['DeletionDate']:%Y-%m-%d}" in said.out
    assert f"cancel-key-deletion --key-id {key_id}" in said.out
    assert [each for each in kms.list_aliases()["Aliases"] if each["AliasName"] == "alias/small"] == []
    assert any(key_id in arn for arn in tagged(account)), "AWS lists it still; it counts as gone"
    assert f"nothing is left of {STACK}" in said.out
    account.run(*CLEANUP, "--yes", "--everything")  # again: no error


# ---- queues and job definitions ----


def test_a_queue_that_is_gone_already_is_no_obstacle(account: Account) -> None:
    """A deletion that failed half way: the outputs still name the queue."""
    small = account.stack(retain=False)
    account.has_status("DELETE_FAILED")
    said = account.run(*CLEANUP, "--yes")
    assert "queue queue: no jobs" in said.out
    assert not small.exists()


def test_later_revisions_of_the_job_definition_go_too(account: Account) -> None:
    """`image push` registers revisions that CloudFormation does not know of."""
    account.stack()
    batch = batch_beside(account, "queue")
    container = {"image": "busybox", "vcpus": 1, "memory": 128}
    for _ in range(3):
        batch.register_job_definition(jobDefinitionName="definition", type="container", containerProperties=container)
    batch.register_job_definition(jobDefinitionName="other", type="container", containerProperties=container)
    account.run(*CLEANUP, "--yes")
    active = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    assert [each["jobDefinitionName"] for each in active] == ["other"]
    assert batch.describe_job_queues(jobQueues=["queue"])["jobQueues"][0]["state"] == "DISABLED"


# ---- stacks in odd states ----


def test_a_protected_stack_is_refused_before_anything_is_touched(account: Account) -> None:
    small = account.stack()
    batch = batch_beside(account, "queue")
    account.has_status("CREATE_COMPLETE").enable_termination_protection = True
    said = account.run(*CLEANUP, "--yes", "--region", "us-east-1", code=2)
    assert f"{STACK} is protected against deletion" in said.err
    assert f"--no-enable-termination-protection --stack-name {STACK} --region us-east-1" in said.err
    assert small.exists()
    assert batch.describe_job_queues(jobQueues=["queue"])["jobQueues"][0]["state"] == "ENABLED"


def test_a_stack_of_another_kind_is_refused(account: Account) -> None:
    body = {"Resources": {"Precious": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "precious"}}}}
    account.client("cloudformation").create_stack(StackName="CDKToolkit", TemplateBody=json.dumps(body))
    said = account.run("cleanup", "--stack-name", "CDKToolkit", "--yes", "--everything", code=2)
    assert "CDKToolkit was not made by deploy.sh" in said.err
    assert [each["Name"] for each in account.client("s3").list_buckets()["Buckets"]] == ["precious"]


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED"])
def test_a_failed_stack_is_removed_like_any_other(account: Account, status: str) -> None:
    small = account.stack()
    account.has_status(status)
    account.run(*CLEANUP, "--yes", "--everything")
    assert not small.exists()
    assert not small.has_bucket()


def test_an_empty_stack_of_an_interrupted_deployment_is_removed(account: Account) -> None:
    account.client("cloudformation").create_change_set(
        StackName=STACK, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=json.dumps({"Resources": {}})
    )
    account.has_status("REVIEW_IN_PROGRESS")
    account.run(*CLEANUP, "--yes")
    assert account.client("cloudformation").describe_stacks()["Stacks"] == []


def test_a_deletion_that_fails_gives_cloudformations_reasons(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    small = account.stack()

    def fail(_: Any, name: str) -> None:
        stack = account.has_status("DELETE_FAILED")
        stack._add_stack_event("DELETE_FAILED", "the network interface is in use")

    with monkeypatch.context() as patched:
        patched.setattr(CloudFormationBackend, "delete_stack", fail)
        said = account.run(*CLEANUP, "--yes", code=4)
    assert f"CloudFormation could not delete {STACK}" in said.err
    assert "the network interface is in use" in said.err
    account.run(*CLEANUP, "--yes")
    assert not small.exists()


def test_a_stack_that_is_changing_is_only_described_in_a_dry_run(account: Account) -> None:
    account.stack()
    account.has_status("UPDATE_IN_PROGRESS")
    said = account.run(*CLEANUP, "--dry-run")
    assert f"{STACK} is UPDATE_IN_PROGRESS" in said.out


def test_no_credentials(account: Account) -> None:
    said = account.run(*CLEANUP, "--yes", code=4, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert "there are no AWS credentials" in said.err
