"""The whole stack with a second, on-demand queue, for arm64, with e-mail alerts: settings only."""

from app import CostOptimizedBatchProcessingStack
from spotbatch.infra import Egress, StackSettings

from aws_cdk import Environment  # isort: skip  # after spotbatch.infra, which chooses its Node
from constructs import Construct  # isort: skip

SETTINGS = StackSettings(
    environment="research",
    instance_types=("c7g", "m7g", "r7g", "c6g", "m6g", "r6g"),
    on_demand_fallback=True,
    on_demand_queue=True,
    egress=Egress.PUBLIC,
    alarm_email="batch@example.com",
    monthly_budget_usd=200,
)


def two_queues(
    scope: Construct, construct_id: str, env: Environment | None = None
) -> CostOptimizedBatchProcessingStack:
    """This project's stack with other settings, in your own application."""
    return CostOptimizedBatchProcessingStack(scope, construct_id, settings=SETTINGS, env=env)
