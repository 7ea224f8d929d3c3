"""What the product does as one of the stack's roles, recorded while it runs, is allowed; what it must not do is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest

from app import CostOptimizedBatchProcessingStack
from spotbatch.infra import StackSettings
from spotbatch.infra.look import look
from tests.contract.fault_proxy import Faults
from tests.contract.infra.policy import ACCOUNT, REGION, Policies
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, running, until
from tests.contract.runtime_world import BUCKET, moto_s3, s3_environment, spot

from aws_cdk import App  # isort: skip  # after infra, which chooses its Node
from aws_cdk.assertions import Template  # isort: skip

BUCKET_ARN: Final = f"arn:aws:s3:::{BUCKET}"
GROUP_ARN: Final = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:look:*"
NAMES: Final = {
    "ArtifactsBucket": BUCKET_ARN,
    "ArtifactsKey": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/ours",
    "ImagesRepository": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/ours",
    "WatchingLookingLog": GROUP_ARN,
    "MonitoringJobLogs": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:jobs:*",
}
JOB, LOOK, EXECUTION = "AccessJobRole", "WatchingLookingRole", "AccessExecutionRole"


@pytest.fixture(scope="module")
def policies() -> Policies:
    settings = StackSettings.read({"container_insights": True, "kms_key": True})
    made = Template.from_stack(CostOptimizedBatchProcessingStack(App(), "TestStack", settings=settings)).to_json()
    return Policies(made, NAMES)


def s3_action(method: str, path: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A request to S3 as IAM sees it: action, resource, condition keys (S3 user guide, "Required permissions")."""
    url = urlsplit(path)
    asked = parse_qs(url.query, keep_blank_values=True)
    key = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/")
    target = f"{BUCKET_ARN}/{key}"
    if method == "GET" and not key:
        yield "s3:ListBucket", BUCKET_ARN, {"s3__prefix": asked.get("prefix", [""])[0]}
    elif method in ("GET", "HEAD"):
        yield "s3:GetObject", target, {}
    elif method == "PUT" or (method == "POST" and {"uploads", "uploadId"} & set(asked)):
        yield "s3:PutObject", target, {}
    elif method == "DELETE":
        yield ("s3:AbortMultipartUpload" if "uploadId" in asked else "s3:DeleteObject"), target, {}
    else:
        assert (method, "delete" in asked) == ("POST", True), (method, path)
        yield "s3:DeleteObject", f"{BUCKET_ARN}/runs/any", {}  # its keys stand in the body


def test_all_that_the_runtime_asks_of_s3_is_allowed_to_the_job_role(policies: Policies, tmp_path: Path) -> None:
    writes = (
        'i=0; while [ $i -lt 12 ]; do i=$((i+1)); head -c 300000 /dev/urandom > "$SPOTBATCH_CHECKPOINT_DIR/n.tmp"; '
        'mv "$SPOTBATCH_CHECKPOINT_DIR/n.tmp" "$SPOTBATCH_CHECKPOINT_DIR/n"; sleep 0.1; done; '
        'head -c 20000000 /dev/zero > "$SPOTBATCH_OUTPUT_DIR/large"; echo 1 > "$SPOTBATCH_OUTPUT_DIR/small"'
    )
    with moto_s3() as endpoint, Faults(endpoint) as recorded:
        with spot(tmp_path, f"s3://{BUCKET}", **s3_environment(recorded.url)) as world:
            first = world.start("sh", "-c", "echo ready; " + writes)
            first.wait_for_text("ready")
            first.kill()
            for _ in range(2):  # one that restores, and one that finds its outputs there
                code, text = world.run("sh", "-c", writes)
                assert code == 0, text
        calls = {call for each in recorded.requests for call in map(_hashable, s3_action(each.method, each.path))}
    assert {"s3:GetObject", "s3:PutObject", "s3:ListBucket"} <= {action for action, _, _ in calls}
    denied = [call for call in sorted(calls) if not policies.allows(JOB, call[0], call[1], **dict(call[2]))]
    assert denied == []


def _hashable(call: tuple[str, str, dict[str, str]]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return call[0], call[1], tuple(call[2].items())


def test_all_that_the_function_looks_at_is_allowed_to_its_role(policies: Policies, tmp_path: Path) -> None:
    calls: list[tuple[str, str]] = []

    def record(model: Any, params: Any, **_: Any) -> None:
        calls.append((f"{model.service_model.signing_name}:{model.name}", str(params.get("url_path", ""))))

    with running(tmp_path / "home", "--boot-seconds", "0.05") as region:
        batch, ecs = region.client("batch"), region.client("ecs")
        batch.create_compute_environment(
            computeEnvironmentName="spot", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": "spot"}]
        batch.create_job_queue(jobQueueName="queue", priority=1, computeEnvironmentOrder=order)
        container = {**CONTAINER, "command": ["sleep", "60"]}
        batch.register_job_definition(jobDefinitionName="long", type="container", containerProperties=container)
        batch.submit_job(jobName="wide", jobQueue="queue", jobDefinition="long", arrayProperties={"size": 3})
        for client in (batch, ecs):
            client.meta.events.register("before-call", record)
        until(lambda: look.look(batch, ecs, ["queue"], ["spot"])["DepthRunning"] == 3)
    asked = {action for action, _ in calls}
    assert {"batch:ListJobs", "batch:DescribeJobs", "batch:DescribeComputeEnvironments"} <= asked
    ours = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
    on = {
        "ecs:ListContainerInstances": f"{ours}:cluster/AWSBatch-x",
        "ecs:DescribeContainerInstances": f"{ours}:container-instance/AWSBatch-x/1",
    }
    assert [each for each in sorted(asked) if not policies.allows(LOOK, each, on.get(each, "*"))] == []


NEVER: Final = [
    (JOB, "s3:GetObject", f"{BUCKET_ARN}/secrets/x"),
    (JOB, "s3:GetObject", "arn:aws:s3:::another/runs/x"),
    (JOB, "s3:DeleteObjectVersion", f"{BUCKET_ARN}/runs/x"),
    (JOB, "s3:PutBucketPolicy", BUCKET_ARN),
    (JOB, "s3:ListBucket", BUCKET_ARN),
    (JOB, "s3:ListAllMyBuckets", "*"),
    (JOB, "batch:SubmitJob", "*"),
    (JOB, "ec2:RunInstances", "*"),
    (JOB, "iam:PassRole", "*"),
    (JOB, "sts:AssumeRole", "*"),
    (JOB, "secretsmanager:GetSecretValue", "*"),
    (JOB, "kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/another"),
    (LOOK, "batch:TerminateJob", "*"),
    (LOOK, "batch:SubmitJob", "*"),
    (LOOK, "ecs:UpdateClusterSettings", f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/production"),
    (LOOK, "ecs:RunTask", "*"),
    (LOOK, "logs:PutLogEvents", "arn:aws:logs:us-east-1:123456789012:log-group:jobs:*"),
    (LOOK, "s3:GetObject", f"{BUCKET_ARN}/runs/x"),
    (EXECUTION, "ecr:PutImage", NAMES["ImagesRepository"]),
    (EXECUTION, "ecr:BatchGetImage", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/another"),
    (EXECUTION, "s3:GetObject", f"{BUCKET_ARN}/runs/x"),
    (EXECUTION, "secretsmanager:GetSecretValue", "*"),
    (EXECUTION, "logs:DeleteLogGroup", NAMES["MonitoringJobLogs"]),
]


@pytest.mark.parametrize(("role", "action", "resource"), NEVER)
def test_what_a_role_must_not_do_is_denied(policies: Policies, role: str, action: str, resource: str) -> None:
    assert not policies.allows(role, action, resource)


def test_a_listing_outside_of_the_runs_is_denied_and_the_evaluator_can_say_yes(policies: Policies) -> None:
    assert not policies.allows(JOB, "s3:ListBucket", BUCKET_ARN, s3__prefix="secrets/")
    assert policies.allows(JOB, "s3:ListBucket", BUCKET_ARN, s3__prefix="runs/work/")
    assert policies.allows(JOB, "s3:GetObject", f"{BUCKET_ARN}/runs/work/x")
    assert policies.allows(EXECUTION, "ecr:BatchGetImage", NAMES["ImagesRepository"])


def test_boto3_is_what_is_recorded() -> None:
    """The names that IAM knows are botocore's own, but for the service's prefix."""
    assert boto3.client("batch", region_name=REGION).meta.service_model.signing_name == "batch"
