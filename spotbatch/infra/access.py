"""Who may do what: separate roles for the instances, for the job itself, and for starting it."""

from aws_cdk import Aws, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from spotbatch.infra import service_role
from spotbatch.infra.settings import StackSettings

RUNS = "runs/*"  # where the runtime keeps a run's artifacts: spotbatch/batch/artifacts.py


class Access(Construct):
    """`instance_profile`, `job_role`, `execution_role`, and `service_role` (None: the service-linked role)."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StackSettings,
        repository: ecr.IRepository,
        bucket: s3.IBucket,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        self.instance_role = iam.Role(
            self,
            "InstanceRole",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Batch hosts: register with ECS, pull images",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonEC2ContainerServiceforEC2Role")
            ],
        )
        self.instance_profile = iam.InstanceProfile(self, "InstanceProfile", role=self.instance_role)
        self.job_role = self._job_role(bucket)
        self.execution_role = self._execution_role(repository, log_group, sorted(set(settings.job_secrets.values())))
        self.service_role = self._service_role() if settings.service_role == "dedicated" else None
        if bucket.encryption_key:
            self.job_role.add_to_policy(
                iam.PolicyStatement(
                    sid="KeyOfTheArtifacts",
                    actions=["kms:GenerateDataKey", "kms:Decrypt"],  # what S3 needs to write and read; no wildcard
                    resources=[bucket.encryption_key.key_arn],
                )
            )

    def _task_principal(self) -> iam.IPrincipal:
        """ECS on behalf of this account's own jobs only: nobody else can make ECS assume the role (confused deputy)."""
        stack = Stack.of(self)
        return iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com",
            conditions={
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                "ArnLike": {"aws:SourceArn": f"arn:{Aws.PARTITION}:ecs:{stack.region}:{Aws.ACCOUNT_ID}:*"},
            },
        )

    def _job_role(self, bucket: s3.IBucket) -> iam.Role:
        """What the container itself may do: access its runs' artifacts in this bucket, and nothing else."""
        role = iam.Role(
            self, "JobRole", assumed_by=self._task_principal(), description="Batch jobs: the artifacts of runs"
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="RunsOfThisStack",
                actions=["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                resources=[bucket.arn_for_objects(RUNS)],
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="ListRunsOfThisStack",
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": [RUNS]}},
            )
        )
        return role

    def _execution_role(
        self, repository: ecr.IRepository, log_group: logs.ILogGroup, secret_arns: list[str]
    ) -> iam.Role:
        """What ECS needs before and around the container: its image, its secrets, and its log."""
        role = iam.Role(
            self,
            "ExecutionRole",
            assumed_by=self._task_principal(),
            description="Batch jobs: pull the image, write logs",
        )
        repository.grant_pull(role)
        role.add_to_policy(
            iam.PolicyStatement(
                sid="WriteJobLogs",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[log_group.log_group_arn],
            )
        )
        if secret_arns:
            role.add_to_policy(
                iam.PolicyStatement(
                    sid="ReadJobSecrets", actions=["secretsmanager:GetSecretValue"], resources=secret_arns
                )
            )
        return role

    def _service_role(self) -> iam.Role:
        """For AWS Batch itself; with a role of its own an environment cannot be updated in place."""
        role = iam.Role(
            self,
            "BatchServiceRole",
            assumed_by=iam.ServicePrincipal(
                "batch.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
            ),
            description="AWS Batch: run the compute environment",
        )
        service_role.grant(
            role,
            instance_role=self.instance_role,
            instance_profile_arn=self.instance_profile.instance_profile_arn,
            task_roles=[self.job_role, self.execution_role],
        )
        return role
