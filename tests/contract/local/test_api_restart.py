"""After kill -9 and a new start the control plane is as it was, and deletions that were begun are finished."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.local.test_api_stacks import TEMPLATE, outputs
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until


def furnish(batch: Any) -> str:
    """One of each kind. Returns the id of a job that waits for ever."""
    asked = {"type": "MANAGED", "state": "DISABLED", "computeResources": ENVIRONMENT_RESOURCES, "tags": {"a": "1"}}
    batch.create_compute_environment(computeEnvironmentName="ce", **asked)
    order = [{"order": 1, "computeEnvironment": "ce"}]
    batch.create_job_queue(jobQueueName="q", priority=3, computeEnvironmentOrder=order)
    batch.create_scheduling_policy(name="p", fairsharePolicy={"shareDecaySeconds": 700})
    for _ in range(2):
        batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=CONTAINER)
    batch.deregister_job_definition(jobDefinition="d:2")
    job = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d", tags={"t": "1"})
    batch.tag_resource(resourceArn=job["jobArn"], tags={"u": "2"})
    job_id: str = job["jobId"]
    return job_id


def picture(batch: Any, job_id: str) -> dict[str, Any]:
    """All that the control plane says."""
    arns = [one["arn"] for one in batch.list_scheduling_policies()["schedulingPolicies"]]
    return {
        "environments": batch.describe_compute_environments()["computeEnvironments"],
        "queues": batch.describe_job_queues()["jobQueues"],
        "definitions": batch.describe_job_definitions()["jobDefinitions"],
        "policies": batch.describe_scheduling_policies(arns=arns)["schedulingPolicies"],
        "jobs": batch.describe_jobs(jobs=[job_id])["jobs"],
        "listed": batch.list_jobs(jobQueue="q", jobStatus="RUNNABLE")["jobSummaryList"],
    }


def killed(region: RunningRegion) -> None:
    region.process.kill()
    region.process.wait()


def test_the_control_plane_survives_kill_9(tmp_path: Path) -> None:
    with running(tmp_path / "home") as first:
        job_id = furnish(first.client("batch"))
        until(lambda: first.client("batch").list_jobs(jobQueue="q", jobStatus="RUNNABLE")["jobSummaryList"])
        before = picture(first.client("batch"), job_id)
        assert before["jobs"][0]["tags"] == {"t": "1", "u": "2"}
        killed(first)
    with running(tmp_path / "home") as second:
        assert picture(second.client("batch"), job_id) == before
        again = {"jobDefinitionName": "d", "type": "container", "containerProperties": CONTAINER}
        assert second.client("batch").register_job_definition(**again)["revision"] == 3


def test_a_loaded_stack_and_its_names_elsewhere_survive_kill_9(tmp_path: Path) -> None:
    with running(tmp_path / "home") as first:
        first.admin.load_stack("Work", TEMPLATE)
        before = outputs(first, "Work")
        killed(first)
    with running(tmp_path / "home") as second:
        assert outputs(second, "Work") == before
        buckets = {one["Name"] for one in second.client("s3").list_buckets()["Buckets"]}
        assert before["ArtifactsBucketName"] in buckets


def test_a_plain_start_after_kill_9_runs_what_waits_with_the_images_and_variables_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images.toml"
    images.write_text('[[image]]\npattern = "busybox"\nentry_point = ["env", "WRAPPED=yes"]\n')
    monkeypatch.setenv("NOTES", str(tmp_path))
    script = 'echo "$WRAPPED" > "$NOTES/$AWS_BATCH_JOB_ATTEMPT"; [ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || exec sleep 100'
    container = {**CONTAINER, "command": ["sh", "-c", script]}
    typed = ("--images", str(images), "--pass-env", "NOTES", "--boot-seconds", "0.05")
    with running(tmp_path / "home", *typed) as first:
        batch = first.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "ce"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=container)
        retry = {"attempts": 3}
        job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d", retryStrategy=retry)["jobId"]
        until(lambda: (tmp_path / "1").exists() and (tmp_path / "1").read_text())
        killed(first)
    images.unlink()
    monkeypatch.delenv("NOTES")
    with running(tmp_path / "home") as second:
        batch = second.client("batch")
        job = until(lambda: [one for one in batch.describe_jobs(jobs=[job_id])["jobs"] if "stoppedAt" in one])[0]
        assert job["status"] == "SUCCEEDED", job
        assert (tmp_path / "2").read_text() == "yes\n"


def test_a_queue_that_was_being_deleted_is_gone_after_the_restart(tmp_path: Path) -> None:
    with running(tmp_path / "home") as first:
        batch = first.client("batch")
        job_id = furnish(batch)
        batch.update_job_queue(jobQueue="q", state="DISABLED")
        batch.delete_job_queue(jobQueue="q")
        killed(first)
    with running(tmp_path / "home") as second:
        batch = second.client("batch")
        until(lambda: not batch.describe_job_queues(jobQueues=["q"])["jobQueues"])
        assert batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] == "FAILED"
        batch.delete_compute_environment(computeEnvironment="ce")
