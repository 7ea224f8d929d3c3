"""Third-party clients, each in an environment of its own below .cache/clients, and a region that knows them."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.local_api_region import RunningRegion, running, until

ROOT = Path(__file__).parents[2]
CLIENT_SECONDS = 240
INSTALL_SECONDS = 600


def environment(*requirements: str) -> Path:
    """The `bin` folder of an environment with just these requirements; made at the first call, then kept."""
    digest = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / "clients" / f"{requirements[0].partition('=')[0]}-{digest}"
    done = folder / ".installed"
    if not done.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], INSTALL_SECONDS)
        _run([str(folder / "bin/python"), "-m", "pip", "install", "-q", *requirements], INSTALL_SECONDS)
        done.touch()
    return folder / "bin"


def _run(command: list[str], seconds: float) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"


@contextmanager
def region_for(folder: Path, binaries: Path) -> Iterator[RunningRegion]:
    """A region whose jobs find the client's programs, with one Spot queue `q` and a bucket."""
    images = folder / "images.toml"
    images.write_text(f'[[image]]\npattern = "*"\npath = ["{binaries}"]\n')
    quick = ("--boot-seconds", "0.2", "--notice-seconds", "0.5", "--stop-grace-seconds", "2", "--images", str(images))
    with running(folder / "home", *quick) as region:
        batch = region.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="spot",
            type="MANAGED",
            computeResources={
                "type": "SPOT",
                "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
                "maxvCpus": 4,
                "instanceTypes": ["m5.large", "m5.xlarge"],
                "subnets": ["subnet-1"],
                "securityGroupIds": ["sg-1"],
                "instanceRole": "arn:aws:iam::123456789012:instance-profile/batch",
            },
        )
        order = [{"order": 1, "computeEnvironment": "spot"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        region.client("s3").create_bucket(Bucket="work")
        yield region


def client_environ(region: RunningRegion, binaries: Path, home: Path) -> dict[str, str]:
    """What a client's shell has: its own programs, the region's endpoint and credentials, and nothing of ours."""
    search = f"{binaries}{os.pathsep}/usr/local/bin{os.pathsep}/usr/bin{os.pathsep}/bin"
    return {"PATH": search, "HOME": str(home), "LANG": "C.UTF-8", **region.info.environment()}


def reclaim_a_running_host(region: RunningRegion) -> list[str]:
    """Reclaim, at once, the first host that is seen with a RUNNING attempt. Returns its id in a list."""

    def busy() -> list[str]:
        hosts = region.admin.hosts()
        return [host.instance_id for host in hosts if host.running and host.started_at and host.ended_at is None]

    chosen = until(busy, seconds=CLIENT_SECONDS)[:1]
    return region.admin.interrupt(instance_ids=chosen, notice_seconds=0)


def lost_attempts(region: RunningRegion) -> int:
    """How many attempts ended with their host."""
    batch = region.client("batch")
    return sum(
        attempt.get("statusReason", "").startswith("Host EC2")
        for job in _all_jobs(batch)
        for attempt in job.get("attempts", [])
    )


def _all_jobs(batch: Any) -> Iterator[Any]:
    for status in ("SUCCEEDED", "FAILED"):
        for page in batch.get_paginator("list_jobs").paginate(jobQueue="q", jobStatus=status):
            for one in page["jobSummaryList"]:
                size = one.get("arrayProperties", {}).get("size", 0)
                ids = [f"{one['jobId']}:{index}" for index in range(size)] or [one["jobId"]]
                yield from batch.describe_jobs(jobs=ids)["jobs"]
