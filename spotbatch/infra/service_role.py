"""What AWS Batch itself needs in an account, for those who give it a role of its own instead of the service-linked one.

Written after the managed policy AWSBatchServiceRole, less what this stack never uses (Spot fleets, launch
configurations, log groups): what can be is bound to this region and account, and roles to hand on are named.
"""

from typing import Final

from aws_cdk import Aws
from aws_cdk import aws_iam as iam

# These know no resource (Service Authorization Reference), and only look.
LOOKING: Final = (
    "autoscaling:DescribeAccountLimits",
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeScalingActivities",
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeImages",
    "ec2:DescribeImageAttribute",
    "ec2:DescribeInstanceAttribute",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "ecs:ListAccountSettings",
    "ecs:ListClusters",
    "ecs:ListTaskDefinitionFamilies",
    "ecs:ListTaskDefinitions",
)
SCALING: Final = (
    "autoscaling:CreateAutoScalingGroup",
    "autoscaling:CreateOrUpdateTags",
    "autoscaling:DeleteAutoScalingGroup",
    "autoscaling:PutNotificationConfiguration",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:SuspendProcesses",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
    "autoscaling:UpdateAutoScalingGroup",
)
LAUNCHING: Final = (
    "ec2:CreateLaunchTemplate",
    "ec2:DeleteLaunchTemplate",
    "ec2:RunInstances",
    "ec2:TerminateInstances",
)
RUNNING: Final = (
    "ecs:CreateCluster",
    "ecs:DeleteCluster",
    "ecs:DeregisterContainerInstance",
    "ecs:DescribeClusters",
    "ecs:DescribeContainerInstances",
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeTasks",
    "ecs:DeregisterTaskDefinition",
    "ecs:ListContainerInstances",
    "ecs:ListTasks",
    "ecs:RegisterTaskDefinition",
    "ecs:RunTask",
    "ecs:StartTask",
    "ecs:StopTask",
    "ecs:TagResource",
    "ecs:UpdateContainerAgent",
)
USED: Final = {  # services, and the role that the first call in an account makes for each
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
}


def grant(role: iam.Role, *, instance_role: iam.IRole, instance_profile_arn: str, task_roles: list[iam.IRole]) -> None:
    """Give a role what AWS Batch needs to run this stack's environment."""
    here = {"StringEquals": {"aws:RequestedRegion": Aws.REGION}}

    def arn(service: str) -> str:
        return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:*"

    service_roles = f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/aws-service-role"
    images = f"arn:{Aws.PARTITION}:ec2:{Aws.REGION}::image/*"
    for statement in (
        iam.PolicyStatement(sid="Look", actions=list(LOOKING), resources=["*"], conditions=here),
        iam.PolicyStatement(sid="Scale", actions=list(SCALING), resources=[arn("autoscaling")]),
        iam.PolicyStatement(sid="Launch", actions=list(LAUNCHING), resources=[arn("ec2"), images]),
        iam.PolicyStatement(
            sid="TagWhatIsLaunched",
            actions=["ec2:CreateTags"],
            resources=[arn("ec2")],
            conditions={"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        ),
        iam.PolicyStatement(
            sid="RolesOfServicesThatItUses",
            actions=["iam:CreateServiceLinkedRole"],
            resources=[f"{service_roles}/{service}/{role}" for service, role in USED.items()],
            conditions={"StringEquals": {"iam:AWSServiceName": list(USED)}},
        ),
        iam.PolicyStatement(sid="Run", actions=list(RUNNING), resources=[arn("ecs")]),
        _hand_on("HandOnToHosts", "ec2.amazonaws.com", [instance_role]),
        _hand_on("HandOnToJobs", "ecs-tasks.amazonaws.com", task_roles),
        iam.PolicyStatement(
            sid="LookAtTheHostsRole",
            actions=["iam:GetInstanceProfile", "iam:GetRole"],
            resources=[instance_profile_arn, instance_role.role_arn],
        ),
    ):
        role.add_to_policy(statement)


def _hand_on(sid: str, service: str, roles: list[iam.IRole]) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        actions=["iam:PassRole"],
        resources=[role.role_arn for role in roles],
        conditions={"StringEquals": {"iam:PassedToService": service}},
    )
