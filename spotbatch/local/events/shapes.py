"""The events of AWS Batch, EC2 and ECS in AWS's format: the envelope and the details of each kind. Pure.

Sources: EventBridge user guide, "AWS service event metadata"; AWS Batch user guide, "Job state change events" and "Job
queue blocked events"; EC2 user guide, "Spot Instance interruption notices", "Rebalance recommendations" and "Monitor
instance state changes"; ECS developer guide, "Task state change events" and "Container instance state change events".
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

Event = dict[str, Any]
Kind = tuple[str, str]  # source and detail-type

JOB_STATE: Final[Kind] = ("aws.batch", "Batch Job State Change")
QUEUE_BLOCKED: Final[Kind] = ("aws.batch", "Batch Job Queue Blocked")
SPOT_WARNING: Final[Kind] = ("aws.ec2", "EC2 Spot Instance Interruption Warning")
REBALANCE: Final[Kind] = ("aws.ec2", "EC2 Instance Rebalance Recommendation")
INSTANCE_STATE: Final[Kind] = ("aws.ec2", "EC2 Instance State-change Notification")
TASK_STATE: Final[Kind] = ("aws.ecs", "ECS Task State Change")
CONTAINER_INSTANCE_STATE: Final[Kind] = ("aws.ecs", "ECS Container Instance State Change")
SCHEDULED: Final[Kind] = ("aws.events", "Scheduled Event")
ALARM_STATE: Final[Kind] = ("aws.cloudwatch", "CloudWatch Alarm State Change")
KINDS: Final = (
    *(JOB_STATE, QUEUE_BLOCKED, SPOT_WARNING, REBALANCE, INSTANCE_STATE),
    *(TASK_STATE, CONTAINER_INSTANCE_STATE),
)


def envelope(
    kind: Kind,
    detail: Mapping[str, Any],
    *,
    at: float,
    account_id: str,
    region: str,
    resources: Sequence[str] = (),
    event_id: str = "",
) -> Event:
    """One event. `at` is in UTC epoch seconds; EventBridge uses whole seconds."""
    source, detail_type = kind
    return {
        "version": "0",
        "id": event_id or str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": account_id,
        "time": moment(at),
        "region": region,
        "resources": list(resources),
        "detail": dict(detail),
    }


def moment(at: float) -> str:
    """A time in EventBridge's format."""
    return _second(int(at))


@lru_cache(maxsize=64)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise(at: float) -> str:
    """A time in the format of ECS's details."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def spot_resource(zone: str, instance_id: str) -> str:
    """The warning identifies its instance by zone, and without an account, unlike EC2's other events."""
    return f"arn:aws:ec2:{zone}:instance/{instance_id}"


def instance_resource(region: str, account_id: str, instance_id: str) -> str:
    return f"arn:aws:ec2:{region}:{account_id}:instance/{instance_id}"


def task_detail(task: Mapping[str, Any], *, version: int, at: float) -> dict[str, Any]:
    """A task as DescribeTasks returns it, plus what the event adds: its version, and times as strings."""
    moments = ("createdAt", "startedAt", "stoppedAt")
    texts = {name: precise(task[name]) for name in moments if task.get(name) is not None}
    overrides = {"containerOverrides": [{"name": one["name"]} for one in task.get("containers", [])]}
    return {**task, **texts, "overrides": overrides, "updatedAt": precise(at), "version": version}


def container_instance_detail(instance: Mapping[str, Any], *, cluster: str, version: int, at: float) -> dict[str, Any]:
    """A container instance as DescribeContainerInstances returns it, plus the event's own members."""
    registered = precise(float(instance["registeredAt"])) if instance.get("registeredAt") is not None else None
    times = {"registeredAt": registered} if registered else {}
    return {**instance, **times, "clusterArn": cluster, "updatedAt": precise(at), "version": version}
