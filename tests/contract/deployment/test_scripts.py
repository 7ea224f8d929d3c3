"""deploy.sh and cleanup.sh themselves, with the real app.py, against a region on this machine, with a recording `cdk`.

CloudFormation and the rest are moto's, AWS Batch is our own, jobs are real. The commands' many ways are tested without
the shell, in test_scripts_deploy.py and test_scripts_cleanup.py. What only AWS can show stands in docs/verified.md.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spotbatch.aws import teardown
from spotbatch.batch.environment import STACK_TAG
from spotbatch.batch.errors import Unavailable
from tests.contract.deploy_world import CDK, STANDIN
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until
from tests.root import ROOT

LIMIT_SECONDS = 180
COPIED = (
    "app.py",
    "cdk.json",
    "package.json",
    "deploy.sh",
    "cleanup.sh",
    "requirements.txt",
    "requirements-demo.txt",
    "scripts",
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """A region that stands for an AWS account, a checkout to run the scripts in, and the recording cdk."""

    region: RunningRegion
    folder: Path

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    def run(self, script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
        return subprocess.run(
            [f"./{script}", *arguments],
            cwd=self.checkout,
            env={
                **clean,
                **self.region.info.environment(),
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "STANDIN_LOG": str(self.folder / "log"),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )

    def cdk_calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def make_stack(self, name: str, *, queues: int = 1) -> list[str]:
        """A stack with a kept bucket, whose outputs name real queues of the region; the queues' names."""
        batch = self.region.client("batch")
        names = [f"{name}-queue-{at}" for at in range(queues)]
        batch.create_compute_environment(
            computeEnvironmentName=f"{name}-ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        for each in names:
            order = [{"order": 1, "computeEnvironment": f"{name}-ce"}]
            batch.create_job_queue(jobQueueName=each, priority=1, computeEnvironmentOrder=order)
        batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=CONTAINER)
        outputs = {
            "JobDefinitionName": name,
            **dict(zip(("JobQueueName", "OnDemandJobQueueName"), names, strict=False)),
        }
        tags = [{"Key": STACK_TAG, "Value": name}]
        bucket = {"BucketName": f"{name.lower()}-bucket", "Tags": tags}
        body = {
            "Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": bucket}},
            "Outputs": {key: {"Value": value} for key, value in outputs.items()},
        }
        self.region.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(body))
        return names

    def start_job(self, queue: str, definition: str, command: list[str]) -> str:
        """A job that runs."""
        batch = self.region.client("batch")
        job: str = batch.submit_job(
            jobName="long", jobQueue=queue, jobDefinition=definition, containerOverrides={"command": command}
        )["jobId"]
        until(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "RUNNING")
        return job


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """One for all tests here: each has a stack of a name of its own."""
    folder = tmp_path_factory.mktemp("scripts")
    for each in ("bin", "standins"):
        (folder / each).mkdir()
    cdk = folder / "bin" / "cdk"
    cdk.write_text(CDK.format(python=sys.executable, standins=str(folder / "standins")))
    cdk.chmod(0o755)
    (folder / "standins" / "standin.py").write_text(STANDIN)
    _check_out(folder / "checkout")
    with running(folder / "region", "--boot-seconds", "0.1", "--stop-grace-seconds", "3") as region:
        yield Account(region=region, folder=folder)


def _check_out(folder: Path) -> None:
    """A checkout with this run's Python in .venv, marked as installed, since the scripts look for it beside them."""
    folder.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "spotbatch").symlink_to(ROOT / "spotbatch")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / ".installed").touch()


@pytest.mark.parametrize("script", ["deploy.sh", "cleanup.sh"])
def test_help_works_before_anything_is_installed(script: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / script, tmp_path / script)
    run = subprocess.run([f"./{script}", "-h"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30)
    assert "Usage:" in run.stdout
    assert "--dry-run" in run.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / script]


def test_deploy_synthesizes_the_real_stack_for_all_zones_and_deploys_from_the_assembly(account: Account) -> None:
    [queue] = account.make_stack("Whole")
    job = account.start_job(queue, "Whole", ["sleep", "600"])
    run = account.run("deploy.sh", "--yes", "--stack-name", "Whole", "--set", "max_vcpus=32", "--set", "egress=public")
    assert run.returncode == 0, run.stderr + run.stdout
    calls = account.cdk_calls()
    assert [call["arguments"][0] for call in calls] == ["bootstrap", "deploy"]
    assert all(call["templates"] == ["Whole.template.json"] for call in calls)
    template = json.loads((account.checkout / "cdk.out" / "Whole.template.json").read_text())
    resources = list(template["Resources"].values())
    zones = account.region.client("ec2").describe_availability_zones()["AvailabilityZones"]
    in_zones = {each["Properties"]["AvailabilityZone"] for each in resources if each["Type"] == "AWS::EC2::Subnet"}
    assert in_zones == {each["ZoneName"] for each in zones}
    (environment,) = [each for each in resources if each["Type"] == "AWS::Batch::ComputeEnvironment"]
    assert environment["Properties"]["ComputeResources"]["MaxvCpus"] == 32
    assert "NAT gateway" not in run.stdout
    assert "note: 1 job running or waiting. Should the update replace hosts, jobs\n  on them have 30 min" in run.stdout
    account.region.client("batch").terminate_job(jobId=job, reason="over")
    assert template["Metadata"]["spotbatch"]["max_vcpus"] == 32
    tagged = [each for each in resources if {"Key": STACK_TAG, "Value": "Whole"} in _tags(each)]
    assert {"AWS::S3::Bucket", "AWS::EC2::VPC", "AWS::ECR::Repository"} <= {each["Type"] for each in tagged}
    (launch,) = [each for each in resources if each["Type"] == "AWS::EC2::LaunchTemplate"]
    hosts = launch["Properties"]["LaunchTemplateData"]["TagSpecifications"]
    reached = {each["ResourceType"] for each in hosts if {"Key": STACK_TAG, "Value": "Whole"} in each["Tags"]}
    assert reached == {"instance", "volume"}


def _tags(resource: dict[str, Any]) -> list[Any]:
    tags = resource.get("Properties", {}).get("Tags", [])
    return tags if isinstance(tags, list) else []


def test_a_wrong_setting_stops_the_deployment_with_its_name_and_what_is_allowed(account: Account) -> None:
    run = account.run("deploy.sh", "--yes", "--stack-name", "Wrong", "--set", "bid_percentage=500")
    assert run.returncode == 2
    assert "bid_percentage" in run.stderr
    assert "Traceback" not in run.stderr


def test_wrong_credentials_are_named_with_the_way_out(account: Account) -> None:
    run = account.run("deploy.sh", "--yes", AWS_SECRET_ACCESS_KEY="wrong")
    assert run.returncode == 4
    assert "credentials" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_cdk_that_cannot_read_our_assembly_is_refused_also_if_it_is_the_projects_own(account: Account) -> None:
    own = account.checkout / "node_modules" / ".bin" / "cdk"
    own.parent.mkdir(parents=True)
    shutil.copy(account.folder / "bin" / "cdk", own)
    (account.checkout / "node_modules" / ".installed").touch()
    try:
        run = account.run("deploy.sh", "--yes", STANDIN_CDK_VERSION="3.0.0 (build 1)")
    finally:
        shutil.rmtree(account.checkout / "node_modules")
    assert run.returncode == 2
    assert "node_modules/.bin/cdk is version 3.0.0" in run.stderr


def test_the_cdk_is_installed_once_and_again_when_another_version_is_pinned(account: Account) -> None:
    """With an npm that records its calls; that the credentials are wrong ends each run early."""
    npm, calls = account.folder / "bin" / "npm", account.folder / "npm-calls"
    npm.write_text(
        f"#!/bin/sh\necho >> {calls}\nmkdir -p node_modules/.bin\ncp {account.folder}/bin/cdk node_modules/.bin\n"
    )
    npm.chmod(0o755)
    said = []
    try:
        for newer in (False, False, True):
            if newer:
                (account.checkout / "package.json").touch()
            run = account.run("deploy.sh", AWS_SECRET_ACCESS_KEY="wrong", STANDIN_CDK_VERSION="3.0.0", NPM=str(npm))
            said.append("installing the CDK command line" in run.stderr)
    finally:
        shutil.rmtree(account.checkout / "node_modules")
        npm.unlink()
    assert said == [True, False, True]
    assert len(calls.read_text().splitlines()) == 2


def test_cleanup_ends_the_jobs_of_every_queue_and_says_that_data_is_kept(account: Account) -> None:
    queues = account.make_stack("Two", queues=2)
    batch = account.region.client("batch")
    jobs = [account.start_job(queue, "Two", ["sleep", "600"]) for queue in queues]
    waiting = batch.submit_job(
        jobName="after", jobQueue=queues[1], jobDefinition="Two", dependsOn=[{"jobId": jobs[0]}]
    )["jobId"]
    run = account.run("cleanup.sh", "--yes", "--stack-name", "Two")
    assert run.returncode == 0, run.stderr + run.stdout
    assert "queue Two-queue-1: 2 jobs running or waiting, to be terminated" in run.stdout
    for each in batch.describe_jobs(jobs=[*jobs, waiting])["jobs"]:
        assert each["status"] == "FAILED"
    for each in batch.describe_jobs(jobs=jobs)["jobs"]:
        assert each["isTerminated"]
    assert [each["state"] for each in batch.describe_job_queues(jobQueues=queues)["jobQueues"]] == ["DISABLED"] * 2
    assert batch.describe_job_definitions(jobDefinitionName="Two", status="ACTIVE")["jobDefinitions"] == []
    assert "stack Two is deleted" in run.stdout
    assert "bucket two-bucket (kept on purpose)" in run.stdout
    assert "two-bucket" in [each["Name"] for each in account.region.client("s3").list_buckets()["Buckets"]]


def test_jobs_that_do_not_end_in_time_are_named_and_the_stack_stays(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job ignores SIGTERM and has three seconds of grace, so it outlives the limit given here."""
    [queue] = account.make_stack("Stubborn")
    ready, over = account.folder / "ready", account.folder / "over"
    script = f"trap '' TERM; touch {ready}; while [ ! -e {over} ]; do sleep 0.1; done"
    job = account.start_job(queue, "Stubborn", ["sh", "-c", script])
    until(ready.exists)
    for name, value in account.region.info.environment().items():
        monkeypatch.setenv(name, value)
    assert teardown.disable_queue(queue)
    heard: list[str] = []
    with pytest.raises(Unavailable, match=f"jobs that had not ended after 0 s: 1, {job} among them. Run this again"):
        teardown.end_jobs([queue], say=heard.append, limit_seconds=0.2)
    over.touch()
    assert heard[0].startswith("jobs that are being ended: 1")
    stacks = account.region.client("cloudformation").describe_stacks(StackName="Stubborn")["Stacks"]
    assert stacks[0]["StackStatus"] == "CREATE_COMPLETE"


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian: apt-get install shellcheck)")
    scripts = ["deploy.sh", "cleanup.sh", "scripts/setup.sh", "scripts/environment.sh"]
    scripts.append("spotbatch/infra/host/spot-notice.sh")
    run = subprocess.run(["shellcheck", *scripts], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout
