"""A private local region for a rehearsal: queue, environment and definition, in a folder that is deleted at the end."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.job import ResourceRequirements
from spotbatch.local.background_process import Background
from spotbatch.local.client import RegionClient
from spotbatch.local.region_file import RegionInfo
from spotbatch.local.start import start, stop
from spotbatch.runs.endpoint import LOCAL_VARIABLE

QUEUE: Final = "rehearsal"
DEFINITION: Final = "rehearsal"
_DOWN_SECONDS: Final = 60.0
_INSTANCE_TYPES: Final = ("c5", "m5", "r5")
_PASSED: Final = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "CONDA_PREFIX")


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateRegion:
    """The running region."""

    info: RegionInfo

    @property
    def client(self) -> RegionClient:
        return RegionClient(info=self.info)


@contextlib.contextmanager
def private_region(
    options: Sequence[str] = (),
    *,
    needs: ResourceRequirements,
    max_vcpus: int,
    notice_seconds: float,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[PrivateRegion]:
    """A region of its own. This process's AWS settings point to it meanwhile and are then restored. Nothing is left.

    `say` receives the region's warnings.
    """
    before = dict(os.environ)
    with (
        tempfile.TemporaryDirectory(prefix="spotbatch-rehearsal-") as folder,
        started_region(
            Path(folder), options, needs=needs, max_vcpus=max_vcpus, notice_seconds=notice_seconds, say=say
        ) as info,
    ):
        try:
            os.environ.update(info.environment())
            os.environ["SPOTBATCH_HOME"] = info.home
            os.environ[LOCAL_VARIABLE] = "1"
            yield PrivateRegion(info=info)
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextlib.contextmanager
def started_region(
    folder: Path,
    options: Sequence[str] = (),
    *,
    needs: ResourceRequirements,
    max_vcpus: int,
    notice_seconds: float,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[RegionInfo]:
    """A region whose home is in a folder, stopped at the end; this process's settings are left unchanged.

    Raises Unavailable if a library is missing or the region does not start.
    """
    images = folder / "images.toml"
    images.write_text(_images(), encoding="utf-8")
    template = folder / "Rehearsal.template.json"
    template.write_text(json.dumps(_template(needs, max_vcpus)), encoding="utf-8")
    arguments = ["--template", str(template), "--images", str(images), "--boot-seconds", "0.5"]
    arguments += ["--vcpu-quota", "none"]  # the template determines how much runs concurrently
    arguments += ["--notice-seconds", str(notice_seconds), "--stop-grace-seconds", str(max(1.0, notice_seconds))]
    arguments += [part for name in _PASSED if name in os.environ for part in ("--pass-env", name)]
    info = start(folder / "home", [*arguments, *options], say=say)
    try:
        yield info
    finally:
        stop(info, _DOWN_SECONDS)
        if info.pid is not None:
            Background(pid=info.pid).poll()  # it is our child: reap it


def _images() -> str:
    """Whatever the image, the command runs here, under the runtime, in the current folder."""
    entry = json.dumps([sys.executable, "-m", "spotbatch.runtime", "--"])
    return f'[[image]]\npattern = "*"\nentry_point = {entry}\nworking_directory = {json.dumps(str(Path.cwd()))}\n'


def _template(needs: ResourceRequirements, max_vcpus: int) -> dict[str, Any]:
    requirements = [{"Type": "VCPU", "Value": str(needs.vcpus)}, {"Type": "MEMORY", "Value": str(needs.memory_mib)}]
    return {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket"},
            "Environment": {
                "Type": "AWS::Batch::ComputeEnvironment",
                "Properties": {
                    "Type": "managed",
                    "State": "ENABLED",
                    "ComputeEnvironmentName": "rehearsal",
                    "ComputeResources": {
                        "Type": "SPOT",
                        "AllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
                        "MinvCpus": 0,
                        "MaxvCpus": max_vcpus,
                        "InstanceTypes": list(_INSTANCE_TYPES),
                        "InstanceRole": "arn:aws:iam::123456789012:instance-profile/rehearsal",
                        "SecurityGroupIds": ["sg-rehearsal"],
                        "Subnets": ["subnet-a", "subnet-b", "subnet-c"],
                    },
                },
            },
            "Queue": {
                "Type": "AWS::Batch::JobQueue",
                "Properties": {
                    "JobQueueName": QUEUE,
                    "Priority": 1,
                    "ComputeEnvironmentOrder": [
                        {"ComputeEnvironment": {"Fn::GetAtt": ["Environment", "ComputeEnvironmentArn"]}, "Order": 1}
                    ],
                },
            },
            "Definition": {
                "Type": "AWS::Batch::JobDefinition",
                "Properties": {
                    "Type": "container",
                    "JobDefinitionName": DEFINITION,
                    "ContainerProperties": {
                        "Image": "rehearsal",
                        "Command": ["true"],
                        "ResourceRequirements": requirements,
                        "Environment": [
                            {
                                "Name": "SPOTBATCH_ARTIFACTS_URL",
                                "Value": {"Fn::Join": ["", ["s3://", {"Ref": "Bucket"}]]},
                            }
                        ],
                    },
                },
            },
        },
        "Outputs": {"JobQueueName": {"Value": QUEUE}, "JobDefinitionName": {"Value": DEFINITION}},
    }
