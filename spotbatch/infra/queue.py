"""The job queue in front of the compute environment."""

from aws_cdk import Fn
from aws_cdk import aws_batch as batch
from constructs import Construct

from spotbatch.batch.placement import BlockedReason

_NEVER_RUNS_SECONDS = 3_600


class Queue(Construct):
    """`queue`, `queue_arn` and `queue_name`. A job at its head that can never run is cancelled after an hour."""

    def __init__(self, scope: Construct, construct_id: str, *, environment_arns: list[str]) -> None:
        super().__init__(scope, construct_id)
        cfn = batch.CfnJobQueue
        self.queue = cfn(
            self,
            "Queue",
            state="ENABLED",
            priority=1,
            compute_environment_order=[
                cfn.ComputeEnvironmentOrderProperty(order=order, compute_environment=arn)
                for order, arn in enumerate(environment_arns, start=1)
            ],
            job_state_time_limit_actions=[
                cfn.JobStateTimeLimitActionProperty(
                    action="CANCEL", state="RUNNABLE", max_time_seconds=_NEVER_RUNS_SECONDS, reason=reason.value
                )
                for reason in (BlockedReason.REQUIREMENT, BlockedReason.ENVIRONMENT_MAX)
            ],
        )
        self.queue_arn = self.queue.attr_job_queue_arn
        self.queue_name = Fn.select(1, Fn.split("/", self.queue_arn))
