"""The ASGI application: limits, signatures, and routing to services."""

import contextlib
import hmac
import re
import sys
import traceback
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Final

from spotbatch.local.api import admin, cloudformation, definitions, ec2, ecs, fault_injection, guard, logs, operations
from spotbatch.local.api.api_faults import ApiFaults
from spotbatch.local.api.errors import ApiError, ServerException, ec2_error, error_response, query_error, s3_error
from spotbatch.local.api.http import (
    Body,
    Head,
    HttpError,
    Receive,
    Response,
    Scope,
    Send,
    head_of,
    json_response,
    read_body,
    send_response,
)
from spotbatch.local.api.metadata import PREFIX as METADATA_PREFIX
from spotbatch.local.api.metadata import MetadataService
from spotbatch.local.api.region import Region
from spotbatch.local.api.sigv4 import Claim, SignatureRefused, Verifier, claim_of, with_scope
from spotbatch.local.api.stacks import Elsewhere

_MAX_BODY: Final = 16 << 20
_MAX_OBJECT: Final = 1 << 30  # an S3 object or part in one request; larger ones go in parts
_MAX_STRANGER: Final = 1 << 20
_STALL_SECONDS: Final = 20.0
_XML_CODES: Final = {  # S3's and the query services' names for the same refusals
    "UnrecognizedClientException": "InvalidAccessKeyId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "AccessDenied",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """A single endpoint for everything: AWS Batch and job logs are ours, the rest is moto's."""

    region: Region
    admin: admin.Admin
    metadata: MetadataService
    experiments: fault_injection.Experiments
    verifier: Verifier
    secret_key: str
    port: int
    moto: Callable[[Head, Body], Awaitable[Response]]
    elsewhere: Elsewhere  # what else moto should know, and what it stores
    functions: Callable[[Head, Body], Awaitable[Response | None]]  # function invocations; None for what is moto's
    was_asked: Callable[[str], None]  # a moto service got a request, which may be a change
    is_unsafe: bool = False  # without signatures
    faults: ApiFaults | None = None  # None: the region is lenient
    stall_seconds: float = _STALL_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Whatever goes wrong, there is a response."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        head = head_of(scope)
        try:
            response = await self._respond(head, receive)
        except HttpError as error:
            # The body may be unread: this connection is not reused.
            response = json_response({"message": error.message}, error.status, [("connection", "close")])
        except Exception:  # noqa: BLE001  (the last resort: a bug of ours must not hang the client)
            traceback.print_exc(file=sys.stderr)
            response = error_response(ServerException("the local region met a bug; its log has the details"))
        headers = [*response.headers, ("x-amzn-requestid", str(uuid.uuid4())), ("date", formatdate(usegmt=True))]
        await send_response(replace(response, headers=headers), head, send)

    async def _respond(self, head: Head, receive: Receive) -> Response:
        guard.check(head, self.port)
        if head.raw_path.startswith(METADATA_PREFIX):
            return self.metadata.answer(head)
        if head.raw_path.startswith(admin.PREFIX):
            guard.bearer_check(head, self._is_secret)
            with contextlib.closing((await self._body(head, receive, _MAX_BODY)).file) as file:
                return await self.admin.answer(head, file.read())
        try:
            claim = claim_of(head)
            service = self._service(head, claim)
            body = await self._body(head, receive, self._limit(service, head, claim))
            with contextlib.closing(body.file):
                if not self.is_unsafe:
                    self._verify(head, claim, body)
                return await self._answer(service, head if claim is None else with_scope(head, claim), body)
        except SignatureRefused as error:
            return _refusal(head, error)

    def _limit(self, service: str, head: Head, claim: Claim | None) -> int:
        """How large a body may be. An unauthenticated one is read only so that the refusal can reach the client."""
        if not self.is_unsafe and (claim is None or not self.verifier.may_be_right(head, claim)):
            return _MAX_STRANGER
        return _MAX_OBJECT if service == "s3" else _MAX_BODY

    async def _body(self, head: Head, receive: Receive, limit: int) -> Body:
        return await read_body(head, receive, limit=limit, stall_seconds=self.stall_seconds)

    def _is_secret(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self.secret_key.encode())

    def _verify(self, head: Head, claim: Claim | None, body: Body) -> None:
        if claim is None:
            message = "the request is not signed; `spotbatch local env` prints this region's credentials"
            raise SignatureRefused("MissingAuthenticationTokenException", message)
        self.verifier.verify(head, claim, body.sha256)

    def _service(self, head: Head, claim: Claim | None) -> str:
        """By the credential scope; an unsigned request, if those are allowed, by its appearance."""
        if claim is not None:
            return claim.service
        if head.raw_path.startswith("/v1/"):
            return "batch"
        return "logs" if head.header("x-amz-target").startswith("Logs_") else "s3"

    async def _answer(self, service: str, head: Head, body: Body) -> Response:
        """The response, with any requested faults."""
        if self.faults is None:
            return await self._serve(service, head, body)

        def refuse(error: ApiError) -> Response:
            return ec2_error(error) if service == "ec2" else _error_for(head, error.code, error.message, error.status)

        return await self.faults.answer(service, head, body, lambda: self._serve(service, head, body), refuse)

    async def _serve(self, service: str, head: Head, body: Body) -> Response:
        if service == "batch":
            return await operations.answer(self.region, head, body.read())
        answer = await self._ours(service, head, body)
        if answer is not None:
            return answer
        try:
            return await self.moto(head, body)
        except Exception as error:  # noqa: BLE001  (moto raises anything for what it does not know)
            message = f"moto, which answers for {service} here, cannot do this: {type(error).__name__}: {error!s:.300}"
            sys.stderr.write(f"{message}\n")
            return _error_for(head, "NotImplemented", message, 501)
        finally:
            self.was_asked(service)

    async def _ours(self, service: str, head: Head, body: Body) -> Response | None:
        if service == "logs":
            for group in definitions.log_groups(self.region):
                self.elsewhere.will_hold("AWS::Logs::LogGroup", group)
            return await logs.answer(self.region, head, body.read())
        if service == "cloudformation":
            return await cloudformation.answer(self.region, self.elsewhere, body.read())
        if service == "lambda":
            return await self.functions(head, body)
        if service == "ec2":
            return await ec2.answer(self.region, body.read(), lambda: self.moto(head, body))
        if service == "fis":
            return await self.experiments.answer(head, lambda: self.moto(head, body))
        if service == "ecs":
            if head.header("x-amz-target").endswith(".ListClusters"):
                return ecs.with_clusters(self.region, await self.moto(head, body))
            return ecs.answer(self.region, head, body.read())
        return None


def _refusal(head: Head, error: SignatureRefused) -> Response:
    """403, with the error code that the service's own clients know."""
    code = error.code if _is_json(head) else _XML_CODES.get(error.code, error.code)
    return _error_for(head, code, error.message, 403)


def _error_for(head: Head, code: str, message: str, status: int) -> Response:
    """An error in the format that the service's client can parse."""
    if _is_json(head):
        return error_response(ApiError(code, message, status))
    return query_error(code, message, status) if _is_form(head) else s3_error(code, message, status)


def _is_form(head: Head) -> bool:
    return head.header("content-type").startswith("application/x-www-form-urlencoded")


def _is_json(head: Head) -> bool:
    names = {name for name, _ in head.headers}
    is_rest = re.match(r"/v[0-9]+/", head.raw_path) is not None
    return not _is_form(head) and ("x-amz-target" in names or is_rest or "json" in head.header("content-type"))
