"""Whether a host under notice gets new jobs: as the user data of its launch template has it, or as it was asked for."""

from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest

from tests.contract.cli_world import template
from tests.contract.local.test_engine_processes import prepare, submit
from tests.contract.local_api_region import RunningRegion, running, until

BOOT = ("--boot-seconds", "0.05", "--stop-grace-seconds", "0.5", "--notice-seconds", "600")
DRAINS = "echo ECS_ENABLE_SPOT_INSTANCE_DRAINING=true >> /etc/ecs/ecs.config\n"


def host_of(batch: Any, region: RunningRegion, job_id: str) -> str:
    """The instance on which a job runs."""

    def arn() -> str | None:
        found = batch.describe_jobs(jobs=[job_id])["jobs"][0]
        return str(found["container"]["containerInstanceArn"]) if found["status"] == "RUNNING" else None

    task = until(arn)
    cluster = task.split("/")[1]
    answer = region.client("ecs").describe_container_instances(cluster=cluster, containerInstances=[task])
    return str(answer["containerInstances"][0]["ec2InstanceId"])


def second_host_after_notice(region: RunningRegion, batch: Any) -> tuple[str, str]:
    """Where one job runs, and where the next one does once the first one's host has its notice."""
    first = host_of(batch, region, submit(batch, "sleep 600"))
    assert region.admin.interrupt(count=1) == [first]
    return first, host_of(batch, region, submit(batch, "sleep 600"))


@pytest.mark.parametrize(
    ("typed", "is_same"), [((), True), (("--draining", "off"), True), (("--draining", "on"), False)]
)
def test_a_host_under_notice_is_placed_on_unless_it_drains(
    tmp_path: Path, typed: tuple[str, ...], is_same: bool
) -> None:
    with running(tmp_path / "home", *BOOT, *typed) as region:
        first, second = second_host_after_notice(region, prepare(region))
        assert (first == second) is is_same


@pytest.mark.parametrize(
    ("script", "typed", "is_same"),
    [("echo hello\n", (), True), (DRAINS, (), False), (DRAINS, ("--draining", "off"), True)],
)
def test_the_user_data_of_the_launch_template_decides(
    tmp_path: Path, script: str, typed: tuple[str, ...], is_same: bool
) -> None:
    part = MIMEMultipart()
    part.attach(MIMEText(f"#!/bin/sh\n{script}", "x-shellscript", "us-ascii"))
    mime = part.as_string()
    body = template(LaunchTemplate={"LaunchTemplateId": {"Ref": "Host"}, "Version": "$Latest"})
    body["Resources"]["Host"] = {
        "Type": "AWS::EC2::LaunchTemplate",
        "Properties": {"LaunchTemplateData": {"UserData": {"Fn::Base64": mime}}},
    }
    with running(tmp_path / "home", *BOOT, *typed) as region:
        region.admin.load_stack("Drained", body)
        batch = region.client("batch")
        queue = batch.describe_job_queues()["jobQueues"][0]["jobQueueName"]

        def submitted() -> str:
            overrides = {"command": ["sleep", "600"]}
            answer = batch.submit_job(jobName="j", jobQueue=queue, jobDefinition="work", containerOverrides=overrides)
            return str(answer["jobId"])

        first = host_of(batch, region, submitted())
        assert region.admin.interrupt(count=1) == [first]
        assert (host_of(batch, region, submitted()) == first) is is_same


def test_what_is_placed_on_a_host_under_notice_goes_with_it(tmp_path: Path) -> None:
    with running(tmp_path / "home", *BOOT) as region:
        batch = prepare(region)
        first = host_of(batch, region, submit(batch, "sleep 600"))
        region.admin.interrupt(instance_ids=[first], notice_seconds=3)
        late = submit(batch, "sleep 600")
        assert host_of(batch, region, late) == first
        lost = until(lambda: batch.describe_jobs(jobs=[late])["jobs"][0]["attempts"])
        assert lost[0]["statusReason"] == f"Host EC2 (instance {first}) terminated."
        assert host_of(batch, region, late) != first
