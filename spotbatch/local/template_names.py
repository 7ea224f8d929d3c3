"""Names in CloudFormation's resource types: where a name is set, and what a Ref or an attribute returns."""

import hashlib
from typing import Final

# Which property of a resource type holds its name. Other types get a generated one.
NAME_PROPERTIES: Final = {
    "AWS::Batch::ComputeEnvironment": "ComputeEnvironmentName",
    "AWS::Batch::JobQueue": "JobQueueName",
    "AWS::Batch::JobDefinition": "JobDefinitionName",
    "AWS::Batch::SchedulingPolicy": "Name",
    "AWS::Batch::ConsumableResource": "ConsumableResourceName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::Events::Rule": "Name",
    "AWS::SSM::Parameter": "Name",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::ECS::Cluster": "ClusterName",
    "AWS::EC2::KeyPair": "KeyName",
}
MADE_UP_SUFFIX: Final = "-LocalA"  # used in secrets' ARNs, where AWS has six random letters
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
    ("AWS::Batch::ConsumableResource", "Ref"): "arn:aws:batch:{r}:{a}:consumable-resource/{n}",
    ("AWS::Batch::ConsumableResource", "ConsumableResourceArn"): "arn:aws:batch:{r}:{a}:consumable-resource/{n}",
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
    ("AWS::IAM::ManagedPolicy", "Ref"): "arn:aws:iam::{a}:policy/{n}",
    ("AWS::SQS::Queue", "Ref"): "https://sqs.{r}.amazonaws.com/{a}/{n}",
    ("AWS::SQS::Queue", "Arn"): "arn:aws:sqs:{r}:{a}:{n}",
    ("AWS::StepFunctions::StateMachine", "Ref"): "arn:aws:states:{r}:{a}:stateMachine:{n}",
    ("AWS::StepFunctions::StateMachine", "Arn"): "arn:aws:states:{r}:{a}:stateMachine:{n}",
    ("AWS::SecretsManager::Secret", "Ref"): "arn:aws:secretsmanager:{r}:{a}:secret:{n}" + MADE_UP_SUFFIX,
    ("AWS::SecretsManager::Secret", "Id"): "arn:aws:secretsmanager:{r}:{a}:secret:{n}" + MADE_UP_SUFFIX,
    ("AWS::DynamoDB::Table", "Arn"): "arn:aws:dynamodb:{r}:{a}:table/{n}",
    ("AWS::ECS::Cluster", "Arn"): "arn:aws:ecs:{r}:{a}:cluster/{n}",
    ("AWS::Events::Rule", "Arn"): "arn:aws:events:{r}:{a}:rule/{n}",
    ("AWS::ECS::TaskDefinition", "Ref"): "arn:aws:ecs:{r}:{a}:task-definition/{n}:1",
}
_EC2_PREFIXES: Final = {
    "AWS::EC2::VPC": "vpc",
    "AWS::EC2::Subnet": "subnet",
    "AWS::EC2::SecurityGroup": "sg",
    "AWS::EC2::LaunchTemplate": "lt",
    "AWS::EC2::InternetGateway": "igw",
    "AWS::EC2::NatGateway": "nat",
    "AWS::EC2::RouteTable": "rtb",
    "AWS::EC2::Instance": "i",
    "AWS::EC2::Volume": "vol",
    "AWS::EC2::VPCEndpoint": "vpce",
    "AWS::EFS::FileSystem": "fs",
    "AWS::EFS::AccessPoint": "fsap",
    "AWS::FSx::FileSystem": "fs",
}
_MADE_UP_CIDR: Final = "10.0.0.0/16"


def made_up(kind: str, stack: str, logical_id: str, place: str) -> str:
    """The name of a resource without one of its own: always the same for the same place, within the type's limits."""
    digest = hashlib.sha256(place.encode()).hexdigest()
    if prefix := _EC2_PREFIXES.get(kind):
        return f"{prefix}-{digest[:17]}"
    if kind == "AWS::FIS::ExperimentTemplate":
        return f"EXT{digest[:15].upper()}"
    if kind in ("AWS::S3::Bucket", "AWS::ECR::Repository"):
        return f"{stack[:24]}-{logical_id[:24]}-{digest[:12]}".lower()
    if kind.startswith("AWS::Batch::"):
        return f"{logical_id[:100]}-{digest[:16]}"
    return f"{stack}-{logical_id}-{digest[:12].upper()}"


def made_up_attribute(kind: str, name: str, physical: str, region: str, account_id: str) -> str | list[str]:
    """An attribute of a resource that is not created here: in the format suggested by its name."""
    service = kind.split("::")[1].lower() if "::" in kind else kind.lower()
    last = name.rpartition(".")[2]
    if last.endswith(("Arn", "ARN")):
        return f"arn:aws:{service}:{region}:{account_id}:{kind.rpartition('::')[2].lower()}/{physical}"
    if last.endswith(("CidrBlocks", "CidrBlockAssociations", "Ids", "NameServers")):
        return [_MADE_UP_CIDR if "Cidr" in last else f"{physical}-1"]
    if last == "CidrBlock":
        return _MADE_UP_CIDR
    if last == "AvailabilityZone":
        return f"{region}a"
    if last.endswith(("Ip", "IP", "IpAddress")):
        return "10.0.0.10"
    if last.endswith(("Address", "Endpoint", "DNSName", "DnsName", "DomainName")):
        return f"{physical}.{service}.{region}.amazonaws.com".lower()
    if last.endswith(("URL", "Url")):
        return f"https://{physical}.{service}.{region}.amazonaws.com".lower()
    if last in ("Name", "Id", "Ref"):
        return physical
    return f"{physical}.{name}"
