"""A Lambda function as it is run here: what its process needs to know, and the errors of a call. Pure."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_TIMEOUT_SECONDS: Final = 3.0
MOST_EVENT_AGE_SECONDS: Final = 6 * 3600.0
RETRY_SECONDS: Final = (60.0, 120.0)  # developer guide, "How Lambda handles errors with asynchronous invocation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """What becomes of an asynchronous call that failed (developer guide, "Asynchronous invocation")."""

    attempts: int = 2
    most_age_seconds: float = MOST_EVENT_AGE_SECONDS
    on_failure: str = ""  # an ARN
    on_success: str = ""
    dead_letters: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """One version of a function's code and configuration: a process that was started with it serves no other."""

    name: str
    arn: str
    runtime: str
    handler: str
    code: bytes  # a ZIP archive
    code_sha256: str
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    memory_mib: int = 128
    version: str = "$LATEST"
    log_group: str = ""
    reserved: int | None = None  # calls at once
    role: str = ""
    retries: Retries = field(default_factory=Retries)

    @property
    def refusal(self) -> str:
        """Why it cannot be run here; "" where it can."""
        if not self.runtime.startswith("python"):
            return f"the local region runs functions in Python only, and {self.name} is {self.runtime or 'an image'}"
        return "" if self.code else f"the code of {self.name} is not in this region"

    @property
    def key(self) -> tuple[object, ...]:
        """The same for calls that one process may serve."""
        settings = tuple(sorted(self.environment.items()))
        return self.name, self.version, self.code_sha256, self.handler, settings, self.timeout_seconds, self.log_group


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a call gave. `error` is "" or, as the header X-Amz-Function-Error has it, Unhandled."""

    payload: bytes
    error: str = ""
    log: str = ""

    @property
    def log_tail(self) -> str:
        """The last 4 KiB of the log in Base64 (API reference, Invoke, LogType)."""
        return base64.b64encode(self.log.encode()[-4096:]).decode()


def failed(message: str, kind: str) -> Outcome:
    """A call that ended without an answer of the handler's own."""
    document = {"errorMessage": message, "errorType": kind}
    return Outcome(payload=json.dumps(document).encode(), error="Unhandled")


def destination_record(
    function: Function, outcome: Outcome, event: bytes, *, request_id: str, tries: int, at: str
) -> str:
    """What onFailure and onSuccess get (developer guide, "Destinations": the invocation record)."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": at,
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{function.arn}:{function.version}",
            "condition": "RetriesExhausted" if outcome.error else "Success",
            "approximateInvokeCount": tries,
        },
        "requestPayload": _json(event),
        "responseContext": {
            "statusCode": 200,
            "executedVersion": function.version,
            **({"functionError": outcome.error} if outcome.error else {}),
        },
        "responsePayload": _json(outcome.payload),
    }
    return json.dumps(record)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content or b"null")
    except ValueError:
        return content.decode("utf-8", "replace")
