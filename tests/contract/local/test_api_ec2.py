"""EC2 and ECS, as far as clients of AWS Batch ask them: the way from a job to its host, and EC2's own limits."""

from collections.abc import Iterator
from typing import Any

import pytest

from spotbatch.aws.hosts import Hosts
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, refusal, running, until


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home", "--boot-seconds", "0.05") as started:
        yield started


@pytest.fixture(scope="module")
def ec2(region: RunningRegion) -> Any:
    return region.client("ec2", parameter_validation=False)  # botocore would refuse some of it before EC2 can


def ids(count: int) -> list[str]:
    return [f"i-{number:017x}" for number in range(count)]


@pytest.mark.parametrize(
    "filters",
    [
        [{"Name": "instance-id", "Values": ids(201)}],
        [{"Name": "instance-id", "Values": ids(150)}, {"Name": "tag:a", "Values": ids(51)}],
    ],
)
@pytest.mark.parametrize("operation", ["describe_instances", "describe_subnets", "describe_volumes"])
def test_more_than_200_filter_values_in_one_call_are_refused(ec2: Any, operation: str, filters: Any) -> None:
    said = refusal(getattr(ec2, operation), Filters=filters)
    assert said == ("FilterLimitExceeded: The maximum number of filter values specified on a single call is 200")


def test_200_filter_values_are_answered(ec2: Any) -> None:
    assert ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": ids(200)}])["Reservations"] == []


def test_the_product_asks_of_any_number_of_hosts_in_pieces(ec2: Any) -> None:
    assert Hosts(ecs=None, ec2=ec2).launches(ids(450)) == {}


@pytest.mark.parametrize(
    ("operation", "asked", "code"),
    [
        ("describe_instances", {"MaxResults": 4}, "InvalidParameterValue"),
        ("describe_instances", {"MaxResults": 1001}, "InvalidParameterValue"),
        ("describe_instances", {"MaxResults": 5, "InstanceIds": ids(1)}, "InvalidParameterCombination"),
        ("describe_instances", {"InstanceIds": ["i-nonsense"]}, "InvalidInstanceID.Malformed"),
        ("describe_instances", {"InstanceIds": ids(1)}, "InvalidInstanceID.NotFound"),
        ("describe_vpcs", {"MaxResults": 4}, "InvalidParameterValue"),
        ("describe_launch_templates", {"MaxResults": 201}, "InvalidParameterValue"),
        ("describe_instance_types", {"MaxResults": 101}, "InvalidParameterValue"),
    ],
)
def test_what_ec2_refuses_is_refused(ec2: Any, operation: str, asked: Any, code: str) -> None:
    assert refusal(getattr(ec2, operation), **asked).startswith(f"{code}: ")


def test_a_page_of_a_size_that_ec2_takes_is_answered(ec2: Any) -> None:
    assert ec2.describe_vpcs(MaxResults=5)["Vpcs"]


# ---- from a job to its host, and back ----


@pytest.fixture(scope="module")
def job(region: RunningRegion) -> Iterator[Any]:
    """A job that runs."""
    batch = region.client("batch")
    resources = {**ENVIRONMENT_RESOURCES, "tags": {"team": "a"}}
    batch.create_compute_environment(computeEnvironmentName="ce", type="MANAGED", computeResources=resources)
    order = [{"order": 1, "computeEnvironment": "ce"}]
    batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
    container = {**CONTAINER, "command": ["sleep", "60"]}
    batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=container)
    array = {"arrayProperties": {"size": 2}}
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d", **array)["jobId"]

    def running_child() -> Any:
        (found,) = batch.describe_jobs(jobs=[f"{job_id}:0"])["jobs"]
        return found if found["status"] == "RUNNING" else None

    yield until(running_child)
    batch.terminate_job(jobId=job_id, reason="seen")


def test_every_identifier_that_a_job_gives_out_can_be_looked_up(region: RunningRegion, job: Any) -> None:
    batch, ecs, ec2, logs = (region.client(one) for one in ("batch", "ecs", "ec2", "logs"))
    (environment,) = batch.describe_compute_environments(computeEnvironments=["ce"])["computeEnvironments"]
    cluster = environment["ecsClusterArn"]
    assert cluster in ecs.list_clusters()["clusterArns"]
    container = job["container"]
    name = cluster.rpartition("/")[2]
    assert f":task/{name}/" in container["taskArn"]
    assert f":container-instance/{name}/" in container["containerInstanceArn"]
    (found,) = ecs.describe_clusters(clusters=[cluster])["clusters"]
    assert (found["clusterName"], found["status"], found["runningTasksCount"]) == (name, "ACTIVE", 2)
    instances = ecs.list_container_instances(cluster=name)["containerInstanceArns"]
    assert container["containerInstanceArn"] in instances
    answer = ecs.describe_container_instances(cluster=cluster, containerInstances=[*instances, "nonsense"])
    assert [one["reason"] for one in answer["failures"]] == ["MISSING"]
    (host,) = [one for one in answer["containerInstances"]
               if one["containerInstanceArn"] == container["containerInstanceArn"]]  # fmt: skip
    registered, remaining = (
        {one["name"]: one["integerValue"] for one in host[member]}
        for member in ("registeredResources", "remainingResources")
    )
    assert registered["CPU"] - remaining["CPU"] == host["runningTasksCount"] * 1024
    assert registered["MEMORY"] - remaining["MEMORY"] == host["runningTasksCount"] * 256
    tasks = ecs.list_tasks(cluster=cluster)["taskArns"]
    assert container["taskArn"] in tasks
    assert len(tasks) == 2
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[container["taskArn"]])["tasks"]
    assert (task["lastStatus"], task["containerInstanceArn"]) == ("RUNNING", container["containerInstanceArn"])
    (stream,) = logs.describe_log_streams(
        logGroupName="/aws/batch/job", logStreamNamePrefix=container["logStreamName"]
    )["logStreams"]
    assert stream["logStreamName"] == container["logStreamName"]
    everything = [each for one in ec2.describe_instances()["Reservations"] for each in one["Instances"]]
    (instance,) = [one for one in everything if one["InstanceId"] == host["ec2InstanceId"]]
    assert instance["State"]["Name"] == "running"
    assert {"Key": "team", "Value": "a"} in instance["Tags"]
    assert {"Key": "AWSBatchServiceTag", "Value": "batch"} in instance["Tags"]


def test_instances_are_filtered_and_stand_beside_those_of_somebody_else(region: RunningRegion, job: Any) -> None:
    ec2 = region.client("ec2")
    (image,) = ec2.describe_images(Owners=["amazon"], MaxResults=5)["Images"][:1]
    (own,) = ec2.run_instances(ImageId=image["ImageId"], MinCount=1, MaxCount=1)["Instances"]

    def found(**asked: Any) -> set[str]:
        pages = ec2.get_paginator("describe_instances").paginate(**asked)
        return {each["InstanceId"] for page in pages for one in page["Reservations"] for each in one["Instances"]}

    ours = {one.instance_id for one in region.admin.hosts()}
    assert found() == ours | {own["InstanceId"]}
    assert found(MaxResults=5) == ours | {own["InstanceId"]}
    assert found(InstanceIds=[own["InstanceId"]]) == {own["InstanceId"]}
    assert found(Filters=[{"Name": "tag:AWSBatchServiceTag", "Values": ["batch"]}]) == ours
    assert found(Filters=[{"Name": "instance-lifecycle", "Values": ["spot"]}]) >= ours
    assert found(Filters=[{"Name": "instance-type", "Values": ["x9.*"]}]) == set()
    said = refusal(ec2.describe_instances, InstanceIds=[*ours, "i-00000000000000001"])
    assert said == "InvalidInstanceID.NotFound: The instance ID 'i-00000000000000001' does not exist"


def test_a_cluster_that_is_not_there_is_unknown(region: RunningRegion, job: Any) -> None:
    ecs = region.client("ecs")
    assert "ClusterNotFoundException" in refusal(ecs.list_tasks, cluster="nowhere")
    assert ecs.describe_clusters(clusters=["nowhere"])["failures"][0]["reason"] == "MISSING"
    ecs.create_cluster(clusterName="mine")
    assert any(arn.endswith("cluster/mine") for arn in ecs.list_clusters()["clusterArns"])


def test_awss_own_managed_policies_can_be_attached(region: RunningRegion) -> None:
    iam = region.client("iam")
    iam.create_role(RoleName="jobs", AssumeRolePolicyDocument="{}")
    for name in (
        "AmazonS3FullAccess",
        "service-role/AmazonEC2ContainerServiceforEC2Role",
        "service-role/AWSBatchServiceRole",
    ):
        iam.attach_role_policy(RoleName="jobs", PolicyArn=f"arn:aws:iam::aws:policy/{name}")
    attached = iam.list_attached_role_policies(RoleName="jobs")["AttachedPolicies"]
    assert len(attached) == 3
    assert "NoSuchEntity" in refusal(
        iam.attach_role_policy, RoleName="jobs", PolicyArn="arn:aws:iam::aws:policy/DoesNotExist"
    )
