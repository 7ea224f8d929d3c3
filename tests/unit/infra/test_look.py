"""The function that looks: against a real local region for AWS Batch, and moto for ECS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.ec2.utils import generate_instance_identity_document

from spotbatch.infra.look import look
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("look") / "home", "--boot-seconds", "0.05") as made:
        batch = made.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="spot", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "spot"}]
        batch.create_job_queue(jobQueueName="queue", priority=1, computeEnvironmentOrder=order)
        container = {**CONTAINER, "command": ["sleep", "60"]}
        batch.register_job_definition(jobDefinitionName="long", type="container", containerProperties=container)
        yield made


def seen(region: RunningRegion) -> dict[str, float]:
    return look.look(region.client("batch"), region.client("ecs"), ["queue"], ["spot"])


def test_nothing_queued_and_nothing_running_is_all_noughts(region: RunningRegion) -> None:
    assert set(seen(region).values()) == {0}


def test_depth_counts_the_children_of_arrays_each_in_its_own_status(region: RunningRegion) -> None:
    batch = region.client("batch")
    wanted = {"jobQueue": "queue", "jobDefinition": "long"}
    array = batch.submit_job(jobName="wide", arrayProperties={"size": 30}, **wanted)["jobId"]
    one = batch.submit_job(jobName="one", **wanted)["jobId"]
    try:
        found = until(lambda: now if (now := seen(region))["DepthRunning"] == 16 else None)
        assert found["DepthRunnable"] == 15, "30 children and one job on 16 vCPUs"
        assert found["Stalled"] == 0
    finally:
        for job in (array, one):
            batch.terminate_job(jobId=job, reason="done")
        until(lambda: not seen(region)["DepthRunning"])


def test_runnable_jobs_and_none_that_runs_is_no_progress(region: RunningRegion) -> None:
    batch = region.client("batch")
    batch.update_compute_environment(computeEnvironment="spot", state="DISABLED")
    job = batch.submit_job(jobName="stuck", jobQueue="queue", jobDefinition="long")["jobId"]
    try:
        assert until(lambda: now if (now := seen(region))["DepthRunnable"] else None)["Stalled"] == 1
    finally:
        batch.terminate_job(jobId=job, reason="done")
        batch.update_compute_environment(computeEnvironment="spot", state="ENABLED")


class Invalid:
    """An environment that AWS calls INVALID, as no local region ever does; all else is the region's."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def describe_compute_environments(self, **asked: Any) -> Any:
        found = self._batch.describe_compute_environments(**asked)
        return {"computeEnvironments": [{**each, "status": "INVALID"} for each in found["computeEnvironments"]]}


def test_an_invalid_environment_raises_the_alarm_at_the_first_look(region: RunningRegion) -> None:
    found = look.look(Invalid(region.client("batch")), region.client("ecs"), ["queue"], ["spot"])
    assert (found["EnvironmentsInvalid"], found["Stalled"]) == (1, look.INVALID_WEIGHT)


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("ecs")
        client.create_cluster(clusterName="AWSBatch-x")
        ec2 = boto3.resource("ec2")
        image = boto3.client("ec2").describe_images()["Images"][0]["ImageId"]
        for host in ec2.create_instances(ImageId=image, MinCount=2, MaxCount=2):
            document = json.dumps(generate_instance_identity_document(host))
            client.register_container_instance(cluster="AWSBatch-x", instanceIdentityDocument=document)
        yield client


def test_running_vcpus_are_those_of_the_hosts_in_the_cluster(ecs: Any) -> None:
    assert look.running_vcpus(ecs, "AWSBatch-x") == 2 * 4096 / 1024


class WithSettings:
    """What moto's ECS does not have: a cluster's settings can be changed."""

    def __init__(self) -> None:
        self.settings: list[dict[str, str]] = [{"name": "containerInsights", "value": "disabled"}]
        self.updates = 0

    def describe_clusters(self, **_: Any) -> Any:
        return {"clusters": [{"settings": self.settings}]}

    def update_cluster_settings(self, *, cluster: str, settings: list[dict[str, str]]) -> None:
        assert cluster == "AWSBatch-x"
        self.settings, self.updates = settings, self.updates + 1


def test_container_insights_are_turned_on_once() -> None:
    ecs = WithSettings()
    for _ in range(2):
        look.turn_insights_on(ecs, "AWSBatch-x")
    assert ecs.settings == [{"name": "containerInsights", "value": "enabled"}]
    assert ecs.updates == 1


def test_the_handler_prints_one_line_that_cloudwatch_reads_as_metrics(
    region: RunningRegion, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, value in region.info.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # one that a test before made keeps the keys of its own
    monkeypatch.setenv("WATCHED", json.dumps({"queues": ["queue"], "environments": ["spot"]}))
    monkeypatch.setenv("NAMESPACE", "spotbatch/Tested")
    batch = region.client("batch")
    batch.update_compute_environment(computeEnvironment="spot", state="DISABLED")
    job = batch.submit_job(jobName="stuck", jobQueue="queue", jobDefinition="long")["jobId"]
    try:
        until(lambda: seen(region)["DepthRunnable"])
        look.handler({}, None)
    finally:
        batch.terminate_job(jobId=job, reason="done")
        batch.update_compute_environment(computeEnvironment="spot", state="ENABLED")
    printed = json.loads(capsys.readouterr().out)
    (directive,) = printed["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "spotbatch/Tested"
    assert {each["Name"] for each in directive["Metrics"]} == set(printed) - {"_aws"}
    assert printed["DepthRunnable"] == 1
