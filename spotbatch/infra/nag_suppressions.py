"""Findings of cdk-nag's AwsSolutions pack that we accept, each with a reason for the reviewer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aws_cdk import Acknowledgment, Validations
from constructs import Construct, IConstruct

from spotbatch.infra.settings import StackSettings

_PACK: Final = "AwsSolutions::AwsSolutions-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppression:
    """An accepted finding at a construct (the end of its path), and why."""

    path: str
    rule: str
    reason: str


ALWAYS: Final = (
    Suppression(
        path="Access/InstanceRole",
        rule="IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role]",
        reason="AWS Batch documents this policy for its instances and keeps it in step with the ECS agent; the "
        "slice of jobs' containers is denied the metadata service, which alone hands the role out.",
    ),
    Suppression(
        path="Access/JobRole",
        rule="IAM5[Resource::<{bucket}.Arn>/runs/*]",
        reason="Run ids are made when a job is submitted, so objects cannot be named here; the statement reaches only "
        "the prefix runs/ of this stack's bucket, with five object actions.",
    ),
    Suppression(
        path="Access/ExecutionRole",
        rule="IAM5[Resource::*]",
        reason="ecr:GetAuthorizationToken knows no resource (Service Authorization Reference); it is the statement's "
        "only action.",
    ),
)
NO_FLOW_LOG: Final = Suppression(
    path="Network/Vpc",
    rule="VPC7",
    reason="Flow logs cost by the GiB, and nothing here listens: there is no ingress anywhere. The setting flow_logs "
    "turns them on.",
)
NO_ACCESS_LOGS: Final = Suppression(
    path="Artifacts/Bucket",
    rule="S1",
    reason="The bucket is private and one role writes to it. The setting access_logs turns server access logs on.",
)
LOG_BUCKET: Final = Suppression(
    path="Artifacts/AccessLogs",
    rule="S1",
    reason="It is the bucket that holds the access logs; a log of its own would grow without end.",
)
_HERE: Final = "<AWS::Region>:<AWS::AccountId>:*"
DEDICATED_ROLE: Final = tuple(
    Suppression(path="Access/BatchServiceRole", rule=f"IAM5[Resource::{resource}]", reason=reason)
    for resource, reason in (
        ("*", "Describe and List actions that know no resource; they only look, and only in this region."),
        (f"arn:<AWS::Partition>:autoscaling:{_HERE}", "AWS Batch names its groups itself, after the template is made."),
        (f"arn:<AWS::Partition>:ec2:{_HERE}", "Instances and templates get their ids when AWS Batch launches them."),
        (
            "arn:<AWS::Partition>:ec2:<AWS::Region>::image/*",
            "AWS publishes new images for ECS; AWS Batch picks the newest.",
        ),
        (
            "arn:<AWS::Partition>:ec2:<AWS::Region>::snapshot/*",
            "The disks of AWS's images are made from snapshots, whose ids change with each image.",
        ),
        (
            f"arn:<AWS::Partition>:ecs:{_HERE}",
            "AWS Batch names its cluster and tasks itself, after the template is made.",
        ),
    )
)


LOOKING: Final = tuple(
    Suppression(path="Watching/Looking/Role", rule=f"IAM5[Resource::{resource}]", reason=reason)
    for resource, reason in (
        ("*", "batch:ListJobs, DescribeJobs and DescribeComputeEnvironments know no resource; they only look."),
        (
            "arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:cluster/AWSBatch-*",
            "AWS Batch makes the cluster and names it itself, always so, after the template is made.",
        ),
        (
            "arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:container-instance/AWSBatch-*",
            "Hosts get their ids when they join that cluster; the one action only looks.",
        ),
    )
)


FAULT_INJECTION: Final = tuple(
    Suppression(path="FaultInjection/Role", rule=f"IAM5[Resource::{resource}]", reason=reason)
    for resource, reason in (
        ("*", "ec2:DescribeInstances and tag:GetResources know no resource; they only look."),
        (
            "arn:<AWS::Partition>:ec2:<AWS::Region>:<AWS::AccountId>:instance/*",
            "Hosts get their ids when they are launched; the condition keeps to those with this stack's tag.",
        ),
    )
)


CONTROLLING: Final = (
    *(
        Suppression(path="Controller/Role", rule=f"IAM5[Resource::{resource}]", reason=reason)
        for resource, reason in (
            ("*", "batch:ListJobs and DescribeJobs know no resource; they only look."),
            (
                "arn:<AWS::Partition>:batch:<AWS::Region>:<AWS::AccountId>:job-definition/*",
                "A run keeps the job definition that it was submitted with, which may be a user's own.",
            ),
            (
                "arn:<AWS::Partition>:batch:<AWS::Region>:<AWS::AccountId>:job/*",
                "Jobs get their ids when they are submitted, so they cannot be named here.",
            ),
            (
                "<{bucket}.Arn>/runs/*",
                "Run ids are made when a job is submitted; it reaches only the prefix runs/ of this stack's bucket.",
            ),
        )
    ),
    Suppression(
        path="Controller/DeadLetters",
        rule="SQS3",
        reason="It is the dead-letter queue of the function, which cdk-nag sees for queues only.",
    ),
)


def suppressions(settings: StackSettings) -> Iterator[Suppression]:
    """The suppressions that apply to a stack with these settings."""
    yield from ALWAYS
    yield LOG_BUCKET if settings.access_logs else NO_ACCESS_LOGS
    if not settings.flow_logs:
        yield NO_FLOW_LOG
    if settings.monitoring:
        yield from LOOKING
    if settings.fault_injection:
        yield from FAULT_INJECTION
    if settings.controller:
        yield from CONTROLLING
    if settings.service_role == "dedicated":
        yield from DEDICATED_ROLE


def acknowledge(stack: Construct, settings: StackSettings, *, bucket_id: str) -> None:
    """Attach the suppressions to the constructs, where cdk-nag and its report find them. `bucket_id`: logical id."""
    for each in suppressions(settings):
        rule = _PACK + each.rule.replace("{bucket}", bucket_id)
        Validations.of(_at(stack, each.path)).acknowledge(Acknowledgment(id=rule, reason=each.reason))


def _at(stack: Construct, path: str) -> IConstruct:
    found: IConstruct = stack
    for name in path.split("/"):
        found = found.node.find_child(name)
    return found
