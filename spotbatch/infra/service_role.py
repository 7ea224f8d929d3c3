"""What AWS Batch itself needs in an account, if given its own role instead of the service-linked one.

Based on AWS's two managed policies, AWSBatchServiceRole (v14) and that of the service-linked role,
BatchServiceRolePolicy (v8, both of August 2026), minus what this stack never uses: `NOT_USED` lists each action and
the reason. Where possible it is limited to this region and account, and roles to pass are named.
tests/unit/infra/test_service_role.py compares action by action.
"""

from typing import Final

from aws_cdk import Aws
from aws_cdk import aws_iam as iam

# These support no resource-level permissions (Service Authorization Reference), and only read.
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
    "ecs:UpdateCluster",
    "ecs:UpdateContainerAgent",
)
USED: Final = {  # services, and the role that an account's first call creates for each
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
}
_FLEET: Final = "Spot fleets are of the strategy BEST_FIT, which no setting chooses"
_CONFIGURATION: Final = "AWS Batch uses a launch template here, never a launch configuration"
_OTHER_LOGS: Final = "jobs write to the stack's own log group, by the execution role"
_MANAGED: Final = "ECS Managed Instances and Fargate bring capacity providers; this environment has EC2 instances"
NOT_USED: Final = {  # in one of AWS's policies but not here, with the reason
    "ec2:CancelSpotFleetRequests": _FLEET,
    "ec2:DescribeSpotFleetInstances": _FLEET,
    "ec2:DescribeSpotFleetRequestHistory": _FLEET,
    "ec2:DescribeSpotFleetRequests": _FLEET,
    "ec2:DescribeSpotInstanceRequests": _FLEET,
    "ec2:ModifySpotFleetRequest": _FLEET,
    "ec2:RequestSpotFleet": _FLEET,
    "ec2:DescribeVpcClassicLink": "EC2-Classic is gone",
    "autoscaling:CreateLaunchConfiguration": _CONFIGURATION,
    "autoscaling:DeleteLaunchConfiguration": _CONFIGURATION,
    "autoscaling:DescribeLaunchConfigurations": _CONFIGURATION,
    "logs:CreateLogGroup": _OTHER_LOGS,
    "logs:CreateLogStream": _OTHER_LOGS,
    "logs:DescribeLogGroups": _OTHER_LOGS,
    "logs:PutLogEvents": _OTHER_LOGS,
    "ecs:CreateCapacityProvider": _MANAGED,
    "ecs:DeleteCapacityProvider": _MANAGED,
    "ecs:DescribeCapacityProviders": _MANAGED,
    "ecs:PutClusterCapacityProviders": _MANAGED,
    "ecs:UntagResource": _MANAGED,
    "ecs:UpdateCapacityProvider": _MANAGED,
    "eks:DescribeCluster": "for environments on EKS",
}


def grant(role: iam.Role, *, instance_role: iam.IRole, instance_profile_arn: str, task_roles: list[iam.IRole]) -> None:
    """Give a role what AWS Batch needs to run this stack's environment."""
    here = {"StringEquals": {"aws:RequestedRegion": Aws.REGION}}

    def arn(service: str) -> str:
        return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:*"

    service_roles = f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/aws-service-role"
    images = [f"arn:{Aws.PARTITION}:ec2:{Aws.REGION}::{kind}/*" for kind in ("image", "snapshot")]  # AWS's own
    for statement in (
        iam.PolicyStatement(sid="Look", actions=list(LOOKING), resources=["*"], conditions=here),
        iam.PolicyStatement(sid="Scale", actions=list(SCALING), resources=[arn("autoscaling")]),
        iam.PolicyStatement(sid="Launch", actions=list(LAUNCHING), resources=[arn("ec2"), *images]),
        iam.PolicyStatement(
            sid="TagWhatIsLaunched",
            actions=["ec2:CreateTags"],
            resources=[arn("ec2")],
            conditions={"StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateLaunchTemplate"]}},
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
