"""Faults at the endpoint, with a clock that the test turns: refusals in AWS's words, lost answers, late ones."""

import asyncio
import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from spotbatch.local.api.api_faults import ApiFaults, operation_of
from spotbatch.local.api.errors import ApiError, error_response
from spotbatch.local.api.http import Body, Head, Response, json_response
from spotbatch.local.api.rate_limits import RateLimits, limit_of
from spotbatch.local.faults import FaultPlan

JOB = "00000001-0000-4000-8000-000000000000"


def head(path: str = "/v1/describejobs", method: str = "POST", **headers: str) -> Head:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Head(method=method, raw_path=path, query="", headers=named)


def body(text: str = "{}") -> Body:
    return Body(file=io.BytesIO(text.encode()), length=len(text), sha256="")


@dataclass(kw_only=True)
class Service:
    """What answers behind the faults, and how often it was asked."""

    plan: FaultPlan
    answers: list[Response] = field(default_factory=list)
    asked: int = 0
    now: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.faults = ApiFaults(plan=self.plan, seed=self.seed, steady=lambda: self.now)

    def ask(self, service: str = "batch", path: str = "/v1/describejobs", text: str = "{}") -> Response:
        async def serve() -> Response:
            self.asked += 1
            return self.answers[min(self.asked, len(self.answers)) - 1] if self.answers else json_response({})

        def refuse(error: ApiError) -> Response:
            return error_response(error)

        return asyncio.run(self.faults.answer(service, head(path), body(text), serve, refuse))


def code_of(response: Response) -> tuple[int, str]:
    return response.status, str(json.loads(response.body)["__type"])


@pytest.mark.parametrize(
    ("service", "throttled", "failed"),
    [
        ("batch", (429, "TooManyRequestsException"), (500, "ServerException")),
        ("ec2", (503, "RequestLimitExceeded"), (500, "InternalError")),
        ("ecs", (400, "ThrottlingException"), (500, "ServerException")),
        ("logs", (400, "ThrottlingException"), (500, "ServiceUnavailableException")),
        ("s3", (503, "SlowDown"), (500, "InternalError")),
        ("sts", (400, "Throttling"), (500, "InternalFailure")),
    ],
)
def test_each_service_refuses_in_its_own_words_and_does_nothing_then(
    service: str, throttled: tuple[int, str], failed: tuple[int, str]
) -> None:
    for plan, expected in ((FaultPlan(throttled=1.0), throttled), (FaultPlan(server_errors=1.0), failed)):
        world = Service(plan=plan)
        assert code_of(world.ask(service)) == expected
        assert world.asked == 0


def test_what_is_answered_with_a_lost_answer_was_done() -> None:
    world = Service(plan=FaultPlan(lost_answers=1.0), answers=[json_response({"jobId": JOB})])
    assert code_of(world.ask(path="/v1/submitjob")) == (500, "ServerException")
    assert world.asked == 1


def test_submissions_beyond_fifty_a_second_are_throttled_and_pass_again_later() -> None:
    world = Service(plan=FaultPlan(rate_limits=True), answers=[json_response({"jobId": JOB})])
    answers = [world.ask(path="/v1/submitjob").status for _ in range(60)]
    assert answers == [200] * 50 + [429] * 10
    world.now += 0.1
    assert [world.ask(path="/v1/submitjob").status for _ in range(6)] == [200] * 5 + [429]
    assert world.ask(path="/v1/describejobs").status == 200  # AWS publishes no rate of it


def test_a_bucket_never_holds_more_than_its_size() -> None:
    limits = RateLimits()
    assert sum(limits.takes("ec2", "DescribeInstances", 0.0) for _ in range(200)) == 100
    assert sum(limits.takes("ec2", "DescribeInstances", 1e6) for _ in range(200)) == 100
    assert limit_of("ec2", "RunInstances") == (50.0, 5.0)
    assert limit_of("ecs", "DescribeClusters") == (50.0, 20.0)
    assert limit_of("iam", "GetRole") is None


def jobs(*statuses: str) -> Response:
    return json_response({"jobs": [{"jobId": JOB, "status": status} for status in statuses]})


def test_a_late_answer_is_one_that_was_true_a_moment_ago_and_no_older_than_the_lag() -> None:
    plan = FaultPlan(lagging_answers=1.0, lag_seconds=4.0)
    statuses = ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    world = Service(plan=plan, answers=[jobs(status) for status in statuses])
    seen: list[str] = []
    for _ in range(12):
        document: Any = json.loads(world.ask().body)
        seen.append(document["jobs"][0]["status"])
        world.now += 1.0
    assert seen[-1] == "SUCCEEDED"
    assert any(status != now for status, now in zip(seen, statuses, strict=False))
    truth = statuses + ["SUCCEEDED"] * 8
    assert all(status in truth[max(0, place - 4) : place + 1] for place, status in enumerate(seen))


def test_a_job_that_was_just_submitted_may_not_be_seen_yet() -> None:
    world = Service(
        plan=FaultPlan(lagging_answers=1.0, lag_seconds=4.0),
        answers=[json_response({"jobId": JOB}), jobs("RUNNABLE")],
    )
    world.ask(path="/v1/submitjob")
    assert json.loads(world.ask().body) == {"jobs": []}
    world.now += 5.0
    assert json.loads(world.ask().body)["jobs"][0]["jobId"] == JOB


def test_s3_never_lags() -> None:
    world = Service(
        plan=FaultPlan(lagging_answers=1.0, lag_seconds=60.0), answers=[json_response({"n": n}) for n in range(1, 4)]
    )
    assert [json.loads(world.ask("s3", "/bucket/key").body)["n"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("service", "asked", "text", "operation"),
    [
        ("batch", head("/v1/submitjob"), "{}", "SubmitJob"),
        ("batch", head("/v1/tags/arn", "GET"), "", ""),
        ("logs", head("/", x_amz_target="Logs_20140328.GetLogEvents"), "{}", "GetLogEvents"),
        ("ec2", head("/"), "Action=DescribeInstances&Version=2016-11-15", "DescribeInstances"),
        ("s3", head("/bucket/key", "HEAD"), "", "Get"),
        ("s3", head("/bucket/key", "PUT"), "", "PUT"),
    ],
)
def test_a_request_is_known_by_its_operation(service: str, asked: Head, text: str, operation: str) -> None:
    assert operation_of(service, asked, body(text)) == operation
