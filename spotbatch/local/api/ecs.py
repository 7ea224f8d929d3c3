"""The names that ECS gives to what Batch runs, and the little of ECS's API by which a job's host is found."""

import json
import re
from typing import Final

from spotbatch.local.api.http import Response, json_response
from spotbatch.local.api.names import Names
from spotbatch.local.api.region import ENVIRONMENT, Region
from spotbatch.local.contract import AttemptView, HostView

_CLUSTER: Final = "spotbatch"
_ID_DIGITS: Final = 32
_INSTANCE_DIGITS: Final = 17


def task_arn(names: Names, attempt: AttemptView) -> str:
    """The ARN of an attempt's task: its log stream ends with the task's id."""
    return names.ecs_arn("task", _CLUSTER, attempt.log_stream.rpartition("/")[2])


def container_instance_arn(names: Names, instance_id: str) -> str:
    """The ARN of a host as ECS knows it. The instance's own digits stand in it, so that the way back needs no table."""
    return names.ecs_arn("container-instance", _CLUSTER, instance_id.removeprefix("i-").rjust(_ID_DIGITS, "0"))


def instance_id_of(arn: str) -> str | None:
    """The instance that one of our container instance ARNs means."""
    digits = arn.rpartition("/")[2]
    if not re.fullmatch(rf"[0-9a-f]{{{_ID_DIGITS}}}", digits):
        return None
    return f"i-{digits[_ID_DIGITS - _INSTANCE_DIGITS :]}"


def describe_container_instances(region: Region, body: bytes) -> Response | None:
    """ECS DescribeContainerInstances for our hosts; None when another cluster is meant, so that moto answers."""
    try:
        asked = json.loads(body)
        arns = [str(arn) for arn in asked["containerInstances"]]
    except (ValueError, KeyError, TypeError):
        return None
    if str(asked.get("cluster", "")).rpartition("/")[2] not in _clusters(region):
        return None
    hosts = {host.instance_id: host for host in region.engine.hosts()}
    found = [(arn, hosts.get(instance_id_of(arn) or "")) for arn in arns]
    return json_response(
        {
            "containerInstances": [_described(arn, host) for arn, host in found if host is not None],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn, host in found if host is None],
        }
    )


def _clusters(region: Region) -> set[str]:
    """The one that stands in our ARNs, and each that a compute environment is described with."""
    arns = (str(body.get("ecsClusterArn", "")) for body in region.engine.resources(ENVIRONMENT).values())
    return {_CLUSTER, *(arn.rpartition("/")[2] for arn in arns)}


def _described(arn: str, host: HostView) -> dict[str, object]:
    attributes = {"ecs.instance-type": host.instance_type, "ecs.availability-zone": host.zone}
    return {
        "containerInstanceArn": arn,
        "ec2InstanceId": host.instance_id,
        "status": "ACTIVE" if host.ended_at is None else "INACTIVE",
        "runningTasksCount": host.running,
        "attributes": [{"name": name, "value": value} for name, value in attributes.items()],
    }
