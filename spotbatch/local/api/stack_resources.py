"""A stack's AWS Batch resources: created, changed, replaced and removed as CloudFormation's handlers do it.

Each change returns a function that undoes it, so that a failed load can be rolled back completely.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.api import consumables, definitions, environments, operations, policies, queues, service_model
from spotbatch.local.api.cfn_properties import OPERATIONS
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.region import CONSUMABLE, DEFINITION, ENVIRONMENT, POLICY, QUEUE, Document, Region

KINDS: Final = {
    "AWS::Batch::SchedulingPolicy": POLICY,
    "AWS::Batch::ConsumableResource": CONSUMABLE,
    "AWS::Batch::ComputeEnvironment": ENVIRONMENT,
    "AWS::Batch::JobQueue": QUEUE,
    "AWS::Batch::JobDefinition": DEFINITION,
}
NAMES: Final = {
    "AWS::Batch::SchedulingPolicy": "name",
    "AWS::Batch::ConsumableResource": "consumableResourceName",
    "AWS::Batch::ComputeEnvironment": "computeEnvironmentName",
    "AWS::Batch::JobQueue": "jobQueueName",
    "AWS::Batch::JobDefinition": "jobDefinitionName",
}
# Members whose change creates a new resource ("createOnlyProperties" of the published schemas), besides the name.
_CREATE_ONLY: Final = {
    "AWS::Batch::SchedulingPolicy": (),
    "AWS::Batch::ConsumableResource": ("resourceType",),
    "AWS::Batch::ComputeEnvironment": ("type", "tags", "eksConfiguration"),
    "AWS::Batch::JobQueue": ("jobQueueType",),
    "AWS::Batch::JobDefinition": (),
}
_OF_THE_BEGINNING: Final = "desiredvCpus"  # what exists later depends on the jobs


class ResourceFailed(InvalidInput):
    """A resource could not be created or changed: CloudFormation rolls back, and reports it in the stack's status."""


Undo = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A resource as created by a stack."""

    logical_id: str
    type: str
    name: str
    asked: Document  # the parameters of the operation that creates it
    own: Document = field(default_factory=dict)  # the properties that only CloudFormation has
    keeps_when_deleted: bool = False
    keeps_when_replaced: bool = False
    revision: int = 0  # for a job definition

    @property
    def key(self) -> str:
        """The region's key for it."""
        return f"{self.name}:{self.revision}" if self.type == "AWS::Batch::JobDefinition" else self.name


def is_replaced(old: Kept, new: Kept) -> bool:
    """Whether an update creates a new resource and removes the old one (user guide, "Update behaviors")."""
    if old.name != new.name:
        return True
    if any(old.asked.get(member) != new.asked.get(member) for member in _CREATE_ONLY[new.type]):
        return True
    if new.type != "AWS::Batch::ComputeEnvironment":
        return False
    changed = _changed(old.asked.get("computeResources", {}), new.asked.get("computeResources", {}))
    if "spotIamFleetRole" in changed:
        return True
    # ReplaceComputeEnvironment defaults to true (resource reference, AWS::Batch::ComputeEnvironment).
    return (
        bool(changed - environments.IN_PLACE) and str(new.own.get("ReplaceComputeEnvironment", True)).lower() == "true"
    )


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {name for name in {*old, *new} - {_OF_THE_BEGINNING} if old.get(name) != new.get(name)}


def check(resource: Kept) -> None:
    """Checks that are possible before anything is created. Raises InvalidInput with the resource's name."""
    try:
        service_model.check(OPERATIONS[resource.type], resource.asked)
        if resource.type == "AWS::Batch::JobDefinition":
            definitions.checked(resource.asked)
    except (ApiError, InvalidInput) as error:
        raise _refused(resource, OPERATIONS[resource.type], error) from error


def _refused(resource: Kept, operation: str, error: Exception) -> ResourceFailed:
    return ResourceFailed(f"Resources.{resource.logical_id}: {operation} refused it: {error}")


async def perform(region: Region, resource: Kept, operation: str, asked: Document) -> None:
    """One operation on a resource. Raises InvalidInput with the resource's name where AWS Batch would refuse it."""
    try:
        service_model.check(operation, asked)
        await operations.perform(region, operation, asked)
    except ApiError as error:
        raise _refused(resource, operation, error) from error


def is_gone(region: Region, kept: Kept) -> bool:
    """Whether somebody has removed or deregistered it since the stack created it."""
    document = region.find(KINDS[kept.type], kept.key)
    return document is None or document.get("status") == "INACTIVE"


async def make(region: Region, new: Kept) -> Undo:
    """Create a resource. Raises InvalidInput where AWS Batch would refuse it, or if it becomes invalid."""
    await perform(region, new, OPERATIONS[new.type], new.asked)
    kind, key = KINDS[new.type], new.key

    async def undo() -> None:
        if kind == DEFINITION:
            await definitions.deregister(region, {"jobDefinition": key})
        else:
            await region.engine.delete_resource(kind, key)

    made = region.get(kind, key)
    if made.get("status") == "INVALID":
        await undo()
        raise ResourceFailed(
            f"Resources.{new.logical_id}: Operation failed, ComputeEnvironment went INVALID with error: "
            f"{made['statusReason']}"
        )
    return undo


async def change(region: Region, old: Kept, new: Kept) -> Undo:
    """Change a resource in place to its new state. Raises InvalidInput where AWS Batch would refuse it."""
    kind = KINDS[new.type]
    before = region.find(kind, new.name)
    if before is None:
        return await make(region, new)  # somebody removed it in the meantime
    operation, asked = _UPDATES[new.type](old, new, before)
    await perform(region, new, operation, asked)
    after = {**region.get(kind, new.name), "tags": new.asked.get("tags", {})}
    await _put(region, kind, _without_removed(after, old, new))

    async def undo() -> None:
        await _put(region, kind, before)

    if after.get("status") == "INVALID":
        await undo()
        reason = after["statusReason"]
        raise ResourceFailed(f"Resources.{new.logical_id}: ComputeEnvironment went INVALID with error: {reason}")
    return undo


def _without_removed(document: Document, old: Kept, new: Kept) -> Document:
    """Properties of an environment no longer in the template revert to AWS's defaults."""
    if "computeResources" not in document:
        return document
    removed = old.asked.get("computeResources", {}).keys() - new.asked.get("computeResources", {}).keys()
    kept = {name: value for name, value in document["computeResources"].items() if name not in removed}
    return {**document, "computeResources": environments.with_defaults(kept)}


async def _put(region: Region, kind: str, document: Document) -> None:
    if kind == ENVIRONMENT:
        await environments.put(region, document)
    elif kind == QUEUE:
        await queues.put(region, document)
    elif kind == CONSUMABLE:
        await consumables.put(region, document)
    else:
        await policies.put(region, document)


def _policy_update(_old: Kept, new: Kept, before: Document) -> tuple[str, Document]:
    asked = {"arn": before["arn"], "fairsharePolicy": new.asked.get("fairsharePolicy", {})}
    return "UpdateSchedulingPolicy", asked


def _consumable_update(_old: Kept, new: Kept, _before: Document) -> tuple[str, Document]:
    total = new.asked.get("totalQuantity", 0)
    return "UpdateConsumableResource", {"consumableResource": new.name, "operation": "SET", "quantity": total}


def _environment_update(_old: Kept, new: Kept, before: Document) -> tuple[str, Document]:
    wanted: Document = {"computeEnvironment": new.name, "state": new.asked.get("state", "ENABLED")}
    there, asked = before.get("computeResources", {}), new.asked.get("computeResources", {})
    changes = {name: one for name, one in asked.items() if name != _OF_THE_BEGINNING and there.get(name) != one}
    if changes:
        wanted["computeResources"] = changes
    for member in ("unmanagedvCpus", "serviceRole"):
        if member in new.asked and new.asked[member] != before.get(member):
            wanted[member] = new.asked[member]
    return "UpdateComputeEnvironment", wanted


def _queue_update(_old: Kept, new: Kept, _before: Document) -> tuple[str, Document]:
    members = ("priority", "computeEnvironmentOrder", "schedulingPolicyArn")
    changes = {member: new.asked[member] for member in members if member in new.asked}
    limits = new.asked.get("jobStateTimeLimitActions", [])
    state = new.asked.get("state", "ENABLED")
    return "UpdateJobQueue", {"jobQueue": new.name, "state": state, "jobStateTimeLimitActions": limits, **changes}


_UPDATES: Final[dict[str, Callable[[Kept, Kept, Document], tuple[str, Document]]]] = {
    "AWS::Batch::SchedulingPolicy": _policy_update,
    "AWS::Batch::ConsumableResource": _consumable_update,
    "AWS::Batch::ComputeEnvironment": _environment_update,
    "AWS::Batch::JobQueue": _queue_update,
}


async def remove(region: Region, old: Kept) -> None:
    """Remove a resource, and wait until it is gone. If it is already gone, that is not an error.

    Raises InvalidInput if AWS Batch refuses it: a queue of another stack may use an environment.
    """
    kind = KINDS[old.type]
    document = region.find(kind, old.key)
    if document is None or document.get("status") == "INACTIVE":
        return
    if kind == DEFINITION:
        await perform(region, old, "DeregisterJobDefinition", {"jobDefinition": old.key})
    elif kind == POLICY:
        await perform(region, old, "DeleteSchedulingPolicy", {"arn": document["arn"]})
    elif kind == CONSUMABLE:
        await perform(region, old, "DeleteConsumableResource", {"consumableResource": old.name})
    elif kind == ENVIRONMENT:
        await perform(region, old, "UpdateComputeEnvironment", {"computeEnvironment": old.name, "state": "DISABLED"})
        await perform(region, old, "DeleteComputeEnvironment", {"computeEnvironment": old.name})
    else:
        if document["status"] != "DELETING":
            await perform(region, old, "UpdateJobQueue", {"jobQueue": old.name, "state": "DISABLED"})
            await perform(region, old, "DeleteJobQueue", {"jobQueue": old.name})
        await queues.finish_deletion(region, old.name)  # its jobs are terminated first
