"""The part of ECS's API for looking up what AWS Batch runs: clusters, container instances and tasks.

Each compute environment has a cluster; its hosts are container instances, and each attempt is a task.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.status import JobStatus
from spotbatch.local.api.errors import ApiError, ClientException, error_response
from spotbatch.local.api.http import Head, Response, json_response
from spotbatch.local.api.names import Names
from spotbatch.local.api.pages import answer_page
from spotbatch.local.api.region import ENVIRONMENT, Document, Region
from spotbatch.local.contract import AttemptView, UnitView
from spotbatch.local.host_view import HostView, is_fargate

_TARGET: Final = "AmazonEC2ContainerServiceV20141113."
_UNKNOWN: Final = "spotbatch"  # the cluster of attempts made before hosts were recorded
_ID_DIGITS: Final = 32
_INSTANCE_DIGITS: Final = 17
_MOST: Final = 100
_CPU_A_VCPU: Final = 1024
_REMEMBERED_SECONDS: Final = 3600.0  # ECS forgets stopped tasks after about an hour
_MOST_STOPPED: Final = 1000  # number of newest jobs examined for stopped tasks

Task = tuple[str, UnitView, AttemptView]  # the job or child, and its attempt


# ---- names ----


def cluster_name(names: Names, environment: str) -> str:
    """The cluster that AWS Batch creates for a compute environment: always the same for the same name."""
    digest = hashlib.sha256(f"{names.account_id}/{names.region}/{environment}".encode()).hexdigest()
    unique = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
    return f"AWSBatch-{environment}-{unique}"


def cluster_of(region: Region, environment: str) -> str:
    """The name of an environment's cluster, even after the environment is deleted."""
    if not environment:
        return _UNKNOWN
    body = region.engine.resources(ENVIRONMENT).get(environment, {})
    arn = str(body.get("ecsClusterArn", ""))
    return arn.rpartition("/")[2] or cluster_name(region.names, environment)


def task_arn(region: Region, attempt: AttemptView) -> str:
    """The ARN of an attempt's task: its log stream's name ends with the task's id."""
    task = attempt.log_stream.rpartition("/")[2]
    return region.names.ecs_arn("task", cluster_of(region, attempt.environment), task)


def container_instance_arn(region: Region, instance_id: str, environment: str) -> str:
    """A host's ARN in ECS. It contains the instance's own digits, so that the reverse mapping needs no table."""
    digits = instance_id.removeprefix("i-").rjust(_ID_DIGITS, "0")
    return region.names.ecs_arn("container-instance", cluster_of(region, environment), digits)


def instance_id_of(arn: str) -> str | None:
    """The instance that one of our container instances' ARNs or ids refers to."""
    digits = arn.rpartition("/")[2]
    if not re.fullmatch(rf"[0-9a-f]{{{_ID_DIGITS}}}", digits):
        return None
    return f"i-{digits[_ID_DIGITS - _INSTANCE_DIGITS :]}"


# ---- requests ----


def answer(region: Region, head: Head, body: bytes) -> Response | None:
    """The response about what AWS Batch runs; None for another cluster or operation, so that moto answers."""
    function = _OPERATIONS.get(head.header("x-amz-target").removeprefix(_TARGET))
    if function is None:
        return None
    try:
        asked = json.loads(body or b"{}")
        found = function(region, asked) if isinstance(asked, dict) else None
    except ValueError:
        return None
    except ClientException as error:
        return error_response(ApiError("InvalidParameterException", error.message))
    except ApiError as error:
        return error_response(error)
    return None if found is None else json_response(found, headers=[("content-type", "application/x-amz-json-1.1")])


def with_clusters(region: Region, response: Response) -> Response:
    """moto's response to ListClusters, with our clusters first; moto's page limits apply to either."""
    try:
        found = json.loads(response.body)
    except ValueError:
        return response
    if response.status != 200 or not isinstance(found, dict):
        return response
    ours = [region.names.ecs_arn("cluster", name) for name in _clusters(region)]
    return json_response(
        {**found, "clusterArns": [*ours, *found.get("clusterArns", [])]},
        headers=[("content-type", "application/x-amz-json-1.1")],
    )


def _clusters(region: Region) -> dict[str, str]:
    """The name of each cluster and its environment."""
    return {cluster_of(region, name): name for name in region.engine.resources(ENVIRONMENT)}


def _environment(region: Region, asked: Document) -> str | None:
    """The environment of the requested cluster; None if the cluster is not ours."""
    name = str(asked.get("cluster", "default")).rpartition("/")[2]
    return _environment_of(region, name)


def _environment_of(region: Region, name: str) -> str | None:
    """Also for a cluster whose environment is deleted, as long as its hosts are known."""
    found = _clusters(region).get(name)
    if found is not None or name == _UNKNOWN:
        return found if found is not None else ""
    gone = {host.environment for host in region.engine.hosts()}
    return next((one for one in gone if cluster_of(region, one) == name), None)


def _describe_clusters(region: Region, asked: Document) -> Document | None:
    named = [str(one).rpartition("/")[2] for one in asked.get("clusters") or ["default"]]
    clusters = _clusters(region)
    if not any(name in clusters for name in named):
        return None
    found = [_cluster(region, name, clusters[name]) for name in named if name in clusters]
    missing = [
        {"arn": region.names.ecs_arn("cluster", name), "reason": "MISSING"} for name in named if name not in clusters
    ]
    return {"clusters": found, "failures": missing}


def _cluster(region: Region, name: str, environment: str) -> Document:
    hosts = _hosts(region, environment)
    return {
        "clusterArn": region.names.ecs_arn("cluster", name),
        "clusterName": name,
        "status": "ACTIVE",
        "registeredContainerInstancesCount": sum(not host.is_fargate for host in hosts),
        "runningTasksCount": sum(host.running for host in hosts),
        "pendingTasksCount": 0,
        "activeServicesCount": 0,
    }


def _hosts(region: Region, environment: str) -> list[HostView]:
    """The registered hosts: booted, and not gone."""
    return [
        host
        for host in region.engine.hosts()
        if host.environment == environment and host.started_at is not None and host.ended_at is None
    ]


def _list_container_instances(region: Region, asked: Document) -> Document | None:
    environment = _environment(region, asked)
    if environment is None:
        return None
    wanted = asked.get("status")
    arns = [
        container_instance_arn(region, host.instance_id, environment)
        for host in _hosts(region, environment)
        if wanted in (None, _status(host)) and not host.is_fargate
    ]
    return answer_page(arns, str, asked, "containerInstanceArns", _MOST)


def _status(host: HostView) -> str:
    if host.ended_at is not None:
        return "INACTIVE"
    return "DRAINING" if host.noticed_at is not None else "ACTIVE"


def _describe_container_instances(region: Region, asked: Document) -> Document | None:
    environment = _environment(region, asked)
    if environment is None:
        return None
    named = [str(one) for one in asked.get("containerInstances") or []]
    if not 1 <= len(named) <= _MOST:
        raise ApiError("InvalidParameterException", f"containerInstances holds 1 to {_MOST} entries, not {len(named)}")
    hosts = {host.instance_id: host for host in region.engine.hosts() if not host.is_fargate}
    used = _usage(region)
    found, missing = [], []
    for one in named:
        host = hosts.get(instance_id_of(one) or "")
        if host is None:
            missing.append({"arn": one, "reason": "MISSING"})
        else:
            found.append(instance_document(region, host, used.get(host.instance_id, (0, 0))))
    return {"containerInstances": found, "failures": missing}


def instance_document(region: Region, host: HostView, used: tuple[float, int] = (0, 0)) -> Document:
    """A container instance as DescribeContainerInstances returns it; `used` are the vCPUs and MiB of its tasks."""
    cpu, memory = host.vcpus * _CPU_A_VCPU, host.memory_mib
    attributes = {"ecs.instance-type": host.instance_type, "ecs.availability-zone": host.zone}
    return {
        "containerInstanceArn": container_instance_arn(region, host.instance_id, host.environment),
        "ec2InstanceId": host.instance_id,
        "status": _status(host),
        "agentConnected": host.ended_at is None and host.is_agent_connected,
        "runningTasksCount": host.running,
        "pendingTasksCount": 0,
        "registeredResources": _resources(cpu, memory),
        "remainingResources": _resources(cpu - used[0] * _CPU_A_VCPU, memory - used[1]),
        "attributes": [{"name": name, "value": value} for name, value in attributes.items()],
        "registeredAt": host.started_at or host.launched_at,
    }


def _resources(cpu: float, memory_mib: int) -> list[Document]:
    amounts = {"CPU": cpu, "MEMORY": memory_mib}
    return [
        {"name": name, "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": int(amount)}
        for name, amount in amounts.items()
    ]


# ---- tasks ----


def _list_tasks(region: Region, asked: Document) -> Document | None:
    environment = _environment(region, asked)
    if environment is None:
        return None
    is_stopped = asked.get("desiredStatus") == "STOPPED"
    instance = instance_id_of(str(asked["containerInstance"])) if "containerInstance" in asked else None
    family = asked.get("family")
    arns = [
        task_arn(region, attempt)
        for job_id, _, attempt in (_stopped(region) if is_stopped else _running(region))
        if attempt.environment == environment
        and instance in (None, attempt.instance_id)
        and family in (None, _family(region, job_id))
    ]
    return answer_page(arns, str, asked, "taskArns", _MOST)


def _running(region: Region) -> Iterator[Task]:
    for status in (JobStatus.STARTING, JobStatus.RUNNING):
        for job_id in region.engine.list_jobs(status=status):
            yield from _last(region, job_id)
        for parent in region.engine.list_jobs(status=JobStatus.PENDING):
            for child in region.engine.list_jobs(array_job_id=parent, status=status):
                yield from _last(region, child)


def _last(region: Region, job_id: str) -> Iterator[Task]:
    view = region.engine.view(job_id)
    if view.attempts and view.attempts[-1].stopped_at is None:
        yield job_id, view, view.attempts[-1]


def _stopped(region: Region) -> Iterator[Task]:
    """Tasks that ended within the hour, from the newest ended jobs."""
    since = region.clock() - _REMEMBERED_SECONDS
    for status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        for job_id in region.engine.list_jobs(status=status)[:_MOST_STOPPED]:
            view = region.engine.view(job_id)
            yield from ((job_id, view, one) for one in view.attempts if one.stopped_at and one.stopped_at >= since)


def _usage(region: Region) -> dict[str, tuple[float, int]]:
    """The vCPUs and the MiB used by the tasks on each host."""
    found: dict[str, tuple[float, int]] = {}
    for job_id, _, attempt in _running(region):
        vcpus, memory = _needs(region, job_id)
        before = found.get(attempt.instance_id, (0, 0))
        found[attempt.instance_id] = (before[0] + vcpus, before[1] + memory)
    return found


def _container(region: Region, job_id: str) -> Mapping[str, Any]:
    container = region.engine.described(job_id).get("container")
    return container if isinstance(container, Mapping) else {}


def _needs(region: Region, job_id: str) -> tuple[float, int]:
    container = _container(region, job_id)
    named = {one["type"]: float(one["value"]) for one in container.get("resourceRequirements", [])}
    return named.get("VCPU", container.get("vcpus", 0)), int(named.get("MEMORY", container.get("memory", 0)))


def _family(region: Region, job_id: str) -> str:
    """AWS Batch registers a task definition for each revision of a job definition."""
    definition = str(region.engine.described(job_id).get("jobDefinition", ""))
    return definition.rpartition("/")[2].replace(":", "_")


def _describe_tasks(region: Region, asked: Document) -> Document | None:
    environment = _environment(region, asked)
    if environment is None:
        return None
    named = [str(one) for one in asked.get("tasks") or []]
    if not 1 <= len(named) <= _MOST:
        raise ApiError("InvalidParameterException", f"tasks holds 1 to {_MOST} entries, not {len(named)}")
    found, missing = [], []
    for one in named:
        task = _task_of(region, one)
        if task is None or task[2].environment != environment:
            missing.append({"arn": one, "reason": "MISSING"})
        else:
            found.append(task_document(region, *task))
    return {"tasks": found, "failures": missing}


def _task_of(region: Region, arn: str) -> Task | None:
    """The attempt that a task's ARN or id refers to: its id is the end of its log stream's name."""
    task = arn.rpartition("/")[2]
    try:
        job_id = region.engine.job_of_stream(task)
        view = region.engine.view(job_id) if job_id is not None else None
    except NotFound:
        return None
    if job_id is None or view is None:
        return None
    return next(((job_id, view, one) for one in view.attempts if one.log_stream.endswith(f"/{task}")), None)


def task_document(region: Region, job_id: str, view: UnitView, attempt: AttemptView) -> Document:
    """A task as DescribeTasks returns it, except that its times are UTC epoch seconds."""
    cluster = cluster_of(region, attempt.environment)
    vcpus, memory = _needs(region, job_id)
    family = _family(region, job_id)
    has_ended, has_begun = attempt.stopped_at is not None, attempt.started_at is not None
    status = "STOPPED" if has_ended else "RUNNING" if has_begun else "PENDING"
    task = attempt.log_stream.rpartition("/")[2]
    container: Document = {
        "containerArn": region.names.ecs_arn("container", cluster, task),
        "taskArn": task_arn(region, attempt),
        "name": "default",
        "image": _container(region, job_id).get("image", ""),
        "lastStatus": status,
        **({"exitCode": attempt.exit_code} if attempt.exit_code is not None else {}),
        **({"reason": attempt.reason} if attempt.reason else {}),
    }
    moments = {"createdAt": view.created_at, "startedAt": attempt.started_at, "stoppedAt": attempt.stopped_at}
    return {
        "taskArn": task_arn(region, attempt),
        "clusterArn": region.names.ecs_arn("cluster", cluster),
        "taskDefinitionArn": region.names.ecs_arn("task-definition", f"{family}:1"),
        **_capacity(region, attempt),
        "group": f"family:{family}",
        "lastStatus": status,
        "desiredStatus": "STOPPED" if has_ended else "RUNNING",
        "cpu": str(int(vcpus * _CPU_A_VCPU)),
        "memory": str(memory),
        "containers": [container],
        **{name: moment for name, moment in moments.items() if moment is not None},
        **({"stoppedReason": attempt.status_reason} if attempt.status_reason else {}),
    }


def _capacity(region: Region, attempt: AttemptView) -> Document:
    """What a task runs on: a container instance, or one of Fargate's capacity providers."""
    if not is_fargate(attempt.instance_id):
        arn = container_instance_arn(region, attempt.instance_id, attempt.environment)
        return {"containerInstanceArn": arn, "launchType": "EC2"}
    body: Any = region.engine.resources(ENVIRONMENT).get(attempt.environment, {})
    provider = body.get("computeResources", {}).get("type", "FARGATE")
    return {"launchType": "FARGATE", "capacityProviderName": provider, "platformFamily": "Linux"}


_OPERATIONS: Final[dict[str, Callable[[Region, Document], Document | None]]] = {
    "DescribeClusters": _describe_clusters,
    "ListContainerInstances": _list_container_instances,
    "DescribeContainerInstances": _describe_container_instances,
    "ListTasks": _list_tasks,
    "DescribeTasks": _describe_tasks,
}
