"""Job logs as CloudWatch Logs: forwards, backwards, by term, and whatever is asked."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.local.test_api_safety import JSON_VALUES, send
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, refusal, running, until

GROUP = "/aws/batch/job"
LINES = ["line 1", "line 2", "línea 3\r", "line 4", "line 6", "the end"]  # an empty line is no event
SCRIPT = (
    r"printf 'line 1\nline 2\nl\303\255nea 3\r\r\nline 4\n\nline 6\nthe end\n\377 no text\n'; yes again | head -n 3000"
)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home", "--boot-seconds", "0.05") as started:
        yield started


@pytest.fixture(scope="module")
def stream(region: RunningRegion) -> str:
    """The log stream of a job that has ended."""
    batch = region.client("batch")
    batch.create_compute_environment(
        computeEnvironmentName="ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
    )
    order = [{"order": 1, "computeEnvironment": "ce"}]
    batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
    container = {**CONTAINER, "command": ["sh", "-c", SCRIPT]}
    batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=container)
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d")["jobId"]
    (job,) = until(lambda: [one for one in batch.describe_jobs(jobs=[job_id])["jobs"] if one["status"] == "SUCCEEDED"])
    name: str = job["container"]["logStreamName"]
    return name


@pytest.fixture(scope="module")
def logs(region: RunningRegion) -> Any:
    return region.client("logs")


def messages(answer: Any) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_a_log_is_read_forwards_to_its_end_and_the_last_token_stays(logs: Any, stream: str) -> None:
    where = {"logGroupName": GROUP, "logStreamName": stream}
    found: list[str] = []
    answer = logs.get_log_events(**where, startFromHead=True, limit=3)
    while messages(answer):
        found += messages(answer)
        answer = logs.get_log_events(**where, nextToken=answer["nextForwardToken"], limit=1000)
    assert [line.rstrip("\r") for line in found[:6]] == [line.rstrip("\r") for line in LINES]
    assert found[6].endswith(" no text")
    assert found[7:] == ["again"] * 3000
    again = logs.get_log_events(**where, nextToken=answer["nextForwardToken"])
    assert (messages(again), again["nextForwardToken"]) == ([], answer["nextForwardToken"])


def test_a_log_is_read_backwards_from_its_end_to_its_beginning(logs: Any, stream: str) -> None:
    where = {"logGroupName": GROUP, "logStreamName": stream}
    answer = logs.get_log_events(**where, limit=1500)
    found: list[str] = []
    while messages(answer):
        found = messages(answer) + found
        answer = logs.get_log_events(**where, nextToken=answer["nextBackwardToken"], limit=1500)
    forwards = logs.get_log_events(**where, startFromHead=True)
    assert found == messages(forwards)


def test_a_log_is_searched_by_terms(logs: Any, stream: str) -> None:
    def found(pattern: str, **more: Any) -> list[str]:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=GROUP, logStreamNames=[stream], filterPattern=pattern, **more
        )
        return [message for page in pages for message in messages(page)]

    assert found('"the end"') == ["the end"]
    assert found("line 6") == ["line 6"]
    assert len(found("again")) == 3000
    assert found("again", startTime=0, endTime=1) == []
    assert found("{ $.x = 1 }") == []  # its lines are no JSON
    assert "Invalid filter pattern" in refusal(logs.filter_log_events, logGroupName=GROUP, filterPattern="{ $.x = }")


def test_whoever_follows_a_group_by_the_time_of_the_last_event_gets_each_line_once(
    region: RunningRegion, logs: Any, stream: str
) -> None:
    assert stream  # and with it the queue
    batch = region.client("batch")
    # 400 lines of each of three jobs, some of them in two halves, while they are followed.
    script = "i=0; while [ $i -lt 400 ]; do printf n; sleep 0.0$((i % 2)); echo $i; i=$((i+1)); done"
    options = {"awslogs-group": "/followed"}
    log = {"logDriver": "awslogs", "options": options}
    container = {**CONTAINER, "command": ["sh", "-c", script], "logConfiguration": log}
    batch.register_job_definition(jobDefinitionName="followed", type="container", containerProperties=container)
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="followed", arrayProperties={"size": 3})["jobId"]
    got: list[tuple[str, str]] = []
    seen: set[str] = set()
    since, is_over, last_look = 0, False, False
    while not last_look:
        last_look, is_over = is_over, batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] == "SUCCEEDED"
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/followed", startTime=since)
        events = [each for page in pages for each in page["events"] if each["eventId"] not in seen]
        seen |= {each["eventId"] for each in events}
        got += [(each["logStreamName"], each["message"]) for each in events]
        since = max([since, *(each["timestamp"] for each in events)])

    assert len(got) == len(set(got)) == 1_200


def test_the_streams_of_a_group_are_listed(logs: Any, stream: str) -> None:
    found = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=stream)["logStreams"]
    assert [one["logStreamName"] for one in found] == [stream]


def test_the_streams_of_a_group_are_listed_by_name_or_by_their_last_event(
    region: RunningRegion, logs: Any, stream: str
) -> None:
    batch = region.client("batch")
    container = {**CONTAINER, "command": ["true"]}
    batch.register_job_definition(jobDefinitionName="a-later-one", type="container", containerProperties=container)
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="a-later-one")["jobId"]
    (job,) = until(lambda: [one for one in batch.describe_jobs(jobs=[job_id])["jobs"] if one["status"] == "SUCCEEDED"])
    later = job["container"]["logStreamName"]

    def names(**options: Any) -> list[str]:
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName=GROUP, PaginationConfig={"PageSize": 1}, **options
        )
        return [one["logStreamName"] for page in pages for one in page["logStreams"]]

    assert names() == names(orderBy="LogStreamName") == [later, stream]
    assert names(descending=True) == [stream, later]
    assert names(orderBy="LastEventTime") == [stream, later]
    assert names(orderBy="LastEventTime", descending=True) == [later, stream]
    assert "Cannot order by LastEventTime" in refusal(
        logs.describe_log_streams, logGroupName=GROUP, orderBy="LastEventTime", logStreamNamePrefix="a"
    )


def test_a_stream_tells_when_it_began_and_what_its_first_and_last_events_were(logs: Any, stream: str) -> None:
    (one,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=stream)["logStreams"]
    events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream)["events"]

    assert one["creationTime"] <= one["firstEventTimestamp"] <= one["lastEventTimestamp"]
    assert one["lastEventTimestamp"] == one["lastIngestionTime"] == events[-1]["timestamp"]


def test_the_groups_of_jobs_are_listed_beside_others(region: RunningRegion, logs: Any, stream: str) -> None:
    options = {"awslogs-group": "/of/one/definition"}
    container = {**CONTAINER, "logConfiguration": {"logDriver": "awslogs", "options": options}}
    region.client("batch").register_job_definition(
        jobDefinitionName="grouped", type="container", containerProperties=container
    )
    options = {"awslogs-group": "/of/one/task"}
    container = {**container, "logConfiguration": {"logDriver": "awslogs", "options": options}}
    region.client("batch").register_job_definition(
        jobDefinitionName="tasked", type="container", ecsProperties={"taskProperties": [{"containers": [container]}]}
    )
    logs.create_log_group(logGroupName="/of/somebody")
    for _ in range(2):
        names = [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
        assert sorted(set(names) - {"/followed"}) == [GROUP, "/of/one/definition", "/of/one/task", "/of/somebody"]


def test_a_stream_that_is_not_there_is_unknown(logs: Any, stream: str) -> None:
    task = stream.rpartition("/")[2]
    for name in ("nowhere", task, f"other/default/{task}", f"d/{task}", stream.upper()):
        asked = {"logGroupName": GROUP, "logStreamName": name}
        assert "ResourceNotFoundException" in refusal(logs.get_log_events, **asked), name
        filtered = {"logGroupName": GROUP, "logStreamNames": [name]}
        assert "ResourceNotFoundException" in refusal(logs.filter_log_events, **filtered), name
        beside = {"logGroupName": GROUP, "logStreamNames": [stream, name]}
        assert "ResourceNotFoundException" in refusal(logs.filter_log_events, **beside), name
    for group in ("/nowhere", f"{GROUP}/x"):
        asked = {"logGroupName": group, "logStreamName": stream}
        assert "ResourceNotFoundException" in refusal(logs.get_log_events, **asked), group


def test_streams_are_named_or_begin_with_a_prefix_and_not_both(logs: Any, stream: str) -> None:
    both = {"logGroupName": GROUP, "logStreamNames": [stream], "logStreamNamePrefix": "d"}
    assert "InvalidParameterException" in refusal(logs.filter_log_events, **both)


def test_empty_lines_are_no_events_from_whichever_end_a_log_is_read(
    region: RunningRegion, logs: Any, stream: str
) -> None:
    assert stream  # and with it the queue
    batch = region.client("batch")
    container = {**CONTAINER, "command": ["sh", "-c", "echo a; yes '' | head -n 2500; printf 'b\\r\\n\\r\\n\\n'"]}
    batch.register_job_definition(jobDefinitionName="sparse", type="container", containerProperties=container)
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="sparse")["jobId"]
    (job,) = until(lambda: [one for one in batch.describe_jobs(jobs=[job_id])["jobs"] if one["status"] == "SUCCEEDED"])
    where = {"logGroupName": GROUP, "logStreamName": job["container"]["logStreamName"]}
    assert messages(logs.get_log_events(**where, startFromHead=True)) == ["a", "b"]
    assert messages(logs.get_log_events(**where)) == ["a", "b"]
    assert messages(logs.get_log_events(**where, limit=1)) == ["b"]
    (row,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="sparse")["logStreams"]
    assert row["lastEventTimestamp"] >= row["firstEventTimestamp"]


def test_a_live_tail_of_job_logs_is_refused_with_what_to_do_instead(region: RunningRegion, stream: str) -> None:
    logs = region.client("logs", inject_host_prefix=False)  # else botocore asks for the host stream-127.0.0.1
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}"
    assert stream
    assert "nextForwardToken" in refusal(logs.start_live_tail, logGroupIdentifiers=[arn])


TOKENS = st.sampled_from(
    ["f/0", "b/0", "f/9", "b/99", "b/9999999", "f/-1", "b/1.0", "f/\u0661", "9" * 5000, "x|0", "|", "x|" + "9" * 5000]
)
OPERATIONS = ["GetLogEvents", "FilterLogEvents", "DescribeLogStreams", "StartLiveTail"]
VALUES = JSON_VALUES | st.integers() | TOKENS
NAMES = [
    "limit",
    "nextToken",
    "startTime",
    "endTime",
    "startFromHead",
    "filterPattern",
    "logStreamNames",
    "logStreamNamePrefix",
    "logGroupIdentifiers",
]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), operation=st.sampled_from(OPERATIONS))
def test_whatever_is_asked_of_job_logs_is_answered(
    region: RunningRegion, stream: str, data: st.DataObject, operation: str
) -> None:

    optional = dict.fromkeys(NAMES, VALUES)
    body = data.draw(st.fixed_dictionaries({}, optional=optional)) | {"logGroupName": GROUP, "logStreamName": stream}
    if operation == "FilterLogEvents":
        body["logStreamNames"] = [stream]
    if operation == "DescribeLogStreams":
        body["logStreamNamePrefix"] = stream
    groups = body.get("logGroupIdentifiers")
    if operation == "StartLiveTail" and isinstance(groups, list):
        body["logGroupIdentifiers"] = [*groups, GROUP]
    headers = {"X-Amz-Target": f"Logs_20140328.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    status, answer = send(region, "POST", "/", json.dumps(body).encode(), headers, service="logs")
    assert status in (200, 400), f"{operation} {body!r}: {status} {answer[:500]!r}"
