"""The doctor against causes made for real: in a local region, and in moto's ECR, VPC and IAM behind it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotbatch.aws.inspection import Inspector, Surroundings
from tests.contract.cli_world import CliWorld, cli_world
from tests.contract.local_api_region import until


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("doctor")) as made:
        yield made


@pytest.fixture
def world(region: CliWorld) -> Iterator[CliWorld]:
    """The region with nothing waiting in its queue: a stuck job would block the next test's."""
    yield region
    batch = region.region.client("batch")
    queue = queue_of(region)["jobQueueName"]
    for status in ("RUNNABLE", "PENDING", "STARTING", "RUNNING"):
        for job in batch.list_jobs(jobQueue=queue, jobStatus=status)["jobSummaryList"]:
            batch.terminate_job(jobId=job["jobId"], reason="end of the test")
            region.wait(job["jobId"])


def causes(world: CliWorld, job: str) -> list[str]:
    found = world.run("doctor", job, "--json").json["findings"]
    return [each["cause"] for each in found if each["weight"] == "cause"]


def queue_of(world: CliWorld) -> Any:
    return world.region.client("batch").describe_job_queues()["jobQueues"][0]


def test_what_can_never_be_placed_is_told_with_evidence_and_fix(world: CliWorld) -> None:
    big = world.submit("--no-check", "--memory", "8G", "--", "true")
    assert causes(world, big) == ["no instance type of the environment has so much usable memory"]
    said = world.run("doctor", big).out
    assert "m5.large is sold with 8192 MiB" in said
    assert "fix   --memory 7" in said
    wide = world.submit("--no-check", "--vcpus", "4", "--", "true")
    assert causes(world, wide) == ["no instance type of the environment has so many vCPUs"]


def test_without_a_job_the_one_that_waits_longest_is_examined(world: CliWorld) -> None:
    assert "no job of the queue waits" in world.run("doctor").out
    stuck = world.submit("--no-check", "--memory", "8G", "--", "true")
    assert world.run("doctor", "--json").json["job_id"] == stuck


def test_without_a_job_that_waits_it_tells_what_the_next_one_would_meet(world: CliWorld) -> None:
    assert world.run("doctor", "--json").json["findings"] == []
    batch = world.region.client("batch")
    environment = batch.describe_compute_environments()["computeEnvironments"][0]["computeEnvironmentName"]
    batch.update_compute_environment(computeEnvironment=environment, state="DISABLED")
    said = world.run("doctor").out
    batch.update_compute_environment(computeEnvironment=environment, state="ENABLED")
    assert "no job of the queue waits for anything, but the next one would:" in said
    assert "the compute environment is disabled" in said


def test_a_run_is_named_by_its_run_id_too(world: CliWorld) -> None:
    job = world.submit("--array", "2", "--", "sh", "-c", "exit $AWS_BATCH_JOB_ARRAY_INDEX")
    world.wait(job)
    run_id = world.run("show", job, "--json").json["run_id"]
    assert causes(world, run_id) == ["1 of 2 children FAILED: the command itself failed"]


def test_a_disabled_environment_and_a_disabled_queue(world: CliWorld) -> None:
    batch = world.region.client("batch")
    environment = batch.describe_compute_environments()["computeEnvironments"][0]["computeEnvironmentName"]
    batch.update_compute_environment(computeEnvironment=environment, state="DISABLED")
    job = world.submit("--", "true")
    assert causes(world, job) == ["the compute environment is disabled"]
    batch.update_job_queue(jobQueue=queue_of(world)["jobQueueName"], state="DISABLED")
    assert "the job queue is disabled" in causes(world, job)
    batch.update_job_queue(jobQueue=queue_of(world)["jobQueueName"], state="ENABLED")
    batch.update_compute_environment(computeEnvironment=environment, state="ENABLED")


def test_jobs_ahead_in_the_queue(world: CliWorld) -> None:
    world.submit("--no-check", "--memory", "8G", "--name", "blocks", "--", "true")
    behind = world.submit("--name", "behind", "--", "true")
    until(lambda: world.run("show", behind, "--json").json["status"] == "RUNNABLE")
    found = world.run("doctor", behind, "--json").json["findings"]
    assert any(each["cause"] == "other jobs are before it in the queue" for each in found)


def test_dependencies_that_wait_and_that_failed(world: CliWorld) -> None:
    first = world.submit("--no-check", "--name", "first", "--memory", "8G", "--", "true")
    second = world.submit("--after", first, "--", "true")
    found = world.run("doctor", second, "--json").json["findings"]
    assert any(each["cause"] == "it waits for a job that it depends on" and first in each["evidence"] for each in found)
    world.run("cancel", first)
    world.wait(second)
    assert "a job that it depends on has FAILED" in causes(world, second)


def test_a_child_that_waits_is_examined_instead_of_its_parent(world: CliWorld) -> None:
    array = world.submit("--no-check", "--array", "3", "--memory", "8G", "--", "true")
    until(lambda: world.run("doctor", array, "--json").json["status"] == "RUNNABLE")
    assert world.run("doctor", array, "--json").json["job_id"] == f"{array}:0"


def test_a_command_that_is_not_in_the_image_and_one_that_failed(world: CliWorld) -> None:
    missing = world.submit("--", "no-such-program")
    world.wait(missing)
    assert causes(world, missing) == ["the command was not found in the image"]
    failed = world.submit("--", "false")
    world.wait(failed)
    assert causes(world, failed) == ["the command itself failed"]


def test_failures_are_grouped_and_each_group_has_its_likely_cause_and_a_fix_to_paste(
    world: CliWorld,
) -> None:
    script = """
        case $AWS_BATCH_JOB_ARRAY_INDEX in
        0|1|2) echo "ModuleNotFoundError: No module named 'pandas'" >&2; exit 1;;
        3) cat /data/there-is-none;;
        4) exit 0;;
        *) echo "row $AWS_BATCH_JOB_ARRAY_INDEX is bad"; exit 7;;
        esac"""
    job = world.submit("--array", "7", "--", "sh", "-c", script)
    world.wait(job)
    found = {each["cause"]: each for each in world.run("doctor", job, "--json").json["findings"]}
    assert set(found) == {
        "3 of 7 children FAILED: the module pandas is not in the image",
        "2 of 7 children FAILED: the command itself failed",
        "1 of 7 children FAILED: the file /data/there-is-none is not in the container",
    }
    missing = found["3 of 7 children FAILED: the module pandas is not in the image"]
    assert missing["evidence"].startswith("exit code 1; children 0-2; last line: ModuleNotFoundError")
    assert f"spotbatch logs {job}:" in missing["fix"]
    assert f"spotbatch retry {job}" in missing["fix"]
    assert "children 5-6; last line: row" in found["2 of 7 children FAILED: the command itself failed"]["evidence"]


def test_a_fix_for_the_local_region_pasted_goes_to_the_local_region(world: CliWorld) -> None:
    batch = world.region.client("batch")
    batch.update_job_queue(jobQueue=queue_of(world)["jobQueueName"], state="DISABLED")
    found = world.run("doctor", "--json").json["findings"]
    batch.update_job_queue(jobQueue=queue_of(world)["jobQueueName"], state="ENABLED")
    assert found[0]["fix"].startswith('(eval "$(spotbatch local env)" && aws batch update-job-queue ')


def test_what_the_local_region_does_not_have_is_said_to_be_unseen(world: CliWorld) -> None:
    job = world.submit("--", "true")
    assert any("local region" in line for line in world.run("doctor", job, "--json").json["could_not_see"])


MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"})

# ---- the parts of AWS that hosts in the cloud need: moto stands for them ----


@pytest.fixture
def cloud(world: CliWorld, monkeypatch: pytest.MonkeyPatch) -> CliWorld:
    """The same region, asked as if it were AWS."""
    for name, value in world.region.info.environment().items():
        monkeypatch.setenv(name, value)
    return world


def look(world: CliWorld, **asked: Any) -> Surroundings:
    return Inspector().look(queue_of(world)["jobQueueName"], is_cloud=True, **asked)


def test_an_image_that_is_not_in_ecr(cloud: CliWorld) -> None:
    ecr = cloud.region.client("ecr")
    registry = ecr.create_repository(repositoryName="app")["repository"]["repositoryUri"]
    assert look(cloud, image=f"{registry}:v1").is_image_there is False
    ecr.put_image(repositoryName="app", imageTag="v1", imageManifest=MANIFEST)
    assert look(cloud, image=f"{registry}:v1").is_image_there is True
    assert look(cloud, image=f"{registry.replace('/app', '/none')}:v1").is_image_there is False
    assert any("not in ECR" in line for line in look(cloud, image="docker.io/library/busybox").unseen)


def test_subnets_without_a_route_to_the_registry(cloud: CliWorld) -> None:
    ec2 = cloud.region.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]
    inspector = Inspector()
    assert inspector._closed_subnets([subnet]) == (subnet,)
    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName="com.amazonaws.us-east-1.ecr.dkr", VpcEndpointType="Interface"
    )["VpcEndpoint"]["VpcEndpointId"]
    assert inspector._closed_subnets([subnet]) == ()
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    assert inspector._closed_subnets([subnet]) == ()


def test_roles_that_do_not_exist(cloud: CliWorld) -> None:
    cloud.region.client("iam").create_role(RoleName="here", AssumeRolePolicyDocument="{}")
    arns = [f"arn:aws:iam::123456789012:role/{name}" for name in ("here", "gone")]
    assert Inspector()._missing_roles(["arn:aws:iam::1:instance-profile/none"], tuple(arns)) == (
        "instance profile none",
        "role gone",
    )


WARNED = "checkpoints: db is not saved as it is: it cannot be read"


def test_what_the_runtime_warned_of_reaches_show_and_the_doctor(world: CliWorld) -> None:
    job = world.submit("--", sys.executable, "-m", "spotbatch.runtime", "--", "false")
    world.wait(job)
    story = world.run("show", job, "--json").json
    store = Path(story["environment"]["SPOTBATCH_ARTIFACTS_URL"].removeprefix("file://"))
    file = store / "runs" / story["run_id"] / "job/attempts/01.json"
    record = json.loads(file.read_bytes())
    file.write_text(json.dumps({**record, "warnings": [WARNED], "restore_estimate_seconds": 75.0}), encoding="utf-8")
    said = world.run("show", job).out
    assert f"warning    {WARNED}" in said
    assert "restores   in about 1 min 15 s" in said
    [found] = [each for each in world.run("doctor", job, "--json").json["findings"] if WARNED in each["cause"]]
    assert found["weight"] == "likely"
    assert f"spotbatch show {job}" in found["fix"]
