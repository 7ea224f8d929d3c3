"""Runs in a function's own process: loads the handler, answers requests one by one. Standard library only.

What Lambda's own runtime does (developer guide, "Building Lambda functions with Python"; the source of
aws-lambda-python-runtime-interface-client): the module is imported once, the handler gets the event and a context, its
result is serialized as JSON, an exception becomes errorMessage, errorType and stackTrace. Requests arrive as JSON lines
on standard input, responses go to a separate descriptor; standard output and error are the function's log. When
standard input ends the process ends, whatever the handler does then: no function outlives its region.
"""

import importlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

READY: Final = "ready"
Handler = Callable[[Any, Any], Any]


class ClientContext:
    """What a mobile client sends; empty here, since there is none."""

    custom: Any = None
    env: Any = None
    client: Any = None


class Context:
    """The second argument of a handler (developer guide, "Using the Lambda context object")."""

    identity = None

    def __init__(self, asked: dict[str, Any]) -> None:
        environ = os.environ
        self.function_name = environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.invoked_function_arn: str = asked["arn"]
        self.aws_request_id: str = asked["id"]
        self._deadline_ms: int = asked["deadline_ms"]
        self.client_context = None
        if asked.get("client_context"):
            self.client_context = ClientContext()
            for name, value in asked["client_context"].items():
                setattr(self.client_context, name, value)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message: object) -> None:
        sys.stdout.write(str(message))


def main() -> None:
    answers = os.fdopen(int(os.environ.pop("_SPOTBATCH_ANSWERS")), "w", encoding="utf-8", buffering=1)
    mark = os.environ.pop("_SPOTBATCH_END_OF_LOG")
    # Logs are followed as lines of a file: a print should be visible as soon as it is made.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
    sys.path.insert(0, str(Path.cwd()))
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, requests), daemon=True).start()
    handler: Handler | None = None
    failure: dict[str, Any] | None = None
    try:
        handler = _handler(os.environ["_HANDLER"])
    except BaseException as error:  # noqa: BLE001 - whatever the module raises is the response
        failure = _described(error)
    _answer(answers, mark, {READY: handler is not None, "error": failure})
    while True:
        asked = json.loads(requests.get())
        os.environ["_X_AMZN_TRACE_ID"] = f"Root=1-{int(time.time()):08x}-{asked['id'].replace('-', '')[:24]}"
        _answer(answers, mark, {"error": failure} if handler is None else _result(handler, asked))


def _read(stream: TextIO, requests: "queue.SimpleQueue[str]") -> None:
    for line in stream:
        requests.put(line)
    os._exit(0)


def _handler(name: str) -> Handler:
    module, _, function = name.rpartition(".")
    if not module:
        raise ValueError(f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)")
    try:
        loaded = importlib.import_module(module.replace("/", "."))
    except ImportError as error:
        raise type(error)(f"Unable to import module '{module}': {error}") from error
    found = getattr(loaded, function, None)
    if found is None:
        raise AttributeError(f"Handler '{function}' missing on module '{module}'")
    handler: Handler = found
    return handler


def _result(handler: Handler, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        value = handler(json.loads(asked["event"]), Context(asked))
    except BaseException as error:  # noqa: BLE001 - even a SystemExit ends the call, not the process
        return {"error": _described(error)}
    try:
        return {"result": json.dumps(value)}
    except (TypeError, ValueError) as error:
        failure = {"errorMessage": f"Unable to marshal response: {error}", "errorType": "Runtime.MarshalError"}
        return {"error": {**failure, "stackTrace": []}}


def _described(error: BaseException) -> dict[str, Any]:
    kind = type(error).__name__
    if isinstance(error, ImportError):
        kind = "Runtime.ImportModuleError"
    elif isinstance(error, AttributeError) and str(error).startswith("Handler '"):
        kind = "Runtime.HandlerNotFound"
    trace = traceback.extract_tb(error.__traceback__)
    kept = [one for one in trace if one.filename != __file__]
    sys.stderr.write(f"[ERROR] {kind}: {error}\n" + "".join(traceback.format_list(kept)))
    return {"errorMessage": str(error), "errorType": kind, "stackTrace": traceback.format_list(kept)}


def _answer(answers: TextIO, mark: str, answer: dict[str, Any]) -> None:
    """A call's log is complete before its response: the reader of both waits for the mark."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.write(1, f"{mark}\n".encode())
    answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
