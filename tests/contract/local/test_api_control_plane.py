"""The control plane over HTTP: each call's success, and what AWS Batch would refuse."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, refusal, running, until

QUARTER = {"resourceRequirements": [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]}
OWN_ROLE = "arn:aws:iam::123456789012:role/batch"


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home") as started:
        yield started


@pytest.fixture(scope="module")
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def environment(batch: Any, **changes: Any) -> str:
    name = unique("ce")
    resources = {**ENVIRONMENT_RESOURCES, **changes}
    batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)
    return name


def queue(batch: Any, *environments: str, **more: Any) -> str:
    name = unique("q")
    order = [
        {"order": place, "computeEnvironment": one} for place, one in enumerate(environments or (environment(batch),))
    ]
    batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order, **more)
    return name


def definition(batch: Any, **more: Any) -> str:
    name = unique("d")
    container = {**CONTAINER, **more.pop("container", {})}
    batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container, **more)
    return name


# ---- compute environments ----


def test_a_compute_environment_is_created_valid_and_described_by_name_and_arn(batch: Any) -> None:
    name = environment(batch)
    (found,) = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    assert found["status"] == "VALID"
    assert found["state"] == "ENABLED"
    assert found["computeResources"]["minvCpus"] == 0
    assert found["computeResources"]["instanceTypes"] == ENVIRONMENT_RESOURCES["instanceTypes"]
    again = batch.describe_compute_environments(computeEnvironments=[found["computeEnvironmentArn"]])
    assert again["computeEnvironments"] == [found]


def test_an_unmanaged_environment_needs_a_role_and_no_resources(batch: Any) -> None:
    name = unique("ce")
    asked = {"computeEnvironmentName": name, "type": "UNMANAGED", "state": "DISABLED"}
    assert "serviceRole must be given" in refusal(batch.create_compute_environment, **asked)
    batch.create_compute_environment(**asked, serviceRole=OWN_ROLE)
    (found,) = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    assert found["type"] == "UNMANAGED"
    batch.delete_compute_environment(computeEnvironment=name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"maxvCpus": 0}, "maxvCpus"),
        ({"minvCpus": 17}, "at most maxvCpus"),
        ({"minvCpus": -1}, "minvCpus must be 0 or more"),
        ({"desiredvCpus": 99}, "desiredvCpus"),
        ({"instanceTypes": []}, "instanceTypes must not be empty"),
        ({"instanceTypes": ["c5.huge"]}, "c5.huge"),
        ({"instanceTypes": ["c5.large", "c6g.large"]}, "share one architecture"),
        ({"subnets": []}, "subnets must not be empty"),
        ({"securityGroupIds": []}, "securityGroupIds"),
        ({"instanceRole": ""}, "instanceRole"),
        ({"bidPercentage": 101}, "bidPercentage"),
        ({"allocationStrategy": "BEST_FIT"}, "spotIamFleetRole"),
        ({"allocationStrategy": "WORST_FIT"}, "can only be one of"),
        ({"allocationStrategy": "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED", "type": "EC2"}, "is for SPOT, not for EC2"),
        ({"allocationStrategy": "BEST_FIT_PROGRESSIVE_ORDERED"}, "is for EC2, not for SPOT"),
        ({"scalingPolicy": {"minScaleDownDelayMinutes": 19}}, "must be 0 or 20 to 10080, not 19"),
        ({"launchTemplate": {"launchTemplateId": "lt-1", "launchTemplateName": "x"}}, "not both"),
        ({"type": "FARGATE"}, "is not applicable for Fargate"),
        ({"type": "ECS_MANAGED_INSTANCES"}, "EC2, SPOT and Fargate, not"),
        ({"type": "EC2"}, "for SPOT, not for EC2"),
        ({"type": "EC2", "allocationStrategy": "BEST_FIT_PROGRESSIVE", "bidPercentage": 50}, "SPOT only"),
    ],
)
def test_wrong_compute_resources_are_refused(batch: Any, changes: dict[str, Any], said: str) -> None:
    said_by_region = refusal(
        batch.create_compute_environment,
        computeEnvironmentName=unique("ce"),
        type="MANAGED",
        computeResources={**ENVIRONMENT_RESOURCES, **changes},
    )
    assert said_by_region.startswith("ClientException: ")
    assert said in said_by_region


def test_an_environments_name_is_unique_and_well_formed(batch: Any) -> None:
    name = environment(batch)
    asked = {"type": "MANAGED", "computeResources": ENVIRONMENT_RESOURCES}
    assert "already exists" in refusal(batch.create_compute_environment, computeEnvironmentName=name, **asked)
    for wrong in ("a b", "-a", "a" * 129, "ä"):
        assert "128 letters" in refusal(batch.create_compute_environment, computeEnvironmentName=wrong, **asked)


def test_a_managed_environment_needs_resources_and_an_unmanaged_one_has_none(batch: Any) -> None:
    assert "must be provided" in refusal(
        batch.create_compute_environment, computeEnvironmentName=unique("ce"), type="MANAGED"
    )
    assert "must not be given" in refusal(
        batch.create_compute_environment,
        computeEnvironmentName=unique("ce"),
        type="UNMANAGED",
        computeResources=ENVIRONMENT_RESOURCES,
    )


def test_an_update_changes_what_is_given_and_nothing_else(batch: Any) -> None:
    name = environment(batch)
    batch.update_compute_environment(computeEnvironment=name, computeResources={"maxvCpus": 32})
    (found,) = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    assert found["computeResources"]["maxvCpus"] == 32
    assert found["computeResources"]["instanceTypes"] == ENVIRONMENT_RESOURCES["instanceTypes"]
    assert found["state"] == "ENABLED"


def test_an_update_that_makes_an_environment_impossible_changes_nothing(batch: Any) -> None:
    name = environment(batch)
    assert "maxvCpus" in refusal(
        batch.update_compute_environment, computeEnvironment=name, computeResources={"minvCpus": 99}
    )
    (found,) = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    assert found["computeResources"]["minvCpus"] == 0
    assert "does not exist" in refusal(batch.update_compute_environment, computeEnvironment="nowhere")


def test_best_fit_environments_change_their_size_only(batch: Any) -> None:
    name = environment(batch, type="EC2", allocationStrategy="BEST_FIT")
    batch.update_compute_environment(computeEnvironment=name, computeResources={"maxvCpus": 8})
    said = refusal(
        batch.update_compute_environment, computeEnvironment=name, computeResources={"instanceTypes": ["m5"]}
    )
    assert "BEST_FIT" in said


def test_with_a_role_of_ones_own_only_the_size_of_an_environment_changes(batch: Any) -> None:
    name = unique("ce")
    asked = {"computeEnvironmentName": name, "type": "MANAGED", "computeResources": ENVIRONMENT_RESOURCES}
    batch.create_compute_environment(**asked, serviceRole=OWN_ROLE)
    batch.update_compute_environment(computeEnvironment=name, computeResources={"maxvCpus": 8}, state="DISABLED")
    types = {"instanceTypes": ["m5"]}
    said = refusal(batch.update_compute_environment, computeEnvironment=name, computeResources=types)
    assert "AWSServiceRoleForBatch" in said
    linked = "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
    assert "cannot be changed" in refusal(batch.update_compute_environment, computeEnvironment=name, serviceRole=linked)


def desired(batch: Any, name: str) -> int:
    (found,) = batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    vcpus: int = found["computeResources"]["desiredvCpus"]
    return vcpus


def test_desired_vcpus_are_those_of_the_hosts_that_are_launched_or_run(batch: Any) -> None:
    name = environment(batch, minvCpus=2, instanceTypes=["c5.large"], desiredvCpus=4)
    assert desired(batch, name) == 2
    of_queue, of_job = queue(batch, name), definition(batch, container={"command": ["sleep", "60"]})
    jobs = [batch.submit_job(jobName="j", jobQueue=of_queue, jobDefinition=of_job)["jobId"] for _ in range(3)]
    until(lambda: desired(batch, name) == 4)  # two hosts of 2 vCPUs for three jobs of one
    asked = {"computeEnvironment": name, "computeResources": {"desiredvCpus": 2}}
    assert "Manually scaling down compute environment is not supported" in refusal(
        batch.update_compute_environment, **asked
    )
    asked["computeResources"] = {"desiredvCpus": 17}
    assert "desiredvCpus must be between" in refusal(batch.update_compute_environment, **asked)
    batch.terminate_jobs(jobs=jobs, reason="seen")
    asked["computeResources"] = {"desiredvCpus": 4, "maxvCpus": 4}
    batch.update_compute_environment(**asked)


def test_environments_come_in_pages(batch: Any) -> None:
    names = {environment(batch) for _ in range(3)}
    found: list[str] = []
    pages = batch.get_paginator("describe_compute_environments").paginate(PaginationConfig={"PageSize": 2})
    for page in pages:
        assert len(page["computeEnvironments"]) <= 2
        found += [one["computeEnvironmentName"] for one in page["computeEnvironments"]]
    assert names <= set(found)
    assert len(found) == len(set(found))


def test_a_foreign_token_or_page_size_is_refused(batch: Any) -> None:
    assert "nextToken" in refusal(batch.describe_compute_environments, nextToken="!!")
    assert "nextToken" in refusal(batch.describe_compute_environments, nextToken="bm93aGVyZQ==")
    assert "maxResults" in refusal(batch.describe_compute_environments, maxResults=101)


# ---- the order of deletion ----


def test_queue_then_environment_each_disabled_first_is_the_only_order_of_deletion(batch: Any) -> None:
    name = environment(batch)
    of_queue = queue(batch, name)
    assert "DISABLED" in refusal(batch.delete_compute_environment, computeEnvironment=name)
    batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
    assert "found existing JobQueue relationship" in refusal(batch.delete_compute_environment, computeEnvironment=name)
    assert "DISABLED" in refusal(batch.delete_job_queue, jobQueue=of_queue)
    batch.update_job_queue(jobQueue=of_queue, state="DISABLED")
    batch.delete_job_queue(jobQueue=of_queue)
    _wait_until_gone(batch, of_queue)
    batch.delete_compute_environment(computeEnvironment=name)
    assert batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"] == []


def _wait_until_gone(batch: Any, name: str) -> None:
    until(lambda: not batch.describe_job_queues(jobQueues=[name])["jobQueues"])


def test_what_is_not_there_cannot_be_deleted(batch: Any) -> None:
    assert "does not exist" in refusal(batch.delete_compute_environment, computeEnvironment="nowhere")
    assert "does not exist" in refusal(batch.delete_job_queue, jobQueue="nowhere")
    assert "does not exist" in refusal(
        batch.delete_scheduling_policy, arn="arn:aws:batch:us-east-1:123456789012:scheduling-policy/nowhere"
    )


# ---- queues ----


def test_a_queue_is_enabled_by_default_and_lists_its_environments_in_order(batch: Any) -> None:
    first, second = environment(batch), environment(batch)
    name = unique("q")
    order = [{"order": 9, "computeEnvironment": second}, {"order": 1, "computeEnvironment": first}]
    batch.create_job_queue(jobQueueName=name, priority=5, computeEnvironmentOrder=order)
    (found,) = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    assert found["state"] == "ENABLED"
    assert found["status"] == "VALID"
    assert found["statusReason"]
    names = [entry["computeEnvironment"].rpartition("/")[2] for entry in found["computeEnvironmentOrder"]]
    assert names == [first, second]


def test_wrong_queues_are_refused(batch: Any) -> None:
    good = environment(batch)
    arm = environment(batch, instanceTypes=["c6g.large"])

    def said(order: list[str], **more: Any) -> str:
        entries = [{"order": place, "computeEnvironment": one} for place, one in enumerate(order)]
        asked = {"jobQueueName": unique("q"), "priority": 1, "computeEnvironmentOrder": entries, **more}
        return refusal(batch.create_job_queue, **asked)

    assert "1 to 3" in said([])
    assert "1 to 3" in said([good] * 4)
    assert "twice" in said([good, good])
    assert "does not exist" in said(["nowhere"])
    assert "architecture" in said([good, arm])
    assert "service environments" in said([good], serviceEnvironmentOrder=[{"order": 1, "serviceEnvironment": "s"}])
    assert "128 letters" in said([good], jobQueueName="a.b")
    assert "does not exist" in said([good], schedulingPolicyArn="nowhere")
    limit = {"reason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "state": "RUNNABLE", "maxTimeSeconds": 599}
    assert "maxTimeSeconds" in said([good], jobStateTimeLimitActions=[{**limit, "action": "CANCEL"}])
    limit["maxTimeSeconds"] = 600
    assert "CANCEL" in said([good], jobStateTimeLimitActions=[{**limit, "action": "TERMINATE"}])
    assert "jobQueueType" in said([good], jobQueueType="EKS")
    limit["reason"] = "BOREDOM"
    assert "reason" in said([good], jobStateTimeLimitActions=[{**limit, "action": "CANCEL"}])


def test_a_queue_is_updated_and_a_disabled_one_takes_no_jobs(batch: Any) -> None:
    name = queue(batch)
    batch.update_job_queue(jobQueue=name, priority=7, state="DISABLED")
    (found,) = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    assert (found["priority"], found["state"]) == (7, "DISABLED")
    assert "takes no jobs" in refusal(batch.submit_job, jobName="j", jobQueue=name, jobDefinition=definition(batch))


# ---- scheduling policies ----


def test_a_scheduling_policy_lives_from_its_creation_to_its_deletion(batch: Any) -> None:
    shares = [{"shareIdentifier": "a*", "weightFactor": 0.5}, {"shareIdentifier": "b"}]
    arn = batch.create_scheduling_policy(name=unique("p"), fairsharePolicy={"shareDistribution": shares})["arn"]
    assert {"arn": arn} in batch.list_scheduling_policies()["schedulingPolicies"]
    batch.update_scheduling_policy(arn=arn, fairsharePolicy={"shareDecaySeconds": 700})
    (found,) = batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"]
    assert found["fairsharePolicy"] == {"shareDecaySeconds": 700}
    of_queue = queue(batch, schedulingPolicyArn=arn)
    assert of_queue in refusal(batch.delete_scheduling_policy, arn=arn)
    batch.update_job_queue(jobQueue=of_queue, state="DISABLED")
    batch.delete_job_queue(jobQueue=of_queue)
    _wait_until_gone(batch, of_queue)
    batch.delete_scheduling_policy(arn=arn)
    assert batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"] == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"shareDecaySeconds": 604_801}, "shareDecaySeconds"),
        ({"computeReservation": 100}, "computeReservation"),
        ({"shareDistribution": [{"shareIdentifier": "a b"}]}, "shareIdentifier"),
        ({"shareDistribution": [{"shareIdentifier": "a", "weightFactor": 1000.0}]}, "weightFactor"),
        ({"shareDistribution": [{"shareIdentifier": "a*"}, {"shareIdentifier": "ab"}]}, "overlap"),
        ({"shareDistribution": [{"shareIdentifier": "a"}, {"shareIdentifier": "a"}]}, "overlap"),
    ],
)
def test_a_wrong_scheduling_policy_is_refused(batch: Any, policy: dict[str, Any], said: str) -> None:
    assert said in refusal(batch.create_scheduling_policy, name=unique("p"), fairsharePolicy=policy)


def test_nothing_is_described_by_more_than_a_hundred_names(batch: Any) -> None:
    many = ["x"] * 101
    assert "up to 100" in refusal(batch.describe_compute_environments, computeEnvironments=many)
    assert "up to 100" in refusal(batch.describe_job_queues, jobQueues=many)
    assert "up to 100" in refusal(batch.describe_job_definitions, jobDefinitions=many)
    assert "up to 100" in refusal(batch.describe_scheduling_policies, arns=many)
    assert "other parameters" in refusal(batch.describe_job_definitions, jobDefinitions=["x:1"], status="ACTIVE")


def test_a_queue_cannot_gain_a_scheduling_policy(batch: Any) -> None:
    arn = batch.create_scheduling_policy(name=unique("p"))["arn"]
    assert "make a new queue" in refusal(batch.update_job_queue, jobQueue=queue(batch), schedulingPolicyArn=arn)


def test_a_fair_share_queue_wants_a_share_and_another_none(batch: Any) -> None:
    arn = batch.create_scheduling_policy(name=unique("p"))["arn"]
    fair, plain, of_job = queue(batch, schedulingPolicyArn=arn), queue(batch), definition(batch)
    asked = {"jobName": "j", "jobDefinition": of_job}
    assert "must be given" in refusal(batch.submit_job, jobQueue=fair, **asked)
    assert "must not be given" in refusal(batch.submit_job, jobQueue=plain, shareIdentifier="a", **asked)
    job_id = batch.submit_job(jobQueue=fair, shareIdentifier="a", schedulingPriorityOverride=3, **asked)["jobId"]
    (found,) = batch.describe_jobs(jobs=[job_id])["jobs"]
    assert (found["shareIdentifier"], found["schedulingPriority"]) == ("a", 3)


# ---- job definitions ----


def test_each_registration_of_a_name_is_its_next_revision(batch: Any) -> None:
    name = definition(batch)
    second = batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=CONTAINER)
    assert second["revision"] == 2
    found = batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
    assert [one["revision"] for one in found] == [2, 1]
    assert found[0]["containerProperties"]["environment"] == []
    assert found[0]["status"] == "ACTIVE"


def test_a_deregistered_revision_is_inactive_and_its_number_is_never_used_again(batch: Any) -> None:
    name, of_queue = definition(batch), queue(batch)
    batch.deregister_job_definition(jobDefinition=f"{name}:1")
    (found,) = batch.describe_job_definitions(jobDefinitions=[f"{name}:1"])["jobDefinitions"]
    assert found["status"] == "INACTIVE"
    assert batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")["jobDefinitions"] == []
    for reference in (name, f"{name}:1", found["jobDefinitionArn"]):
        assert "not ACTIVE" in refusal(batch.submit_job, jobName="j", jobQueue=of_queue, jobDefinition=reference)
    again = batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=CONTAINER)
    assert again["revision"] == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"container": {"image": ""}}, "image"),
        ({"container": {"resourceRequirements": [{"type": "VCPU", "value": "1"}]}}, "must contain MEMORY"),
        ({"container": {"resourceRequirements": []}}, "must contain VCPU"),
        ({"container": {"resourceRequirements": [{"type": "VCPU", "value": "0.5"}]}}, "provide a numeric value"),
        ({"container": {"resourceRequirements": [{"type": "RAM", "value": "5"}]}}, "can only be one of"),
        ({"container": {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]}}, "AWS Batch's own"),
        ({"container": {"environment": [{"name": "A=B", "value": "1"}]}}, "without '='"),
        ({"retryStrategy": {"attempts": 11}}, "1 to 10"),
        ({"retryStrategy": {"attempts": 0}}, "1 to 10"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "RETRY"}] * 6}}, "at most 5"),
        ({"retryStrategy": {"evaluateOnExit": [{"action": "RETRY"}]}}, "attempts must be given"),
        ({"retryStrategy": {"evaluateOnExit": [{"action": "REPEAT"}]}}, "action"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "1?"}]}}, "onExitCode"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"platformCapabilities": ["FARGATE"], "container": QUARTER}, "executionRoleArn must be given"),
        ({"platformCapabilities": ["EC2", "MANAGED_INSTANCES"]}, "EC2 and FARGATE, not"),
        ({"container": {"image": "i" * 256}}, "1 to 255 characters"),
        ({"container": {"image": "my image"}}, "letters, digits and"),
        ({"parameters": {"big": "x" * 24_576}}, "24576 bytes"),
        ({"schedulingPriority": 10_000}, "schedulingPriority"),
        ({"tags": {"aws:x": "1"}}, "aws:"),
        ({"tags": {f"k{number}": "" for number in range(51)}}, "at most 50"),
    ],
)
def test_a_wrong_job_definition_is_refused(batch: Any, more: dict[str, Any], said: str) -> None:
    container = {**CONTAINER, **more.pop("container", {})}
    asked = {"jobDefinitionName": unique("d"), "type": "container", "containerProperties": container, **more}
    assert said in refusal(batch.register_job_definition, **asked)


def test_actions_of_evaluate_on_exit_are_read_in_any_case(batch: Any) -> None:
    definition(batch, retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "retry", "onExitCode": "1"}]})


def test_the_deprecated_members_still_say_what_a_job_needs(batch: Any) -> None:
    name = unique("d")
    old = {"image": "busybox", "vcpus": 1, "memory": 128}
    batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=old)
    changes = {"vcpus": 2, "memory": 512}
    job = batch.submit_job(jobName="j", jobQueue=queue(batch), jobDefinition=name, containerOverrides=changes)
    (found,) = batch.describe_jobs(jobs=[job["jobId"]])["jobs"]
    needs = {name: found["container"][name] for name in ("vcpus", "memory", "resourceRequirements")}
    assert needs == {"vcpus": 2, "memory": 512, "resourceRequirements": []}


def test_a_definition_has_one_kind_of_properties(batch: Any) -> None:
    asked = {"jobDefinitionName": unique("d"), "type": "container"}
    assert "containerProperties or ecsProperties" in refusal(batch.register_job_definition, **asked)
    pod = {"podProperties": {"containers": [{"image": "busybox"}]}}
    assert "EKS" in refusal(batch.register_job_definition, eksProperties=pod, **asked)


# ---- tags ----


def test_tags_of_every_kind_of_resource_are_added_replaced_and_removed(batch: Any) -> None:
    name = environment(batch)
    of_queue, of_job = queue(batch, name), definition(batch)
    arns = [
        batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"][0][
            "computeEnvironmentArn"
        ],
        batch.describe_job_queues(jobQueues=[of_queue])["jobQueues"][0]["jobQueueArn"],
        batch.describe_job_definitions(jobDefinitionName=of_job)["jobDefinitions"][0]["jobDefinitionArn"],
        batch.create_scheduling_policy(name=unique("p"))["arn"],
        batch.submit_job(jobName="j", jobQueue=of_queue, jobDefinition=of_job, tags={"a": "0"})["jobArn"],
    ]
    for arn in arns:
        batch.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        batch.untag_resource(resourceArn=arn, tagKeys=["b", "never"])
        assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "1"}
    (found,) = batch.describe_jobs(jobs=[arns[-1].rpartition("/")[2]])["jobs"]
    assert found["tags"] == {"a": "1"}


def test_tags_of_what_is_no_batch_resource_are_refused(batch: Any) -> None:
    assert "not the ARN" in refusal(batch.list_tags_for_resource, resourceArn="arn:aws:s3:::bucket")
    assert "does not exist" in refusal(
        batch.list_tags_for_resource, resourceArn="arn:aws:batch:us-east-1:123456789012:job-queue/nowhere"
    )
    child = f"arn:aws:batch:us-east-1:123456789012:job/{uuid.uuid4()}:1"
    assert "children" in refusal(batch.list_tags_for_resource, resourceArn=child)


# ---- what is not there ----


def test_an_operation_that_the_region_does_not_have_is_named(batch: Any) -> None:
    capacity = [{"maxCapacity": 1, "capacityUnit": "NUM_INSTANCES"}]
    asked = {"serviceEnvironmentName": "x", "serviceEnvironmentType": "SAGEMAKER_TRAINING", "capacityLimits": capacity}
    assert "CreateServiceEnvironment" in refusal(batch.create_service_environment, **asked)
