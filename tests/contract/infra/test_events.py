"""`spotbatch events` reads the stack's event log group; the events here have the form of AWS's own examples."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from tests.contract.cli_world import STACK, CliWorld, cli_world, template

GROUP_ID: Final = "WatchingEventsE50D27BC"  # as the CDK names it; the template's own test holds the beginning
BUSY, BROKEN = "4c7599ae-0a82-49aa-ba5a-4727fcce14a8", "5d75a0bf-0a82-49aa-ba5a-4727fcce14a9"
QUEUE = "arn:aws:batch:us-east-1:123456789012:job-queue/Work"
HOST = "i-0b662ef9931388ba0"
NOW = time.time()


def event(kind: str, ago_seconds: float, **detail: Any) -> dict[str, Any]:
    """A line of the log group, as EventBridge writes it."""
    at = NOW - ago_seconds
    told = {
        "detail-type": kind,
        "time": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "detail": detail,
    }
    return {"timestamp": round(at * 1000), "message": json.dumps(told)}


def job(job_id: str, status: str, ago_seconds: float, **more: Any) -> dict[str, Any]:
    detail = {"jobId": job_id, "jobName": "flights", "jobQueue": QUEUE, "status": status, "attempts": []} | more
    return event("Batch Job State Change", ago_seconds, **detail)


LOST = {"statusReason": f"Host EC2 (instance {HOST}) terminated."}
TOLD: Final = [
    job(BUSY, "SUCCEEDED", 3 * 86400),
    job(BUSY, "RUNNING", 500),
    event("EC2 Spot Instance Interruption Warning", 400, **{"instance-id": HOST, "instance-action": "terminate"}),
    job(f"{BUSY}:7", "RUNNABLE", 300, attempts=[LOST]),
    {"timestamp": round((NOW - 250) * 1000), "message": "not an event of ours"},
    job(BROKEN, "FAILED", 200, statusReason="Essential container in task exited", container={"exitCode": 3}),
    event(
        "Batch Job Queue Blocked",
        100,
        jobId=BROKEN,
        jobName="flights",
        jobQueue=QUEUE,
        status="RUNNABLE",
        statusReason="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("events")) as made:
        watched = template()
        watched["Resources"][GROUP_ID] = {"Type": "AWS::Logs::LogGroup"}
        made.admin.load_stack(STACK, watched)
        cloudformation, logs = made.region.client("cloudformation"), made.region.client("logs")
        rows = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
        (group,) = [row["PhysicalResourceId"] for row in rows if row["LogicalResourceId"] == GROUP_ID]
        logs.create_log_stream(logGroupName=group, logStreamName="events")
        logs.put_log_events(logGroupName=group, logStreamName="events", logEvents=TOLD)
        yield made


def subjects(world: CliWorld, *arguments: str) -> list[tuple[str, str]]:
    return [(each["kind"], each["subject"]) for each in world.run("events", *arguments, "--json").json]


def test_a_days_events_are_told_oldest_first_and_what_is_no_event_is_left_out(world: CliWorld) -> None:
    assert subjects(world) == [
        ("job", BUSY),
        ("spot", HOST),
        ("job", f"{BUSY}:7"),
        ("job", BROKEN),
        ("blocked", BROKEN),
    ]
    assert len(subjects(world, "--since", "7d")) == 6


def test_a_retry_after_a_lost_host_says_which_host(world: CliWorld) -> None:
    (retried,) = world.run("events", "--status", "RUNNABLE", "--kind", "job", "--json").json
    assert retried["reason"] == LOST["statusReason"]
    assert (retried["attempts"], retried["queue"], retried["exit_code"]) == (1, "Work", None)


def test_one_jobs_events_take_its_children_in_and_nobody_elses(world: CliWorld) -> None:
    assert subjects(world, BUSY) == [("job", BUSY), ("job", f"{BUSY}:7")]
    assert subjects(world, f"{BUSY}:7") == [("job", f"{BUSY}:7")]


def test_kinds_are_chosen_and_the_newest_stay_where_there_are_more_than_asked(world: CliWorld) -> None:
    assert subjects(world, "--kind", "spot") == [("spot", HOST)]
    said = world.run("events", "--limit", "1")
    assert "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT" in said.out
    assert BUSY not in said.out
    assert "there are more" in said.err


def test_the_table_says_when_what_and_why(world: CliWorld) -> None:
    said = world.run("events", "--status", "FAILED")
    assert re.split(r"  +", said.out.splitlines()[0]) == [
        *("WHEN", "KIND", "JOB OR HOST", "NAME", "STATUS", "ATTEMPTS", "REASON"),
    ]
    assert "exit 3: Essential container in task exited" in said.out
    assert world.run("events", "--since", "1s").out == "no events\n"


def test_a_stack_that_keeps_no_events_a_wrong_group_and_a_spot_notice_of_a_job_say_what_to_do(world: CliWorld) -> None:
    world.admin.load_stack("Unwatched", template())
    assert "monitoring" in world.run("events", "--stack", "Unwatched", code=3).err
    assert "/none" in world.run("events", "--group", "/none", code=3).err
    assert "--kind spot" in world.run("events", BUSY, "--kind", "spot", code=2).err
