"""Fargate and Fargate Spot over HTTP, with real jobs: no instance anywhere, and SIGTERM as the only warning."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, refusal, running, until

QUICK = ("--boot-seconds", "0.05", "--stop-grace-seconds", "2", "--notice-seconds", "5")
NETWORK = {"maxvCpus": 4, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
ROLE = "arn:aws:iam::123456789012:role/execution"
SMALL = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("fargate") / "home", *QUICK) as started:
        batch = started.client("batch")
        for kind in ("FARGATE", "FARGATE_SPOT"):
            batch.create_compute_environment(
                computeEnvironmentName=kind, type="MANAGED", computeResources={**NETWORK, "type": kind}
            )
            order = [{"order": 1, "computeEnvironment": kind}]
            batch.create_job_queue(jobQueueName=f"q-{kind}", priority=1, computeEnvironmentOrder=order)
        yield started


@pytest.fixture
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def register(batch: Any, name: str, *command: str, **changes: Any) -> str:
    properties = {
        "image": "busybox",
        "command": list(command),
        "resourceRequirements": SMALL,
        "executionRoleArn": ROLE,
        **changes,
    }
    answer = batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties={key: value for key, value in properties.items() if value is not None},
    )
    return str(answer["jobDefinitionArn"])


def submit(batch: Any, definition: str, kind: str = "FARGATE", **more: Any) -> str:
    return str(batch.submit_job(jobName="j", jobQueue=f"q-{kind}", jobDefinition=definition, **more)["jobId"])


def described(batch: Any, job_id: str) -> Any:
    return batch.describe_jobs(jobs=[job_id])["jobs"][0]


def reaches(batch: Any, job_id: str, status: str) -> Any:
    until(lambda: described(batch, job_id)["status"] == status or None)
    return described(batch, job_id)


def test_a_job_runs_without_any_instance(region: RunningRegion, batch: Any) -> None:
    command = 'echo "$AWS_EXECUTION_ENV ${SPOTBATCH_NOTICE_FILE:-none} ${AWS_EC2_METADATA_SERVICE_ENDPOINT:-none}"'
    job = reaches(batch, submit(batch, register(batch, "plain", "sh", "-c", command)), "SUCCEEDED")
    container = job["container"]
    assert job["platformCapabilities"] == ["FARGATE"]
    assert container["fargatePlatformConfiguration"] == {"platformVersion": "LATEST"}
    assert "containerInstanceArn" not in container
    assert region.client("ec2").describe_instances()["Reservations"] == []
    ecs = region.client("ecs")
    cluster = batch.describe_compute_environments(computeEnvironments=["FARGATE"])["computeEnvironments"][0]
    assert ecs.list_container_instances(cluster=cluster["ecsClusterArn"])["containerInstanceArns"] == []
    (task,) = ecs.describe_tasks(cluster=cluster["ecsClusterArn"], tasks=[container["taskArn"]])["tasks"]
    assert (task["launchType"], task["capacityProviderName"], task["cpu"]) == ("FARGATE", "FARGATE", "256")
    (event,) = region.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=container["logStreamName"]
    )["events"]
    assert event["message"] == "AWS_ECS_FARGATE none none"
    assert "desiredvCpus" not in cluster["computeResources"]


def test_an_interruption_is_sigterm_and_the_retry_strategy_decides(region: RunningRegion, batch: Any) -> None:
    script = 'trap "echo warned; exit 3" TERM; echo ready; while :; do sleep 0.05; done'
    retry = {"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Your Spot Task*", "action": "RETRY"}]}
    definition = register(batch, "spot", "sh", "-c", script)
    job_id = submit(batch, definition, "FARGATE_SPOT", retryStrategy=retry)
    logs = region.client("logs")

    def is_ready() -> bool | None:
        stream = described(batch, job_id)["container"].get("logStreamName")
        if described(batch, job_id)["status"] != "RUNNING" or stream is None:
            return None
        events = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
        return "ready" in [each["message"] for each in events] or None

    until(is_ready)
    assert region.admin.interrupt(count=1, instance_ids=(), notice_seconds=None, rebalance=True) == []
    (taken,) = region.admin.interrupt(count=1, instance_ids=(), notice_seconds=None, rebalance=False)
    assert taken.startswith("fargate-")
    until(lambda: described(batch, job_id)["attempts"] or None)
    (attempt,) = described(batch, job_id)["attempts"]
    assert (attempt["statusReason"], attempt["container"]["exitCode"]) == ("Your Spot Task was interrupted.", 3)
    until(is_ready)
    batch.terminate_job(jobId=job_id, reason="done")
    assert len(reaches(batch, job_id, "FAILED")["attempts"]) == 2
    until(lambda: all(host.ended_at for host in region.admin.hosts()) or None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"resourceRequirements": [*SMALL[:1], {"type": "MEMORY", "value": "4000"}]},
            "(0.25 vCPU, 4000 MiB) not valid",
        ),
        ({"resourceRequirements": [{"type": "VCPU", "value": "3"}, *SMALL[1:]]}, "(3.00 vCPU, 512 MiB) not valid"),
        ({"resourceRequirements": [*SMALL, {"type": "GPU", "value": "1"}]}, "GPU is not applicable for Fargate"),
        ({"resourceRequirements": SMALL[1:]}, "VCPU is not provided"),
        ({"vcpus": 1}, "vcpus is not applicable for Fargate. Use resource requirements instead."),
        ({"privileged": True}, "privileged is not applicable for Fargate"),
        ({"executionRoleArn": None}, "executionRoleArn must be given"),
        ({"ephemeralStorage": {"sizeInGiB": 20}}, "must be 21 to 200, not 20"),
        ({"linuxParameters": {"sharedMemorySize": 64}}, "sharedMemorySize is not applicable"),
        ({"fargatePlatformConfiguration": {"platformVersion": "2.0"}}, "platformVersion can only be one of"),
    ],
)
def test_what_fargate_does_not_take_is_refused_at_registration(batch: Any, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(register, batch=batch, name="refused", **changes)


def test_environments_queues_and_jobs_are_of_one_kind(batch: Any) -> None:
    create = batch.create_compute_environment
    for member, value in (("minvCpus", 0), ("instanceTypes", ["c5.large"]), ("allocationStrategy", "BEST_FIT")):
        asked = {**NETWORK, "type": "FARGATE", member: value}
        said = refusal(create, computeEnvironmentName="no", type="MANAGED", computeResources=asked)
        assert f"{member} is not applicable for Fargate." in said
    create(computeEnvironmentName="ec2", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES)
    order = [{"order": 1, "computeEnvironment": "ec2"}, {"order": 2, "computeEnvironment": "FARGATE"}]
    said = refusal(batch.create_job_queue, jobQueueName="mixed", priority=1, computeEnvironmentOrder=order)
    assert "can't be mixed" in said
    batch.create_job_queue(jobQueueName="q-ec2", priority=1, computeEnvironmentOrder=order[:1])
    batch.register_job_definition(jobDefinitionName="on-ec2", type="container", containerProperties=CONTAINER)
    fargate = register(batch, "on-fargate", "true")
    for definition, kind in (("on-ec2", "FARGATE"), (fargate, "ec2")):
        assert "platform capability" in refusal(
            batch.submit_job, jobName="j", jobQueue=f"q-{kind}", jobDefinition=definition
        )
    override = {"resourceRequirements": [{"type": "MEMORY", "value": "600"}]}
    said = refusal(
        batch.submit_job, jobName="j", jobQueue="q-FARGATE", jobDefinition=fargate, containerOverrides=override
    )
    assert "(0.25 vCPU, 600 MiB) not valid" in said
    batch.update_compute_environment(computeEnvironment="FARGATE", computeResources={"maxvCpus": 8})
    said = refusal(batch.update_compute_environment, computeEnvironment="FARGATE", computeResources={"type": "EC2"})
    assert "cannot change between EC2 and Fargate" in said
    said = refusal(
        batch.register_job_definition,
        jobDefinitionName="x",
        type="container",
        containerProperties={**CONTAINER, "networkConfiguration": {"assignPublicIp": "ENABLED"}},
    )
    assert "is for jobs with the platform FARGATE" in said
