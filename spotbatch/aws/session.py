"""Clients for AWS services: created in one place, with limits and retries, and raising errors from our own tree.

The endpoint is whatever the AWS settings of this process name: the cloud, or the local region (`AWS_ENDPOINT_URL`).
A program that works in several places at once describes each by a `Connection`, and works within `connected`.
"""

import contextlib
import os
import threading
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload
from urllib.parse import urlsplit

from spotbatch import __version__
from spotbatch.batch.errors import Denied, InvalidInput, NotFound, SpotbatchError, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_pricing import PricingClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_sts import STSClient

_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 60
_CONNECTIONS: Final = 24  # small objects are read by 16 threads
_ATTEMPTS: Final = 8  # adaptive: the client slows down on its own when throttled
_LOOPBACK_ATTEMPTS: Final = 2  # to connect: a region on this machine that does not listen is down, and is reported so
_NOT_REPEATABLE: Final = "SubmitJob"
_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_REFUSED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403", "Forbidden"}
)
_BAD_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "AuthFailure",
    }
)
_THROTTLED: Final = frozenset(
    {"TooManyRequestsException", "Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"}
)
_MISSING_WORDS: Final = ("does not exist", "not found", "notfound", "nosuch", "no such")
_CREDENTIALS_FIX: Final = (
    "set AWS_PROFILE or run `aws configure` (or `aws sso login`); for the region on this machine, "
    "`spotbatch local up` and the option --local"
)

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Connection:
    """A place to work in, instead of the one in this process's AWS settings.

    `session` is a boto3.Session. `endpoint_url` is the local region's, for all services; "" for AWS, or whatever the
    session's own settings name.
    """

    session: Any
    endpoint_url: str = ""
    clients: dict[tuple[str, str | None], Any] = field(default_factory=dict, init=False, repr=False)


_connection: Final[ContextVar[Connection | None]] = ContextVar("spotbatch_connection", default=None)
_making: Final = threading.Lock()  # a boto3.Session is not thread-safe; the clients it creates are (boto3 guide)


def connection_to(endpoint_url: str, *, region: str, access_key: str, secret_key: str) -> Connection:
    """A connection to an endpoint other than AWS's, with its own credentials; no profile is needed."""
    import boto3
    from botocore.session import Session as CoreSession

    core = CoreSession(session_vars={"profile": (None, [], None, None)})  # else AWS_PROFILE must name one that exists
    made = boto3.Session(
        aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=region, botocore_session=core
    )
    return Connection(session=made, endpoint_url=endpoint_url)


@contextlib.contextmanager
def connected(connection: Connection | None) -> Iterator[None]:
    """Within this context, in this thread or task, clients use the connection; None: this process's settings."""
    token = _connection.set(connection)
    try:
        yield
    finally:
        _connection.reset(token)


def connected_steps(connection: Connection | None, steps: Generator[Item, None, None]) -> Iterator[Item]:
    """A generator whose every step runs within `connected`; between steps the caller's own connection applies."""
    try:
        while True:
            with connected(connection):
                try:
                    item = next(steps)
                except StopIteration:
                    return
            yield item
    finally:
        steps.close()


def connection() -> Connection | None:
    """The connection within which this thread or task works; None: this process's AWS settings."""
    return _connection.get()


def endpoint_url() -> str:
    """The endpoint of all calls, if it is not AWS's own; otherwise ""."""
    chosen = _connection.get()
    return os.environ.get("AWS_ENDPOINT_URL", "") if chosen is None else chosen.endpoint_url


@overload
def client(service: Literal["batch"], *, profile: str | None = None, region: str | None = None) -> "BatchClient": ...
@overload
def client(
    service: Literal["cloudformation"], *, profile: str | None = None, region: str | None = None
) -> "CloudFormationClient": ...
@overload
def client(
    service: Literal["cloudwatch"], *, profile: str | None = None, region: str | None = None
) -> "CloudWatchClient": ...
@overload
def client(service: Literal["ec2"], *, profile: str | None = None, region: str | None = None) -> "EC2Client": ...
@overload
def client(service: Literal["ecr"], *, profile: str | None = None, region: str | None = None) -> "ECRClient": ...
@overload
def client(service: Literal["iam"], *, profile: str | None = None, region: str | None = None) -> "IAMClient": ...
@overload
def client(
    service: Literal["logs"], *, profile: str | None = None, region: str | None = None
) -> "CloudWatchLogsClient": ...
@overload
def client(
    service: Literal["pricing"], *, profile: str | None = None, region: str | None = None
) -> "PricingClient": ...
@overload
def client(service: Literal["s3"], *, profile: str | None = None, region: str | None = None) -> "S3Client": ...
@overload
def client(
    service: Literal["service-quotas"], *, profile: str | None = None, region: str | None = None
) -> "ServiceQuotasClient": ...
@overload
def client(service: Literal["sts"], *, profile: str | None = None, region: str | None = None) -> "STSClient": ...
@overload
def client(service: str, *, profile: str | None = None, region: str | None = None) -> Any: ...  # others: no stubs
def client(service: str, *, profile: str | None = None, region: str | None = None) -> Any:
    """A boto3 client whose calls raise errors from our tree; botocore's own is in `__cause__` (see `error_code`).

    Clients are thread-safe and kept with their connection: creating one for EC2 takes as long as 20 calls.
    Raises InvalidInput if no region is set or the profile does not exist.
    """
    region = region or None
    with translating(), _making:
        place = _connection.get()
        if place is None:
            # boto3 reads only AWS_DEFAULT_REGION; AWS's other tools, and users, set AWS_REGION.
            region = region or os.environ.get("AWS_REGION") or None
            place = _own_connection(profile, region, _settings())
        made = place.clients.get((service, region))
        if made is None:
            made = place.clients[service, region] = _create(service, region, place)
    return made


def _create(service: str, region: str | None, place: Connection) -> Any:
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
        user_agent_extra=f"spotbatch/{__version__}",
    )
    made = place.session.client(service, region_name=region, endpoint_url=place.endpoint_url or None, config=config)
    _translate_calls(made)
    made.meta.events.register_first(f"needs-retry.{made.meta.service_model.service_id.hyphenize()}", _give_up_early)
    return made


def _give_up_early(
    event_name: str, *, attempts: int, response: Any = None, caught_exception: Any = None, **_: object
) -> None:
    """Runs before botocore decides on a retry: errors that must not be retried are raised at once.

    A region on this machine that does not listen is down. A SubmitJob that failed without being refused may have been
    accepted, and AWS Batch has no token to detect duplicates: `Jobs.submit` checks whether it was.
    """
    from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError

    if isinstance(caught_exception, EndpointConnectionError | ConnectTimeoutError):
        if is_local() and attempts >= _LOOPBACK_ATTEMPTS:
            raise caught_exception
    elif event_name.endswith(f".{_NOT_REPEATABLE}"):
        if isinstance(caught_exception, HTTPClientError):
            raise caught_exception
        if response is not None and response[0].status_code >= 500:
            raise ClientError(response[1], _NOT_REPEATABLE)


def may_have_been_done(error: BaseException) -> bool:
    """Whether the failed call may have been carried out all the same: there was no answer, or a 5xx."""
    from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError

    cause = error.__cause__
    if isinstance(cause, ClientError):
        return int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500
    return isinstance(cause, HTTPClientError) and not isinstance(cause, EndpointConnectionError | ConnectTimeoutError)


@lru_cache(maxsize=4)
def _own_connection(profile: str | None, region: str | None, _: tuple[tuple[str, str], ...]) -> Connection:
    """One session for all clients of a command: it reads AWS's data files, which dominates a client's start-up.

    Raises ProfileNotFound.
    """
    from spotbatch.aws.core_session import CoreSession

    return Connection(session=CoreSession(profile, region))


def _settings() -> tuple[tuple[str, str], ...]:
    """The AWS settings of this process: if they change, there is a new session, with new clients."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


def calls_made() -> int:
    """How many API calls the clients created here have sent since the process started; pollers pace themselves by it.

    S3 calls are not counted: AWS limits the others to a few per second for the whole account.
    """
    return _calls.made


class _Calls:
    """A counter shared by threads."""

    def __init__(self) -> None:
        self.made = 0
        self._lock = threading.Lock()

    def count(self) -> None:
        with self._lock:
            self.made += 1


_calls: Final = _Calls()


def is_local() -> bool:
    """Whether calls go to an endpoint on this machine."""
    return urlsplit(endpoint_url()).hostname in _LOOPBACK_HOSTS


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Within it, botocore's errors become ours. Clients created here do so themselves; reading a body does not."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        raise translated(error) from error


def error_code(error: BaseException) -> str:
    """AWS's code of the error behind one of ours ("AccessDeniedException", ...); "" if AWS sent none."""
    response = getattr(error.__cause__ or error, "response", None)
    if not isinstance(response, dict):
        return ""
    return str(response.get("Error", {}).get("Code", ""))


def translated(error: Exception) -> SpotbatchError:
    """The error from our tree that explains botocore's, with the fix."""
    from botocore import exceptions as of_boto
    from botocore.parsers import ResponseParserError

    match error:
        case ResponseParserError():
            where = endpoint_url() or "the endpoint"
            return Unavailable(
                f"{where} answered something that is not AWS's ({str(error).splitlines()[0][:150]}): "
                "see AWS_ENDPOINT_URL, and any proxy on the way"
            )
        case of_boto.ClientError():
            return _answered(error)
        case of_boto.NoCredentialsError() | of_boto.PartialCredentialsError() | of_boto.CredentialRetrievalError():
            return Denied(f"there are no AWS credentials to work with ({error}): {_CREDENTIALS_FIX}")
        case of_boto.SSOError() | of_boto.TokenRetrievalError():
            return Denied(f"the AWS sign-in has ended ({error}): run `aws sso login`")
        case of_boto.ProfileNotFound():
            return InvalidInput(f"{error}: `aws configure list-profiles` shows those that there are")
        case of_boto.NoRegionError():
            return InvalidInput(
                "no AWS region is set: give --region, or set AWS_REGION; or --local for the region on this machine"
            )
        case of_boto.ParamValidationError():
            return InvalidInput(" ".join(str(error).split()))
        case of_boto.HTTPClientError() | of_boto.ConnectionError():
            return Unavailable(_no_answer(error))
        case _:
            return Unavailable(f"AWS could not be asked: {error}")


def _translate_calls(made: Any) -> None:
    """Every call of a client goes through `_make_api_call`, including those of paginators and transfers."""
    call = made._make_api_call  # noqa: SLF001 - botocore's events cannot replace an error, and nothing may be forgotten

    def translating_call(operation: str, parameters: dict[str, Any]) -> Any:
        if made.meta.service_model.service_name != "s3":
            _calls.count()
        with translating():
            return call(operation, parameters)

    made._make_api_call = translating_call  # noqa: SLF001 - as above


def _answered(error: Any) -> SpotbatchError:
    """The error for AWS's response. The service's own message is kept, since it often contains the cause."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")) or code
    operation = error.operation_name
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _BAD_CREDENTIALS:
        return Denied(f"AWS does not accept these credentials ({code}: {message}): {_CREDENTIALS_FIX}")
    if code in _REFUSED:
        return Denied(f"{operation} was refused: {message}. Ask for that permission, or use another --profile")
    if code in _THROTTLED:
        return Unavailable(f"{operation} is throttled by AWS ({message}): wait a minute, then try again")
    if status >= 500:
        return Unavailable(
            f"AWS failed in {operation} ({code}: {message}): try again; status.aws.amazon.com tells more"
        )
    if any(word in f"{code} {message}".lower() for word in _MISSING_WORDS) or status == 404:
        return NotFound(f"{operation}: {message}")
    return InvalidInput(f"{operation}: {message}")


def _no_answer(error: Exception) -> str:
    endpoint = endpoint_url() or getattr(error, "kwargs", {}).get("endpoint_url") or "AWS"
    if urlsplit(str(endpoint)).hostname in _LOOPBACK_HOSTS:
        return f"the local region at {endpoint} does not answer: start it with `spotbatch local up`"
    return f"{endpoint} does not answer ({type(error).__name__}): check the network, the proxy and --region"
