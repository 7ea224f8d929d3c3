"""An experiment of AWS Fault Injection Service that interrupts one of the stack's Spot hosts, as EC2 would.

FIS user guide, "Tutorial: Test Spot Instance interruptions using AWS FIS" and, for the role, "IAM roles for AWS FIS
experiments". It is free until started, then 0.10 USD per action-minute ("AWS FIS pricing").
"""

from aws_cdk import Aws, Stack
from aws_cdk import aws_fis as fis
from aws_cdk import aws_iam as iam
from constructs import Construct

from spotbatch.batch.environment import STACK_TAG

_TARGET = "OneSpotHost"


class FaultInjection(Construct):
    """`experiment_id`: what to start. The role reaches only instances with this stack's tag."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        cfn = fis.CfnExperimentTemplate
        self.experiment = cfn(
            self,
            "Interruption",
            description=f"Interrupt one Spot host of {stack.stack_name}",
            role_arn=self._role(stack).role_arn,
            stop_conditions=[cfn.ExperimentTemplateStopConditionProperty(source="none")],
            targets={
                _TARGET: cfn.ExperimentTemplateTargetProperty(
                    resource_type="aws:ec2:spot-instance",
                    resource_tags={STACK_TAG: stack.stack_name},
                    filters=[cfn.ExperimentTemplateTargetFilterProperty(path="State.Name", values=["running"])],
                    selection_mode="COUNT(1)",
                )
            },
            actions={
                "interrupt": cfn.ExperimentTemplateActionProperty(
                    action_id="aws:ec2:send-spot-instance-interruptions",
                    parameters={"durationBeforeInterruption": "PT2M"},
                    targets={"SpotInstances": _TARGET},
                )
            },
            tags={"Name": f"{stack.stack_name}-interruption"},
        )
        self.experiment_id = self.experiment.attr_id

    def _role(self, stack: Stack) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "fis.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
            ),
            description="Experiments: interrupt Spot hosts of this stack",
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="InterruptHostsOfThisStack",
                actions=["ec2:SendSpotInstanceInterruptions"],
                resources=[f"arn:{Aws.PARTITION}:ec2:{stack.region}:{Aws.ACCOUNT_ID}:instance/*"],
                conditions={"StringEquals": {f"aws:ResourceTag/{STACK_TAG}": stack.stack_name}},
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="FindThem",
                actions=["ec2:DescribeInstances", "tag:GetResources"],  # neither supports resource-level permissions
                resources=["*"],
            )
        )
        return role
