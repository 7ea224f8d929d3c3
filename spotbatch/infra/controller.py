"""The run controller: a function, the table of its runs, and what invokes it. It costs nothing while idle."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as functions
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from spotbatch.batch.status import JobStatus
from spotbatch.controller.resources import (
    EXPIRY,
    HANDLER,
    INDEX,
    KEY,
    LONGEST_SECONDS,
    SCHEDULE,
    SCHEDULE_VARIABLE,
    TABLE_VARIABLE,
)
from spotbatch.infra.access import RUNS
from spotbatch.infra.job_logs import retention
from spotbatch.infra.monitoring import JOB_EVENT
from spotbatch.infra.settings import StackSettings

_PACKAGE: Final = Path(__file__).parent.parent
_ROOMS: Final = ("aws", "batch", "controller", "policy")  # what the handler imports; boto3 comes with the runtime


def stage(folder: Path) -> None:
    """Copy what the function needs into a folder."""
    target = folder / _PACKAGE.name
    target.mkdir()
    shutil.copy(_PACKAGE / "__init__.py", target)
    for room in _ROOMS:
        shutil.copytree(_PACKAGE / room, target / room, ignore=shutil.ignore_patterns("__pycache__"))


class Controller(Construct):
    """`table_name` and `schedule_name`, which `spotbatch submit` uses to put a run under control."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: StackSettings, bucket: s3.IBucket, queue_arns: list[str]
    ) -> None:
        super().__init__(scope, construct_id)
        self._group = logs.LogGroup(
            self, "Log", retention=retention(settings.log_retention_days), removal_policy=RemovalPolicy.DESTROY
        )
        self._table = self._make_table()
        self.table_name = self._table.ref
        self._dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        # We choose its name, since the function must know it and the schedule must know the function.
        self.schedule_name = f"{Stack.of(self).stack_name}-controller-tick"
        role = self._role(bucket, queue_arns)
        function = self._function(role)
        self._call(function, queue_arns)

    def watch(self, topic: sns.ITopic) -> None:
        """An alarm for invocations that still failed after Lambda's two retries."""
        alarm = cloudwatch.Alarm(
            self,
            "Failing",
            metric=self._dead_letters.metric_approximate_number_of_messages_visible(period=Duration.minutes(5)),
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description="The controller of runs fails: see its log group. Jobs go on as AWS Batch retries them.",
        )
        alarm.add_alarm_action(actions.SnsAction(topic))

    def _make_table(self) -> dynamodb.CfnTable:
        cfn = dynamodb.CfnTable
        text = [cfn.AttributeDefinitionProperty(attribute_name=name, attribute_type="S") for name in (KEY, INDEX)]
        table = cfn(
            self,
            "Runs",
            billing_mode="PAY_PER_REQUEST",
            attribute_definitions=text,
            key_schema=[cfn.KeySchemaProperty(attribute_name=KEY, key_type="HASH")],
            global_secondary_indexes=[
                cfn.GlobalSecondaryIndexProperty(
                    index_name=INDEX,
                    key_schema=[cfn.KeySchemaProperty(attribute_name=INDEX, key_type="HASH")],
                    projection=cfn.ProjectionProperty(projection_type="KEYS_ONLY"),
                )
            ],
            time_to_live_specification=cfn.TimeToLiveSpecificationProperty(attribute_name=EXPIRY, enabled=True),
            point_in_time_recovery_specification=cfn.PointInTimeRecoverySpecificationProperty(
                point_in_time_recovery_enabled=True  # billed per GB stored, which is next to nothing
            ),
            sse_specification=cfn.SSESpecificationProperty(sse_enabled=False),  # an AWS-owned key, free of charge
        )
        table.apply_removal_policy(RemovalPolicy.DESTROY)  # jobs outlive it, and continue with AWS Batch's own retries
        return table

    def _function(self, role: iam.Role) -> functions.CfnFunction:
        with tempfile.TemporaryDirectory() as folder:
            stage(Path(folder))
            code = assets.Asset(self, "Code", path=folder)  # copied during synthesis
        cfn = functions.CfnFunction
        return cfn(
            self,
            "Function",
            description="Moves jobs between Spot and on demand, grows their memory, keeps deadlines and budgets",
            runtime=functions.Runtime.PYTHON_3_14.name,
            architectures=["arm64"],
            handler=HANDLER,
            code=cfn.CodeProperty(s3_bucket=code.s3_bucket_name, s3_key=code.s3_object_key),
            role=role.role_arn,
            logging_config=cfn.LoggingConfigProperty(log_group=self._group.log_group_name),
            timeout=LONGEST_SECONDS,
            memory_size=512,
            dead_letter_config=cfn.DeadLetterConfigProperty(target_arn=self._dead_letters.queue_arn),
            environment=cfn.EnvironmentProperty(
                variables={TABLE_VARIABLE: self.table_name, SCHEDULE_VARIABLE: self.schedule_name}
            ),
        )

    def _role(self, bucket: s3.IBucket, queue_arns: list[str]) -> iam.Role:
        """It submits to this stack's queues and terminates jobs; it reads and writes the runs' data, and its table."""
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        batch = f"arn:{Aws.PARTITION}:batch:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        rule = f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:rule/{self.schedule_name}"
        table = self._table.attr_arn
        allowed: dict[str, tuple[list[str], list[str]]] = {
            "See": (["batch:DescribeJobs", "batch:ListJobs"], ["*"]),
            "Submit": (["batch:SubmitJob"], [*queue_arns, f"{batch}:job-definition/*"]),
            "Jobs": (["batch:TagResource", "batch:TerminateJob"], [f"{batch}:job/*"]),
            "Runs": (["s3:GetObject", "s3:PutObject"], [bucket.arn_for_objects(RUNS)]),
            "Table": (["dynamodb:GetItem", "dynamodb:PutItem"], [table]),
            "Index": (["dynamodb:Query"], [f"{table}/index/{INDEX}"]),
            "Schedule": (["events:DisableRule", "events:EnableRule"], [rule]),
            "Failed": (["sqs:SendMessage"], [self._dead_letters.queue_arn]),
            "Log": (["logs:CreateLogStream", "logs:PutLogEvents"], [self._group.log_group_arn]),
        }
        if bucket.encryption_key:
            allowed["Key"] = (["kms:GenerateDataKey", "kms:Decrypt"], [bucket.encryption_key.key_arn])
        for sid, (names, resources) in allowed.items():
            role.add_to_policy(iam.PolicyStatement(sid=sid, actions=names, resources=resources))
        role.add_to_policy(
            iam.PolicyStatement(
                sid="List",
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": [RUNS]}},
            )
        )
        return role

    def _call(self, function: functions.CfnFunction, queue_arns: list[str]) -> None:
        """Every minute while a run is under control, and when a job of these queues has FAILED."""
        target = [{"arn": function.attr_arn, "id": "controller"}]
        tick = events.CfnRule(
            self,
            "Tick",
            name=self.schedule_name,
            schedule_expression=SCHEDULE,
            state="DISABLED",  # `spotbatch submit` turns it on, and the function turns it off again
            targets=target,
        )
        failed = events.CfnRule(
            self,
            "Failed",
            event_pattern={
                "source": ["aws.batch"],
                "detail-type": [JOB_EVENT],
                "detail": {"status": [JobStatus.FAILED.value], "jobQueue": queue_arns},
            },
            state="ENABLED",
            targets=target,
        )
        for name, rule in (("MayTick", tick), ("MayTell", failed)):
            functions.CfnPermission(
                self,
                name,
                action="lambda:InvokeFunction",
                function_name=function.attr_arn,
                principal="events.amazonaws.com",
                source_arn=rule.attr_arn,
            )
