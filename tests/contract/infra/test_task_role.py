"""A job's own role, as the ECS agent hands it out: at an address of its own, which needs a network of its own here."""

import json
import shutil
import subprocess
import sys
from typing import Final

import pytest

from tests.root import ROOT

IN_A_NETWORK: Final = ("unshare", "--map-root-user", "--net")
READY: Final = "ip link set lo up && ip addr add 169.254.170.2/32 dev lo"
# The agent and S3, and a job that writes one object; prints what the two were asked.
JOB: Final = """
import http.server, json, os, threading

asked = []

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append({"path": self.path})
        self.say(json.dumps({"AccessKeyId": "TASK", "SecretAccessKey": "s", "Token": "t",
                             "Expiration": "2099-01-01T00:00:00Z"}).encode())

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        asked.append({"path": self.path, "signed": self.headers["Authorization"],
                      "token": self.headers["X-Amz-Security-Token"]})
        self.say(b"")

    def say(self, body):
        self.send_response(200)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

for place in (("169.254.170.2", 80), ("127.0.0.1", 9000)):
    server = http.server.ThreadingHTTPServer(place, Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()

from spotbatch.runtime.storage.s3 import S3Store

S3Store(bucket="bucket", prefix="runs").put("key", b"x")
print(json.dumps(asked))
"""


def _has_networks() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    tried = subprocess.run([*IN_A_NETWORK, "sh", "-c", READY], capture_output=True, check=False, timeout=30)
    return tried.returncode == 0


@pytest.mark.skipif(not _has_networks(), reason="a network of its own needs Linux namespaces and iproute2")
def test_a_job_signs_with_its_own_role_for_the_region_that_its_definition_names() -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/id",  # from the ECS agent
        "AWS_REGION": "eu-west-1",  # from the job definition
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
    }
    run = subprocess.run(
        [*IN_A_NETWORK, "sh", "-c", f'{READY} && exec "$0" -c "$1"', sys.executable, JOB],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    role, write = json.loads(run.stdout)
    assert role == {"path": "/v2/credentials/id"}
    assert write["path"] == "/bucket/runs/key"
    assert "Credential=TASK/" in write["signed"]
    assert "/eu-west-1/s3/aws4_request" in write["signed"]
    assert write["token"] == "t"
