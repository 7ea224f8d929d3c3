"""An AWS account on this machine for tests of deploying and removing: moto's server, a checkout, a recording `cdk`.

The commands run in this process, as the scripts run them; app.py is a stand-in that writes a small template, so that a
test takes no longer than what it is about. The scripts with the real app.py are in test_deploy_scripts.py.
"""

import http.server
import json
import os
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import boto3
from moto.backends import get_backend
from moto.cloudformation.parsing import ResourceMap
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from spotbatch.batch.environment import STACK_TAG
from tests.contract.cli_world import Said, run

STACK: Final = "Small"
ACCOUNT_ID: Final = "123456789012"
BOOTSTRAP_PARAMETER: Final = "/cdk-bootstrap/hnb659fds/version"

# Writes the template that it is given, and counts how often it is run. STOP_AT is for test_scripts_interrupted.py.
APP: Final = """
import json, os, shutil, sys
from pathlib import Path
sys.path.insert(0, os.environ["STANDINS"])
from standin import log, stop_at
log("app", settings=json.loads(os.environ["CDK_CONTEXT_JSON"]).get("spotbatch"))
stack = json.loads(os.environ["CDK_CONTEXT_JSON"])["stack_name"]
stop_at("synthesis")
Path(os.environ["CDK_OUTDIR"]).mkdir()
shutil.copy(os.environ["STANDIN_TEMPLATE"], Path(os.environ["CDK_OUTDIR"], f"{stack}.template.json"))
"""

# A cdk that records its arguments and what it would use to sign; with STANDIN_MAKES its `deploy` makes a stack.
CDK: Final = """#!{python}
import json, os, sys
from pathlib import Path
sys.path.insert(0, {standins!r})
from standin import log, stop_at
if sys.argv[1:] == ["--version"]:
    print(os.environ.get("STANDIN_CDK_VERSION", "2.1148.1 (build 0)"))
    sys.exit()
templates = sorted(each.name for each in Path("cdk.out").glob("*.template.json"))
seen = {{name: os.environ.get(name) for name in ("AWS_PROFILE", "AWS_REGION", "AWS_ACCESS_KEY_ID")}}
log("cdk", arguments=sys.argv[1:], templates=templates, environment=seen)
if sys.argv[1] == "bootstrap":
    stop_at("bootstrap")
if sys.argv[1] == "deploy" and "STANDIN_MAKES" in os.environ:
    import boto3
    client = boto3.client("cloudformation")
    body = Path(os.environ["STANDIN_MAKES"]).read_text()
    names = [each["StackName"] for each in client.describe_stacks()["Stacks"]]
    if os.environ.get("STOP_AT") == "change set":
        client.create_change_set(StackName=sys.argv[2], ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=body)
        stop_at("change set")
    if sys.argv[2] not in names:
        client.create_stack(StackName=sys.argv[2], TemplateBody=body)
    stop_at("deployment")
sys.exit(int(os.environ.get("STANDIN_CDK_EXIT", "0")))
"""

STANDIN: Final = """
import json, os, signal
from pathlib import Path
def log(who, **what):
    with open(os.environ["STANDIN_LOG"], "a") as file:
        file.write(json.dumps({"who": who, **what}) + chr(10))
def stop_at(place):
    if os.environ.get("STOP_AT") == place:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as a program ends that is not Python
        Path(os.environ["STOP_AT_FILE"]).touch()
        signal.pause()
"""


def compute(kind: str, maximum: int, *types: str, minimum: int = 0) -> dict[str, Any]:
    """A compute environment as a template has it."""
    resources = {"Type": kind, "MinvCpus": minimum, "MaxvCpus": maximum, "InstanceTypes": list(types)}
    return {"Type": "AWS::Batch::ComputeEnvironment", "Properties": {"ComputeResources": resources}}


TEMPLATE: Final[Mapping[str, Any]] = {
    "Resources": {
        "Gateway": {"Type": "AWS::EC2::NatGateway", "Properties": {}},
        "Spot": compute("SPOT", 256, "c5.large", "m5.large"),
    }
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account, and what is run in it. Everything in it is gone before each test."""

    endpoint: str
    folder: Path
    region: str = "us-east-1"
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    def environment(self) -> dict[str, str]:
        """What a user's shell would have."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            **({"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region} if self.region else {}),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "STANDINS": str(self.folder / "standins"),
            "STANDIN_LOG": str(self.folder / "log"),
            "STANDIN_TEMPLATE": str(self.folder / "template.json"),
            "STANDIN_MAKES": str(self.folder / "stack.json"),
            **self.environ,
        }

    def client(self, service: str, region: str | None = None) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service, by its name
            endpoint_url=self.endpoint,
            region_name=region or self.region,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )

    def run(self, *arguments: str, code: int | None = 0, **environ: str) -> Said:
        """A command; fails the test if it ends with another code (None: any)."""
        said = run(*arguments, environ={**self.environment(), **environ})
        assert code is None or said.code == code, f"{arguments} ended with {said.code}: {said.out}{said.err}"
        assert "Traceback" not in said.err
        return said

    def calls(self, who: str) -> list[dict[str, Any]]:
        """What the stand-ins were called with: `cdk` or `app`."""
        log = self.folder / "log"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [each for each in lines if each["who"] == who]

    def verbs(self) -> list[str]:
        return [call["arguments"][0] for call in self.calls("cdk")]

    def will_synthesize(self, template: Mapping[str, Any]) -> None:
        (self.folder / "template.json").write_text(json.dumps(template))

    def has_program(self, name: str, text: str) -> None:
        """Put a program on PATH before those of this machine."""
        program = self.folder / "bin" / name
        program.write_text(text)
        program.chmod(0o755)

    def is_bootstrapped(self, version: int = 30) -> None:
        self.client("ssm").put_parameter(Name=BOOTSTRAP_PARAMETER, Value=str(version), Type="String")

    def push(self, repository: str, tag: str) -> str:
        """Put an image into a repository as Docker would; its digest."""
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        image = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": {}, "layers": []})
        put = self.client("ecr").put_image(repositoryName=repository, imageManifest=image, imageTag=tag)
        digest: str = put["image"]["imageId"]["imageDigest"]
        return digest

    def stack(self, name: str = STACK, **settings: Any) -> "Small":
        """Make a stack such as a deployment leaves it."""
        body = small_stack(name, **settings)
        self.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(body))
        return Small(account=self, name=name)

    def has_status(self, status: str, name: str = STACK) -> Any:
        """Bring a stack into a state that moto does not come to by itself; moto's own stack."""
        backend: Any = get_backend("cloudformation")[ACCOUNT_ID][self.region]
        stack = next(each for each in backend.stacks.values() if each.name == name)
        stack.status = status
        return stack


@dataclass(frozen=True, kw_only=True)
class Small:
    """A stack with a bucket and a repository, and what is in them."""

    account: Account
    name: str

    @property
    def bucket(self) -> str:
        return f"{self.name.lower()}-bucket"

    @property
    def images(self) -> str:
        return f"{self.name.lower()}-images"

    def fill(self) -> None:
        """Two versions of an object and a delete marker; one image."""
        s3 = self.account.client("s3")
        s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        for content in (b"old", b"new"):
            s3.put_object(Bucket=self.bucket, Key="runs/a", Body=content)
        s3.delete_object(Bucket=self.bucket, Key="runs/a")
        s3.put_object(Bucket=self.bucket, Key="runs/b", Body=b"kept")
        self.account.push(self.images, "v1")

    def has_bucket(self) -> bool:
        return self.bucket in [each["Name"] for each in self.account.client("s3").list_buckets()["Buckets"]]

    def has_images(self) -> bool:
        found = self.account.client("ecr").describe_repositories()["repositories"]
        return self.images in [each["repositoryName"] for each in found]

    def exists(self) -> bool:
        stacks = self.account.client("cloudformation").describe_stacks()["Stacks"]
        return self.name in [each["StackName"] for each in stacks]


def small_stack(name: str = STACK, *, retain: bool = True, resources: Mapping[str, Any] | None = None) -> Any:
    """A template that moto's CloudFormation can carry out, tagged as app.py tags; Batch is made beside it."""
    policy = {"DeletionPolicy": "Retain"} if retain else {}
    tags = [{"Key": STACK_TAG, "Value": name}]
    bucket, images = f"{name.lower()}-bucket", f"{name.lower()}-images"
    outputs = {
        "JobQueueName": "queue",
        "JobDefinitionName": "definition",
        "ArtifactsBucketName": bucket,
        "ECRRepositoryURI": f"{ACCOUNT_ID}.dkr.ecr.us-east-1.amazonaws.com/{images}",
    }
    data = {
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket, "Tags": tags}},
        "Images": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": images, "Tags": tags}},
    }
    log = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": f"/{name}", "Tags": tags}}
    return {
        "Resources": {**{key: {**each, **policy} for key, each in data.items()}, "Log": log, **(resources or {})},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }


def batch_beside(account: Account, *queues: str) -> Any:
    """Queues and a definition as moto has them. UNMANAGED, since moto wants real subnets for others."""
    account.client("iam").create_role(RoleName="service", AssumeRolePolicyDocument="{}")
    batch = account.client("batch")
    role = f"arn:aws:iam::{ACCOUNT_ID}:role/service"
    batch.create_compute_environment(computeEnvironmentName="environment", type="UNMANAGED", serviceRole=role)
    for queue in queues:
        order = [{"order": 1, "computeEnvironment": "environment"}]
        batch.create_job_queue(jobQueueName=queue, state="ENABLED", priority=1, computeEnvironmentOrder=order)
    return batch


@contextmanager
def answering(answer: Callable[[bytes], tuple[int, bytes]]) -> Iterator[str]:
    """An endpoint of one service that gives status and body as a function of the request's body; its address."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}"
        finally:
            serving.shutdown()
            thread.join()


@contextmanager
def account_server() -> Iterator[str]:
    """moto's server on a free port of loopback; its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with patch.object(ResourceMap, "delete", _deleting(ResourceMap.delete)):
            yield f"http://{host}:{port}"
    finally:
        server.stop()


def _deleting(delete: Callable[[Any], None]) -> Callable[[Any], None]:
    """moto makes the resources of a deleted stack anew when somebody lists them: let it remember the kept ones only."""

    def delete_and_forget(resources: Any) -> None:
        delete(resources)
        for name, each in list(resources._resource_json_map.items()):
            if each.get("DeletionPolicy") != "Retain":
                del resources._resource_json_map[name]

    return delete_and_forget


def account(endpoint: str, folder: Path) -> Account:
    """An empty account, and a checkout to run commands in."""
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()  # noqa: S310
    made = Account(endpoint=endpoint, folder=folder)
    for each in ("bin", "standins", "checkout"):
        (folder / each).mkdir()
    (folder / "standins" / "standin.py").write_text(STANDIN)
    (made.checkout / "app.py").write_text(APP)
    (made.checkout / "cdk.json").write_text(json.dumps({"app": "python3 app.py", "context": {"spotbatch": {}}}))
    made.has_program("cdk", CDK.format(python=sys.executable, standins=str(folder / "standins")))
    made.has_program("docker", "#!/bin/sh\n")  # answers, so that nothing hangs on whether this machine's engine runs
    (folder / "stack.json").write_text(json.dumps(small_stack()))
    made.will_synthesize(TEMPLATE)
    return made
