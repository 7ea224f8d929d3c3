"""Create, update, describe and delete job queues (API reference, JobQueueDetail)."""

import asyncio
import contextlib
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.placement import FairShare, JobQueue, ShareWeight, StateTimeLimit
from spotbatch.batch.status import QUEUE_DELETED, JobStatus
from spotbatch.local.api import fargate, pools, tags
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import check_name
from spotbatch.local.api.pages import answer_page, check_count
from spotbatch.local.api.region import ENVIRONMENT, POLICY, QUEUE, Document, Region

_MAX_QUEUES: Final = 50  # an account's quota (user guide, "Service quotas")
_MAX_ENVIRONMENTS: Final = 3
_MAX_PRIORITY: Final = 1000  # the published schema of AWS::Batch::JobQueue
_MAX_PAGE: Final = 100
_TIME_LIMIT_SECONDS: Final = (600, 86_400)
_TIME_LIMIT_REASONS: Final = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
)


async def create(region: Region, asked: Document) -> Document:
    """CreateJobQueue. Raises ClientException where AWS would refuse it."""
    name = check_name("jobQueueName", asked["jobQueueName"])
    if region.find(QUEUE, name) is not None:
        raise ClientException(f"Object already exists: job queue {name}")
    if len(region.engine.resources(QUEUE)) >= _MAX_QUEUES:
        raise ClientException(f"an account has at most {_MAX_QUEUES} job queues in a region")
    _check_kind(asked)
    if not 0 <= asked.get("priority", 0) <= _MAX_PRIORITY:
        raise ClientException(f"priority must be 0 to {_MAX_PRIORITY}, not {asked['priority']}")
    document: Document = {
        "jobQueueName": name,
        "jobQueueArn": region.names.arn(QUEUE, name),
        "state": asked.get("state", "ENABLED"),
        "status": "VALID",
        "statusReason": "JobQueue Healthy",
        "priority": asked["priority"],
        "jobQueueType": "ECS",
        "computeEnvironmentOrder": _order(region, asked.get("computeEnvironmentOrder", [])),
        "tags": tags.checked(asked.get("tags", {})),
        "jobStateTimeLimitActions": _checked_limits(asked.get("jobStateTimeLimitActions", [])),
    }
    if policy := asked.get("schedulingPolicyArn"):
        document["schedulingPolicyArn"] = region.get(POLICY, policy)["arn"]
    await put(region, document)
    return {"jobQueueName": name, "jobQueueArn": document["jobQueueArn"]}


def _check_kind(asked: Document) -> None:
    if "serviceEnvironmentOrder" in asked:
        raise ClientException("serviceEnvironmentOrder: the local region has no service environments")
    if asked.get("jobQueueType", "ECS") != "ECS":
        raise ClientException(f"jobQueueType: the local region has queues for ECS on EC2, not {asked['jobQueueType']}")


async def put(region: Region, document: Document) -> None:
    """Store a queue's document, and pass its settings to the scheduler."""
    await region.engine.put_resource(QUEUE, document["jobQueueName"], document, rules=_rules(region, document))


def _order(region: Region, entries: Sequence[Document]) -> list[Document]:
    if not 1 <= len(entries) <= _MAX_ENVIRONMENTS:
        raise ClientException(
            f"computeEnvironmentOrder holds 1 to {_MAX_ENVIRONMENTS} environments, not {len(entries)}"
        )
    if len({entry["order"] for entry in entries}) < len(entries):
        raise ClientException("computeEnvironmentOrder must not hold one order twice")
    documents = [region.get(ENVIRONMENT, entry["computeEnvironment"]) for entry in entries]
    for one in documents:
        if one["status"] != "VALID":
            raise ClientException(f"compute environment {one['computeEnvironmentName']} is {one['status']}, not VALID")
    if len({document["computeEnvironmentArn"] for document in documents}) < len(documents):
        raise ClientException("computeEnvironmentOrder must not hold one compute environment twice")
    resources = [one["computeResources"] for one in documents if "computeResources" in one]
    if len({one["type"] in fargate.TYPES for one in resources}) > 1:  # API reference, CreateJobQueue
        types = [one["type"] for one in resources]
        raise ClientException(f"EC2 and Fargate compute environments can't be mixed in a queue: {types}")
    architectures = {pools.architecture_of(one) for one in resources if one["type"] not in fargate.TYPES}
    if len(architectures) > 1:
        raise ClientException(f"the environments of a queue must share one architecture, not {sorted(architectures)}")
    order = [
        {"order": entry["order"], "computeEnvironment": document["computeEnvironmentArn"]}
        for entry, document in zip(entries, documents, strict=True)
    ]
    return sorted(order, key=lambda entry: entry["order"])


def _checked_limits(actions: list[Document]) -> list[Document]:
    shortest, longest = _TIME_LIMIT_SECONDS
    for action in actions:
        if not shortest <= action["maxTimeSeconds"] <= longest:
            seconds = action["maxTimeSeconds"]
            raise ClientException(f"maxTimeSeconds must be between {shortest} and {longest}, not {seconds}")
        if action["reason"] not in _TIME_LIMIT_REASONS:
            reason = action["reason"][:200]
            raise ClientException(f"reason can only be one of {list(_TIME_LIMIT_REASONS)}, not {reason!r}")
        if action["action"] != "CANCEL":
            raise ClientException("the action for queues of compute environments can only be CANCEL")
    return actions


def _rules(region: Region, document: Document) -> JobQueue:
    arn = document.get("schedulingPolicyArn")
    return JobQueue(
        name=document["jobQueueName"],
        environments=tuple(
            region.names.name_of(ENVIRONMENT, entry["computeEnvironment"])
            for entry in document["computeEnvironmentOrder"]
        ),
        priority=document["priority"],
        is_enabled=document["state"] == "ENABLED",
        fair_share=_fair_share(region.get(POLICY, arn)) if arn else None,
        time_limits=tuple(
            StateTimeLimit(reason=action["reason"], max_seconds=action["maxTimeSeconds"])
            for action in document["jobStateTimeLimitActions"]
        ),
    )


def _fair_share(policy: Document) -> FairShare:
    fair = policy.get("fairsharePolicy", {})
    shares = (
        ShareWeight(identifier=share["shareIdentifier"], weight=share.get("weightFactor", 1.0))
        for share in fair.get("shareDistribution", [])
    )
    return FairShare(
        shares=tuple(shares),
        decay_seconds=fair.get("shareDecaySeconds", 0),
        compute_reservation_percent=fair.get("computeReservation", 0),
    )


async def update(region: Region, asked: Document) -> Document:
    """UpdateJobQueue: changes only what is given. A queue cannot gain or lose a scheduling policy."""
    _check_kind(asked)
    if not 0 <= asked.get("priority", 0) <= _MAX_PRIORITY:
        raise ClientException(f"priority must be 0 to {_MAX_PRIORITY}, not {asked['priority']}")
    document = region.get(QUEUE, asked["jobQueue"])
    if policy := asked.get("schedulingPolicyArn"):
        if "schedulingPolicyArn" not in document:
            raise ClientException("a job queue without a scheduling policy cannot be given one: make a new queue")
        document["schedulingPolicyArn"] = region.get(POLICY, policy)["arn"]
    if "computeEnvironmentOrder" in asked:
        document["computeEnvironmentOrder"] = _order(region, asked["computeEnvironmentOrder"])
    if "jobStateTimeLimitActions" in asked:
        document["jobStateTimeLimitActions"] = _checked_limits(asked["jobStateTimeLimitActions"])
    for member in ("state", "priority"):
        if member in asked:
            document[member] = asked[member]
    await put(region, document)
    return {"jobQueueName": document["jobQueueName"], "jobQueueArn": document["jobQueueArn"]}


async def describe(region: Region, asked: Document) -> Document:
    """DescribeJobQueues. Unknown names are left out, as on AWS."""
    documents = list(region.documents(QUEUE).values())
    if named := asked.get("jobQueues"):
        check_count("jobQueues", named, _MAX_PAGE)
        wanted = {region.names.name_of(QUEUE, reference) for reference in named}
        documents = [one for one in documents if one["jobQueueName"] in wanted]
    return answer_page(documents, itemgetter("jobQueueName"), asked, "jobQueues", _MAX_PAGE)


async def delete(region: Region, asked: Document) -> Document:
    """DeleteJobQueue: must be disabled. Its jobs are terminated, then it is deleted."""
    document = region.get(QUEUE, asked["jobQueue"])
    if document["state"] != "DISABLED":
        raise ClientException("Cannot delete, state must be DISABLED")
    if document["status"] != "DELETING":
        document["status"] = "DELETING"
        await put(region, document)
        region.keep(asyncio.create_task(finish_deletion(region, document["jobQueueName"])))
    return {}


async def finish_deletion(region: Region, name: str) -> None:
    """Terminate what is left in a queue, wait until it has ended, and delete the queue."""
    for job_id in _unfinished(region, name):
        await region.engine.terminate(job_id, QUEUE_DELETED)
    if _unfinished(region, name):
        async for _ in region.engine.changes():
            if not _unfinished(region, name):
                break
    with contextlib.suppress(NotFound):  # a stack update waits for it too
        await region.engine.delete_resource(QUEUE, name)


def _unfinished(region: Region, name: str) -> list[str]:
    open_statuses = [status for status in JobStatus if not status.is_terminal]
    return [job_id for status in open_statuses for job_id in region.engine.list_jobs(queue=name, status=status)]
