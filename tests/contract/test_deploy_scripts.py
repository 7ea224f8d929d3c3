"""deploy.sh and cleanup.sh themselves, against a region on this machine, with a `cdk` on PATH that records its calls.

CloudFormation and the rest are moto's, AWS Batch is our own, jobs are real. What only AWS can show (a deployment of the
whole template) stands in docs/verified.md.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until

ROOT = Path(__file__).resolve().parent.parent.parent
STACK = "Small"
LIMIT_SECONDS = 180

# A cdk that records its arguments, and whose `deploy` makes the small stack in moto's CloudFormation.
FAKE_CDK = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print(os.environ.get("FAKE_CDK_VERSION", "2.1148.1 (build 0)"))
    sys.exit()
with open(os.environ["FAKE_CDK_LOG"], "a") as log:
    templates = sorted(each.name for each in Path("cdk.out").glob("*.template.json"))
    log.write(json.dumps({"arguments": sys.argv[1:], "templates": templates}) + chr(10))
sys.exit(int(os.environ.get("FAKE_CDK_EXIT", "0")))
"""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A region that stands for an AWS account, a checkout to run the scripts in, and the recording cdk."""

    region: RunningRegion
    checkout: Path
    log: Path

    def run(self, script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
        return subprocess.run(
            [f"./{script}", *arguments],
            cwd=self.checkout,
            env={
                **clean,
                **self.region.info.environment(),
                "PATH": f"{self.checkout / 'bin'}:{os.environ['PATH']}",
                "FAKE_CDK_LOG": str(self.log),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )

    def cdk_calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def make_stack(self, *, retain: bool) -> dict[str, str]:
        """The small stack: a bucket, a repository, and outputs that name a real queue of the region."""
        batch = self.region.client("batch")
        batch.create_compute_environment(
            computeEnvironmentName="ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        batch.create_job_queue(
            jobQueueName="queue", priority=1, computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "ce"}]
        )
        batch.register_job_definition(jobDefinitionName="definition", type="container", containerProperties=CONTAINER)
        policy = {"DeletionPolicy": "Retain"} if retain else {}
        outputs = {"JobQueueName": "queue", "JobDefinitionName": "definition", "ArtifactsBucketName": "small-bucket"}
        body = {
            "Resources": {
                "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "small-bucket"}, **policy},
                "Images": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "small-images"}, **policy},
            },
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        self.region.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(body))
        return outputs


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("app.py", "cdk.json", "package.json", "deploy.sh", "cleanup.sh", "requirements.txt"):
        shutil.copy(ROOT / name, checkout / name)
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    (checkout / "spotbatch").symlink_to(ROOT / "spotbatch")
    _borrow_environment(checkout)
    cdk = checkout / "bin" / "cdk"
    cdk.parent.mkdir()
    cdk.write_text(FAKE_CDK)
    cdk.chmod(0o755)
    with running(tmp_path / "region", "--boot-seconds", "0.1") as region:
        yield Account(region=region, checkout=checkout, log=tmp_path / "cdk.log")


def _borrow_environment(checkout: Path) -> None:
    """The scripts look for .venv beside them: give them this run's Python, marked as installed."""
    import sys

    folder = checkout / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python").chmod(0o755)
    (checkout / ".venv" / ".installed").touch()


# ---- deploy.sh ----


@pytest.mark.parametrize("script", ["deploy.sh", "cleanup.sh"])
def test_help_works_before_anything_is_installed(script: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / script, tmp_path / script)
    run = subprocess.run([f"./{script}", "-h"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30)
    assert "Usage:" in run.stdout
    assert "--dry-run" in run.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / script]


def test_a_dry_run_shows_account_cost_and_plan_and_changes_nothing(account: Account) -> None:
    run = account.run("deploy.sh", "--dry-run")
    assert run.returncode == 0, run.stderr
    assert f"account {account.region.info.account_id}, region us-east-1" in run.stdout
    assert "USD a month" in run.stdout
    assert "NAT gateway" in run.stdout
    assert "bootstrap the CDK" in run.stdout
    assert account.cdk_calls() == []


def test_deploy_synthesizes_once_for_all_zones_bootstraps_and_deploys_from_the_assembly(account: Account) -> None:
    account.make_stack(retain=False)
    run = account.run("deploy.sh", "--yes", "--stack-name", STACK, "--set", "max_vcpus=32")
    assert run.returncode == 0, run.stderr + run.stdout
    calls = account.cdk_calls()
    assert [call["arguments"][0] for call in calls] == ["bootstrap", "deploy"]
    assert calls[1]["arguments"] == ["deploy", STACK, "--app", "cdk.out", "--require-approval", "never"]
    assert all(call["templates"] == [f"{STACK}.template.json"] for call in calls)
    template = json.loads((account.checkout / "cdk.out" / f"{STACK}.template.json").read_text())
    kinds = [resource["Type"] for resource in template["Resources"].values()]
    assert kinds.count("AWS::EC2::Subnet") == 2 * len(
        account.region.client("ec2").describe_availability_zones()["AvailabilityZones"]
    )
    (environment,) = [r for r in template["Resources"].values() if r["Type"] == "AWS::Batch::ComputeEnvironment"]
    assert environment["Properties"]["ComputeResources"]["MaxvCpus"] == 32
    assert "JobQueueName" in run.stdout
    assert run.stdout.index("next:") < run.stdout.index("spotbatch image push")


def test_an_account_that_is_bootstrapped_already_is_not_bootstrapped_again(account: Account) -> None:
    account.make_stack(retain=False)
    ssm = account.region.client("ssm")
    ssm.put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    run = account.run("deploy.sh", "--yes", "--stack-name", STACK)
    assert run.returncode == 0, run.stderr
    assert [call["arguments"][0] for call in account.cdk_calls()] == ["deploy"]


def test_deploy_asks_and_says_so_where_nobody_can_answer(account: Account) -> None:
    run = account.run("deploy.sh")
    assert run.returncode == 2
    assert "--yes" in run.stderr
    assert account.cdk_calls() == []


def test_missing_service_linked_roles_are_made(account: Account) -> None:
    account.make_stack(retain=False)
    run = account.run("deploy.sh", "--yes", "--stack-name", STACK)
    assert run.returncode == 0, run.stderr
    assert "created AWSServiceRoleForBatch" in run.stdout
    assert "created AWSServiceRoleForEC2Spot" in run.stdout
    roles = account.region.client("iam").list_roles(PathPrefix="/aws-service-role/")["Roles"]
    services = {role["Path"].split("/")[2] for role in roles}  # moto names the roles in its own way
    assert {"batch.amazonaws.com", "spot.amazonaws.com"} <= services


def test_a_wrong_setting_stops_the_deployment_with_its_name_and_what_is_allowed(account: Account) -> None:
    run = account.run("deploy.sh", "--yes", "--set", "bid_percentage=500")
    assert run.returncode == 2
    assert "bid_percentage" in run.stderr
    assert "Traceback" not in run.stderr
    assert account.cdk_calls() == []


def test_wrong_credentials_are_named_with_the_way_out(account: Account) -> None:
    run = account.run("deploy.sh", "--yes", AWS_SECRET_ACCESS_KEY="wrong")
    assert run.returncode == 4
    assert "credentials" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_cdk_that_cannot_read_our_assembly_is_refused(account: Account) -> None:
    if (ROOT / "node_modules").exists():
        assert not (account.checkout / "node_modules").exists()
    (account.checkout / "node_modules" / ".bin").mkdir(parents=True)
    shutil.copy(account.checkout / "bin" / "cdk", account.checkout / "node_modules" / ".bin" / "cdk")
    run = account.run("deploy.sh", "--yes", FAKE_CDK_VERSION="3.0.0 (build 1)")
    assert run.returncode == 2
    assert "3.0.0" in run.stderr
    assert "npm install" in run.stderr


def test_a_failing_cdk_is_passed_on(account: Account) -> None:
    run = account.run("deploy.sh", "--yes", FAKE_CDK_EXIT="1")
    assert run.returncode == 4
    assert "cdk bootstrap" in run.stdout
    assert "exit code 1" in run.stderr


# ---- cleanup.sh ----


def test_cleanup_ends_the_jobs_and_deletes_the_stack_and_says_that_data_is_kept(account: Account) -> None:
    account.make_stack(retain=True)
    batch = account.region.client("batch")
    job = batch.submit_job(
        jobName="long", jobQueue="queue", jobDefinition="definition", containerOverrides={"command": ["sleep", "600"]}
    )["jobId"]
    until(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "RUNNING")
    run = account.run("cleanup.sh", "--yes", "--stack-name", STACK)
    assert run.returncode == 0, run.stderr + run.stdout
    described = batch.describe_jobs(jobs=[job])["jobs"][0]
    assert (described["status"], described["isTerminated"]) == ("FAILED", True)
    assert batch.describe_job_queues(jobQueues=["queue"])["jobQueues"][0]["state"] == "DISABLED"
    assert f"stack {STACK} is deleted" in run.stdout
    assert "small-bucket (AWS::S3::Bucket): kept" in run.stdout


def test_cleanup_everything_empties_and_deletes_every_version_and_image(account: Account) -> None:
    account.make_stack(retain=True)
    s3 = account.region.client("s3")
    s3.put_bucket_versioning(Bucket="small-bucket", VersioningConfiguration={"Status": "Enabled"})
    for content in (b"old", b"new"):
        s3.put_object(Bucket="small-bucket", Key="runs/a", Body=content)
    s3.delete_object(Bucket="small-bucket", Key="runs/a")
    run = account.run("cleanup.sh", "--yes", "--everything", "--stack-name", STACK)
    assert run.returncode == 0, run.stderr + run.stdout
    assert "small-bucket" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    repositories = account.region.client("ecr").describe_repositories()["repositories"]
    assert [each["repositoryName"] for each in repositories if each["repositoryName"] == "small-images"] == []
    assert "nothing is left" in run.stdout


def test_cleanup_twice_is_no_error(account: Account) -> None:
    account.make_stack(retain=False)
    assert account.run("cleanup.sh", "--yes", "--stack-name", STACK).returncode == 0
    again = account.run("cleanup.sh", "--yes", "--stack-name", STACK)
    assert again.returncode == 0, again.stderr
    assert f"there is no stack {STACK} here" in again.stdout


def test_a_dry_cleanup_changes_nothing(account: Account) -> None:
    account.make_stack(retain=False)
    run = account.run("cleanup.sh", "--dry-run", "--stack-name", STACK)
    assert run.returncode == 0, run.stderr
    assert "dry run: nothing was changed" in run.stdout
    batch = account.region.client("batch")
    assert batch.describe_job_queues(jobQueues=["queue"])["jobQueues"][0]["state"] == "ENABLED"
    stacks = account.region.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    assert stacks[0]["StackStatus"] == "CREATE_COMPLETE"


def test_cleanup_asks_and_says_so_where_nobody_can_answer(account: Account) -> None:
    account.make_stack(retain=False)
    run = account.run("cleanup.sh", "--stack-name", STACK)
    assert run.returncode == 2
    assert "--yes" in run.stderr


# ---- the scripts' own text ----


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian: apt-get install shellcheck)")
    scripts = ["deploy.sh", "cleanup.sh", "scripts/setup.sh", "spotbatch/infra/host/spot-notice.sh"]
    run = subprocess.run(["shellcheck", *scripts], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout
