"""What CloudFormation's resource types call themselves: where a name stands, what a Ref or an attribute gives."""

import hashlib
from typing import Final

# Where a type of resource keeps its own name. Others get a made-up one.
NAME_PROPERTIES: Final = {
    "AWS::Batch::ComputeEnvironment": "ComputeEnvironmentName",
    "AWS::Batch::JobQueue": "JobQueueName",
    "AWS::Batch::JobDefinition": "JobDefinitionName",
    "AWS::Batch::SchedulingPolicy": "Name",
    "AWS::S3::Bucket": "BucketName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Lambda::Function": "FunctionName",
}
# ARN-shaped attributes and references: {n} is the name, {r} the region, {a} the account.
ATTRIBUTES: Final = {
    ("AWS::Batch::ComputeEnvironment", "ComputeEnvironmentArn"): "arn:aws:batch:{r}:{a}:compute-environment/{n}",
    ("AWS::Batch::ComputeEnvironment", "Ref"): "arn:aws:batch:{r}:{a}:compute-environment/{n}",
    ("AWS::Batch::JobQueue", "JobQueueArn"): "arn:aws:batch:{r}:{a}:job-queue/{n}",
    ("AWS::Batch::JobQueue", "Ref"): "arn:aws:batch:{r}:{a}:job-queue/{n}",
    ("AWS::Batch::JobDefinition", "Ref"): "arn:aws:batch:{r}:{a}:job-definition/{n}",
    ("AWS::Batch::JobDefinition", "JobDefinitionArn"): "arn:aws:batch:{r}:{a}:job-definition/{n}",
    ("AWS::Batch::SchedulingPolicy", "Ref"): "arn:aws:batch:{r}:{a}:scheduling-policy/{n}",
    ("AWS::Batch::SchedulingPolicy", "Arn"): "arn:aws:batch:{r}:{a}:scheduling-policy/{n}",
    ("AWS::S3::Bucket", "Arn"): "arn:aws:s3:::{n}",
    ("AWS::S3::Bucket", "DomainName"): "{n}.s3.amazonaws.com",
    ("AWS::S3::Bucket", "RegionalDomainName"): "{n}.s3.{r}.amazonaws.com",
    ("AWS::Logs::LogGroup", "Arn"): "arn:aws:logs:{r}:{a}:log-group:{n}:*",
    ("AWS::ECR::Repository", "Arn"): "arn:aws:ecr:{r}:{a}:repository/{n}",
    ("AWS::ECR::Repository", "RepositoryUri"): "{a}.dkr.ecr.{r}.amazonaws.com/{n}",
    ("AWS::IAM::Role", "Arn"): "arn:aws:iam::{a}:role/{n}",
    ("AWS::IAM::Role", "RoleId"): "AROA{n}",
    ("AWS::IAM::InstanceProfile", "Arn"): "arn:aws:iam::{a}:instance-profile/{n}",
    ("AWS::SNS::Topic", "Ref"): "arn:aws:sns:{r}:{a}:{n}",
    ("AWS::SNS::Topic", "TopicArn"): "arn:aws:sns:{r}:{a}:{n}",
    ("AWS::SNS::Topic", "TopicName"): "{n}",
    ("AWS::Lambda::Function", "Arn"): "arn:aws:lambda:{r}:{a}:function:{n}",
    ("AWS::KMS::Key", "Arn"): "arn:aws:kms:{r}:{a}:key/{n}",
    ("AWS::KMS::Key", "KeyId"): "{n}",
    ("AWS::EC2::VPC", "VpcId"): "{n}",
    ("AWS::EC2::VPC", "DefaultSecurityGroup"): "sg-{n}",
    ("AWS::EC2::Subnet", "SubnetId"): "{n}",
    ("AWS::EC2::SecurityGroup", "GroupId"): "{n}",
    ("AWS::EC2::LaunchTemplate", "LaunchTemplateId"): "{n}",
    ("AWS::EC2::LaunchTemplate", "LatestVersionNumber"): "1",
    ("AWS::EC2::LaunchTemplate", "DefaultVersionNumber"): "1",
    ("AWS::SSM::Parameter", "Value"): "{n}",
}
_EC2_PREFIXES: Final = {
    "AWS::EC2::VPC": "vpc",
    "AWS::EC2::Subnet": "subnet",
    "AWS::EC2::SecurityGroup": "sg",
    "AWS::EC2::LaunchTemplate": "lt",
}


def made_up(kind: str, stack: str, logical_id: str, place: str) -> str:
    """The name of a resource that has none of its own: always the same for the same place, within the type's limits."""
    digest = hashlib.sha256(place.encode()).hexdigest()
    if prefix := _EC2_PREFIXES.get(kind):
        return f"{prefix}-{digest[:17]}"
    if kind in ("AWS::S3::Bucket", "AWS::ECR::Repository"):
        return f"{stack[:24]}-{logical_id[:24]}-{digest[:12]}".lower()
    if kind.startswith("AWS::Batch::"):
        return f"{logical_id[:100]}-{digest[:16]}"
    return f"{stack}-{logical_id}-{digest[:12].upper()}"
