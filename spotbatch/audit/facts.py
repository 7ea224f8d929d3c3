"""What is audited, in one form: resources in CloudFormation's terms, from a template or from live resources."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.pricing.catalogue import Catalogue, InstanceType

ENVIRONMENT: Final = "AWS::Batch::ComputeEnvironment"
QUEUE: Final = "AWS::Batch::JobQueue"
DEFINITION: Final = "AWS::Batch::JobDefinition"
LAUNCH_TEMPLATE: Final = "AWS::EC2::LaunchTemplate"
LOG_GROUP: Final = "AWS::Logs::LogGroup"
ROLE: Final = "AWS::IAM::Role"
POLICIES: Final = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
SUBNET: Final = "AWS::EC2::Subnet"
NAT_GATEWAY: Final = "AWS::EC2::NatGateway"
ENDPOINT: Final = "AWS::EC2::VPCEndpoint"
UNKNOWN: Final = "(not known)"  # placeholder for, or within, a value from a parameter or another stack

Properties = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource. `names` are the ways to refer to it: its Ref, its name, its ARN."""

    id: str
    type: str
    properties: Properties
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything a rule may use. `is_live`: read from AWS Batch, which lacks what only a template has."""

    resources: Sequence[Resource]
    types: Catalogue
    is_live: bool = False
    unseen: Sequence[str] = ()  # what could not be read and so was not checked by any rule

    def of(self, *kinds: str) -> Iterator[Resource]:
        """The resources of these types."""
        return (each for each in self.resources if each.type in kinds)

    def named(self, kind: str, name: object) -> Resource | None:
        """The resource a reference points to; None if it is not here."""
        return next((each for each in self.of(kind) if name in each.names or name == each.id), None)

    def hosts(self) -> Iterator[tuple[Resource, Properties]]:
        """The environments that start EC2 hosts, with their compute resources; no Fargate or unmanaged ones."""
        for each in self.of(ENVIRONMENT):
            compute = each.properties.get("ComputeResources")
            if isinstance(compute, Mapping) and str(compute.get("Type", "")).upper() in ("SPOT", "EC2"):
                yield each, compute

    def spot_hosts(self) -> Iterator[tuple[Resource, Properties]]:
        """The Spot environments among them."""
        return ((each, compute) for each, compute in self.hosts() if str(compute["Type"]).upper() == "SPOT")

    def types_of(self, compute: Properties) -> list[InstanceType] | None:
        """The instance types that an environment may launch; None if one of them is not known."""
        found: list[InstanceType] = []
        for name in texts(compute.get("InstanceTypes")) or [UNKNOWN]:
            try:
                found += self.types.expand([name])
            except NotFound:
                return None
        return found

    def definitions(self) -> Iterator[Resource]:
        """The job definitions of single containers on EC2."""
        for each in self.of(DEFINITION):
            container = each.properties.get("ContainerProperties")
            platforms = texts(each.properties.get("PlatformCapabilities"))
            if isinstance(container, Mapping) and "FARGATE" not in platforms:
                yield each


def is_known(value: object) -> bool:
    """Whether a value is fully known, not from a parameter or another stack."""
    if isinstance(value, Mapping):
        return all(is_known(each) for each in value.values())
    if isinstance(value, list):
        return all(is_known(each) for each in value)
    return UNKNOWN not in value if isinstance(value, str) else True


def texts(value: object) -> list[str]:
    """A list of strings; empty if it is not a list."""
    return [str(each) for each in value] if isinstance(value, list) else []


def whole(value: object) -> int | None:
    """A whole number, which templates write as a number or as text; None if it is not known."""
    try:
        return int(str(value))
    except ValueError:
        return None


def is_false(value: object) -> bool:
    return str(value).lower() == "false"
