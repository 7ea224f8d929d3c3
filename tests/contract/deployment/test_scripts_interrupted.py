"""Ctrl-C at every step of deploying and removing: it says so, and the same command run again goes on to the end.

The signal goes to the whole process group, as a terminal sends it. The stand-ins stop where they are told, so that the
moment is certain.
"""

import http.client
import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.contract.deploy_world import STACK, Account, batch_beside
from tests.contract.local_api_region import until
from tests.root import ROOT

DEPLOY = ("deploy", "--stack-name", STACK, "--yes")
CLEANUP = ("cleanup", "--stack-name", STACK, "--yes", "--everything")
PATHS = {"UpdateJobQueue": "/v1/updatejobqueue"}  # AWS Batch's calls are told by their path


def interrupted(account: Account, *arguments: str, **environ: str) -> str:
    """Run a command until a stand-in has stopped where it was told, press Ctrl-C there; what it said on stderr."""
    reached = account.folder / "reached"
    environment = {**account.environment(), "STOP_AT_FILE": str(reached), **environ}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "spotbatch.cli.main", *arguments],
        cwd=account.checkout,
        env={**kept, **environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until(lambda: reached.exists() or process.poll() is not None, seconds=60)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    reached.unlink()
    assert process.returncode == 130, said
    return said


@pytest.mark.parametrize("place", ["synthesis", "bootstrap", "change set", "deployment"])
def test_an_interrupted_deployment_is_finished_by_the_next(account: Account, place: str) -> None:
    said = interrupted(account, *DEPLOY, STOP_AT=place)
    assert "interrupted. Nothing is lost: the same command goes on from there" in said
    assert "Traceback" not in said
    again = account.run(*DEPLOY)
    assert "next:" in again.out
    [stack] = account.client("cloudformation").describe_stacks()["Stacks"]
    assert (stack["StackName"], stack["StackStatus"]) == (STACK, "CREATE_COMPLETE")
    assert len(account.calls("app")) == 2


@contextmanager
def holding(endpoint: str, action: str, reached: Path) -> Iterator[str]:
    """A place in front of the account that carries out one kind of request, and never gets round to its answer."""
    over = threading.Event()

    class Forward(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            asked = f"{self.path} {self.headers.get('X-Amz-Target', '')} {body.decode(errors='replace')}"
            if action in asked and not reached.exists():
                reached.touch()
                over.wait(30)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    for verb in ("GET", "PUT", "DELETE", "HEAD"):
        setattr(Forward, f"do_{verb}", Forward.do_POST)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("action", ["UpdateJobQueue", "DeleteStack", "?delete", "DeleteRepository", "GetResources"])
def test_an_interrupted_removal_is_finished_by_the_next(account: Account, action: str) -> None:
    """The request was carried out, and its answer never came."""
    small = account.stack()
    small.fill()
    batch = batch_beside(account, "queue")
    with holding(account.endpoint, PATHS.get(action, action), account.folder / "reached") as endpoint:
        said = interrupted(account, *CLEANUP, AWS_ENDPOINT_URL=endpoint)
    assert "interrupted. Nothing is lost" in said
    assert "Traceback" not in said
    again = account.run(*CLEANUP)
    assert f"nothing is left of {STACK}" in again.out
    assert (small.exists(), small.has_bucket(), small.has_images()) == (False, False, False)
    if action != "GetResources":
        assert batch.describe_job_queues(jobQueues=["queue"])["jobQueues"][0]["state"] == "DISABLED"
