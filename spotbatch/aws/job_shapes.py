"""AWS Batch's JSON shapes and our values: a `JobRequest` becomes SubmitJob's input, DescribeJobs' output a `Job`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.batch.dependency import Dependency, DependencyType
from spotbatch.batch.environment import RESERVED_PREFIX
from spotbatch.batch.job import (
    FRACTIONS_OF_A_VCPU,
    ArrayProperties,
    Attempt,
    Job,
    JobRequest,
    ResourceRequirements,
    Vcpus,
)
from spotbatch.batch.retry import RetryStrategy
from spotbatch.batch.status import JobStatus

Shape = Mapping[str, Any]
_UNFINISHED: Final = frozenset({JobStatus.STARTING, JobStatus.RUNNING})


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSummary:
    """A job as reported by ListJobs. Times are UTC epoch seconds."""

    id: str
    name: str
    status: JobStatus
    status_reason: str = ""
    created_at: float | None = None
    started_at: float | None = None
    stopped_at: float | None = None
    array_size: int | None = None
    array_index: int | None = None
    exit_code: int | None = None
    reason: str = ""
    definition: str = ""


def submit_shape(request: JobRequest) -> dict[str, Any]:
    """The exact input for SubmitJob (API reference, SubmitJob): members that were not requested are left out."""
    shape: dict[str, Any] = {
        "jobName": request.name,
        "jobQueue": request.queue,
        "jobDefinition": request.definition,
        "arrayProperties": {"size": request.array_size} if request.array_size is not None else None,
        "dependsOn": [_dependency_shape(each) for each in request.dependencies],
        "parameters": dict(request.parameters),
        "containerOverrides": _overrides(request),
        "retryStrategy": retry_shape(request.retry) if request.retry is not None else None,
        "timeout": {"attemptDurationSeconds": request.timeout_seconds} if request.timeout_seconds else None,
        "shareIdentifier": request.share_identifier,
        "schedulingPriorityOverride": request.scheduling_priority,
        "tags": dict(request.tags),
    }
    return {key: value for key, value in shape.items() if value is not None and value not in ([], {})}


def _overrides(request: JobRequest) -> dict[str, Any]:
    wanted = (("VCPU", request.vcpus), ("MEMORY", request.memory_mib), ("GPU", request.gpus))
    shape: dict[str, Any] = {
        "command": list(request.command) if request.command is not None else None,
        "environment": [{"name": name, "value": value} for name, value in request.environment.items()],
        "resourceRequirements": [{"type": kind, "value": str(value)} for kind, value in wanted if value],
    }
    return {key: value for key, value in shape.items() if value}


def _dependency_shape(dependency: Dependency) -> dict[str, str]:
    shape = {"jobId": dependency.job_id} if dependency.job_id is not None else {}
    if dependency.type is not DependencyType.PLAIN:
        shape["type"] = dependency.type.value
    return shape


def retry_shape(retry: RetryStrategy) -> dict[str, Any]:
    """A retry strategy as SubmitJob takes it."""
    shape: dict[str, Any] = {"attempts": retry.attempts}
    if retry.evaluate_on_exit:
        shape["evaluateOnExit"] = [
            {
                key: value
                for key, value in (
                    ("action", entry.action.value),
                    ("onExitCode", entry.on_exit_code),
                    ("onReason", entry.on_reason),
                    ("onStatusReason", entry.on_status_reason),
                )
                if value is not None
            }
            for entry in retry.evaluate_on_exit
        ]
    return shape


def with_variable(shape: Mapping[str, Any], name: str, value: str) -> dict[str, Any]:
    """SubmitJob's input with one variable added, replacing one of the same name."""
    overrides = dict(shape.get("containerOverrides", {}))
    others = [each for each in overrides.get("environment", []) if each["name"] != name]
    overrides["environment"] = [*others, {"name": name, "value": value}]
    return {**shape, "containerOverrides": overrides}


def variable_of(shape: Shape, name: str) -> str | None:
    """The value of a variable of a job's container, as reported by DescribeJobs."""
    container = _container(shape, shape.get("ecsProperties", {}))
    return next((str(each.get("value", "")) for each in container.get("environment", []) if each["name"] == name), None)


def again_shape(shape: Shape, *, environment: Mapping[str, str], array_size: int | None) -> dict[str, Any]:
    """SubmitJob's input for a job like one reported by DescribeJobs, with these variables in addition to its own."""
    container = _container(shape, shape.get("ecsProperties", {}))
    variables = {each["name"]: each.get("value", "") for each in container.get("environment", [])} | dict(environment)
    found: dict[str, Any] = {
        "jobName": shape["jobName"],
        "jobQueue": shape["jobQueue"],
        "jobDefinition": shape["jobDefinition"],
        "arrayProperties": {"size": array_size} if array_size is not None else None,
        "containerOverrides": {
            "command": list(container.get("command", [])),
            "environment": [
                {"name": name, "value": value}
                for name, value in variables.items()
                if not name.startswith(RESERVED_PREFIX)
            ],
            "resourceRequirements": _needs(container),
        },
        "retryStrategy": shape.get("retryStrategy"),
        "timeout": shape.get("timeout"),
        "shareIdentifier": shape.get("shareIdentifier"),
        "tags": shape.get("tags"),
    }
    return {key: value for key, value in found.items() if value}


def _needs(container: Shape) -> list[dict[str, str]]:
    """What a job needs, including when its definition uses the deprecated members."""
    named = list(container.get("resourceRequirements", []))
    kinds = {each["type"] for each in named}
    old = (("VCPU", container.get("vcpus")), ("MEMORY", container.get("memory")))
    return named + [{"type": kind, "value": str(value)} for kind, value in old if value and kind not in kinds]


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """The parts of a job definition that commands need."""

    name: str
    revision: int
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    requirements: ResourceRequirements
    job_role: str = ""
    execution_role: str = ""
    log_group: str = ""


def definition_of(shape: Shape) -> Definition:
    """A `Definition` from one entry of DescribeJobDefinitions' answer."""
    container: Shape = shape.get("containerProperties", {})
    return Definition(
        name=shape["jobDefinitionName"],
        revision=int(shape["revision"]),
        image=container.get("image", ""),
        command=tuple(container.get("command", [])),
        environment={each["name"]: each.get("value", "") for each in container.get("environment", [])},
        requirements=_requirements(container),
        job_role=container.get("jobRoleArn", ""),
        execution_role=container.get("executionRoleArn", ""),
        log_group=container.get("logConfiguration", {}).get("options", {}).get("awslogs-group", ""),
    )


def job_of(shape: Shape) -> Job:
    """A `Job` from one entry of DescribeJobs' answer. An attempt that is still running comes last, without an end."""
    container = _container(shape, shape.get("ecsProperties", {}))
    array: Shape = shape.get("arrayProperties", {})
    status = JobStatus(shape["status"])
    return Job(
        id=shape["jobId"],
        name=shape["jobName"],
        queue=str(shape.get("jobQueue", "")).rpartition("/")[2],
        definition=str(shape.get("jobDefinition", "")).rpartition("/")[2],
        status=status,
        status_reason=shape.get("statusReason", ""),
        created_at=_seconds(shape.get("createdAt")),
        started_at=_seconds(shape.get("startedAt")),
        stopped_at=_seconds(shape.get("stoppedAt")),
        requirements=_requirements(container),
        environment={each["name"]: each.get("value", "") for each in container.get("environment", [])},
        attempts=_attempts(shape, container, status),
        attempts_allowed=int(shape.get("retryStrategy", {}).get("attempts", 1)),
        array=_array(array) if "size" in array and "index" not in array else None,
        array_index=array.get("index"),
        is_fargate="FARGATE" in shape.get("platformCapabilities", ()),
        depends_on=tuple(_dependency(each) for each in shape.get("dependsOn", [])),
        exit_code=container.get("exitCode"),
        reason=container.get("reason", ""),
        log_stream=container.get("logStreamName"),
        log_group=container.get("logConfiguration", {}).get("options", {}).get("awslogs-group"),
        is_terminated=bool(shape.get("isTerminated") or shape.get("isCancelled")),
        tags=shape.get("tags", {}),
    )


def summary_of(shape: Shape) -> JobSummary:
    """A `JobSummary` from one entry of ListJobs' answer."""
    array: Shape = shape.get("arrayProperties", {})
    container: Shape = shape.get("container", {})
    return JobSummary(
        id=shape["jobId"],
        name=shape["jobName"],
        status=JobStatus(shape["status"]),
        status_reason=shape.get("statusReason", ""),
        created_at=_seconds(shape.get("createdAt")),
        started_at=_seconds(shape.get("startedAt")),
        stopped_at=_seconds(shape.get("stoppedAt")),
        array_size=array.get("size") if "index" not in array else None,
        array_index=array.get("index"),
        exit_code=container.get("exitCode"),
        reason=container.get("reason", ""),
        definition=str(shape.get("jobDefinition", "")).rpartition("/")[2],
    )


def _attempts(shape: Shape, container: Shape, status: JobStatus) -> tuple[Attempt, ...]:
    ended = tuple(_attempt(each) for each in shape.get("attempts", []))
    if status not in _UNFINISHED or (
        "statusSummary" in shape.get("arrayProperties", {}) and "index" not in shape["arrayProperties"]
    ):
        return ended
    running = Attempt(
        started_at=_seconds(shape.get("startedAt")),
        log_stream=container.get("logStreamName"),
        host=_host(container),
    )
    return (*ended, running)


def _container(shape: Shape, tasks: Shape) -> Shape:
    """The container of a job or an attempt; for ecsProperties, that of its task, with the task's settings.

    If a task has several, the first essential one: its end ends the job.
    """
    found = tasks.get("taskProperties") or []
    if shape.get("container") or not found:
        return shape.get("container") or {}
    containers = found[0].get("containers") or [{}]
    chosen = next((one for one in containers if one.get("essential", True)), containers[0])
    return {**chosen, **{name: found[0][name] for name in ("containerInstanceArn", "taskArn") if name in found[0]}}


def _attempt(shape: Shape) -> Attempt:
    container = _container(shape, shape)
    return Attempt(
        started_at=_seconds(shape.get("startedAt")),
        stopped_at=_seconds(shape.get("stoppedAt")),
        exit_code=container.get("exitCode"),
        reason=container.get("reason", ""),
        status_reason=shape.get("statusReason", ""),
        log_stream=container.get("logStreamName"),
        host=_host(container),
    )


def _host(container: Shape) -> str | None:
    """The host as identified by Batch: an ECS container instance ARN."""
    return container.get("containerInstanceArn") or None


def _requirements(container: Shape) -> ResourceRequirements:
    found: dict[str, Any] = {each["type"]: each["value"] for each in container.get("resourceRequirements", [])}
    return ResourceRequirements(
        vcpus=_vcpus(float(found.get("VCPU") or container.get("vcpus") or 1)),
        memory_mib=max(4, int(found.get("MEMORY") or container.get("memory") or 4)),
        gpus=int(found.get("GPU", 0)),
    )


def _vcpus(given: float) -> Vcpus:
    """Fargate has a quarter and a half of a vCPU; everything else is whole."""
    return given if given in FRACTIONS_OF_A_VCPU else max(1, round(given))


def _array(shape: Shape) -> ArrayProperties:
    summary = shape.get("statusSummary", {})
    return ArrayProperties(
        size=int(shape["size"]), status_summary={status: int(summary.get(status.value, 0)) for status in JobStatus}
    )


def _dependency(shape: Shape) -> Dependency:
    kind = shape.get("type")
    return Dependency(job_id=shape.get("jobId"), type=DependencyType(kind) if kind else DependencyType.PLAIN)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
