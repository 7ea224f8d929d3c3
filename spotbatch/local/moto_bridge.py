"""Everything that is not ours (S3, STS, EC2, IAM, ...) goes to moto's server, in this process, through a WSGI bridge.

We use our own bridge because a general one decodes `%2F` in S3 keys, folds `_` in metadata names into `-`, and drops
bodies without a length. moto is imported on a thread: that takes about a second, and requests that do not need it
should not wait for it.
"""

import asyncio
import gc
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes, urlencode

from spotbatch.local import moto_resources, moto_values
from spotbatch.local.api.http import Body, Head, Response
from spotbatch.local.durable_state import StateStore

_THREADS: Final = 8
_SWITCH_SECONDS: Final = 0.0005
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "server", "date"})
_FORM: Final = "application/x-www-form-urlencoded"
# The names that a loaded template gives in other services: service, target or action, member of the name (S3 has it in
# the path), and what else the request needs.
_MAKERS: Final[dict[str, tuple[str, str, str, dict[str, str]]]] = {
    "AWS::S3::Bucket": ("s3", "", "", {}),
    "AWS::Logs::LogGroup": ("logs", "Logs_20140328.CreateLogGroup", "logGroupName", {}),
    "AWS::ECR::Repository": ("ecr", "AmazonEC2ContainerRegistry_V20150921.CreateRepository", "repositoryName", {}),
    "AWS::SSM::Parameter": ("ssm", "AmazonSSM.PutParameter", "Name", {"Type": "String"}),
    "AWS::SecretsManager::Secret": ("secretsmanager", "secretsmanager.CreateSecret", "Name", {}),
    "AWS::IAM::Role": ("iam", "CreateRole", "RoleName", {"AssumeRolePolicyDocument": "{}", "Version": "2010-05-08"}),
    "AWS::IAM::InstanceProfile": ("iam", "CreateInstanceProfile", "InstanceProfileName", {"Version": "2010-05-08"}),
}
_NEED_CONTENT: Final = frozenset({"AWS::SSM::Parameter", "AWS::SecretsManager::Secret"})
_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_PRESERVED_NAMES: Final = "moto.preserved_header_names"  # moto.core.request reads it

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Given = TypeVar("Given")
Asset = Callable[[str], bytes | None]  # by its key in S3


class MotoBridge:
    """moto as a single asynchronous function from a request to a response."""

    def __init__(
        self,
        *,
        account_id: str,
        region: str,
        port: int,
        asset_of: Asset = lambda _key: None,
        store: StateStore,
    ) -> None:
        self.on_loaded: Callable[[], None] = lambda: None  # called on moto's thread, before anything is created
        self.on_made: Callable[[], None] = lambda: None  # called when what was promised has been created or removed
        self.on_promised: Callable[[], None] = lambda: None  # called when what works here is to be made or removed
        self._asset_of = asset_of
        self.store = store  # the content of tables, and the states of rules
        self._account_id = account_id
        self._region = region
        self._port = port
        self._pool = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="moto")
        self._app: Future[WsgiApp] | None = None
        self._making = asyncio.Lock()
        self._has_policies = False
        self._made: dict[tuple[str, str], Mapping[str, Any]] = {}  # what exists, or will: its content by type and name
        self._held: list[tuple[str, str, Mapping[str, Any]]] = []  # type, name and content of what is yet to be created
        self._dropped: list[tuple[str, str, Mapping[str, Any]]] = []  # what is yet to be removed

    def warm_up(self) -> None:
        """Begin importing moto now, on its thread. Idempotent."""
        if self._app is None:
            self._app = self._pool.submit(_load_moto, self._account_id, self.on_loaded)

    @property
    def is_loaded(self) -> bool:
        """Whether moto has been imported: until then it holds nothing."""
        return self._app is not None and self._app.done()

    @property
    def is_settled(self) -> bool:
        """Whether moto holds everything that was promised."""
        return self.is_loaded and not self._held and not self._dropped

    async def answer(self, head: Head, body: Body) -> Response:
        """moto's response to a request whose signature has been verified."""
        app = await self._ready()
        if not self._has_policies and _needs_policies(head, body):
            self._has_policies = True
            loading = asyncio.get_running_loop().run_in_executor(
                self._pool, moto_values.load_managed_policies, self._account_id
            )
            await loading
        return await self._in_thread(app, head, body)

    async def _ready(self) -> WsgiApp:
        """moto, with everything promised already created."""
        self.warm_up()
        app = await asyncio.wrap_future(self._loaded())
        async with self._making:  # a request that arrives meanwhile waits, so that it finds what was promised
            has_work = bool(self._dropped or self._held)
            while self._dropped:
                await self._in_moto(moto_resources.remove, *self._dropped.pop(0))
            while self._held:
                kind, name, content = self._held[0]
                if kind in moto_resources.KINDS:
                    await self._in_moto(moto_resources.make, kind, name, content)
                else:
                    await self._make(app, kind, name, content)
                del self._held[0]  # only now: until then it is looked up here
            if has_work:
                self.on_made()
        return app

    async def run(self, function: Callable[..., Given], *arguments: Any) -> Given:
        """The result of a function that reads or changes moto's data; it runs on one of moto's threads."""
        await self._ready()
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def _in_moto(self, work: Callable[..., None], kind: str, name: str, content: Mapping[str, Any]) -> None:
        place = moto_resources.Place(
            account_id=self._account_id, region=self._region, code_of=self._code_of, items_of=self.store.items
        )
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, work, place, kind, name, content)
        except Exception as error:  # noqa: BLE001  (one resource that moto refuses must not block the others)
            sys.stderr.write(f"{kind} {name}: moto refuses it: {type(error).__name__}: {error!s:.300}\n")

    def _code_of(self, bucket: str, key: str) -> bytes | None:
        """The archive of a function: an asset that came with its template, or an object in this region's S3."""
        return self._asset_of(key) or moto_values.s3_object(self._account_id, bucket, key)

    def will_hold(self, kind: str, name: str, content: Mapping[str, Any] | None = None) -> None:
        """A resource of a CloudFormation type to be created before the next request. Unknown types are ignored.

        If its content differs from before it is changed, provided its type works here (moto_resources).
        """
        is_working = kind in moto_resources.KINDS
        if (kind in _NEED_CONTENT or is_working) and content is None:
            return
        if content is not None:
            content = self.store.with_state(kind, name, content)
        if (kind in _MAKERS or is_working) and (
            (kind, name) not in self._made or (is_working and self._made[kind, name] != content)
        ):
            self._made[kind, name] = content or {}
            self._held = [one for one in self._held if one[:2] != (kind, name)]
            self._held.append((kind, name, content or {}))
            if is_working:
                self.on_promised()

    def will_drop(self, kind: str, name: str) -> None:
        """A resource of a type that works here is removed before the next request is answered."""
        content = self._made.pop((kind, name), None) if kind in moto_resources.KINDS else None
        if content is None:
            return
        self.store.drop(kind, name)
        self._held = [one for one in self._held if one[:2] != (kind, name)]
        if self.is_loaded:  # otherwise nothing has been created yet
            self._dropped.append((kind, name, content))
        self.on_promised()

    def promised(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """The templates' resources of a type, whether or not created in moto yet, by name."""
        return {name: content for (one, name), content in self._made.items() if one == kind}

    def lookup(self, service: str, name: str) -> str | None:
        """The value of an SSM parameter or of a secret, None if there is none.

        `name` is as in {{resolve:service:name}}: `name:version`, or `id:SecretString:key:stage:version`.
        """
        wanted = "AWS::SSM::Parameter" if service == "ssm" else "AWS::SecretsManager::Secret"
        for kind, held, content in self._held:  # what has not been created yet, since moto has not been needed so far
            if kind == wanted and moto_values.is_named(name, held):
                return moto_values.part_of(name, held, str(content.get("Value", content.get("SecretString", ""))))
        if self._app is None or not self._app.done():
            return None
        backends = moto_values.parameter if service == "ssm" else moto_values.secret
        return backends(self._account_id, self._region, name)

    def secret_of_job(self, value_from: str) -> str | None:
        """The value for `valueFrom` of a job definition's secret: a secret's ARN, or an SSM parameter's ARN or name."""
        return self.lookup("secretsmanager" if ":secretsmanager:" in value_from else "ssm", value_from)

    def user_data_of(self, named: Mapping[str, str]) -> str | None:
        """The user data, in Base64, of a launch template created through EC2's API."""
        if self._app is None or not self._app.done():
            return None
        return moto_values.user_data(self._account_id, self._region, named)

    def object_of(self, bucket: str, key: str) -> bytes | None:
        """An S3 object, None if it does not exist."""
        if self._app is None or not self._app.done():
            return None
        return moto_values.s3_object(self._account_id, bucket, key)

    def secret_of(self, access_key: str) -> str | None:
        """The secret of credentials issued by moto's STS or IAM, or None."""
        if self._app is None or not self._app.done():
            return None
        from moto.iam.models import iam_backends
        from moto.sts.models import sts_backends

        given: list[Any] = list(sts_backends[self._account_id]["aws"].assumed_roles)
        for user in list(iam_backends[self._account_id]["aws"].users.values()):
            given += user.access_keys
        secrets = {one.access_key_id: one.secret_access_key for one in given}
        secret: str | None = secrets.get(access_key)
        return secret

    async def _make(self, app: WsgiApp, kind: str, name: str, given: Mapping[str, Any]) -> None:
        service, target, member, more = _MAKERS[kind]
        asked = {member: name, **more, **given}
        is_form = service == "iam"
        content = urlencode({"Action": target, **asked}).encode() if is_form else json.dumps(asked).encode()
        if not member:
            content = self._bucket_place()
        headers = [
            ("host", f"127.0.0.1:{self._port}"),
            (
                "authorization",
                f"AWS4-HMAC-SHA256 Credential=-/20260101/{self._region}/{service}/aws4_request, Signature=-",
            ),
        ]
        if is_form:
            headers += [("content-type", _FORM)]
        elif target:
            headers += [("x-amz-target", target), ("content-type", "application/x-amz-json-1.1")]
        method, path = ("POST", "/") if target else ("PUT", f"/{name}")
        head = Head(method=method, raw_path=path, query="", headers=headers)
        body = Body(file=io.BytesIO(content), length=len(content), sha256="")
        await self._in_thread(app, head, body)

    def _bucket_place(self) -> bytes:
        """The body of S3's CreateBucket: us-east-1 must not be named there, every other region must."""
        if self._region == "us-east-1":
            return b""
        place = f"<LocationConstraint>{self._region}</LocationConstraint>"
        return f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()

    async def _in_thread(self, app: WsgiApp, head: Head, body: Body) -> Response:
        environ = _environ(head, body, self._port)
        return await asyncio.get_running_loop().run_in_executor(self._pool, _run, app, environ)

    def _loaded(self) -> "Future[WsgiApp]":
        if self._app is None:
            raise RuntimeError("warm_up comes first")
        return self._app

    def close(self) -> None:
        """Release the threads; moto's data is lost with them."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.store.close()


def _needs_policies(head: Head, body: Body) -> bool:
    """Whether a request to IAM may refer to one of AWS's own managed policies."""
    if "/iam/aws4_request" not in head.header("authorization"):
        return False
    content = body.read()
    return b"iam%3A%3Aaws%3Apolicy" in content or b"iam::aws:policy" in content or b"Action=ListPolicies" in content


def _load_moto(account_id: str, on_loaded: Callable[[], None]) -> WsgiApp:
    os.environ["MOTO_ACCOUNT_ID"] = account_id
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"  # no page of another origin has business here
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    app: WsgiApp = DomainDispatcherApplication(create_backend_app)
    on_loaded()
    _be_fair_to_the_loop()
    return app


def _be_fair_to_the_loop() -> None:
    """moto's threads share the interpreter with the endpoint's loop: keep them from delaying it.

    During uploads, DescribeJobs took 10 to 100 ms (p50) with Python's default interval, 5 to 7 ms with this one.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # imported modules stay: a full collection need not scan them, which took 25 ms each time


def _environ(head: Head, body: Body, port: int) -> dict[str, Any]:
    """PEP 3333's environment, with the path as sent in RAW_URI and a body with a definite end."""
    body.file.seek(0)  # our own code may have read it already
    environ: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(head.raw_path).decode("latin-1"),
        "RAW_URI": head.raw_path + (f"?{head.query}" if head.query else ""),
        "QUERY_STRING": head.query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(body.length),  # whatever the transfer encoding was, the body is complete now
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body.file,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ[_PRESERVED_NAMES] = _add_headers(environ, head)
    return environ


def _add_headers(environ: dict[str, Any], head: Head) -> dict[str, str]:
    preserved: dict[str, str] = {}
    for name, value in head.headers:
        if name in ("content-length", "transfer-encoding"):
            continue
        key = name.upper().replace("-", "_")
        if key != "CONTENT_TYPE":
            key = f"HTTP_{key}"
        if "_" in name:
            if not name.startswith("x-amz-meta-"):
                continue  # WSGI cannot distinguish it from the name with dashes: never let it replace that
            preserved[key] = name
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if head.method == "PUT" and environ.get("CONTENT_TYPE", "").startswith(_FORM_TYPES):
        environ["CONTENT_TYPE"] = "binary/octet-stream"  # as a form Flask would eat the object; curl sends this type
    return preserved


def _run(app: WsgiApp, environ: dict[str, Any]) -> Response:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> Callable[[bytes], None]:
        started[:] = [(status, headers)]
        return written.append

    chunks = app(environ, start_response)
    try:
        written.extend(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started[0]
    kept = [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
    return Response(status=int(status.split(" ", 1)[0]), headers=kept, body=b"".join(written))
