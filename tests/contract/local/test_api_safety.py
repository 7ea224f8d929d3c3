"""Who may reach the endpoint, and what it does with requests that are wrong, huge, slow or made to break it."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spotbatch.batch.errors import InvalidInput, Unavailable
from spotbatch.local import region_file
from tests.contract.local_api_region import RunningRegion, refusal, running, until
from tests.rights import without_roots_rights


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home") as started:
        yield started


def send(
    region: RunningRegion,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    service: str = "batch",
) -> tuple[int, bytes]:
    """One signed request, made by hand."""
    request = AWSRequest(method=method, url=region.info.endpoint + path, data=body, headers=dict(headers or {}))
    SigV4Auth(Credentials(region.info.access_key, region.info.secret_key), service, "us-east-1").add_auth(request)
    return raw(region, method, path, body, dict(request.headers.items()))


def raw(
    region: RunningRegion, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", region.port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def alive(region: RunningRegion) -> bool:
    return bool(region.admin.health()["status"] == "ok")


# ---- who ----


def test_only_loopback_is_listened_on(region: RunningRegion) -> None:
    port = f"{region.port:04X}"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


@pytest.mark.parametrize("path", ["/v1/submitjob", "/", "/bucket/key", "/moto-api/reset"])
def test_an_unsigned_request_is_refused(region: RunningRegion, path: str) -> None:
    status, body = raw(region, "POST", path, b"{}")
    assert status == 403
    assert b"spotbatch local env" in body


def test_other_credentials_are_refused_with_awss_codes(region: RunningRegion) -> None:
    stranger = replace(region, info=replace(region.info, access_key="AKIAIOSFODNN7EXAMPLE"))
    said = {name: refusal(getattr(stranger.client(service), name)) for service, name in CALLS.items()}
    assert said["describe_job_queues"].startswith("UnrecognizedClientException")
    assert said["list_buckets"].startswith("InvalidAccessKeyId")
    assert said["get_caller_identity"].startswith("InvalidAccessKeyId")
    forger = replace(region, info=replace(region.info, secret_key="guessed"))
    said = {name: refusal(getattr(forger.client(service), name)) for service, name in CALLS.items()}
    assert said["describe_job_queues"].startswith("InvalidSignatureException")
    assert said["list_buckets"].startswith("SignatureDoesNotMatch")
    assert said["describe_log_groups"].startswith("InvalidSignatureException")


CALLS = {
    "batch": "describe_job_queues",
    "s3": "list_buckets",
    "sts": "get_caller_identity",
    "logs": "describe_log_groups",
}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil.example:{port}"]
)
def test_a_request_for_another_host_is_refused(region: RunningRegion, host: str) -> None:
    headers = {"Host": host.format(port=region.port), "Authorization": f"Bearer {region.info.secret_key}"}
    status, _ = raw(region, "GET", "/spotbatch/health", headers=headers)
    assert status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_origin_is_refused_whatever_it_knows(region: RunningRegion, headers: dict[str, str]) -> None:
    status, _ = raw(
        region, "GET", "/spotbatch/health", headers={"Authorization": f"Bearer {region.info.secret_key}", **headers}
    )
    assert status == 403
    status, _ = send(region, "POST", "/v1/describejobqueues", b"{}", headers)
    assert status == 403


def test_no_answer_invites_pages_of_other_origins(region: RunningRegion) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", region.port, timeout=30)
    connection.request("OPTIONS", "/bucket", headers={"Access-Control-Request-Method": "PUT"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.getheader("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer é"])
def test_the_admin_api_wants_the_secret_key(region: RunningRegion, token: str) -> None:
    status, _ = raw(region, "POST", "/spotbatch/shutdown", headers={"Authorization": token.encode().decode("latin-1")})
    assert status == 401
    assert alive(region)


def test_unsafe_no_auth_lets_unsigned_requests_in_but_not_into_the_admin_api(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--unsafe-no-auth") as open_region:
        status, body = raw(open_region, "POST", "/v1/describejobqueues", b"{}")
        assert (status, json.loads(body)) == (200, {"jobQueues": []})
        stranger = replace(open_region, info=replace(open_region.info, access_key="x", secret_key="y"))
        assert stranger.client("batch").describe_job_queues()["jobQueues"] == []
        assert raw(open_region, "POST", "/v1/describejobqueues", headers={"Origin": "http://evil.example"})[0] == 403
        assert raw(open_region, "GET", "/spotbatch/health")[0] == 401


# ---- how much, how slow ----


def test_a_body_over_the_limit_is_refused_before_it_is_read(region: RunningRegion) -> None:
    with socket.create_connection(("127.0.0.1", region.port), timeout=10) as connection:
        head = f"POST /v1/submitjob HTTP/1.1\r\nHost: 127.0.0.1:{region.port}\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("secret", [None, "guessed", "right"])
def test_a_strangers_large_upload_is_refused_before_it_is_read(region: RunningRegion, secret: str | None) -> None:
    """Knowing the access key, as everybody does who saw a presigned URL, makes nobody less of a stranger."""
    request = AWSRequest(method="PUT", url=f"{region.info.endpoint}/bucket/key", data=b"x" * 2_000_000)
    if secret is not None:
        credentials = Credentials(region.info.access_key, region.info.secret_key if secret == "right" else secret)
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    lines = [f"Host: 127.0.0.1:{region.port}", "Content-Length: 2000000", "Expect: 100-continue"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    with socket.create_connection(("127.0.0.1", region.port), timeout=10) as connection:
        connection.sendall(("PUT /bucket/key HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        expected = b"HTTP/1.1 100" if secret == "right" else b"HTTP/1.1 413"
        assert connection.recv(100).startswith(expected)


def test_an_endless_chunked_body_is_cut_off(region: RunningRegion) -> None:
    with socket.create_connection(("127.0.0.1", region.port), timeout=30) as connection:
        head = f"POST /v1/submitjob HTTP/1.1\r\nHost: 127.0.0.1:{region.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        answer = b""
        try:
            for _ in range(64):
                connection.sendall(chunk)
            answer = connection.recv(100)
        except OSError:
            pass  # closed on us, which is a refusal too
        assert answer[:12] in (b"", b"HTTP/1.1 413")
    assert alive(region)


def test_an_endless_head_is_cut_off(region: RunningRegion) -> None:
    with socket.create_connection(("127.0.0.1", region.port), timeout=10) as connection:
        answer = b""
        try:
            connection.sendall(b"GET / HTTP/1.1\r\n")
            for number in range(4000):
                connection.sendall(f"X-{number}: {'x' * 1000}\r\n".encode())
            answer = connection.recv(100)
        except OSError:
            pass
        assert answer[:12] in (b"", b"HTTP/1.1 431")
    assert alive(region)


def test_a_head_that_does_not_end_is_cut_off_in_time(region: RunningRegion) -> None:
    with socket.create_connection(("127.0.0.1", region.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 15


def test_a_submit_request_holds_thirty_kibibytes_at_most(region: RunningRegion) -> None:
    batch = region.client("batch")
    said = refusal(batch.submit_job, jobName="j", jobQueue="q", jobDefinition="d", parameters={"x": "y" * 31_000})
    assert "30720 bytes" in said


# ---- garbage ----

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SHAPES = Loader().load_service_model("batch", "service-2")["shapes"]
OPERATIONS = Loader().load_service_model("batch", "service-2")["operations"]


def of_shape(name: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that nearly have an AWS shape: right members, mostly right types."""
    shape = SHAPES[name]
    wrong: st.SearchStrategy[Any] = st.sampled_from(
        [None, "", 0, -1, [], {}, True, 1e300, "\ud800", "a\0b", [[]], 2**63]
    )
    right: st.SearchStrategy[Any]
    if depth > 4:
        return wrong
    match shape["type"]:
        case "structure":
            members = {key: of_shape(member["shape"], depth + 1) for key, member in shape["members"].items()}
            required = {key: members[key] for key in shape.get("required", [])}
            optional = {key: value for key, value in members.items() if key not in required}
            right = st.fixed_dictionaries(required, optional=optional)
        case "list":
            right = st.lists(of_shape(shape["member"]["shape"], depth + 1), max_size=3)
        case "map":
            right = st.dictionaries(st.text(max_size=5), of_shape(shape["value"]["shape"], depth + 1), max_size=3)
        case "string":
            names = st.sampled_from(
                ["q", "d", "ce", "d:1", "arn:aws:batch:us-east-1:123456789012:job-queue/q", "*", "1"]
            )
            right = st.sampled_from(shape["enum"]) if "enum" in shape else names | st.text(max_size=10)
        case "boolean":
            right = st.booleans()
        case _:
            right = st.integers(-2, 5) | st.floats(allow_nan=False)
    return st.integers(0, 19).flatmap(lambda chance: wrong if chance == 0 else right)


def posts() -> list[str]:
    return sorted(name for name, one in OPERATIONS.items() if one["http"]["method"] == "POST")


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(data=st.data(), operation=st.sampled_from(posts()))
def test_requests_of_nearly_the_right_shape_never_break_the_region(
    region: RunningRegion, data: st.DataObject, operation: str
) -> None:
    one = OPERATIONS[operation]
    body = data.draw(of_shape(one["input"]["shape"]))
    path = one["http"]["requestUri"].replace("{resourceArn}", "arn%3Aaws%3Abatch")
    status, answer = send(region, "POST", path, json.dumps(body).encode())
    assert status in (200, 400, 404), f"{operation} {body!r}: {status} {answer[:500]!r}"
    json.loads(answer)


@FUZZ
@given(path=st.sampled_from(["/v1/submitjob", "/v1/describejobs", "/v1/tags/x", "/v1/listjobs"]), body=JSON_VALUES)
@example(path="/v1/submitjob", body=[])
def test_any_json_is_answered(region: RunningRegion, path: str, body: Any) -> None:
    status, answer = send(region, "POST", path, json.dumps(body).encode())
    assert status in (200, 400, 404), f"{body!r}: {status} {answer[:500]!r}"


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"[" * 100_000, b'{"jobs":' * 50_000, b"NaN", b'{"jobs": [NaN]}', b'{"jobs": "\\ud800"}', b"\0"],
)
def test_what_is_no_json_is_refused(region: RunningRegion, body: bytes) -> None:
    status, _ = send(region, "POST", "/v1/describejobs", body)
    assert status == 400


@FUZZ
@given(text=st.binary(max_size=300))
@example(text=b"GET //x HTTP/1.1\r\nHost: a\r\n\r\n")
@example(text="GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode())
@example(text=b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n")
@example(text=b"POST /v1/submitjob HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
@example(text=b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
@example(text=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
def test_any_bytes_at_all_leave_the_region_running(region: RunningRegion, text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", region.port), timeout=20) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := connection.recv(1000):
                answer += part
        except ConnectionResetError:
            pass
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:300]


ADMIN_BODIES = st.one_of(
    JSON_VALUES,
    st.fixed_dictionaries(
        {},
        optional={
            "count": JSON_VALUES,
            "instance_ids": JSON_VALUES,
            "name": JSON_VALUES,
            "template": JSON_VALUES,
            "notice_seconds": JSON_VALUES,
        },
    ),
)


@FUZZ
@given(path=st.sampled_from(["interrupt", "stacks", "hosts", "nothing"]), body=ADMIN_BODIES)
def test_the_admin_api_answers_anything(region: RunningRegion, path: str, body: Any) -> None:
    headers = {"Authorization": f"Bearer {region.info.secret_key}"}
    status, answer = raw(region, "POST", f"/spotbatch/{path}", json.dumps(body).encode(), headers)
    assert status in (200, 400, 404), f"{body!r}: {status} {answer[:300]!r}"


# ---- start and stop ----


def test_two_regions_cannot_share_a_home(region: RunningRegion) -> None:
    starting = running(Path(region.info.home))
    with pytest.raises(AssertionError, match=r"(?s)ended with 4: .*runs in .* already"), starting:
        pass


def test_a_port_that_is_taken_is_named(tmp_path: Path, region: RunningRegion) -> None:
    starting = running(tmp_path / "home", "--port", str(region.port))
    with pytest.raises(AssertionError, match=f"ended with 4: .*port {region.port} of 127.0.0.1 is taken"), starting:
        pass


def test_a_read_only_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o500)
    command = [*without_roots_rights().split(), sys.executable, "-m", "spotbatch.local"]
    command += ["--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 4
    assert re.search("(read-only|Permission denied).*choose another --home", done.stderr)


@pytest.mark.parametrize("option", ["--home", "--artifacts"])
def test_a_folder_that_cannot_be_made_is_named_with_its_option(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "spotbatch.local", "--home", str(tmp_path / "home")]
    command += [option, str(tmp_path / "file" / "folder")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 4
    assert f"file/folder cannot be made (Not a directory): choose another {option}" in done.stderr


@pytest.mark.parametrize("name", ["region.lock", "region.json", "journal.sqlite", "logs", "scratch"])
def test_a_file_of_the_home_that_cannot_be_opened_is_named_with_a_way_out(tmp_path: Path, name: str) -> None:
    # A folder for a file, or a file for a folder: as useless to root as what is another user's is to others.
    (tmp_path / "home").mkdir()
    if name in ("logs", "scratch"):
        (tmp_path / "home" / name).touch()
    else:
        (tmp_path / "home" / name).mkdir()
    command = [sys.executable, "-m", "spotbatch.local", "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 4
    assert re.search(rf"/{re.escape(name)}\b.*--home", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "api"])
def test_a_stop_is_clean_and_the_next_start_keeps_credentials_and_port(tmp_path: Path, how: Any) -> None:
    home = tmp_path / "home"
    with running(home) as first:
        if how == "api":
            first.admin.shut_down()
        else:
            first.process.send_signal(how)
        assert first.process.wait(20) == 0
    assert region_file.read(home).pid is None
    with pytest.raises(Unavailable, match="does not answer"):
        first.admin.health()
    with running(home) as second:
        assert second.info.secret_key == first.info.secret_key
        assert second.info.endpoint == first.info.endpoint
        assert alive(second)


def test_after_kill_9_the_file_does_not_pretend_that_the_region_lives(tmp_path: Path) -> None:
    with running(tmp_path / "home") as started:
        started.process.kill()
        started.process.wait()
        until(lambda: not region_file.is_alive(region_file.read(tmp_path / "home")))


def test_wrong_requests_to_the_admin_api_say_what_is_wrong(region: RunningRegion) -> None:
    with pytest.raises(InvalidInput, match="count of at least 1"):
        region.admin.interrupt(count=0)
    assert region.admin.hosts() == []
