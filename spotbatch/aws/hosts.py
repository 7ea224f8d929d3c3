"""Hosts of AWS Batch jobs: which EC2 instance is behind a container instance, and when it lived."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spotbatch.aws import session
from spotbatch.batch.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_DESCRIBED_AT_ONCE: Final = 100  # API reference, ECS DescribeContainerInstances
_FILTERED_AT_ONCE: Final = 200  # EC2 answers FilterLimitExceeded to more filter values in one call


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """An EC2 instance. `launched_at` (UTC epoch seconds) is None if EC2 has forgotten it."""

    instance_id: str
    instance_type: str
    zone: str
    launched_at: float | None = None
    is_spot: bool = True
    is_running: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosts:
    """ECS resolves Batch's ARNs, EC2 knows when an instance was launched. Both eventually forget ended instances."""

    ecs: Any = None  # by default, a client made when it is first needed: EC2's model takes a tenth of a second to read
    ec2: "EC2Client | None" = None
    known: dict[str, Host | None] = field(default_factory=dict)  # by ARN: what was asked, so that it is asked once

    def by_arn(self, arns: Iterable[str]) -> dict[str, Host]:
        """The hosts behind container instance ARNs: as far as ECS still remembers them."""
        wanted = list(dict.fromkeys(arns))
        clusters: dict[str, list[str]] = defaultdict(list)
        for arn in wanted:
            if arn not in self.known:
                clusters[_cluster(arn)].append(arn)
        ecs = self.ecs or (session.client("ecs") if clusters else None)
        for cluster, members in clusters.items():
            for start in range(0, len(members), _DESCRIBED_AT_ONCE):
                some = members[start : start + _DESCRIBED_AT_ONCE]
                self.known.update({**dict.fromkeys(some), **_described(ecs, cluster, some)})
        return {arn: host for arn in wanted if (host := self.known[arn]) is not None}

    def launches(self, instance_ids: Iterable[str]) -> dict[str, tuple[float, bool, bool]]:
        """When instances were launched, whether they are Spot, and whether they still run, as far as EC2 remembers.

        EC2 forgets an instance about an hour after its end.
        """
        wanted = sorted(set(instance_ids))
        ec2 = self.ec2 or (session.client("ec2") if wanted else None)
        found = {}
        for start in range(0, len(wanted), _FILTERED_AT_ONCE):
            for each in _instances(ec2, wanted[start : start + _FILTERED_AT_ONCE]):
                is_spot = each.get("InstanceLifecycle") == "spot"
                is_running = each["State"]["Name"] in ("pending", "running")
                found[each["InstanceId"]] = (each["LaunchTime"].timestamp(), is_spot, is_running)
        return found


def _instances(ec2: Any, instance_ids: list[str]) -> Iterator[Any]:
    """Queried with a filter rather than a list of ids, so that instances EC2 has forgotten are not an error."""
    wanted: Any = [{"Name": "instance-id", "Values": instance_ids}]
    for page in ec2.get_paginator("describe_instances").paginate(Filters=wanted):
        for reservation in page["Reservations"]:
            yield from reservation["Instances"]


def _described(ecs: Any, cluster: str, arns: list[str]) -> dict[str, Host]:
    try:
        answer = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)
    except (NotFound, InvalidInput):  # the cluster was deleted with its compute environment
        return {}
    return {each["containerInstanceArn"]: _host(each) for each in answer["containerInstances"]}


def _cluster(arn: str) -> str:
    """The cluster in arn:aws:ecs:REGION:ACCOUNT:container-instance/CLUSTER/ID."""
    return arn.partition("container-instance/")[2].rpartition("/")[0]


def _host(shape: Mapping[str, Any]) -> Host:
    attributes = {each["name"]: each.get("value", "") for each in shape.get("attributes", [])}
    return Host(
        instance_id=shape.get("ec2InstanceId", ""),
        instance_type=attributes.get("ecs.instance-type", ""),
        zone=attributes.get("ecs.availability-zone", ""),
        is_running=shape.get("status") == "ACTIVE",
    )
