"""Faults at the endpoint: throttled requests, failures, lost responses, and stale responses.

`local/faults.py` decides what strikes; this module carries it out, in AWS's own wording for each service.
"""

import hashlib
import json
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from spotbatch.local import faults
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.http import Body, Head, Response
from spotbatch.local.api.rate_limits import RateLimits
from spotbatch.local.faults import FaultPlan

_READS: Final = ("Describe", "List", "Get", "FilterLogEvents")
_LAGGING: Final = frozenset({"batch", "ecs", "ec2", "logs"})  # S3 has been consistent since December 2020
_MOST_REMEMBERED: Final = 500  # requests whose earlier responses are kept
_MOST_EARLIER: Final = 20  # responses of one request
# AWS Batch's wording: ASFHyP3/hyp3 #1676 and nextflow-io/nextflow #709; EC2's: EC2 API reference, "Common errors";
# ECS's: developer guide, "Request throttling"; S3's: API reference, "Error responses".
_THROTTLED: Final[Mapping[str, ApiError]] = {
    "batch": ApiError("TooManyRequestsException", "Too Many Requests", 429),
    "ec2": ApiError("RequestLimitExceeded", "Request limit exceeded.", 503),
    "ecs": ApiError("ThrottlingException", "Rate exceeded", 400),
    "logs": ApiError("ThrottlingException", "Rate exceeded", 400),
    "s3": ApiError("SlowDown", "Please reduce your request rate.", 503),
}
_ELSEWHERE_THROTTLED: Final = ApiError("Throttling", "Rate exceeded", 400)
_FAILED: Final[Mapping[str, ApiError]] = {
    "batch": ApiError("ServerException", "Internal server error", 500),
    "ec2": ApiError("InternalError", "An internal error has occurred", 500),
    "ecs": ApiError("ServerException", "Service Unavailable. Please try again later.", 500),
    "logs": ApiError("ServiceUnavailableException", "The service cannot complete the request.", 500),
    "s3": ApiError("InternalError", "We encountered an internal error. Please try again.", 500),
}
_ELSEWHERE_FAILED: Final = ApiError("InternalFailure", "The request processing has failed", 500)

Serve = Callable[[], Awaitable[Response]]
Refuse = Callable[[ApiError], Response]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Earlier:
    at: float
    response: Response


@dataclass(kw_only=True)
class ApiFaults:
    """The faults of one endpoint. `steady` is a monotonic clock, in seconds."""

    plan: FaultPlan
    seed: int
    steady: Callable[[], float] = time.monotonic
    _limits: RateLimits = field(default_factory=RateLimits)
    _numbers: dict[str, int] = field(default_factory=dict)  # of the last request, by service
    _answers: "OrderedDict[bytes, deque[_Earlier]]" = field(default_factory=OrderedDict)
    _born: dict[str, float] = field(default_factory=dict)  # recent jobs, and when they were submitted

    async def answer(self, service: str, head: Head, body: Body, serve: Serve, refuse: Refuse) -> Response:
        """Answer one request, with whatever fault strikes it."""
        operation = operation_of(service, head, body)
        number = self._numbers[service] = self._numbers.get(service, 0) + 1
        if self.plan.rate_limits and not self._limits.takes(service, operation, self.steady()):
            return refuse(_THROTTLED.get(service, _ELSEWHERE_THROTTLED))
        fault = faults.of_request(self.plan, self.seed, service, number)
        if fault in ("throttled", "s3_slow_down"):
            return refuse(_THROTTLED.get(service, _ELSEWHERE_THROTTLED))
        if fault == "server_errors":
            return refuse(_FAILED.get(service, _ELSEWHERE_FAILED))
        response = await serve()
        if service == "batch" and operation == "SubmitJob" and response.status == 200:
            self._submitted(response)
        if fault == "lost_answers":
            return refuse(_FAILED.get(service, _ELSEWHERE_FAILED))
        is_read = service in _LAGGING and operation.startswith(_READS)
        if is_read and self.plan.lag_seconds and response.status == 200:
            lag = faults.lag_of_request(self.plan, self.seed, service, number)
            return self._lagging(service, operation, head, body, response, lag)
        return response

    # ---- answers that lag behind ----

    def _submitted(self, response: Response) -> None:
        now = self.steady()
        self._born = {job: at for job, at in self._born.items() if now - at < self.plan.lag_seconds}
        self._born[str(json.loads(response.body)["jobId"])] = now

    def _lagging(
        self, service: str, operation: str, head: Head, body: Body, response: Response, lag: float
    ) -> Response:
        """The response of some seconds ago, if known; jobs submitted since then are left out."""
        now = self.steady()
        key = hashlib.sha256(f"{service} {operation} {head.raw_path}?{head.query} ".encode() + body.read()).digest()
        earlier = self._answers.setdefault(key, deque(maxlen=_MOST_EARLIER))
        self._answers.move_to_end(key)
        if len(self._answers) > _MOST_REMEMBERED:
            self._answers.popitem(last=False)
        while earlier and now - earlier[0].at > self.plan.lag_seconds:
            earlier.popleft()
        earlier.append(_Earlier(at=now, response=response))
        if not lag:
            return response
        found = next(each.response for each in earlier if now - each.at <= lag)
        unseen = {job for job, at in self._born.items() if now - at < lag}
        return without_jobs(operation, found, unseen) if service == "batch" and unseen else found


def operation_of(service: str, head: Head, body: Body) -> str:
    """A request's operation, as its service's API names it; for S3 the method."""
    if service == "s3":
        return {"GET": "Get", "HEAD": "Get"}.get(head.method, head.method)
    if target := head.header("x-amz-target"):
        return target.rpartition(".")[2]
    if service == "batch":
        return _BATCH_OPERATIONS.get(head.raw_path.rpartition("/")[2].lower(), "")
    form = parse_qs(body.read().decode("utf-8", "replace") if head.method == "POST" else head.query)
    return form.get("Action", [""])[0]


def _batch_operations() -> dict[str, str]:
    from spotbatch.local.api.operations import OPERATIONS

    return {name.lower(): name for name in OPERATIONS}


_BATCH_OPERATIONS: Final = _batch_operations()


def without_jobs(operation: str, response: Response, unseen: set[str]) -> Response:
    """A DescribeJobs or ListJobs response without some jobs and their children."""
    member = {"DescribeJobs": "jobs", "ListJobs": "jobSummaryList"}.get(operation)
    if member is None:
        return response
    document: dict[str, Any] = json.loads(response.body)
    document[member] = [each for each in document[member] if each["jobId"].partition(":")[0] not in unseen]
    return Response(headers=response.headers, body=json.dumps(document, separators=(",", ":")).encode())
