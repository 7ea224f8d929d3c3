"""A Lambda function as run here: what its process needs to know, and the errors of a call. Pure."""

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
    """What happens after a failed asynchronous call (developer guide, "Asynchronous invocation")."""

    attempts: int = 2
    most_age_seconds: float = MOST_EVENT_AGE_SECONDS
    on_failure: str = ""  # an ARN
    on_success: str = ""
    dead_letters: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """One version of a function's code and configuration: a process started with it serves no other."""

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
    reserved: int | None = None  # concurrent calls
    role: str = ""
    retries: Retries = field(default_factory=Retries)

    @property
    def refusal(self) -> str:
        """Why it cannot run here; "" if it can."""
        if not self.runtime.startswith("python"):
            return f"the local region runs functions in Python only, and {self.name} is {self.runtime or 'an image'}"
        return "" if self.code else f"the code of {self.name} is not in this region"

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for calls that can share a process."""
        settings = tuple(sorted(self.environment.items()))
        return self.name, self.version, self.code_sha256, self.handler, settings, self.timeout_seconds, self.log_group


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of a call. `error` is "" or, as in the header X-Amz-Function-Error, Unhandled."""

    payload: bytes
    error: str = ""
    log: str = ""

    @property
    def log_tail(self) -> str:
        """The last 4 KiB of the log in Base64 (API reference, Invoke, LogType)."""
        return base64.b64encode(self.log.encode()[-4096:]).decode()


def failed(message: str, kind: str) -> Outcome:
    """A call that ended without a response from the handler."""
    document = {"errorMessage": message, "errorType": kind}
    return Outcome(payload=json.dumps(document).encode(), error="Unhandled")


def destination_record(
    function: Function, outcome: Outcome, event: bytes, *, request_id: str, tries: int, at: str
) -> str:
    """What onFailure and onSuccess receive (developer guide, "Destinations": the invocation record)."""
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
