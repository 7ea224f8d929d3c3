"""Preconditions of an account for deploying the stack, checked without changing anything."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.aws import session
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError, Unavailable
from spotbatch.batch.partitions import check_region

BOOTSTRAP_PARAMETER: Final = "/cdk-bootstrap/hnb659fds/version"
LEAST_BOOTSTRAP_VERSION: Final = 6
# Regions available to every account; others answer only once they have been enabled (AWS account guide).
_ALWAYS_THERE: Final = frozenset(
    {
        "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
        "ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1",
        "us-east-1", "us-east-2", "us-west-1", "us-west-2",
    }
)  # fmt: skip
_NO_REGION: Final = "aws-global"  # botocore's name for STS's global endpoint
_NOT_KNOWN_THERE: Final = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"})
_IN_OPEN_ZONES: Final = ("m5.large", "t4g.nano")
_SERVICE_ROLES: Final = {  # role -> the service it is for
    "AWSServiceRoleForBatch": "batch.amazonaws.com",
    "AWSServiceRoleForEC2Spot": "spot.amazonaws.com",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who the credentials belong to, and where they act."""

    account: str
    arn: str
    region: str


def caller() -> Caller:
    """The current caller. Raises Unavailable without usable credentials, InvalidInput without an existing region."""
    sts = session.client("sts")
    region: str | None = sts.meta.region_name
    if region is None or region == _NO_REGION:
        raise InvalidInput("no AWS region is set: give --region, or set AWS_REGION")
    _check_region(region)
    try:
        found = sts.get_caller_identity()
    except Unavailable as error:
        if region in _ALWAYS_THERE or session.error_code(error) not in _NOT_KNOWN_THERE:
            raise
        raise Unavailable(
            f"{error}. Or the region {region} is not enabled in this account: "
            f"`aws account enable-region --region-name {region}` does that, or choose another --region"
        ) from error
    return Caller(account=found["Account"], arn=found["Arn"], region=region)


def _check_region(region: str) -> None:
    """Raises InvalidInput for a name that is not a region: a call there would end in a long network timeout."""
    check_region(region)
    known = _regions()
    if region in known:
        return
    near = difflib.get_close_matches(region, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "give one such as us-east-1"
    raise InvalidInput(f"there is no AWS region {region!r}: {hint} (as far as the installed boto3 knows)")


def _regions() -> Sequence[str]:
    """Every region of every partition, from botocore's data (its list of endpoints takes 300 ms to read)."""
    from botocore.loaders import Loader

    partitions = Loader(include_default_search_paths=True).load_data("partitions")["partitions"]
    return [name for partition in partitions for name in partition["regions"] if not name.endswith("-global")]


def bootstrap_version() -> int:
    """The version of the CDK bootstrap stack in this account and region; 0 if there is none."""
    try:
        answer = session.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)
    except NotFound:
        return 0
    return int(answer["Parameter"]["Value"])


def zones(before: Sequence[str] = ()) -> Sequence[str]:
    """The availability zones to deploy into, without local zones.

    Zones of an existing stack (`before`) keep their order: moving a zone, or dropping one that is impaired today, would
    replace subnets with others of the same addresses, which EC2 refuses. A NAT gateway goes into the first zone, so
    zones in which AWS launches nothing new come last.
    """
    answer = session.client("ec2").describe_availability_zones(
        Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    )
    new = {zone["ZoneName"] for zone in answer["AvailabilityZones"]} - set(before)
    open_ones = _open_zones() if new and not before else frozenset()
    return [*before, *sorted(new, key=lambda zone: (zone not in open_ones, zone))]


def _open_zones() -> frozenset[str]:
    """Zones that offer what every zone open to growth offers; none if AWS does not say.

    Constrained ones have neither these types nor room for a NAT gateway (VPC user guide, "NotAvailableInZone").
    """
    try:
        answer = session.client("ec2").describe_instance_type_offerings(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": list(_IN_OPEN_ZONES)}]
        )
    except SpotbatchError:  # a permission may be missing; then they are ordered by name
        return frozenset()
    places: dict[str, set[str]] = {name: set() for name in _IN_OPEN_ZONES}
    for each in answer["InstanceTypeOfferings"]:
        places[each["InstanceType"]].add(each["Location"])
    return frozenset(set.intersection(*places.values()))


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
    """Create a role from `missing_service_roles`; one created by someone else meanwhile is not an error."""
    try:
        session.client("iam").create_service_linked_role(AWSServiceName=_SERVICE_ROLES[role])
    except InvalidInput as error:
        if not any(words in str(error) for words in ("has been taken", "already exists")):
            raise
