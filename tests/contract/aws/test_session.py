"""What botocore and AWS say, as errors of our own tree: from real HTTP answers and real refusals to connect."""

import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from spotbatch.aws import session
from spotbatch.batch.errors import Denied, InvalidInput, NotFound, SpotbatchError, Unavailable


@contextmanager
def answering(status: int, code: str, message: str) -> Iterator[str]:
    """An endpoint that gives every request the same error, as AWS Batch writes it."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"message": message}).encode()
            self.send_response(status)
            self.send_header("x-amzn-ErrorType", code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that botocore would have waited before each retry; none of them passes here."""
    waited: list[float] = []

    ticks = itertools.count(0.0, 10.0)  # between two looks at its clock a token has always come
    monkeypatch.setattr("botocore.retries.bucket.Clock.current_time", lambda _: next(ticks))
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=waited.append))
    return waited


def refusal(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> SpotbatchError:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(SpotbatchError) as caught:
        session.client("batch").describe_jobs(jobs=["x"])
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "said"),
    [
        (403, "AccessDeniedException", "no batch:DescribeJobs", Denied, "was refused: no batch:DescribeJobs"),
        (403, "ExpiredTokenException", "expired", Denied, "does not accept these credentials"),
        (403, "UnrecognizedClientException", "bad token", Denied, "aws configure"),
        (429, "TooManyRequestsException", "slow down", Unavailable, "throttled"),
        (500, "ServerException", "boom", Unavailable, "AWS failed in DescribeJobs"),
        (404, "ClientException", "job queue does not exist", NotFound, "does not exist"),
        (400, "ClientException", "array size must be 2", InvalidInput, "DescribeJobs: array size must be 2"),
    ],
)
def test_each_kind_of_answer_becomes_its_error_and_keeps_awss_words(
    status: int, code: str, message: str, kind: type, said: str, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    with answering(status, code, message) as endpoint:
        error = refusal(monkeypatch, endpoint)
    assert len(waits) == (7 if kind is Unavailable else 0), "what may pass is tried eight times, the rest once"
    assert type(error) is kind
    assert said in str(error)
    assert session.error_code(error) == code


def test_throttling_and_a_lost_network_may_pass_and_a_refusal_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, "http://127.0.0.1:9").is_transient
    with answering(429, "TooManyRequestsException", "slow down") as endpoint:
        assert refusal(monkeypatch, endpoint).is_transient
    with answering(403, "ExpiredTokenException", "expired") as endpoint:
        assert not refusal(monkeypatch, endpoint).is_transient


def test_a_local_region_that_is_down_is_told_at_once_with_the_command_that_starts_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "spotbatch local up" in str(refusal(monkeypatch, "http://127.0.0.1:9"))


def test_without_credentials_region_or_profile_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="list-profiles"):
        session.client("batch", profile="none")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(Unavailable, match="--local"):
        session.client("batch").describe_jobs(jobs=["x"])
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(InvalidInput, match="--region"):
        session.client("batch")


def test_clients_are_kept_with_their_connection_and_those_of_other_settings_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = session.client("batch")
    assert session.client("batch") is made
    assert session.client("batch", region="eu-west-1").meta.region_name == "eu-west-1"
    elsewhere = session.connection_to("http://127.0.0.1:9", region="us-east-1", access_key="x", secret_key="y")
    with session.connected(elsewhere):
        assert session.client("batch").meta.endpoint_url == "http://127.0.0.1:9"
        assert session.client("batch") is session.client("batch")
    assert session.client("batch") is made
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    assert session.client("batch").meta.endpoint_url == "http://127.0.0.1:10"


def test_a_wrong_parameter_is_wrong_input() -> None:
    with pytest.raises(InvalidInput, match="jobQueue"):
        session.client("batch").list_jobs(jobQueue=3)  # type: ignore[arg-type]  # on purpose


def test_a_page_instead_of_an_answer_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a proxy's sign-in page is, or another program on that port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b"<!doctype html><p>Sign in"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
        try:
            with pytest.raises(Unavailable, match="answered something that is not AWS's"):
                session.client("cloudformation", region="us-east-1").describe_stacks()
        finally:
            server.shutdown()
            thread.join()
