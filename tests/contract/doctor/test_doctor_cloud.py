"""The doctor as it asks AWS: every cause outside the job itself is made for real, and `spotbatch doctor` names it.

The queue is the local region's; ECR, VPC and IAM are moto's in the same server; Service Quotas and the blobs of an
image, which moto lacks, are a stand-in's. Nothing tells the command that it is not in the cloud.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.aws_stand_in import Answer, stand_in
from tests.contract.cli_world import CliWorld, cli_world, run
from tests.contract.local_api_region import until

_SERVICES = ("BATCH", "CLOUDFORMATION", "EC2", "ECR", "IAM", "LOGS", "S3", "STS")
TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def quota(vcpus: float) -> Answer:
    return lambda asked: (200, {"Quota": {"QuotaCode": asked["QuotaCode"], "Value": vcpus}})


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A queue whose network, roles and image are all there, and where EC2 has no host to give."""

    world: CliWorld
    subnet: str
    vpc: str
    image: str

    def client(self, service: str) -> Any:
        return self.world.region.client(service)

    def doctor(self, *asked: str, quotas: Answer | None = None, **endpoints: str) -> dict[str, Any]:
        """What `doctor --json` finds of a job, asked as if in AWS."""
        region = self.world.region.info
        environ: dict[str, str] = {
            "SPOTBATCH_HOME": str(self.world.home),
            "AWS_ACCESS_KEY_ID": region.access_key,
            "AWS_SECRET_ACCESS_KEY": region.secret_key,
            "AWS_REGION": region.region,
            **{f"AWS_ENDPOINT_URL_{each}": region.endpoint for each in _SERVICES},
            **endpoints,
        }
        with stand_in({"GetServiceQuota": quotas or quota(512)}) as address:
            said = run("doctor", *asked, "--json", environ={**environ, "AWS_ENDPOINT_URL_SERVICE_QUOTAS": address})
        found: dict[str, Any] = said.json
        return found

    def submit(self, *, image: str | None = None, **container: Any) -> str:
        """A job of a definition of its own; it stays RUNNABLE."""
        batch = self.client("batch")
        properties = {
            "image": image or self.image,
            "command": ["true"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
            **container,
        }
        made = batch.register_job_definition(
            jobDefinitionName="cloud", type="container", containerProperties=properties
        )
        job: str = batch.submit_job(jobName="j", jobQueue="cloud", jobDefinition=made["jobDefinitionArn"])["jobId"]
        return job


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A trace without capacity keeps every job RUNNABLE."""
    folder: Path = tmp_path_factory.mktemp("cloud")
    trace = folder / "trace.json"
    trace.write_text(json.dumps({"metadata": {"gap_seconds": 300}, "availability": [0] * 10}))
    with cli_world(folder, "--trace-file", str(trace)) as world:
        yield _furnished(world)


@pytest.fixture
def cloud(region: Cloud) -> Iterator[Cloud]:
    yield region
    batch = region.client("batch")
    for job in batch.list_jobs(jobQueue="cloud", jobStatus="RUNNABLE")["jobSummaryList"]:
        batch.terminate_job(jobId=job["jobId"], reason="end of the test")
        region.world.wait(job["jobId"])


def _furnished(world: CliWorld) -> Cloud:
    ec2, iam, batch, ecr = (world.region.client(name) for name in ("ec2", "iam", "batch", "ecr"))
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    [table] = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    profile = iam.create_instance_profile(InstanceProfileName="hosts")["InstanceProfile"]["Arn"]
    environment = batch.create_compute_environment(
        computeEnvironmentName="cloud",
        type="MANAGED",
        computeResources={
            "type": "SPOT",
            "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
            "maxvCpus": 16,
            "instanceTypes": ["c5.large", "c5.xlarge"],
            "subnets": [subnet],
            "securityGroupIds": ["sg-1"],
            "instanceRole": profile,
            "bidPercentage": 100,
        },
    )["computeEnvironmentArn"]
    order = [{"order": 1, "computeEnvironment": environment}]
    batch.create_job_queue(jobQueueName="cloud", priority=1, computeEnvironmentOrder=order)
    repository = ecr.create_repository(repositoryName="app")["repository"]["repositoryUri"]
    ecr.put_image(repositoryName="app", imageTag="v1", imageManifest=manifest(architectures=("amd64",)))
    return Cloud(world=world, subnet=subnet, vpc=vpc, image=f"{repository}:v1")


def manifest(*, architectures: tuple[str, ...]) -> str:
    members = [
        {"digest": f"sha256:{n:064d}", "platform": {"architecture": each}} for n, each in enumerate(architectures)
    ]
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": members})


def causes(found: Mapping[str, Any]) -> list[str]:
    return [each["cause"] for each in found["findings"] if each["weight"] == "cause"]


def test_where_all_is_well_the_capacity_is_what_is_named(cloud: Cloud) -> None:
    job = cloud.submit()
    found = until(lambda: asked if causes(asked := cloud.doctor(job)) else None)  # AWS's reason comes with the refusal
    assert causes(found) == [
        "EC2 has no host for it now: no capacity, a price above the cap, or a quota that is used up"
    ]
    assert "INSUFFICIENT_INSTANCE_CAPACITY" in found["findings"][0]["evidence"]
    assert found["could_not_see"] == []


def test_the_jobs_ahead_are_named_with_what_the_first_waits_for(cloud: Cloud) -> None:
    first, behind = cloud.submit(), cloud.submit()
    cloud.doctor(first)
    [ahead] = [each for each in cloud.doctor(behind)["findings"] if "before it in the queue" in each["cause"]]
    assert f"it is number 2 in cloud; the first is j ({first})" in ahead["evidence"]


def test_a_quota_below_one_host_and_one_of_zero(cloud: Cloud) -> None:
    job = cloud.submit()
    assert causes(cloud.doctor(job, quotas=quota(1))) == ["the account's vCPU quota is smaller than one host"]
    assert causes(cloud.doctor(job, quotas=quota(0))) == [
        "the account's vCPU quota is zero for what the environment launches"
    ]
    low = cloud.doctor(job, quotas=quota(8))["findings"]
    assert any(each["cause"] == "the account's vCPU quota is below the environment's limit" for each in low)


def test_what_may_not_be_seen_is_said_and_the_rest_is_looked_at(cloud: Cloud) -> None:
    refusal = {"__type": "AccessDeniedException", "message": "not authorized to perform servicequotas:GetServiceQuota"}
    found = cloud.doctor(cloud.submit(image="docker.io/library/busybox"), quotas=lambda _: (400, refusal))
    image, quotas = found["could_not_see"]
    assert "quota All Standard" in quotas
    assert "not authorized" in quotas
    assert "docker.io/library/busybox: it is not in ECR" in image
    assert found["findings"]


def test_an_image_that_nobody_pushed(cloud: Cloud) -> None:
    gone = cloud.image.replace(":v1", ":v2")
    found = cloud.doctor(cloud.submit(image=gone))
    assert causes(found) == ["the image is not in the registry"]
    assert found["findings"][0]["evidence"] == f"ECR has no {gone}"


def test_an_image_for_arm_alone_on_intel_hosts(cloud: Cloud) -> None:
    cloud.client("ecr").put_image(
        repositoryName="app", imageTag="arm", imageManifest=manifest(architectures=("arm64", "unknown"))
    )
    found = cloud.doctor(cloud.submit(image=cloud.image.replace(":v1", ":arm")))
    assert causes(found) == ["the image is built for another architecture than the hosts have"]


def test_a_plain_image_says_in_its_settings_what_it_was_built_for(cloud: Cloud) -> None:
    """As `docker build` on an Apple laptop makes them: one manifest, without a word of the architecture."""
    plain = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": {"digest": "sha256:" + "a" * 64}})
    job = cloud.submit()
    image = {"imageId": {"imageTag": "v1"}, "imageManifest": plain}
    blob: list[str] = []
    answers: dict[str, Answer] = {
        "BatchGetImage": lambda _: (200, {"images": [image]}),
        "GetDownloadUrlForLayer": lambda asked: (200, {"downloadUrl": blob[-1], **asked}),
    }
    with stand_in(answers, blobs={"/blob": b'{"architecture": "arm64", "os": "linux"}'}) as address:
        blob.append(f"{address}/blob")
        found = cloud.doctor(job, AWS_ENDPOINT_URL_ECR=address)
    assert causes(found) == ["the image is built for another architecture than the hosts have"]
    with stand_in(answers) as address:
        blob.append(f"{address}/blob")
        found = cloud.doctor(job, AWS_ENDPOINT_URL_ECR=address)
    assert any(line.startswith("the image's architecture: ") for line in found["could_not_see"])


def test_a_subnet_that_lost_its_way_to_the_registry(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    [table] = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [cloud.vpc]}])["RouteTables"]
    ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    found = cloud.doctor(cloud.submit())
    gateway = next(each["GatewayId"] for each in table["Routes"] if each.get("DestinationCidrBlock") == "0.0.0.0/0")
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    assert causes(found) == ["subnets have no way to ECR, ECS and CloudWatch"]
    assert cloud.subnet in found["findings"][0]["evidence"]


def test_a_role_that_was_deleted(cloud: Cloud) -> None:
    found = cloud.doctor(cloud.submit(jobRoleArn="arn:aws:iam::123456789012:role/gone"))
    assert causes(found) == ["a role that is needed does not exist"]
    assert found["findings"][0]["evidence"] == "role gone"


def test_a_limit_below_one_host(cloud: Cloud) -> None:
    batch = cloud.client("batch")
    job = cloud.submit()
    batch.update_compute_environment(computeEnvironment="cloud", computeResources={"maxvCpus": 1})
    found = cloud.doctor(job)
    batch.update_compute_environment(computeEnvironment="cloud", computeResources={"maxvCpus": 16})
    assert causes(found) == ["no host that fits the job fits into the environment"]


def test_a_price_cap_below_every_price(cloud: Cloud) -> None:
    batch = cloud.client("batch")
    job = cloud.submit()
    batch.update_compute_environment(computeEnvironment="cloud", computeResources={"bidPercentage": 5})
    found = cloud.doctor(job)["findings"]
    batch.update_compute_environment(computeEnvironment="cloud", computeResources={"bidPercentage": 100})
    [cap] = [each for each in found if each["cause"] == "Spot prices are above the environment's cap"]
    assert "cloud: at most 5 % of the on-demand price" in cap["evidence"]
