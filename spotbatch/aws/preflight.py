"""What must be true of an account before the stack can be deployed there, asked without changing anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.aws import session
from spotbatch.batch.errors import NotFound, SpotbatchError

BOOTSTRAP_PARAMETER: Final = "/cdk-bootstrap/hnb659fds/version"
LEAST_BOOTSTRAP_VERSION: Final = 6
SPOT_VCPU_QUOTA: Final = "L-34B43A08"  # "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", in vCPUs
_SERVICE_ROLES: Final = {  # role -> the service that it is for
    "AWSServiceRoleForBatch": "batch.amazonaws.com",
    "AWSServiceRoleForEC2Spot": "spot.amazonaws.com",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Whose credentials these are, and where they act."""

    account: str
    arn: str
    region: str


def caller() -> Caller:
    """Raises Unavailable without usable credentials, InvalidInput without a region."""
    sts = session.client("sts")
    found = sts.get_caller_identity()
    return Caller(account=found["Account"], arn=found["Arn"], region=sts.meta.region_name)


def bootstrap_version() -> int:
    """The version of the CDK's bootstrap stack in this account and region; 0 where there is none."""
    try:
        answer = session.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)
    except NotFound:
        return 0
    return int(answer["Parameter"]["Value"])


def zones() -> Sequence[str]:
    """The availability zones that this account may use in the region, local zones left out."""
    answer = session.client("ec2").describe_availability_zones(
        Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    )
    return sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])


def spot_vcpu_quota() -> int | None:
    """How many vCPUs of standard Spot instances may run at once; None where AWS does not tell."""
    try:
        answer = session.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=SPOT_VCPU_QUOTA)
    except SpotbatchError:
        return None  # a missing permission, or a region without the service: nothing to warn of
    return int(answer["Quota"]["Value"])


def missing_service_roles() -> Sequence[str]:
    """The service-linked roles that AWS Batch on Spot needs and the account does not have."""
    iam = session.client("iam")
    missing = []
    for role in _SERVICE_ROLES:
        try:
            iam.get_role(RoleName=role)
        except NotFound:
            missing.append(role)
    return missing


def make_service_role(role: str) -> None:
    """Create one of the roles that `missing_service_roles` named."""
    session.client("iam").create_service_linked_role(AWSServiceName=_SERVICE_ROLES[role])
