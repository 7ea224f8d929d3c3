"""One network, bucket and queue; two job definitions, a small one and one with a secret."""

from typing import Any

from spotbatch.infra import Access, Artifacts, Compute, Images, JobLogs, Jobs, Network, Queue, StackSettings

from aws_cdk import Stack  # isort: skip  # after spotbatch.infra, which chooses its Node
from constructs import Construct  # isort: skip

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:api-token-AbCdEf"  # noqa: S105 - a name, not the secret
SHAPES = {
    "Small": StackSettings(job_vcpus=1, job_memory_mib=1024),
    "Large": StackSettings(job_vcpus=8, job_memory_mib=24_000, job_secrets={"API_TOKEN": SECRET}),
}


class TwoDefinitionsStack(Stack):
    """Each definition has its own roles, so that only the one with the secret can read it."""

    def __init__(self, scope: Construct, construct_id: str, **kwargs: Any) -> None:
        super().__init__(scope, construct_id, **kwargs)
        settings = StackSettings()
        network = Network(self, "Network", settings=settings)
        images = Images(self, "Images", settings=settings)
        artifacts = Artifacts(self, "Artifacts", settings=settings)
        logs = JobLogs(self, "Monitoring", settings=settings).log_group
        access = {
            name: Access(
                self,
                f"{name}Access",
                settings=shape,
                repository=images.repository,
                bucket=artifacts.bucket,
                log_group=logs,
            )
            for name, shape in SHAPES.items()
        }
        hosts = access["Small"]
        compute = Compute(
            self,
            "Compute",
            settings=settings,
            subnets=network.subnets,
            security_group=network.security_group,
            instance_profile=hosts.instance_profile,
            instance_role=hosts.instance_role,
            service_role=hosts.service_role,
            tags={"Project": "two-definitions"},
        )
        Queue(self, "Queue", environment_arns=[compute.environment_arn])
        for name, shape in SHAPES.items():
            Jobs(
                self,
                f"{name}Jobs",
                settings=shape,
                repository=images.repository,
                bucket=artifacts.bucket,
                log_group=logs,
                job_role=access[name].job_role,
                execution_role=access[name].execution_role,
            )
