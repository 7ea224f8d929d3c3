"""SubmitJob: turns a request and its job definition into a Submission (API reference, SubmitJob)."""

import re
import uuid
from collections.abc import Sequence
from typing import Final

from spotbatch.batch.dependency import MAX_DEPENDENCIES, DependencyType
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import MAX_ARRAY_SIZE, MIN_ARRAY_SIZE
from spotbatch.batch.overrides import MAX_OVERRIDES_LENGTH, OVERRIDES_TOO_LONG, overrides_length
from spotbatch.batch.scheduler.events import JobSubmitted, ResolvedDependency
from spotbatch.local.api import consumables, definitions, fargate, multinode, tags
from spotbatch.local.api.container import (
    filled_command,
    requirements,
    retry_of,
    spec_of,
    timeout_of,
    told_strategy,
    with_overrides,
    with_values,
)
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.multi_container import override_of, single_container
from spotbatch.local.api.names import check_name, is_job_id
from spotbatch.local.api.region import ENVIRONMENT, QUEUE, Document, Region
from spotbatch.local.contract import Submission

_MAX_PRIORITY: Final = 9999
_MAX_TAGS_OF_A_TASK: Final = 50
_SHARE: Final = re.compile(r"[A-Za-z0-9]{1,255}\*?")  # API reference, SubmitJob
_OF_ONE_AMONG_SEVERAL: Final = frozenset({  # members of TaskContainerProperties that ContainerDetail lacks
    "name", "essential", "dependsOn", "firelensConfiguration", "startTimeout", "stopTimeout",
})  # fmt: skip
_NOT_HERE: Final = {
    "eksPropertiesOverride": "eksPropertiesOverride is for jobs on EKS; the local region runs jobs for ECS on EC2 only",
}


async def submit(region: Region, asked: Document) -> Document:
    """SubmitJob; returns once the job is on disk. Raises ClientException or InvalidJob where AWS would refuse it."""
    name = check_name("jobName", asked["jobName"])
    for member, refusal in _NOT_HERE.items():
        if member in asked:
            raise ClientException(refusal)
    queue = _open_queue(region, asked["jobQueue"])
    definition = definitions.resolve(region, asked["jobDefinition"])
    submission = _submission(region, name, queue, definition, asked)
    await region.engine.submit(submission)
    return {"jobArn": region.names.arn("job", submission.job_id), "jobName": name, "jobId": submission.job_id}


def _open_queue(region: Region, reference: str) -> Document:
    queue = region.get(QUEUE, reference)
    if queue["state"] != "ENABLED" or queue["status"] != "VALID":
        state = f"{queue['state']} and {queue['status']}"
        raise ClientException(f"job queue {queue['jobQueueName']} takes no jobs: it is {state}, not ENABLED and VALID")
    return queue


def _submission(region: Region, name: str, queue: Document, definition: Document, asked: Document) -> Submission:
    container, override = _chosen(definition, asked)
    properties, on_fargate = with_overrides(container, override), fargate.is_fargate(definition)
    _check_platform(region, queue, on_fargate=on_fargate)
    if on_fargate:
        old: Document = {member: override[member] for member in ("vcpus", "memory") if member in override}
        fargate.check_container({**properties, **old})
    parameters = {**definition["parameters"], **asked.get("parameters", {})}
    command = filled_command(properties.get("command", []), parameters)
    size = _array_size(asked)
    strategy = asked.get("retryStrategy") or definition.get("retryStrategy") or {}
    timeout = asked.get("timeout") or definition.get("timeout") or {}
    needs = consumables.needs_of(region, definition, asked)
    wanted = asked.get("dependsOn", [])
    job_id = str(uuid.uuid4())
    rules = JobSubmitted(
        job_no=0,
        queue=queue["jobQueueName"],
        size=size,
        requirements=requirements(properties, on_fargate=on_fargate),
        retry=retry_of(strategy),
        timeout_seconds=timeout_of(timeout),
        dependencies=_dependencies(region, wanted, size),
        share=_share(queue, asked),
        priority=_priority(queue, definition, asked),
        consumables=consumables.as_rules(region, needs),
    )
    described = _described(region, job_id, queue, definition, asked) | {
        "parameters": parameters,
        "retryStrategy": told_strategy({"attempts": 1, "evaluateOnExit": [], **strategy}),
        "dependsOn": wanted,
        "container": {**_detail(properties), "command": list(command)},
        **({"timeout": timeout} if timeout else {}),
        **({"consumableResourceProperties": {"consumableResourceList": needs}} if needs else {}),
        **_ecs(definition, properties, command),
    }
    return Submission(
        job_id=job_id,
        name=name,
        queue=queue["jobQueueName"],
        created_at=region.clock(),
        rules=rules,
        container=spec_of(
            properties,
            command,
            definition["jobDefinitionName"],
            start_error=_start_error(region, queue, override, asked, command),
            more=multinode.VARIABLES if "nodeProperties" in definition else {},
            on_fargate=on_fargate,
        ),
        described=described,
        depends_on_ids=tuple(entry.get("jobId", "") for entry in wanted),
    )


def _check_platform(region: Region, queue: Document, *, on_fargate: bool) -> None:
    """A queue's environments are all of EC2, or all of Fargate, and so are its jobs. Raises ClientException."""
    arns = [one["computeEnvironment"] for one in queue["computeEnvironmentOrder"]]
    environments = (region.find(ENVIRONMENT, arn) for arn in arns)
    types = {one.get("computeResources", {}).get("type", "EC2") for one in environments if one is not None}
    if types and types.isdisjoint(fargate.TYPES) is on_fargate:
        wanted = "FARGATE" if on_fargate else "EC2"
        raise ClientException(
            f"the job definition has the platform capability {wanted}, and job queue {queue['jobQueueName']} has "
            f"compute environments of {sorted(types)}"
        )


def _start_error(region: Region, queue: Document, override: Document, asked: Document, command: Sequence[str]) -> str:
    """Why ECS will accept no task of this job, or "": SubmitJob does not check that."""
    wanted = {entry["type"]: entry["value"] for entry in override.get("resourceRequirements", [])}
    environments = [one["computeEnvironment"] for one in queue["computeEnvironmentOrder"]]
    length = overrides_length(
        command=command if "command" in override or asked.get("parameters") else (),
        environment={one["name"]: one["value"] for one in with_values(override.get("environment", []))},
        requirements=wanted,
        queue=queue["jobQueueName"],
        compute_environment=max((region.names.name_of(ENVIRONMENT, one) for one in environments), key=len),
        is_array="size" in asked.get("arrayProperties", {}),
    )
    return OVERRIDES_TOO_LONG if length > MAX_OVERRIDES_LENGTH else ""


def _described(region: Region, job_id: str, queue: Document, definition: Document, asked: Document) -> Document:
    """The constant part of DescribeJobs' output for this job."""
    own, propagate = tags.checked(asked.get("tags", {})), asked.get("propagateTags", definition.get("propagateTags"))
    if propagate and len({**definition["tags"], **own}) > _MAX_TAGS_OF_A_TASK:
        raise ClientException(f"the tags of the job and its definition are more than {_MAX_TAGS_OF_A_TASK} together")
    document: Document = {
        "jobArn": region.names.arn("job", job_id),
        "jobName": asked["jobName"],
        "jobId": job_id,
        "jobQueue": queue["jobQueueArn"],
        "jobDefinition": definition["jobDefinitionArn"],
        "tags": own,
        "propagateTags": bool(propagate),
        "platformCapabilities": definition.get("platformCapabilities", ["EC2"]),
    }
    if "nodeProperties" in definition:
        document["nodeProperties"] = definition["nodeProperties"]
    if "shareIdentifier" in asked:
        document["shareIdentifier"] = asked["shareIdentifier"]
        document["schedulingPriority"] = _priority(queue, definition, asked)
    return document


def _chosen(definition: Document, asked: Document) -> tuple[Document, Document]:
    """The one container that runs, and the submission's overrides for it. Raises ClientException for several."""
    if definition["type"] == "multinode":
        if "arrayProperties" in asked:
            raise ClientException("a multi-node job cannot be an array")
        container, override, is_ecs = multinode.container_of(definition, asked)
        return container, override_of(container, override) if is_ecs else override
    if "nodeOverrides" in asked:
        raise ClientException("nodeOverrides is for multi-node jobs")
    if "containerProperties" in definition:
        if "ecsPropertiesOverride" in asked:
            raise ClientException("ecsPropertiesOverride is for job definitions with ecsProperties")
        return definition["containerProperties"], asked.get("containerOverrides", {})
    single = single_container(definition["ecsProperties"])
    if "containerOverrides" in asked:
        raise ClientException("containerOverrides is for job definitions with containerProperties")
    return single, override_of(single, asked.get("ecsPropertiesOverride", {}))


def _detail(properties: Document) -> Document:
    """A container as DescribeJobs' `container` shows it: without members that exist only among several containers."""
    return {name: value for name, value in properties.items() if name not in _OF_ONE_AMONG_SEVERAL}


def _ecs(definition: Document, container: Document, command: Sequence[str]) -> Document:
    """ecsProperties as DescribeJobs returns them, besides `container`, which has the container's changing parts."""
    if "ecsProperties" not in definition:
        return {}
    (task,) = definition["ecsProperties"]["taskProperties"]
    single = {**container, "command": list(command)}
    return {"ecsProperties": {"taskProperties": [{**task, "containers": [single]}]}}


def _array_size(asked: Document) -> int:
    size: int | None = asked.get("arrayProperties", {}).get("size")
    if size is None:
        return 0
    if not MIN_ARRAY_SIZE <= size <= MAX_ARRAY_SIZE:
        raise ClientException(f"the array size must be between {MIN_ARRAY_SIZE} and {MAX_ARRAY_SIZE}, not {size}")
    return size


def _dependencies(region: Region, entries: Sequence[Document], size: int) -> tuple[ResolvedDependency, ...]:
    if len(entries) > MAX_DEPENDENCIES:
        raise ClientException(f"a job depends on at most {MAX_DEPENDENCIES} jobs, not {len(entries)}")
    return tuple(_dependency(region, entry, size) for entry in entries)


def _dependency(region: Region, entry: Document, size: int) -> ResolvedDependency:
    kind = DependencyType(entry.get("type", DependencyType.PLAIN))
    job_id = entry.get("jobId", "")
    if kind is DependencyType.SEQUENTIAL and job_id and not size:
        kind = DependencyType.PLAIN  # AWS accepts it: many public scripts send it
    if kind is not DependencyType.PLAIN and not size:
        raise ClientException(f"a dependency of type {kind} is for array jobs")
    if kind is DependencyType.SEQUENTIAL:
        if job_id:
            raise ClientException("a SEQUENTIAL dependency is on the array itself: leave jobId out")
        return ResolvedDependency(type=kind)
    index = job_id.partition(":")[2]
    target_size = _size_of(region, job_id)
    if kind is DependencyType.N_TO_N and (index or target_size != size):
        other = "no array" if not target_size or index else f"an array of {target_size}"
        raise ClientException(f"an N_TO_N dependency needs another array of {size} children; {job_id} is {other}")
    return ResolvedDependency(type=kind, index=int(index) if index else None)


def _size_of(region: Region, job_id: str) -> int:
    """The array size of a dependency, 0 if it is not an array. Raises ClientException if the job does not exist."""
    if not is_job_id(job_id):
        raise ClientException(f"dependsOn: {job_id[:100]!r} is not a job id")
    try:
        return region.engine.view(job_id).array_size or 0
    except NotFound:
        raise ClientException(f"dependsOn: job {job_id} does not exist") from None


def _share(queue: Document, asked: Document) -> str:
    share: str = asked.get("shareIdentifier", "")
    if "schedulingPolicyArn" in queue:
        if not _SHARE.fullmatch(share):
            raise ClientException(
                "shareIdentifier must be given for a queue with a scheduling policy: letters and digits"
            )
    elif share:
        raise ClientException("shareIdentifier must not be given for a queue without a scheduling policy")
    return share


def _priority(queue: Document, definition: Document, asked: Document) -> int:
    given = asked.get("schedulingPriorityOverride", definition.get("schedulingPriority"))
    if given is None and "schedulingPolicyArn" in queue:  # AWS's wording: nextflow-io/nextflow #3505
        raise ClientException(
            "Either schedulingPriority in job definition or schedulingPriorityOverride should be specified."
        )
    priority: int = given or 0
    if not 0 <= priority <= _MAX_PRIORITY:
        raise ClientException(f"schedulingPriorityOverride must be 0 to {_MAX_PRIORITY}, not {priority}")
    return priority
