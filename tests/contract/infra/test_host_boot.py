"""The first boot of a host under real systemd: the order of its units, the fence, the notice, draining."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from spotbatch.infra.host_data import DRAINING, NOTICE_FILE, Fence, boot_script
from tests.contract.infra import host_machine
from tests.contract.infra.host_machine import CREDENTIALS, METADATA, Machine, machine

pytestmark = pytest.mark.skipif(bool(host_machine.why_not()), reason=host_machine.why_not() or "all is here")

# What AWS Batch puts before the launch template's own part (aws/aws-cdk #9900 shows it).
AWS_BATCH_PART: Final = """#!/bin/bash
echo ECS_CLUSTER=AWSBatch-spot>>/etc/ecs/ecs.config
echo ECS_AVAILABLE_LOGGING_DRIVERS='["json-file","awslogs"]'>>/etc/ecs/ecs.config
"""
NOTICE: Final = '{"action": "terminate", "time": "2026-01-02T03:04:05Z"}'
SERVER: Final = """
import http.server, pathlib, sys

class Answers(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.say(200, b"token")

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            return self.say(401, b"")
        found = pathlib.Path("/shared/answers", self.path.removeprefix("/latest/meta-data/").replace("/", "_"))
        self.say(200, found.read_bytes()) if found.exists() else self.say(404, b"")

    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer((sys.argv[1], 80), Answers).serve_forever()
"""


@contextlib.contextmanager
def booted(folder: Path, fence: Fence = "required", *, before: str = "") -> Iterator[Machine]:
    """A host on which cloud-init has run AWS Batch's part, `before`, and ours; the metadata service answers."""
    parts = {"part-001": AWS_BATCH_PART, "part-003": boot_script(fence)}
    if before:
        parts["part-002"] = before
    with machine(folder, parts=parts) as host:
        (host.shared / "answers").mkdir()
        (host.shared / "server.py").write_text(SERVER, encoding="ascii")
        host.boot()
        for address in (METADATA, CREDENTIALS):
            host.start(host_machine.PYTHON, "/shared/server.py", address)
        yield host


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(tmp_path_factory.mktemp("host")) as made:
        yield made


def in_the_slice(host: Machine, address: str) -> int:
    """The exit code of a request from a process below ecstasks.slice, as a container of a job is."""
    unit = f"job-{address.replace('.', '-')}.service"
    command = f"/usr/bin/curl --silent --output /dev/null --max-time 2 http://{address}/"
    text = f"[Service]\nType=oneshot\nSlice=ecstasks-{address.replace('.', '')}.slice\nExecStart={command}\n"
    host.run("sh", "-c", f"printf '%s' '{text}' > /etc/systemd/system/{unit}; systemctl daemon-reload")
    host.run("systemctl", "start", unit)
    return int(host.run("systemctl", "show", "--property=ExecMainStatus", "--value", unit).stdout)


def test_the_agent_starts_once_the_fence_is_proved_with_draining_on_and_awss_own_settings_kept(host: Machine) -> None:
    started = host.shared / "agent-started"
    host.until(started.exists, "the agent does not start")
    assert host.state("spotbatch-fence.service") == "active"
    lines = started.read_text(encoding="ascii").splitlines()
    assert DRAINING in lines
    assert "ECS_CLUSTER=AWSBatch-spot" in lines


def test_a_container_cannot_reach_the_metadata_service_and_can_reach_its_own_credentials(host: Machine) -> None:
    host.until(lambda: host.state("spotbatch-fence.service") == "active", "the fence is not up")
    assert in_the_slice(host, METADATA) in (7, 28)
    assert in_the_slice(host, CREDENTIALS) == 0
    assert host.run("curl", "--silent", "--max-time", "2", f"http://{METADATA}/").returncode == 0, "the host itself can"


def test_the_notice_arrives_in_the_folder_that_jobs_see(host: Machine) -> None:
    (host.shared / "answers" / "spot_instance-action").write_text(NOTICE, encoding="ascii")
    host.until(lambda: host.run("cat", NOTICE_FILE).stdout == NOTICE, "no notice")
    assert json.loads(host.run("cat", NOTICE_FILE).stdout)["action"] == "terminate"
    (host.shared / "answers" / "spot_instance-action").unlink()
    host.until(lambda: host.run("test", "-e", NOTICE_FILE).returncode != 0, "the notice stays")


def test_the_notice_unit_comes_back_when_it_is_killed(host: Machine) -> None:
    host.until(lambda: host.state("spotbatch-notice.service") == "active", "the unit is not up")
    first = host.run("systemctl", "show", "--property=MainPID", "--value", "spotbatch-notice.service").stdout
    host.run("systemctl", "kill", "--signal=KILL", "spotbatch-notice.service")
    host.until(
        lambda: (
            host.run("systemctl", "show", "--property=MainPID", "--value", "spotbatch-notice.service").stdout
            not in (first, "0\n")
        ),
        "it stays dead",
    )


def test_the_next_start_of_the_agent_proves_the_fence_again_as_after_a_reboot(host: Machine) -> None:
    host.until(lambda: host.state("ecs.service") == "active", "the agent does not start")
    for unit in ("spotbatch-fence.service", "spotbatch-notice.service"):
        assert host.run("systemctl", "is-enabled", unit).stdout == "enabled\n"
    host.run("systemctl", "stop", "ecs.service", "spotbatch-fence.service")
    host.run("systemctl", "start", "ecs.service")
    assert (host.state("spotbatch-fence.service"), host.state("ecs.service")) == ("active", "active")


NO_FENCE: Final = "#!/bin/sh\nmkdir -p /etc/systemd/system/ecstasks.slice.d\nprintf '[Slice]\\nIPAddressDeny=\\n' > "
OPEN: Final = NO_FENCE + "/etc/systemd/system/ecstasks.slice.d/open.conf\n"  # as on a kernel that cannot filter


def test_where_the_fence_is_open_the_agent_is_not_started_and_the_console_says_why(tmp_path: Path) -> None:
    with booted(tmp_path, before=OPEN) as host:
        host.until(lambda: host.state("spotbatch-fence.service") == "failed", "the fence is not tested")
        assert "the ECS agent is not started" in host.console()
        assert "a process in ecstasks.slice gets an answer" in host.console()
        assert host.state("ecs.service") != "active"
        assert not (host.shared / "agent-started").exists()


def test_where_the_fence_is_only_tried_the_agent_starts_and_the_console_says_what_is_open(tmp_path: Path) -> None:
    with booted(tmp_path, "tried", before=OPEN) as host:
        host.until((host.shared / "agent-started").exists, "the agent does not start")
        assert "containers of jobs may reach the host's credentials" in host.console()
