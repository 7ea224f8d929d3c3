"""A local region with a stack in it, and the command line run against it as a user would."""

import contextlib
import fcntl
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotbatch.local.client import RegionClient
from tests.contract.local_api_region import RunningRegion, running, until

STACK = "Tested"
IMAGES = """
[[image]]
pattern = "*"
entry_point = ["spotrun", "--"]
"""


def surroundings(log_group: str) -> dict[str, Any]:
    """What stands around the Batch resources of a stack."""
    return {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Net": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}}},
        "Guard": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"VpcId": {"Ref": "Vpc"}}},
        "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": []}},
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": log_group}},
        "Repo": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "jobs"}},
    }


def template(**environment: Any) -> dict[str, Any]:
    """A stack as the CDK synthesizes it, with the Batch resources only; `environment` changes the compute resources."""
    resources: dict[str, Any] = {
        "Type": "SPOT",
        "AllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
        "BidPercentage": 80,
        "MinvCpus": 0,
        "MaxvCpus": 16,
        "InstanceTypes": ["c5.large", "m5.large"],
        "InstanceRole": {"Fn::GetAtt": ["Profile", "Arn"]},
        "SecurityGroupIds": [{"Fn::GetAtt": ["Guard", "GroupId"]}],
        "Subnets": [{"Ref": "Net"}],
    } | environment
    needs = [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "256"}]
    order = [{"ComputeEnvironment": {"Fn::GetAtt": ["Environment", "ComputeEnvironmentArn"]}, "Order": 1}]
    return {
        "Resources": {
            **surroundings("/spotbatch/tested"),
            "Environment": {
                "Type": "AWS::Batch::ComputeEnvironment",
                "Properties": {"Type": "managed", "State": "ENABLED", "ComputeResources": resources},
            },
            "Queue": {
                "Type": "AWS::Batch::JobQueue",
                "Properties": {"Priority": 1, "ComputeEnvironmentOrder": order},
            },
            "Definition": {
                "Type": "AWS::Batch::JobDefinition",
                "Properties": {
                    "Type": "container",
                    "JobDefinitionName": "work",
                    "ContainerProperties": {
                        "Image": {"Fn::Join": ["", [{"Fn::GetAtt": ["Repo", "RepositoryUri"]}, ":latest"]]},
                        "Command": ["true"],
                        "Environment": [
                            {
                                "Name": "SPOTBATCH_ARTIFACTS_URL",
                                "Value": {"Fn::Join": ["", ["s3://", {"Ref": "Bucket"}]]},
                            }
                        ],
                        "ResourceRequirements": needs,
                        "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": {"Ref": "Log"}}},
                    },
                    "RetryStrategy": {
                        "Attempts": 5,
                        "EvaluateOnExit": [
                            {"Action": "RETRY", "OnStatusReason": "Host EC2*"},
                            {"Action": "RETRY", "OnExitCode": "210"},
                            {"Action": "EXIT", "OnReason": "*"},
                        ],
                    },
                },
            },
        },
        "Outputs": {
            "JobQueueName": {"Value": {"Ref": "Queue"}},
            "JobDefinitionName": {"Value": "work"},
            "ComputeEnvironmentName": {"Value": {"Ref": "Environment"}},
            "ArtifactsBucketName": {"Value": {"Ref": "Bucket"}},
            "LogGroupName": {"Value": {"Ref": "Log"}},
            "ECRRepositoryURI": {"Value": {"Fn::GetAtt": ["Repo", "RepositoryUri"]}},
        },
    }


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, kw_only=True)
class CliWorld:
    """Commands are run in this process, with the environment that a user's shell would have."""

    region: RunningRegion
    home: Path

    @property
    def admin(self) -> RegionClient:
        return self.region.admin

    def run(self, *arguments: str, code: int | None = 0) -> Said:
        """A command against the local region; fails the test if it ends with another code (None: any)."""
        said = run(*arguments, environ={"SPOTBATCH_HOME": str(self.home), "SPOTBATCH_LOCAL": "1"})
        assert code is None or said.code == code, f"{arguments} ended with {said.code}: {said.out}{said.err}"
        return said

    def wait(self, job: str) -> str:
        """Wait for a job's end without `watch` and its pauses; the status it ended in."""
        batch = self.region.client("batch")

        def ended() -> str | None:
            status: str = batch.describe_jobs(jobs=[job])["jobs"][0]["status"]
            return status if status in ("SUCCEEDED", "FAILED") else None

        return until(ended, seconds=60)

    def submit(self, *arguments: str) -> str:
        """Submit and give the job's id."""
        return self.run("submit", *arguments).out.strip()


def run(*arguments: str, environ: Mapping[str, str]) -> Said:
    """A command in this process, whose environment is put back afterwards."""
    from spotbatch.cli.main import main

    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "SPOTBATCH_")):
            del os.environ[name]
    os.environ.update({"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, **environ})
    os.environ.setdefault("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Said(code=code, out=out.getvalue(), err=err.getvalue())


def program(*arguments: str, environ: Mapping[str, str]) -> "subprocess.Popen[str]":
    """A command as a process of its own, for what only a process shows: signals, terminals, imports."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "spotbatch.cli.main", *arguments],
        env={**kept, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def on_terminal(*arguments: str, environ: Mapping[str, str], seconds: float = 60.0) -> str:
    """What a command shows on a terminal of 100 columns, colours and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    kept.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "spotbatch.cli.main", *arguments],
        env={**kept, "TERM": "xterm-256color", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError):  # the terminal closes with the process
        while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(ours, 65536)
            if not piece:
                break
            shown += piece
    os.close(ours)
    process.wait(timeout=10)
    return shown.decode()


@contextlib.contextmanager
def cli_world(folder: Path, *arguments: str, **environment: Any) -> Iterator[CliWorld]:
    """A region in a folder, with a stack named Tested, quick hosts, and spotrun as every image's entry point."""
    images = folder / "images.toml"
    images.write_text(IMAGES)
    home = folder / "home"
    # as the stack's hosts do: without draining an attempt may begin on a host that is gone before it says anything
    options = ("--boot-seconds", "0.05", "--notice-seconds", "0.3", "--stop-grace-seconds", "2", "--draining", "on")
    with running(home, *options, "--images", str(images), *arguments) as region:
        region.admin.load_stack(STACK, template(**environment))
        yield CliWorld(region=region, home=home)
