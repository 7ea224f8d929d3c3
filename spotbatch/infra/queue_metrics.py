"""The function that checks queues and environments every few minutes: metrics that AWS Batch does not provide."""

import ast
from pathlib import Path
from typing import Final

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as functions
from aws_cdk import aws_logs as logs
from constructs import Construct

from spotbatch.infra.job_logs import retention
from spotbatch.infra.settings import StackSettings

_CODE: Final = Path(__file__).parent / "look" / "look.py"
_LONGEST_SECONDS: Final = 120
EVERY_MINUTES: Final = 5
STALLED_SUM: Final = 6  # over half an hour: no progress at each check, or one check that finds an INVALID environment


def source() -> str:
    """The function's source without comments and docstrings: CloudFormation's limit is 4,096 characters."""
    tree = ast.parse(_CODE.read_text(encoding="utf-8"))
    functions_in_it = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
    documented: list[ast.Module | ast.FunctionDef] = [tree, *functions_in_it]
    for node in documented:
        if ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.unparse(tree)


class QueueMetrics(Construct):
    """`metric(name)` for each of the function's metrics: DepthRunnable ..., VcpusDesired, VcpusRunning, Stalled."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StackSettings,
        namespace: str,
        queue_arns: list[str],
        environment_arns: list[str],
    ) -> None:
        super().__init__(scope, construct_id)
        self._namespace = namespace
        self._group = logs.LogGroup(
            self, "Log", retention=retention(settings.log_retention_days), removal_policy=RemovalPolicy.DESTROY
        )
        watched = {"queues": queue_arns, "environments": environment_arns}
        variables = {
            "WATCHED": Stack.of(self).to_json_string(watched),
            "NAMESPACE": namespace,
            "INSIGHTS": "1" if settings.container_insights else "0",
        }
        # The L1 construct: the L2 adds a dependency on its role that its ARN already implies; cfn-lint warns about it.
        cfn = functions.CfnFunction
        function = cfn(
            self,
            "Function",
            description="Looks at this stack's queues and compute environments, and prints metrics",
            runtime=functions.Runtime.PYTHON_3_14.name,
            handler="index.handler",
            code=cfn.CodeProperty(zip_file=source()),
            role=self._role(has_insights=settings.container_insights).role_arn,
            logging_config=cfn.LoggingConfigProperty(log_group=self._group.log_group_name),
            timeout=_LONGEST_SECONDS,
            memory_size=128,
            environment=cfn.EnvironmentProperty(variables=variables),
        )
        self._schedule(function)

    def metric(self, name: str, *, minutes: int = EVERY_MINUTES, statistic: str = "Maximum") -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=self._namespace, metric_name=name, statistic=statistic, period=Duration.minutes(minutes)
        )

    def _role(self, *, has_insights: bool) -> iam.Role:
        """It only reads, and writes to its own log; Container Insights is the only thing that it may turn on."""
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        ours = f"arn:{Aws.PARTITION}:ecs:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        clusters = f"{ours}:cluster/AWSBatch-*"  # named by AWS Batch itself
        looks = {
            "Batch": (["batch:DescribeComputeEnvironments", "batch:DescribeJobs", "batch:ListJobs"], ["*"]),
            "Cluster": (["ecs:ListContainerInstances"], [clusters]),
            "Hosts": (["ecs:DescribeContainerInstances"], [f"{ours}:container-instance/AWSBatch-*"]),
            "Log": (["logs:CreateLogStream", "logs:PutLogEvents"], [self._group.log_group_arn]),
        }
        if has_insights:
            looks["Insights"] = (["ecs:DescribeClusters", "ecs:UpdateClusterSettings"], [clusters])
        for sid, (actions, resources) in looks.items():
            role.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources))
        return role

    def _schedule(self, function: functions.CfnFunction) -> None:
        rule = events.CfnRule(
            self,
            "Schedule",
            schedule_expression=f"rate({EVERY_MINUTES} minutes)",
            state="ENABLED",
            targets=[{"arn": function.attr_arn, "id": "look"}],
        )
        functions.CfnPermission(
            self,
            "MayCall",
            action="lambda:InvokeFunction",
            function_name=function.attr_arn,
            principal="events.amazonaws.com",
            source_arn=rule.attr_arn,
        )
