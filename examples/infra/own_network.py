"""Spot compute, a queue and a job definition in an existing VPC with an existing bucket."""

from typing import Any

from spotbatch.infra import Access, Compute, Images, JobLogs, Jobs, Queue, StackSettings

from aws_cdk import CfnOutput, Stack  # isort: skip  # after spotbatch.infra, which chooses its Node
from aws_cdk import aws_ec2 as ec2  # isort: skip
from aws_cdk import aws_s3 as s3  # isort: skip
from constructs import Construct  # isort: skip


class OwnNetworkStack(Stack):
    """Takes `vpc` and `bucket` from elsewhere; the rest is what spotbatch adds."""

    def __init__(
        self, scope: Construct, construct_id: str, *, vpc: ec2.IVpc, bucket: s3.IBucket, **kwargs: Any
    ) -> None:
        super().__init__(scope, construct_id, **kwargs)
        settings = StackSettings(max_vcpus=512)
        group = ec2.SecurityGroup(self, "Hosts", vpc=vpc, allow_all_outbound=True, description="Batch hosts")
        images = Images(self, "Images", settings=settings)
        logs = JobLogs(self, "Monitoring", settings=settings).log_group
        access = Access(self, "Access", settings=settings, repository=images.repository, bucket=bucket, log_group=logs)
        compute = Compute(
            self,
            "Compute",
            settings=settings,
            subnets=vpc.select_subnets(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            security_group=group,
            instance_profile=access.instance_profile,
            instance_role=access.instance_role,
            service_role=access.service_role,
            tags={"Team": "research"},
        )
        queue = Queue(self, "Queue", environment_arns=[compute.environment_arn])
        jobs = Jobs(
            self,
            "Jobs",
            settings=settings,
            repository=images.repository,
            bucket=bucket,
            log_group=logs,
            job_role=access.job_role,
            execution_role=access.execution_role,
        )
        CfnOutput(self, "JobQueueName", value=queue.queue_name)
        CfnOutput(self, "JobDefinitionName", value=jobs.definition_name)
