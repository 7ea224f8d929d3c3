"""A real region in a process of its own, for tests that talk HTTP to it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from spotbatch.batch.errors import NotFound
from spotbatch.local import region_file
from spotbatch.local.client import RegionClient
from spotbatch.local.region_file import RegionInfo
from tests.contract.faithful import watch

Found = TypeVar("Found")

START_SECONDS = 30.0
STOP_SECONDS = 30.0
ENVIRONMENT_RESOURCES: dict[str, Any] = {
    "type": "SPOT",
    "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
    "maxvCpus": 16,
    "instanceTypes": ["c5.large", "m5.xlarge"],
    "subnets": ["subnet-1", "subnet-2"],
    "securityGroupIds": ["sg-1"],
    "instanceRole": "arn:aws:iam::123456789012:instance-profile/batch",
}
CONTAINER: dict[str, Any] = {
    "image": "busybox",
    "command": ["true"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
}


@dataclass(frozen=True, kw_only=True)
class RunningRegion:
    info: RegionInfo
    process: "subprocess.Popen[bytes]"

    def client(self, service: str, **config: Any) -> Any:
        client = boto3.client(
            service,  # type: ignore[call-overload]  # any service, by its name
            endpoint_url=self.info.endpoint,
            region_name=self.info.region,
            aws_access_key_id=self.info.access_key,
            aws_secret_access_key=self.info.secret_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30, **config),
        )
        if service in ("batch", "logs"):
            watch(client)
        return client

    @property
    def admin(self) -> RegionClient:
        return RegionClient(info=self.info)

    @property
    def port(self) -> int:
        return int(self.info.endpoint.rpartition(":")[2])


@contextlib.contextmanager
def running(home: Path, *arguments: str, module: str = "spotbatch.local") -> Iterator[RunningRegion]:
    """A region with its home in a folder; ended when the block ends, however it ends."""
    log = home.parent / f"{home.name}.log"
    with log.open("ab") as out:
        unlimited = ("--vcpu-quota", "none")  # what runs at once is no matter of the machine's size
        command = [sys.executable, "-m", module, "--home", str(home), *unlimited, *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=_environ())
    try:
        yield RunningRegion(info=_wait_until_ready(home, process, log), process=process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    return {**kept, "PYTHONWARNINGS": "default"}


def _wait_until_ready(home: Path, process: "subprocess.Popen[bytes]", log: Path) -> RegionInfo:
    def ready() -> RegionInfo | None:
        assert process.poll() is None, f"the region ended with {process.returncode}: {log.read_text()[-3000:]}"
        with contextlib.suppress(NotFound):
            info = region_file.read(home)
            return info if info.pid == process.pid else None
        return None

    return until(ready, seconds=START_SECONDS)


def until(found: Callable[[], Found | None], *, seconds: float = 20.0) -> Found:
    """What the function finds, once it finds something; a failure after the time given."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"nothing came in {seconds} s"
        time.sleep(0.02)


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    """The code and message with which AWS Batch refuses a call."""
    try:
        call(**parameters)
    except ClientError as error:
        detail = error.response["Error"]
        return f"{detail['Code']}: {detail['Message']}"
    raise AssertionError(f"{parameters} was not refused")
