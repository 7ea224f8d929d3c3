"""The host's notice unit, run for real against a metadata server on loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spotbatch.infra.host_data import HOST_FOLDER, boot_script

SCRIPT = HOST_FOLDER / "spot-notice.sh"
ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
NOTICE = '{"action": "terminate", "time": "2026-01-02T03:04:05Z"}'
DEADLINE_SECONDS = 30.0

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the notice unit needs curl, as hosts have it")


class Metadata(ThreadingHTTPServer):
    """EC2's metadata service as far as the unit asks: tokens that can expire, and paths that are there or not."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answers: dict[str, str] = {}
        self.valid = 0  # the number of the only token that is taken
        self.tokens_given = 0
        self.refused = 0
        self.asked: dict[str, int] = {}
        self.hangs = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Metadata
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.server.tokens_given += 1
        self.server.valid = self.server.tokens_given
        self._say(200, f"token-{self.server.valid}")

    def do_GET(self) -> None:
        if self.server.hangs.is_set():
            self.server.asked["hung"] = self.server.asked.get("hung", 0) + 1
            self.server.released.wait(DEADLINE_SECONDS)
            self.close_connection = True
            return None
        if self.headers.get("X-aws-ec2-metadata-token") != f"token-{self.server.valid}":
            self.server.refused += 1
            return self._say(401, "")
        self.server.asked[self.path] = self.server.asked.get(self.path, 0) + 1
        found = self.server.answers.get(self.path)
        return self._say(404, "") if found is None else self._say(200, found)

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Nothing: the tests print what they need."""


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join(DEADLINE_SECONDS)
    server.server_close()


@pytest.fixture
def start(metadata: Metadata, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the unit's script; whatever it started is gone after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        env = os.environ | {
            "SPOTBATCH_METADATA_URL": metadata.url,
            "SPOTBATCH_NOTICE_FILE": str(tmp_path / "run" / "notice.json"),
            "SPOTBATCH_POLL_SECONDS": "0.05",
            "no_proxy": "*",
        }
        started.append(subprocess.Popen(["sh", str(SCRIPT)], env=env, start_new_session=True))
        return started[-1]

    yield start
    for each in started:
        _kill(each)


def _kill(started: subprocess.Popen[bytes]) -> None:
    if started.poll() is None:
        os.killpg(started.pid, signal.SIGKILL)
    started.wait(DEADLINE_SECONDS)


def until(what: Callable[[], bool], said: str) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < end, f"after {DEADLINE_SECONDS} s: {said}"
        time.sleep(0.01)


def test_without_a_notice_there_is_no_file(metadata: Metadata, start: Callable[[], object], tmp_path: Path) -> None:
    start()
    until(lambda: metadata.asked.get(REBALANCE, 0) >= 3, "the unit does not ask")
    assert list((tmp_path / "run").glob("*.json")) == []


def test_the_notice_is_written_whole_and_goes_when_ec2_takes_it_back(
    metadata: Metadata, start: Callable[[], object], tmp_path: Path
) -> None:
    file = tmp_path / "run" / "notice.json"
    metadata.answers[ACTION] = NOTICE
    start()
    until(file.exists, "no notice")
    assert file.read_text() == NOTICE
    del metadata.answers[ACTION]
    until(lambda: not file.exists(), "the notice stays")


def test_a_rebalance_recommendation_is_told_apart_from_a_notice(
    metadata: Metadata, start: Callable[[], object], tmp_path: Path
) -> None:
    metadata.answers[REBALANCE] = '{"noticeTime": "2026-01-02T03:00:00Z"}'
    start()
    until((tmp_path / "run" / "rebalance.json").exists, "no recommendation")
    assert not (tmp_path / "run" / "notice.json").exists()


def test_what_the_host_is_stands_beside_the_notice_and_is_asked_for_once(
    metadata: Metadata, start: Callable[[], object], tmp_path: Path
) -> None:
    facts = {"instance-type": "c5.large", "placement/availability-zone": "us-east-1a"}
    metadata.answers.update({f"/latest/meta-data/{path}": value for path, value in facts.items()})
    start()
    until((tmp_path / "run" / "zone").exists, "no zone")
    until(lambda: metadata.asked.get(ACTION, 0) >= 4, "a few rounds")
    assert (tmp_path / "run" / "instance-type").read_text(encoding="ascii") == "c5.large"
    assert (tmp_path / "run" / "zone").read_text(encoding="ascii") == "us-east-1a"
    assert metadata.asked["/latest/meta-data/instance-type"] == 1


def test_an_expired_token_is_renewed_and_the_notice_still_arrives(
    metadata: Metadata, start: Callable[[], object], tmp_path: Path
) -> None:
    start()
    until(lambda: metadata.asked.get(ACTION, 0) >= 1, "the unit does not ask")
    metadata.valid = -1  # what the unit holds is worth nothing now
    until(lambda: metadata.tokens_given >= 2, "no new token")
    metadata.answers[ACTION] = NOTICE
    until((tmp_path / "run" / "notice.json").exists, "no notice")
    assert metadata.refused >= 1


def test_a_metadata_service_that_hangs_delays_the_notice_and_does_not_lose_it(
    metadata: Metadata, start: Callable[[], object], tmp_path: Path
) -> None:
    metadata.hangs.set()
    start()
    until(lambda: metadata.asked.get("hung", 0) >= 2, "the unit hangs with it")
    metadata.hangs.clear()
    metadata.answers[ACTION] = NOTICE
    until((tmp_path / "run" / "notice.json").exists, "no notice")


def test_a_unit_that_is_killed_and_started_again_goes_on(
    metadata: Metadata, start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    file = tmp_path / "run" / "notice.json"
    metadata.answers[ACTION] = NOTICE
    first = start()
    until(file.exists, "no notice")
    _kill(first)
    del metadata.answers[ACTION]
    start()
    until(lambda: not file.exists(), "the second run does not follow")


MOCK = os.environ.get("SPOTBATCH_METADATA_MOCK") or shutil.which("ec2-metadata-mock")


@pytest.mark.skipif(MOCK is None, reason="amazon-ec2-metadata-mock is not here: go install .../cmd/ec2-metadata-mock")
def test_the_notice_of_awss_own_mock_of_the_metadata_service_arrives(tmp_path: Path) -> None:
    """https://github.com/aws/amazon-ec2-metadata-mock, as EC2 answers: tokens only, 404 until the notice."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert MOCK is not None
    options = ["--imdsv2", "--hostname", "127.0.0.1", "--port", str(port), "--mock-delay-sec", "3"]
    mock = subprocess.Popen([MOCK, "spot", "--action", "terminate", *options], start_new_session=True)
    folder = tmp_path / "run"
    env = os.environ | {
        "SPOTBATCH_METADATA_URL": f"http://127.0.0.1:{port}",
        "SPOTBATCH_NOTICE_FILE": str(folder / "notice.json"),
        "SPOTBATCH_POLL_SECONDS": "0.05",
        "no_proxy": "*",
    }
    unit = subprocess.Popen(["sh", str(SCRIPT)], env=env, start_new_session=True)
    try:
        until(lambda: (folder / "zone").exists(), "no zone")
        until(lambda: (folder / "notice.json").exists(), "no notice")
        assert json.loads((folder / "notice.json").read_text(encoding="ascii"))["action"] == "terminate"
        assert (folder / "instance-type").read_text(encoding="ascii").strip()
    finally:
        for each in (unit, mock):
            _kill(each)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_units_script_and_in_the_boot_script(tmp_path: Path) -> None:
    boot = tmp_path / "boot.sh"
    boot.write_text(boot_script())
    scripts = [str(each) for each in (*HOST_FOLDER.glob("*.sh"), boot)]
    found = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False, timeout=60)
    assert (found.returncode, found.stdout) == (0, "")
