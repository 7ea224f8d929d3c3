"""Secrets of job definitions: their values from the region's own services, or a start that fails as on AWS."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until

LOST = "ResourceInitializationError: unable to pull secrets or registry auth: "


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home", "--boot-seconds", "0.05") as started:
        batch = started.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "ce"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        yield started


def ended(region: RunningRegion, name: str, value_from: str, **more: Any) -> Any:
    batch = region.client("batch")
    container = {
        **CONTAINER,
        "command": ["sh", "-c", 'echo "[$DB]"'],
        "secrets": [{"name": "DB", "valueFrom": value_from}],
    }
    batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container)
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition=name, **more)["jobId"]

    def last() -> Any:
        (found,) = batch.describe_jobs(jobs=[job_id])["jobs"]
        return found if found["status"] in ("SUCCEEDED", "FAILED") else None

    return until(last)


def printed(region: RunningRegion, job: Any) -> list[str]:
    events = region.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"]
    )["events"]
    return [event["message"] for event in events]


def test_a_secret_of_secrets_manager_or_of_parameter_store_reaches_the_job(region: RunningRegion) -> None:
    arn = region.client("secretsmanager").create_secret(Name="db", SecretString='{"password": "p w", "n": 1}')["ARN"]
    region.client("ssm").put_parameter(Name="/db/password", Value="of ssm", Type="SecureString")
    parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/db/password"
    for number, (value_from, value) in enumerate(
        [
            (arn, '{"password": "p w", "n": 1}'),
            (f"{arn}:password::", "p w"),
            ("/db/password", "of ssm"),
            (parameter, "of ssm"),
        ]
    ):
        assert printed(region, ended(region, f"with{number}", value_from)) == [f"[{value}]"]


@pytest.mark.parametrize(
    ("value_from", "cause"),
    [
        ("arn:aws:secretsmanager:us-east-1:123456789012:secret:none-abcdef", "unable to retrieve secret from asm"),
        ("/there/is/none", "invalid ssm parameters: /there/is/none"),
    ],
)
def test_a_secret_that_is_not_there_fails_the_start(region: RunningRegion, value_from: str, cause: str) -> None:
    job = ended(region, "without", value_from)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["container"]["reason"].startswith(f"{LOST}{cause}")
    assert "exitCode" not in job["container"]


def test_a_stack_that_makes_a_secret_gives_it_to_its_jobs(region: RunningRegion) -> None:
    container = {
        "Image": "busybox",
        "Command": ["sh", "-c", 'echo "$A $B"'],
        "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "128"}],
        "Secrets": [{"Name": "A", "ValueFrom": {"Ref": "Secret"}}, {"Name": "B", "ValueFrom": {"Ref": "Parameter"}}],
    }
    resources = {
        "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"SecretString": "kept"}},
        "Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/s/p", "Type": "String", "Value": "told"}},
        "Job": {
            "Type": "AWS::Batch::JobDefinition",
            "Properties": {"Type": "container", "JobDefinitionName": "stacked", "ContainerProperties": container},
        },
    }
    region.admin.load_stack("S", {"Resources": resources})
    batch = region.client("batch")
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="stacked")["jobId"]
    (job,) = until(
        lambda: [one for one in batch.describe_jobs(jobs=[job_id])["jobs"] if one["status"] in ("SUCCEEDED", "FAILED")]
    )
    assert job["status"] == "SUCCEEDED", job["container"]
    assert printed(region, job) == ["kept told"]
    assert region.client("ssm").get_parameter(Name="/s/p")["Parameter"]["Value"] == "told"


# Runs no container: it prints the variables that it was told to pass on, as the container would get them.
STAND_IN = """#!/bin/sh
case "$1" in
  version) echo 1.0 ;;
  run) echo "[$DB]"; case "$*" in *hidden*) echo "on the command line" ;; esac ;;
  inspect) echo "false|2026-01-01T00:00:00Z|" ;;
esac
"""


def test_a_container_gets_its_secrets_too_and_nobody_reads_them_on_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with running(tmp_path / "home", "--boot-seconds", "0.05", "--runner", "docker") as region:
        batch = region.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "ce"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        arn = region.client("secretsmanager").create_secret(Name="db", SecretString="hidden")["ARN"]
        assert printed(region, ended(region, "with", arn)) == ["[hidden]"]
        job = ended(region, "without", "/there/is/none")
        assert job["status"] == "FAILED"
        assert job["container"]["reason"].startswith(LOST)
