"""The whole default stack in the local region: an array under reclaims, and what watches it tells the truth."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local_api_region import RunningRegion, running, until

ROOT = Path(__file__).resolve().parent.parent.parent
STACK = "CostOptimizedBatchProcessing"
SIZE = 6
RECLAIMED = 3  # as many as the stack's alarm of interruptions waits for
QUICK = ("--boot-seconds", "0", "--notice-seconds", "0")
SYNTHESIS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from aws_cdk import App
from app import CostOptimizedBatchProcessingStack
from spotbatch.infra.settings import StackSettings
app = App(outdir=sys.argv[1])
settings = StackSettings.read({{"interruptions_per_hour": {RECLAIMED}}})
CostOptimizedBatchProcessingStack(app, "{STACK}", settings=settings)
app.synth()
"""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened: the region, the stack's own names, and how many attempts were lost."""

    region: RunningRegion
    names: dict[str, str]  # physical ids by the beginning of a logical id
    job_id: str
    lost: int

    def named(self, kind: str, begin: str) -> str:
        return self.names[f"{kind}/{begin}"]


def _names(region: RunningRegion) -> dict[str, str]:
    found = {}
    for one in region.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]:
        logical = one["LogicalResourceId"]
        found[f"{one['ResourceType']}/{logical.rstrip('0123456789ABCDEF')}"] = one["PhysicalResourceId"]
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("monitoring")
    out = folder / "cdk.out"
    subprocess.run([sys.executable, "-c", SYNTHESIS, str(out)], check=True, cwd=folder)
    template = out / f"{STACK}.template.json"
    with running(
        folder / "home", "--template", str(template), "--boot-seconds", "0", "--notice-seconds", "0"
    ) as region:
        names = _names(region)
        sns, sqs = region.client("sns"), region.client("sqs")
        url = sqs.create_queue(QueueName="people")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = next(one["TopicArn"] for one in sns.list_topics()["Topics"])
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        job_id = _under_reclaims(region)
        attempts = _attempts(region, job_id)
        lost = sum(str(one.get("statusReason", "")).startswith("Host EC2") for one in attempts)
        yield Story(region=region, names=names, job_id=job_id, lost=lost)


def _under_reclaims(region: RunningRegion) -> str:
    """Every child waits for a file that is made once hosts were taken; all succeed in the end."""
    batch = region.client("batch")
    queue = batch.describe_job_queues()["jobQueues"][0]["jobQueueName"]
    gate = Path(region.info.home).parent / "gate"
    batch.register_job_definition(
        jobDefinitionName="waits",
        type="container",
        retryStrategy={"attempts": 10, "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}]},
        containerProperties={
            "image": "busybox",
            "command": ["sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.05; done"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
        },
    )
    submitted = batch.submit_job(jobName="array", jobQueue=queue, jobDefinition="waits", arrayProperties={"size": SIZE})
    job_id = str(submitted["jobId"])

    def summary() -> Any:
        (job,) = batch.describe_jobs(jobs=[job_id])["jobs"]
        return job["arrayProperties"]["statusSummary"]

    reclaims = 0
    while reclaims < RECLAIMED:
        until(lambda: summary()["RUNNING"] == SIZE, seconds=60)
        reclaims += len(region.admin.interrupt(count=1, notice_seconds=0))
    until(lambda: summary()["RUNNING"] == SIZE, seconds=60)
    gate.touch()
    until(lambda: summary()["SUCCEEDED"] == SIZE, seconds=60)
    return job_id


def _attempts(region: RunningRegion, job_id: str) -> list[dict[str, Any]]:
    jobs = region.client("batch").describe_jobs(jobs=[f"{job_id}:{index}" for index in range(SIZE)])["jobs"]
    return [attempt for job in jobs for attempt in job["attempts"]]


def told(story: Story) -> list[dict[str, Any]]:
    """The events in the stack's log group."""
    group = story.named("AWS::Logs::LogGroup", "WatchingEvents")
    pages = story.region.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return [json.loads(event["message"]) for page in pages for event in page["events"]]


def statuses(events: list[dict[str, Any]], job_id: str) -> list[str]:
    of_job = [one for one in events if one["detail"].get("jobId") == job_id]
    return [str(one["detail"]["status"]) for one in sorted(of_job, key=lambda one: str(one["time"]))]


def notices_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in events if one["detail-type"] == "EC2 Spot Instance Interruption Warning"]


def test_the_events_group_holds_the_story_of_every_job(story: Story) -> None:
    assert story.lost >= RECLAIMED

    def all_told() -> list[dict[str, Any]] | None:
        events = told(story)
        ended = [one for one in events if one["detail"].get("status") == "SUCCEEDED"]
        is_whole = len(ended) >= SIZE + 1 and len(notices_of(events)) >= RECLAIMED  # the children and their parent
        return events if is_whole else None

    events = until(all_told, seconds=60)
    for index in range(SIZE):
        of_child = [one["detail"] for one in events if one["detail"].get("jobId") == f"{story.job_id}:{index}"]
        found = [str(one["status"]) for one in of_child]
        attempts = max(len(one["attempts"]) for one in of_child)
        assert found.count("RUNNING") == attempts
        assert found.count("RUNNABLE") == attempts  # once at first, and once for each retry
        assert found.count("SUCCEEDED") == 1
    assert len(notices_of(events)) == RECLAIMED


def test_the_metric_counts_the_interrupted_attempts(story: Story) -> None:
    namespace = f"spotbatch/{STACK}"

    def count() -> float:
        from datetime import UTC, datetime, timedelta

        now = datetime.now(UTC)
        points = story.region.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName="AttemptsInterrupted",
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=2),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(float(one["Sum"]) for one in points)

    until(lambda: count() >= story.lost, seconds=30)
    assert count() == story.lost


def test_the_alarm_has_fired_and_told_the_topic(story: Story) -> None:
    cloudwatch, sqs = story.region.client("cloudwatch"), story.region.client("sqs")

    def fired() -> Any:
        alarms = cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]
        return [one for one in alarms if one["MetricName"] == "AttemptsInterrupted"]

    (alarm,) = until(fired, seconds=30)
    assert "Threshold Crossed" in alarm["StateReason"]
    others = {one["MetricName"]: one["StateValue"] for one in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert others["JobsFailed"] == "OK"  # nothing failed, and missing data are not breaching
    url = sqs.get_queue_url(QueueName="people")["QueueUrl"]
    bodies = until(lambda: sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"), seconds=30)
    messages = [json.loads(json.loads(one["Body"])["Message"]) for one in bodies]
    assert any(one.get("AlarmName") == alarm["AlarmName"] and one["NewStateValue"] == "ALARM" for one in messages)


def test_the_command_events_shows_them(story: Story) -> None:
    environment = {**story.region.info.environment(), "PATH": "/usr/bin:/bin", "HOME": str(story.region.info.home)}
    shown = subprocess.run(
        [str(Path(sys.executable).with_name("spotbatch")), "events", "--stack", STACK, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert story.job_id in shown.stdout
    assert "EC2 will terminate it in two minutes" in shown.stdout
