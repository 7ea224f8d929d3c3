"""DescribeJobs' answer is read as JSON, and what comes of it is what botocore's own parser makes of the same bytes."""

import json
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from spotbatch.aws import session
from spotbatch.aws.describe_answer import read_as_json
from spotbatch.aws.job_shapes import job_of
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput, Unavailable

CONTAINER = {
    "image": "a",
    "vcpus": None,
    "environment": [{"name": "A", "value": "1"}, {"name": "B"}],
    "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "512"}],
    "exitCode": 3,
    "reason": None,
    "logStreamName": "s/default/1",
}
SHAPES: list[dict[str, Any]] = [
    {
        "jobId": "00000000-0000-4000-8000-000000000000:3",
        "jobName": "näme",
        "jobQueue": "arn:aws:batch:us-east-1:1:job-queue/q",
        "jobDefinition": "arn:aws:batch:us-east-1:1:job-definition/d:1",
        "status": "FAILED",
        "statusReason": None,
        "createdAt": 1700000000123,
        "startedAt": 1700000001000,
        "stoppedAt": 1700000002000,
        "attempts": [
            {"container": {"exitCode": 3, "reason": None}, "startedAt": 1700000001000, "stoppedAt": 1700000002000}
        ],
        "arrayProperties": {"index": 3, "statusSummary": {}},
        "dependsOn": None,
        "container": CONTAINER,
        "tags": {"k": "v"},
        "memberOfALaterVersion": {"x": [1, None]},
    },
    {
        "jobId": "00000000-0000-4000-8000-000000000001",
        "jobName": "array",
        "status": "PENDING",
        "arrayProperties": {"size": 10_000, "statusSummary": {"RUNNABLE": 9_999, "SUCCEEDED": 1}},
        "retryStrategy": {"attempts": 10, "evaluateOnExit": []},
        "dependsOn": [{"jobId": "x", "type": "N_TO_N"}],
        "isTerminated": True,
    },
]


class Raw:
    """A response's body, as urllib3 gives it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> list[bytes]:
        return [self._body]


def answering(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    """A client whose requests are answered by these bytes; nothing is sent."""
    credentials = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    with session.connected(session.Connection(session=credentials)):
        made: Any = session.client("batch")
    response: Any = AWSResponse
    made.meta.events.register(
        "before-send.batch", lambda request, **_: response(request.url, status, headers or {}, Raw(body))
    )
    return made


def test_what_is_read_as_json_is_what_botocore_would_have_read() -> None:
    body = json.dumps({"jobs": SHAPES}).encode()
    own = [job_of(each) for each in read_as_json(answering(body)).describe_jobs(jobs=["x"])["jobs"]]
    theirs = [job_of(each) for each in answering(body).describe_jobs(jobs=["x"])["jobs"]]
    assert own == theirs
    assert (own[0].exit_code, own[0].reason, own[1].array and own[1].array.size) == (3, "", 10_000)


def test_a_client_that_is_kept_and_used_by_several_is_read_so_once() -> None:
    """A second reader of the same answer would find it empty."""
    kept = answering(json.dumps({"jobs": SHAPES}).encode())
    for _ in range(2):
        assert len(read_as_json(kept).describe_jobs(jobs=["x"])["jobs"]) == 2


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b'{"jobs": [', b"\xff", b"[" * 100_000, b'{"jobs": 3}'])
def test_an_answer_that_is_not_aws_batchs_is_reported(body: bytes) -> None:
    with pytest.raises(Unavailable, match="not AWS's"):
        Jobs(batch=read_as_json(answering(body))).describe(["x"])


def test_a_client_that_is_used_again_reads_all_the_same() -> None:
    batch = answering(json.dumps({"jobs": SHAPES}).encode())
    for _ in range(3):
        assert len(Jobs(batch=read_as_json(batch)).describe([each["jobId"] for each in SHAPES])) == len(SHAPES)


@pytest.mark.parametrize("body", [b"{}", b'{"jobs": null}', b'{"jobs": []}'])
def test_an_answer_without_jobs_has_none(body: bytes) -> None:
    assert Jobs(batch=read_as_json(answering(body))).describe(["x"]) == []


def test_a_refusal_keeps_awss_own_words() -> None:
    batch = answering(b'{"message": "jobs holds 101 ids"}', 400, {"x-amzn-errortype": "ClientException"})
    with pytest.raises(InvalidInput, match="jobs holds 101 ids"):
        Jobs(batch=read_as_json(batch)).describe(["x"])


def test_a_client_that_several_prepare_is_read_once() -> None:
    batch = read_as_json(read_as_json(answering(json.dumps({"jobs": SHAPES}).encode())))
    assert len(Jobs(batch=batch).describe([each["jobId"] for each in SHAPES])) == len(SHAPES)
