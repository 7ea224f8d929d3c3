#!/usr/bin/env python3
"""The CDK application: cost-optimized batch processing with AWS Batch and EC2 Spot.

`python app.py` synthesizes into cdk.out and needs neither AWS credentials nor the CDK command line.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from spotbatch.batch.environment import STACK_TAG
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.partitions import check_region
from spotbatch.infra import (
    Access,
    Artifacts,
    Compute,
    Controller,
    FaultInjection,
    Images,
    JobLogs,
    Jobs,
    Monitoring,
    Network,
    Queue,
    StackSettings,
)
from spotbatch.infra.nag_suppressions import acknowledge
from spotbatch.infra.settings import CONTEXT_KEY

from aws_cdk import App, CfnOutput, Environment, Stack, Tags  # isort: skip  # after infra, which chooses its Node
from aws_cdk import aws_iam as iam  # isort: skip
from constructs import Construct  # isort: skip

STACK_NAME = "CostOptimizedBatchProcessing"
PROJECT = "CostOptimizedBatchProcessing"


class CostOptimizedBatchProcessingStack(Stack):
    """The complete infrastructure: network, registry, bucket, roles, Spot compute, queue, job definition, logs.

    `settings` defaults to the context key `spotbatch`, which defaults to `StackSettings`' defaults. Raises InvalidInput
    for an invalid setting.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: StackSettings | None = None, **kwargs: Any
    ) -> None:
        super().__init__(scope, construct_id, **kwargs)
        self.settings = settings or StackSettings.read(self.node.try_get_context(CONTEXT_KEY))
        tags = {"Project": PROJECT, "Environment": self.settings.environment, STACK_TAG: self.stack_name}
        network = Network(self, "Network", settings=self.settings)
        images = Images(self, "Images", settings=self.settings)
        artifacts = Artifacts(self, "Artifacts", settings=self.settings)
        job_logs = JobLogs(self, "Monitoring", settings=self.settings)
        access = Access(
            self,
            "Access",
            settings=self.settings,
            repository=images.repository,
            bucket=artifacts.bucket,
            log_group=job_logs.log_group,
        )
        compute = Compute(
            self,
            "Compute",
            settings=self.settings,
            subnets=network.subnets,
            security_group=network.security_group,
            instance_profile=access.instance_profile,
            instance_role=access.instance_role,
            service_role=access.service_role,
            tags=tags,
        )
        fallback = [compute.on_demand_arn] if compute.on_demand_arn and self.settings.on_demand_fallback else []
        queue = Queue(self, "Queue", environment_arns=[compute.environment_arn, *fallback])
        watched = [queue.queue_arn]
        jobs = Jobs(
            self,
            "Jobs",
            settings=self.settings,
            repository=images.repository,
            bucket=artifacts.bucket,
            log_group=job_logs.log_group,
            job_role=access.job_role,
            execution_role=access.execution_role,
        )
        for key, value in tags.items():
            # CloudFormation replaces an environment whose tags change, and with it the hosts of running jobs.
            kept = ["AWS::Batch::ComputeEnvironment"] if key == "Environment" else []
            Tags.of(self).add(key, value, exclude_resource_types=kept)
        # The settings it was created with, so that the next deployment can say what changes.
        self.template_options.metadata = {CONTEXT_KEY: self.settings.model_dump(mode="json")}
        self._output("ECRRepositoryURI", images.repository.repository_uri, "Push the job's image here")
        self._output("JobQueueName", queue.queue_name, "Submit jobs to this queue")
        self._output("JobDefinitionName", jobs.definition_name, "Submit jobs with this definition")
        self._output("ComputeEnvironmentName", compute.environment_name, "Where the Spot hosts run")
        self._output("ArtifactsBucketName", artifacts.bucket.bucket_name, "Checkpoints, outputs, attempt records")
        self._output("LogGroupName", job_logs.log_group.log_group_name, "What the jobs print")
        if compute.on_demand_arn and self.settings.on_demand_queue:
            on_demand = Queue(self, "OnDemandQueue", environment_arns=[compute.on_demand_arn])
            watched.append(on_demand.queue_arn)
            self._output("OnDemandJobQueueName", on_demand.queue_name, "Submit what must not be interrupted here")
        if self.settings.fault_injection:
            experiments = FaultInjection(self, "FaultInjection")
            self._output("InterruptionExperimentId", experiments.experiment_id, "spotbatch interrupt starts it")
        controller = None
        if self.settings.controller:
            controller = Controller(
                self, "Controller", settings=self.settings, bucket=artifacts.bucket, queue_arns=watched
            )
            self._output("ControllerTableName", controller.table_name, "The runs under control")
            self._output("ControllerScheduleName", controller.schedule_name, "On while a run is under control")
        if self.settings.monitoring:
            environments = [compute.environment_arn, *([compute.on_demand_arn] if compute.on_demand_arn else [])]
            monitoring = Monitoring(
                self, "Watching", settings=self.settings, queue_arns=watched, environment_arns=environments
            )
            if controller is not None:
                controller.watch(monitoring.topic)
        if self.settings.permissions_boundary:  # of every role, whatever created it
            boundary = iam.ManagedPolicy.from_managed_policy_arn(self, "Boundary", self.settings.permissions_boundary)
            iam.PermissionsBoundary.of(self).apply(boundary)
        acknowledge(self, self.settings, bucket_id=self.resolve(artifacts.bucket.bucket_name)["Ref"])

    def _output(self, name: str, value: str, description: str) -> None:
        CfnOutput(self, name, value=value, description=description)


def _context_of_the_project() -> dict[str, Any]:
    """The context of cdk.json, which only the CDK command line would pass; values passed by it take precedence."""
    file = Path(__file__).with_name("cdk.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["context"] if file.exists() else {}
    return found


def _say_what_was_made(stack: CostOptimizedBatchProcessingStack) -> None:
    file = f"cdk.out/{stack.stack_name}.template.json"
    template: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    sys.stdout.write(
        f"synthesized {stack.stack_name}: {len(template['Resources'])} resources, egress {stack.settings.egress}, "
        f"up to {stack.settings.max_vcpus} vCPUs on Spot, in {file}\n"
        "nothing was sent to AWS. What next?\n"
        "  spotbatch estimate --idle              what it costs while nothing runs\n"
        f"  spotbatch local up --template {file}\n"
        "                                         AWS Batch on this machine, from this template\n"
        "  ./deploy.sh                            onto AWS (or: cdk bootstrap, cdk deploy; docs/operating.md)\n"
    )


def main() -> int:
    """Synthesize one stack, named by the context key `stack_name`; returns the exit code.

    The CDK's own template validation takes longer than everything else together, so it runs only when the template is
    for an account: deploy.sh and the CDK command line specify theirs.
    """
    account, region = os.environ.get("CDK_DEFAULT_ACCOUNT"), os.environ.get("CDK_DEFAULT_REGION")
    app = App(
        outdir=os.environ.get("CDK_OUTDIR", "cdk.out"),
        context=_context_of_the_project(),
        builtin_cloud_formation_validation=bool(account and region),
    )
    name = app.node.try_get_context("stack_name") or STACK_NAME
    try:
        settings = StackSettings.read(app.node.try_get_context(CONTEXT_KEY))
        if region:
            check_region(region, has_budget=settings.monthly_budget_usd is not None)
        stack = CostOptimizedBatchProcessingStack(
            app,
            name,
            settings=settings,
            description="Cost-optimized batch processing with AWS Batch and EC2 Spot",
            env=Environment(account=account, region=region) if account and region else None,
        )
        app.synth()
        if "CDK_OUTDIR" not in os.environ:  # run by hand: deploy.sh and the CDK command line set it
            _say_what_was_made(stack)
    except SpotbatchError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
