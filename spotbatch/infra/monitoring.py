"""Monitoring: events in a log group, metrics derived from them, alarms, a dashboard, a topic, a budget.

AWS Batch has no metrics for jobs. Its events go to a log group, where metric filters count them and Logs Insights
queries them; what no event shows (depth, vCPUs, no progress) a function checks every five minutes: queue_metrics.py.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from spotbatch.batch.environment import EXIT_INTERRUPTED, STACK_TAG
from spotbatch.batch.status import CONTAINER_EXITED, HOST_TERMINATED_PATTERN
from spotbatch.infra.job_logs import retention
from spotbatch.infra.queue_metrics import STALLED_SUM, QueueMetrics
from spotbatch.infra.settings import StackSettings

JOB_EVENT: Final = "Batch Job State Change"
BLOCKED_EVENT: Final = "Batch Job Queue Blocked"
SPOT_EVENT: Final = "EC2 Spot Instance Interruption Warning"


LONGEST_PATTERN: Final = 1024  # API reference, CloudWatch Logs PutMetricFilter
STOPPED_BY_US: Final = ("cancelled by spotbatch*", "the stack is being removed")  # status reasons that we set


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """A metric: how many events match any of these CloudWatch Logs patterns, each of them a filter of its own.

    `label` is its name on the dashboard. CloudWatch charges 0.30 USD a month for a metric, and nothing for a filter.
    """

    name: str
    patterns: tuple[str, ...]
    label: str


def checked_pattern(conditions: str) -> str:
    """The complete pattern. Raises ValueError for one that CloudWatch Logs would reject at deployment."""
    pattern = f"{{ {conditions} }}"
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(
            f"a filter pattern has {len(pattern):,} characters, {LONGEST_PATTERN:,} are allowed: {pattern}"
        )
    return pattern


_MOST_ATTEMPTS: Final = 10


def _last_attempt(condition: str) -> str:
    """Matches if the newest of a job's attempts ended this way: each retry is counted once, by the event after it.

    CloudWatch's filters have no "last in list": it is the attempt that no other follows. `condition` has ATTEMPT
    in place of the attempt.
    """
    attempts = [f"$.detail.attempts[{index}]" for index in range(_MOST_ATTEMPTS)]
    one = [
        f"({condition.replace('ATTEMPT', this)} && {after}.stoppedAt NOT EXISTS)" for this, after in pairwise(attempts)
    ]
    return " || ".join(one)


_JOB: Final = f'$.detail-type = "{JOB_EVENT}" && $.detail.status'
_AGAIN: Final = f'{_JOB} = "RUNNABLE"'  # a retried job is RUNNABLE again, with its previous attempts
_LOST: Final = f'statusReason = "{HOST_TERMINATED_PATTERN}"'
_LEFT: Final = f"container.exitCode = {EXIT_INTERRUPTED}"  # because of the notice, or because the store did not answer
_BY_ITSELF: Final = f'$.detail.statusReason = "{CONTAINER_EXITED}"'  # a job that was stopped has that reason instead


def _failed() -> str:
    """FAILED without anyone asking for it: by AWS Batch's own marks if the event has them, and by our reasons."""
    unmarked = [f"($.detail.{mark} NOT EXISTS || $.detail.{mark} IS FALSE)" for mark in ("isTerminated", "isCancelled")]
    not_ours = [f'$.detail.statusReason != "{reason}"' for reason in STOPPED_BY_US]
    return " && ".join([f'{_JOB} = "FAILED"', *unmarked, *not_ours])


COUNTS: Final = (
    Count(
        name="JobsRunnable",
        patterns=(checked_pattern(_AGAIN),),
        label="became RUNNABLE (also for a retry)",
    ),
    Count(name="JobsRunning", patterns=(checked_pattern(f'{_JOB} = "RUNNING"'),), label="attempts that began to run"),
    Count(name="JobsSucceeded", patterns=(checked_pattern(f'{_JOB} = "SUCCEEDED"'),), label="succeeded"),
    Count(name="JobsFailed", patterns=(checked_pattern(_failed()),), label="failed (not what somebody stopped)"),
    Count(
        name="AttemptsInterrupted",
        patterns=(
            checked_pattern(f"{_AGAIN} && ({_last_attempt(f'ATTEMPT.{_LOST}')})"),
            checked_pattern(f"{_AGAIN} && ({_last_attempt(f'ATTEMPT.{_LEFT}')})"),
            # No retry follows the last attempt of a job.
            checked_pattern(f'{_JOB} = "FAILED" && ($.detail.{_LOST} || ($.detail.{_LEFT} && {_BY_ITSELF}))'),
        ),
        label="attempts that Spot ended",
    ),
    Count(
        name="QueueBlocked",
        patterns=(checked_pattern(f'$.detail-type = "{BLOCKED_EVENT}"'),),
        label="the job at the queue's head cannot run",
    ),
)

_STATUSES: Final = "filter `detail-type` = 'Batch Job State Change' | stats count(*) by detail.status, bin(5m)"
_REASONS: Final = (
    "filter detail.status = 'FAILED' | stats count(*) as jobs by detail.statusReason, detail.container.reason, "
    "detail.container.exitCode | sort jobs desc | limit 20"
)
_DURATION: Final = (
    "filter detail.status = 'SUCCEEDED' and ispresent(detail.startedAt) | "
    "fields (detail.stoppedAt - detail.startedAt) / 60000 as minutes | "
    "stats avg(minutes), pct(minutes, 50), pct(minutes, 95) by bin(1h)"
)
_COST_PROXY: Final = (
    "filter detail.status in ['SUCCEEDED', 'FAILED'] and ispresent(detail.startedAt) | "
    "fields (detail.stoppedAt - detail.startedAt) / 3600000 as hours | stats sum(hours) as job_hours by bin(1d)"
)


class Monitoring(Construct):
    """`topic` and `events_group`; watches the queues and compute environments with these ARNs."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StackSettings,
        queue_arns: list[str],
        environment_arns: list[str],
    ) -> None:
        super().__init__(scope, construct_id)
        self.namespace = f"spotbatch/{Stack.of(self).stack_name}"
        self.topic = sns.Topic(self, "Topic", enforce_ssl=True, display_name="spotbatch")
        if settings.alarm_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        self.events_group = logs.LogGroup(
            self,
            "Events",
            retention=retention(settings.log_retention_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        rules = self._rules(queue_arns)
        self._let_events_in(rules)
        metrics = {each.name: self._metric(each) for each in COUNTS}
        self.queue_metrics = QueueMetrics(
            self,
            "Looking",
            settings=settings,
            namespace=self.namespace,
            queue_arns=queue_arns,
            environment_arns=environment_arns,
        )
        self._alarms(settings, metrics)
        self._dashboard(metrics)
        if settings.monthly_budget_usd:
            self._budget(settings, settings.monthly_budget_usd)

    def _rules(self, queue_arns: list[str]) -> list[events.CfnRule]:
        """Everything goes to the log group; people hear only of what blocks a queue (a wide array fails 10,000 times).

        A Spot notice names an instance but not its stack: these are all of the account's notices, in this region.
        """
        group = f"{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:{self.events_group.log_group_name}"
        target = {"arn": f"arn:{Aws.PARTITION}:logs:{group}", "id": "log"}
        people = {"arn": self.topic.topic_arn, "id": "topic"}
        ours = {"source": ["aws.batch"]}
        return [
            self._rule("Jobs", ours | {"detail-type": [JOB_EVENT], "detail": {"jobQueue": queue_arns}}, [target]),
            self._rule("Blocked", ours | {"detail-type": [BLOCKED_EVENT], "resources": queue_arns}, [target, people]),
            self._rule("SpotNotices", {"source": ["aws.ec2"], "detail-type": [SPOT_EVENT]}, [target]),
        ]

    def _rule(self, construct_id: str, pattern: dict[str, Any], targets: list[dict[str, str]]) -> events.CfnRule:
        # The L1 construct: the L2's log target adds a Lambda function just to write one policy.
        return events.CfnRule(self, construct_id, event_pattern=pattern, targets=targets, state="ENABLED")

    def _let_events_in(self, rules: list[events.CfnRule]) -> None:
        arns = [rule.attr_arn for rule in rules]
        writers: list[iam.IPrincipal] = [
            iam.ServicePrincipal(name) for name in ("events.amazonaws.com", "delivery.logs.amazonaws.com")
        ]
        group = [self.events_group.log_group_arn]
        logs.ResourcePolicy(
            self,
            "EventsMayWrite",
            policy_statements=[
                # EventBridge does not create streams on behalf of a rule: a condition here would block all events.
                iam.PolicyStatement(principals=writers, actions=["logs:CreateLogStream"], resources=group),
                iam.PolicyStatement(
                    principals=writers,
                    actions=["logs:PutLogEvents"],
                    resources=group,
                    conditions={"ArnEquals": {"aws:SourceArn": arns}},
                ),
            ],
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsMayPublish",  # a topic with its own policy no longer admits its whole account
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                # Without a condition, and without a role on the target: the EventBridge guide ("Amazon SNS
                # permissions") says that conditions do not work here, and that a role may make deliveries fail.
                sid="EventsMayPublish",
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
            )
        )

    def _metric(self, count: Count) -> cloudwatch.Metric:
        for number, pattern in enumerate(count.patterns):
            logs.MetricFilter(
                self,
                f"{count.name}{number or ''}",
                log_group=self.events_group,
                filter_pattern=logs.FilterPattern.literal(pattern),
                metric_namespace=self.namespace,
                metric_name=count.name,
                metric_value="1",
            )
        return cloudwatch.Metric(
            namespace=self.namespace,
            metric_name=count.name,
            statistic="Sum",
            period=Duration.minutes(5),
        )

    def _alarms(self, settings: StackSettings, metrics: dict[str, cloudwatch.Metric]) -> None:
        hour = Duration.hours(1)
        self._alarm(
            "FailedJobs",
            metrics["JobsFailed"],
            1,
            "Jobs failed for good, not counting what somebody stopped; `spotbatch doctor` says why.",
        )
        self._alarm("StuckJobs", metrics["QueueBlocked"], 1, "The job at the head of a queue cannot run.")
        self._alarm(
            "Interruptions",
            metrics["AttemptsInterrupted"].with_(period=hour),
            settings.interruptions_per_hour,
            "Spot takes hosts often: add instance types, or on_demand_fallback.",
        )
        self._alarm(
            "Stalled",
            self.queue_metrics.metric("Stalled", minutes=30, statistic="Sum"),
            STALLED_SUM,
            "No progress: a compute environment is INVALID, or jobs have been RUNNABLE for half an hour and none runs.",
        )

    def _alarm(self, construct_id: str, metric: cloudwatch.Metric, threshold: int, description: str) -> None:
        alarm = cloudwatch.Alarm(
            self,
            f"{construct_id}Alarm",
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=description,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))

    def _dashboard(self, metrics: dict[str, cloudwatch.Metric]) -> None:
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(24))
        statuses = ("Submitted", "Pending", "Runnable", "Starting", "Running")
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="Queue depth by status",
                width=12,
                stacked=True,
                left=[self.queue_metrics.metric(f"Depth{each}").with_(label=each.upper()) for each in statuses],
            ),
            cloudwatch.GraphWidget(
                title="vCPUs",
                width=12,
                left=[
                    self.queue_metrics.metric("VcpusDesired").with_(label="desired"),
                    self.queue_metrics.metric("VcpusRunning").with_(label="of hosts that run"),
                ],
            ),
        )
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="Jobs", width=12, left=[metrics[each.name].with_(label=each.label) for each in COUNTS]
            ),
            self._query("Jobs by status", _STATUSES, cloudwatch.LogQueryVisualizationType.STACKEDAREA),
        )
        dashboard.add_widgets(
            self._query("Failures by reason (24 h)", _REASONS, cloudwatch.LogQueryVisualizationType.TABLE),
            self._query("Minutes of jobs that succeeded", _DURATION, cloudwatch.LogQueryVisualizationType.LINE),
        )
        dashboard.add_widgets(
            self._query("Job hours a day: what cost follows", _COST_PROXY, cloudwatch.LogQueryVisualizationType.BAR)
        )

    def _query(self, title: str, query: str, view: cloudwatch.LogQueryVisualizationType) -> cloudwatch.LogQueryWidget:
        return cloudwatch.LogQueryWidget(
            title=title,
            width=12,
            view=view,
            log_group_names=[self.events_group.log_group_name],
            query_string=query,
        )

    def _budget(self, settings: StackSettings, usd: int) -> None:
        """Notifies at 80 % and when the month is forecast to exceed it; counts resources with the stack's own tag.

        The tag must be activated once for cost allocation, in the account that pays.
        """
        cfn = budgets.CfnBudget
        to = (
            cfn.SubscriberProperty(subscription_type="EMAIL", address=settings.alarm_email)
            if settings.alarm_email
            else cfn.SubscriberProperty(subscription_type="SNS", address=self.topic.topic_arn)
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="BudgetsMayPublish",
                principals=[iam.ServicePrincipal("budgets.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        cfn(
            self,
            "Budget",
            budget=cfn.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=cfn.SpendProperty(amount=usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:{STACK_TAG}${Stack.of(self).stack_name}"]},
            ),
            notifications_with_subscribers=[
                cfn.NotificationWithSubscribersProperty(
                    notification=cfn.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[to],
                )
                for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        )
