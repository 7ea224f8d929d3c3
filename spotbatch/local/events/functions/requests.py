"""Lambda's Invoke over HTTP; the rest of that service is moto's."""

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from spotbatch.batch.errors import NotFound
from spotbatch.local.api.http import Body, Head, Response, json_response
from spotbatch.local.events.functions.function import Function, Outcome
from spotbatch.local.events.functions.invoker import Invoker, Throttled

_PATH: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations|/2014-11-13/functions/([^/]+)/invoke-async/?")
# Developer guide, "Lambda quotas": payloads of synchronous and asynchronous invocations.
_MOST_BYTES: Final = 6 << 20
_MOST_EVENT_BYTES: Final = 1 << 20

FunctionOf = Callable[[str, str], Awaitable[Function]]  # by name or ARN, and qualifier; raises NotFound


async def answer(find: FunctionOf, invoker: Invoker, head: Head, body: Body) -> Response | None:
    """The response to an invocation; None for every other request."""
    match = _PATH.fullmatch(head.raw_path)
    if match is None or head.method != "POST":
        return None
    qualifier = parse_qs(head.query).get("Qualifier", [""])[0]
    try:
        function = await find(unquote(match[1] or match[2]), qualifier)
    except NotFound as error:
        return _refusal("ResourceNotFoundException", str(error), 404)
    kind = "Event" if match[2] else head.header("x-amz-invocation-type") or "RequestResponse"
    event = body.read()
    most = _MOST_EVENT_BYTES if kind == "Event" else _MOST_BYTES
    if len(event) > most:
        return _refusal("RequestTooLargeException", f"Request must be smaller than {most} bytes", 413)
    try:
        json.loads(event or b"{}")
    except ValueError as error:
        message = f"Could not parse request body into json: {error}"
        return _refusal("InvalidRequestContentException", message, 400)
    if kind == "DryRun":
        return Response(status=204)
    if kind == "Event":
        invoker.invoke_later(function, event or b"{}")
        return Response(status=202)
    return await _called(function, invoker, head, event or b"{}")


async def _called(function: Function, invoker: Invoker, head: Head, event: bytes) -> Response:
    try:
        outcome = await invoker.invoke(function, event, client_context=_context(head))
    except Throttled as error:
        return _refusal("TooManyRequestsException", str(error), 429)
    headers = [("content-type", "application/json"), ("x-amz-executed-version", function.version)]
    if outcome.error:
        headers.append(("x-amz-function-error", outcome.error))
    if head.header("x-amz-log-type") == "Tail":
        headers.append(("x-amz-log-result", outcome.log_tail))
    return _within_limits(outcome, headers)


def _within_limits(outcome: Outcome, headers: list[tuple[str, str]]) -> Response:
    if len(outcome.payload) > _MOST_BYTES:
        return _refusal("ResponseSizeTooLarge", f"Response payload size exceeded maximum of {_MOST_BYTES} bytes", 413)
    return Response(headers=headers, body=outcome.payload)


def _context(head: Head) -> Any:
    try:
        return json.loads(base64.b64decode(head.header("x-amz-client-context") or "bnVsbA==", validate=True))
    except (binascii.Error, ValueError):
        return None


def _refusal(code: str, message: str, status: int) -> Response:
    document = {"Type": "User", "Message": message, "message": message}
    return json_response(document, status, headers=[("x-amzn-errortype", code)])
