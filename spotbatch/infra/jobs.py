"""The job definition: the stack's image, the rulebook's retry strategy, logs, and the notice file (read-only)."""

from aws_cdk import Aws, Fn, Stack
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL, SPOTBATCH_NOTICE_FILE
from spotbatch.batch.retry import EvaluateOnExit, RetryStrategy, spot_safe
from spotbatch.infra.host_data import NOTICE_FILE, NOTICE_FOLDER
from spotbatch.infra.settings import StackSettings

_VOLUME = "notice"
_LOG_BUFFER = "25m"  # AWS's recommendation; the driver's default is 1m, which a chatty program fills within a second


class Jobs(Construct):
    """`definition`, `definition_arn` and `definition_name`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StackSettings,
        repository: ecr.IRepository,
        bucket: s3.IBucket,
        log_group: logs.ILogGroup,
        job_role: iam.IRole,
        execution_role: iam.IRole,
    ) -> None:
        super().__init__(scope, construct_id)
        cfn = batch.CfnJobDefinition
        container = cfn.ContainerPropertiesProperty(
            image=f"{repository.repository_uri}:{settings.image_tag}",
            command=[],  # the image's default; a job provides its command, and the image's entry point is `spotrun --`
            job_role_arn=job_role.role_arn,
            execution_role_arn=execution_role.role_arn,
            resource_requirements=[
                cfn.ResourceRequirementProperty(type=kind, value=str(amount))
                for kind, amount in (
                    ("VCPU", settings.job_vcpus),
                    ("MEMORY", settings.job_memory_mib),
                    ("GPU", settings.job_gpus),
                )
                if amount
            ],
            secrets=[
                cfn.SecretProperty(name=name, value_from=arn) for name, arn in sorted(settings.job_secrets.items())
            ]
            or None,
            environment=[
                cfn.EnvironmentProperty(name="AWS_REGION", value=Aws.REGION),  # older ECS agents do not provide one
                cfn.EnvironmentProperty(name="AWS_DEFAULT_REGION", value=Aws.REGION),  # read by boto3
                cfn.EnvironmentProperty(name=SPOTBATCH_ARTIFACTS_URL, value=f"s3://{bucket.bucket_name}"),
                cfn.EnvironmentProperty(name=SPOTBATCH_NOTICE_FILE, value=NOTICE_FILE),
            ],
            volumes=[
                cfn.VolumesProperty(name=_VOLUME, host=cfn.VolumesHostProperty(source_path=NOTICE_FOLDER)),
            ],
            mount_points=[
                cfn.MountPointsProperty(source_volume=_VOLUME, container_path=NOTICE_FOLDER, read_only=True),
            ],
            log_configuration=cfn.LogConfigurationProperty(
                log_driver="awslogs",
                options={
                    "awslogs-group": log_group.log_group_name,
                    "awslogs-region": Stack.of(self).region,
                    "awslogs-stream-prefix": "job",
                    **_log_mode(settings),
                },
            ),
        )
        self.definition = cfn(
            self,
            "Definition",
            type="container",
            platform_capabilities=["EC2"],
            propagate_tags=True,
            # CloudFormation would deregister the old revision, and with it whatever is yet to be submitted with it.
            resource_retention_policy=cfn.ResourceRetentionPolicyProperty(skip_deregister_on_update=True),
            container_properties=container,
            retry_strategy=rendered(spot_safe(settings.job_attempts)),
            timeout=cfn.TimeoutProperty(attempt_duration_seconds=settings.job_timeout_seconds),
        )
        self.definition_arn = self.definition.ref  # including its revision
        self.definition_name = Fn.select(0, Fn.split(":", Fn.select(1, Fn.split("/", self.definition_arn))))


def _log_mode(settings: StackSettings) -> dict[str, str]:
    """Always set: AWS's default has changed, and an account can set its own (ECS developer guide,
    "awslogs log driver")."""
    buffer = {"max-buffer-size": _LOG_BUFFER} if settings.log_mode == "non-blocking" else {}
    return {"mode": settings.log_mode, **buffer}


def rendered(strategy: RetryStrategy) -> batch.CfnJobDefinition.RetryStrategyProperty:
    """The rulebook's retry strategy in the template's format, entry by entry and in order."""
    return batch.CfnJobDefinition.RetryStrategyProperty(
        attempts=strategy.attempts, evaluate_on_exit=[_entry(each) for each in strategy.evaluate_on_exit]
    )


def _entry(entry: EvaluateOnExit) -> batch.CfnJobDefinition.EvaluateOnExitProperty:
    return batch.CfnJobDefinition.EvaluateOnExitProperty(
        action=entry.action.value,
        on_exit_code=entry.on_exit_code,
        on_reason=entry.on_reason,
        on_status_reason=entry.on_status_reason,
    )
