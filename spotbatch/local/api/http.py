"""Requests and responses of the endpoint as plain values, and reading of request bodies within limits."""

import asyncio
import hashlib
import io
import json
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

# ASGI's types: dictionaries whose keys depend on their "type".
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON_TYPE: Final = "application/json"
_SPOOL_BYTES: Final = 16 << 20  # a part of an upload (boto3: 8 MiB) stays in memory: a busy disk would stall the loop
_SEND_BYTES: Final = 1 << 18
_LEAST_BYTES_PER_SECOND: Final = 4096  # for the whole body, on top of the time that may pass without data


class HttpError(Exception):
    """A request refused before any service sees it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A request without its body. Header names are lower case; path and query are as sent, still escaped."""

    method: str
    raw_path: str
    query: str
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str:
        """The first value of a header, or ""."""
        return next((value for key, value in self.headers if key == name), "")

    def headers_named(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A request's body: spooled to disk if it is large. `sha256` is of the bytes as sent."""

    file: IO[bytes]
    length: int
    sha256: str

    def read(self) -> bytes:
        """All of it, from the start."""
        self.file.seek(0)
        return self.file.read()


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """A response. The body is complete: everything that this endpoint serves fits in memory."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    then: Callable[[], None] | None = field(default=None)  # called once the response was sent


def json_response(value: object, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """A JSON response without extra whitespace."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Response(status=status, headers=[("content-type", JSON_TYPE), *headers], body=body)


def head_of(scope: Scope) -> Head:
    """The request line and headers of an ASGI scope."""
    return Head(
        method=scope["method"],
        raw_path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
    )


async def read_body(head: Head, receive: Receive, *, limit: int, stall_seconds: float) -> Body:
    """The whole body, spooled.

    Raises HttpError if it is too large, if no byte arrives for `stall_seconds`, or if bytes only trickle in.
    """
    declared = head.header("content-length")
    if declared.isdigit() and int(declared) > limit:
        raise HttpError(413, f"the body may hold {limit} bytes, not {declared}")
    file: IO[bytes] = io.BytesIO()
    digest = hashlib.sha256()
    length = 0
    more = True
    begun = asyncio.get_running_loop().time()
    while more:
        patience = begun + stall_seconds + length / _LEAST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(min(patience, asyncio.get_running_loop().time() + stall_seconds)):
                message = await receive()
        except TimeoutError:
            raise HttpError(408, f"the body came too slowly: {length} bytes, then none in time") from None
        if message["type"] == "http.disconnect":
            raise HttpError(400, "the client went away")
        chunk = message.get("body", b"")
        length += len(chunk)
        if length > limit:
            raise HttpError(413, f"the body may hold {limit} bytes")
        digest.update(chunk)
        if length > _SPOOL_BYTES and isinstance(file, io.BytesIO):
            file = _on_disk(file)
        file.write(chunk)
        more = message.get("more_body", False)
    file.seek(0)
    return Body(file=file, length=length, sha256=digest.hexdigest())


def _on_disk(begun: io.BytesIO) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the application closes it with the request)
    file.write(begun.getbuffer())
    return file


async def send_response(response: Response, head: Head, send: Send) -> None:
    """Send a response, in pieces so that other requests are served in between."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
    if not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if head.method == "HEAD" else response.body
    for start in range(0, len(body), _SEND_BYTES):
        more = start + _SEND_BYTES < len(body)
        await send({"type": "http.response.body", "body": body[start : start + _SEND_BYTES], "more_body": more})
    if not body:
        await send({"type": "http.response.body", "body": b""})
    if response.then is not None:
        response.then()
