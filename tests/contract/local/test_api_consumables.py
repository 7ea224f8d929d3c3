"""Consumable resources over HTTP, with real jobs, a restart and a template."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local_api_region import (
    CONTAINER,
    ENVIRONMENT_RESOURCES,
    RunningRegion,
    refusal,
    running,
    until,
)

QUICK = ("--boot-seconds", "0.05", "--stop-grace-seconds", "1")


def prepared(region: RunningRegion) -> Any:
    batch = region.client("batch")
    if not batch.describe_job_queues()["jobQueues"]:
        batch.create_compute_environment(
            computeEnvironmentName="e", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "e"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
    return batch


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("consumables") / "home", *QUICK) as started:
        yield started


@pytest.fixture
def batch(region: RunningRegion) -> Any:
    return prepared(region)


def definition(batch: Any, name: str, command: list[str], **needs: int) -> str:
    wanted = [{"consumableResource": resource, "quantity": quantity} for resource, quantity in needs.items()]
    answer = batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={**CONTAINER, "command": command},
        consumableResourceProperties={"consumableResourceList": wanted},
    )
    return str(answer["jobDefinitionArn"])


def status(batch: Any, job_id: str) -> str:
    return str(batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"])


def reaches(batch: Any, job_id: str, wanted: str) -> None:
    until(lambda: status(batch, job_id) == wanted or None)


def test_a_resource_is_created_counted_changed_and_deleted(batch: Any) -> None:
    arn = batch.create_consumable_resource(consumableResourceName="bandwidth", totalQuantity=10, tags={"a": "b"})[
        "consumableResourceArn"
    ]
    assert arn.endswith(":consumable-resource/bandwidth")
    described = batch.describe_consumable_resource(consumableResource=arn)
    numbers = [described[f"{member}Quantity"] for member in ("total", "inUse", "available")]
    assert (numbers, described["resourceType"], described["tags"]) == ([10, 0, 10], "REPLENISHABLE", {"a": "b"})
    update = batch.update_consumable_resource
    assert update(consumableResource=arn, operation="ADD", quantity=5)["totalQuantity"] == 15
    for _ in range(2):  # the same request, sent again by a client
        same = update(consumableResource=arn, operation="REMOVE", quantity=3, clientToken="t1")
        assert same["totalQuantity"] == 12
    assert "clientToken 't1' was used" in refusal(
        update, consumableResource=arn, operation="REMOVE", quantity=4, clientToken="t1"
    )
    assert "must be 0 or more, not -1" in refusal(update, consumableResource=arn, operation="REMOVE", quantity=13)
    assert "can only be one of" in refusal(update, consumableResource=arn, operation="DOUBLE", quantity=1)
    assert update(consumableResource="bandwidth", operation="SET", quantity=2)["totalQuantity"] == 2
    filters = [{"name": "CONSUMABLE_RESOURCE_NAME", "values": ["BAND*"]}]
    (listed,) = batch.list_consumable_resources(filters=filters)["consumableResources"]
    assert (listed["consumableResourceName"], listed["totalQuantity"], listed["inUseQuantity"]) == ("bandwidth", 2, 0)
    batch.tag_resource(resourceArn=arn, tags={"c": "d"})
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b", "c": "d"}
    batch.delete_consumable_resource(consumableResource=arn)
    assert "does not exist" in refusal(batch.describe_consumable_resource, consumableResource=arn)


def test_jobs_that_cannot_have_what_they_need_are_refused(batch: Any) -> None:
    batch.create_consumable_resource(consumableResourceName="few", totalQuantity=1)
    assert "Object already exists" in refusal(batch.create_consumable_resource, consumableResourceName="few")
    assert "resourceType can only be" in refusal(
        batch.create_consumable_resource, consumableResourceName="odd", resourceType="SOMETIMES"
    )
    assert "quantity must be 1 or more" in refusal(definition, batch=batch, name="none", command=["true"], few=0)
    assert "at most 5" in refusal(definition, batch=batch, name="many", command=["true"], a=1, b=1, c=1, d=1, e=1, f=1)
    unknown = definition(batch, "unknown", ["true"], nowhere=1)
    said = refusal(batch.submit_job, jobName="j", jobQueue="q", jobDefinition=unknown)
    assert "consumable-resource 'nowhere' does not exist" in said


def test_a_job_waits_runnable_until_the_job_that_holds_the_licence_has_ended(batch: Any) -> None:
    batch.create_consumable_resource(consumableResourceName="licence", totalQuantity=3)
    arn = definition(batch, "licensed", ["sleep", "300"], licence=2)
    first = batch.submit_job(jobName="first", jobQueue="q", jobDefinition=arn)["jobId"]
    reaches(batch, first, "RUNNING")
    second = batch.submit_job(jobName="second", jobQueue="q", jobDefinition=arn)["jobId"]
    override = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}
    third = batch.submit_job(
        jobName="third", jobQueue="q", jobDefinition=arn, consumableResourcePropertiesOverride=override
    )["jobId"]
    reaches(batch, third, "RUNNABLE")
    described = batch.describe_jobs(jobs=[second, third])["jobs"]
    assert [one["status"] for one in described] == ["RUNNABLE", "RUNNABLE"]  # the third waits behind the second
    assert described[1]["consumableResourceProperties"] == override
    licence = batch.describe_consumable_resource(consumableResource="licence")
    assert (licence["inUseQuantity"], licence["availableQuantity"]) == (2, 1)
    listed = batch.list_jobs_by_consumable_resource(consumableResource="licence")["jobs"]
    assert [(one["jobName"], one["jobStatus"], one["quantity"]) for one in listed] == [
        ("third", "RUNNABLE", 1),
        ("second", "RUNNABLE", 2),
        ("first", "RUNNING", 2),
    ]
    filters = [{"name": "JOB_STATUS", "values": ["RUNNING"]}]
    (only,) = batch.list_jobs_by_consumable_resource(consumableResource="licence", filters=filters)["jobs"]
    assert only["jobName"] == "first"
    pages = batch.get_paginator("list_jobs_by_consumable_resource")
    found = pages.paginate(consumableResource="licence", PaginationConfig={"PageSize": 1})
    assert [one["jobName"] for each in found for one in each["jobs"]] == ["third", "second", "first"]
    batch.terminate_job(jobId=first, reason="done")
    reaches(batch, second, "RUNNING")
    reaches(batch, third, "RUNNING")
    for job in (second, third):
        batch.terminate_job(jobId=job, reason="done")
    reaches(batch, second, "FAILED")
    reaches(batch, third, "FAILED")


def test_what_is_used_up_stays_used_up_after_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *QUICK) as region:
        batch = prepared(region)
        batch.create_consumable_resource(
            consumableResourceName="credit", totalQuantity=2, resourceType="NON_REPLENISHABLE"
        )
        arn = definition(batch, "paid", ["true"], credit=1)
        job = batch.submit_job(jobName="j", jobQueue="q", jobDefinition=arn)["jobId"]
        reaches(batch, job, "SUCCEEDED")
    with running(home, *QUICK) as region:
        batch = region.client("batch")
        credit = batch.describe_consumable_resource(consumableResource="credit")
        assert (credit["totalQuantity"], credit["inUseQuantity"], credit["availableQuantity"]) == (2, 1, 1)
        batch.update_consumable_resource(consumableResource="credit", operation="SET", quantity=1)
        job = batch.submit_job(jobName="j", jobQueue="q", jobDefinition=arn)["jobId"]
        reaches(batch, job, "RUNNABLE")
        assert batch.describe_consumable_resource(consumableResource="credit")["availableQuantity"] == 0
        batch.update_consumable_resource(consumableResource="credit", operation="ADD", quantity=1)
        reaches(batch, job, "SUCCEEDED")


def test_a_template_may_have_consumable_resources(region: RunningRegion, batch: Any) -> None:
    def template(total: int) -> dict[str, Any]:
        properties = {"ConsumableResourceName": "tokens", "TotalQuantity": total, "ResourceType": "REPLENISHABLE"}
        need = [{"ConsumableResource": {"Ref": "Tokens"}, "Quantity": 1}]
        container = {
            "Image": "busybox",
            "Command": ["true"],
            "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "64"}],
        }
        job = {
            "JobDefinitionName": "tokened",
            "Type": "container",
            "ContainerProperties": container,
            "ConsumableResourceProperties": {"ConsumableResourceList": need},
        }
        return {
            "Resources": {
                "Tokens": {"Type": "AWS::Batch::ConsumableResource", "Properties": properties},
                "Job": {"Type": "AWS::Batch::JobDefinition", "Properties": job},
            },
            "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Tokens", "ConsumableResourceArn"]}}},
        }

    for total in (4, 6):
        region.admin.load_stack("tokens", template(total))
        assert batch.describe_consumable_resource(consumableResource="tokens")["totalQuantity"] == total
    job = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="tokened")["jobId"]
    reaches(batch, job, "SUCCEEDED")
    region.client("cloudformation").delete_stack(StackName="tokens")
    until(lambda: "does not exist" in _described_or_refused(batch, "tokens") or None)


def _described_or_refused(batch: Any, name: str) -> str:
    try:
        return str(batch.describe_consumable_resource(consumableResource=name))
    except batch.exceptions.ClientException as error:
        return str(error)
