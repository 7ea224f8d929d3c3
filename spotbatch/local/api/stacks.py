"""Loading a template into the region: its Batch resources go through the same operations as the API's own requests."""

import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from botocore.model import ListShape, MapShape, Shape, StructureShape

from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL
from spotbatch.batch.errors import InvalidInput
from spotbatch.local.api import operations, service_model
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.region import DEFINITION, ENVIRONMENT, POLICY, QUEUE, STACK, Document, Region
from spotbatch.local.template import Resource, Template

_SOURCE: Final = "job-definition-source"
_ORDER: Final = (
    "AWS::Batch::SchedulingPolicy",
    "AWS::Batch::ComputeEnvironment",
    "AWS::Batch::JobQueue",
    "AWS::Batch::JobDefinition",
)


class Elsewhere(Protocol):
    """Where the names of other services' resources are made: moto."""

    def will_hold(self, kind: str, name: str) -> None:
        """From now on there is a resource of this CloudFormation type and name."""
        ...


async def load(region: Region, elsewhere: Elsewhere, name: str, body: Mapping[str, Any]) -> Document:
    """Register what the template holds for Batch, note the rest, and keep the stack. Loading again updates it.

    Raises InvalidInput for a template that cannot be read, ApiError where AWS Batch would refuse a resource.
    """
    template = Template(
        stack=name,
        body=body,
        account_id=region.names.account_id,
        region=region.names.region,
        revision_of=lambda definition: last_revision(region, definition),
    )
    resources = template.resources()
    registered = []
    for kind in _ORDER:
        for resource in resources:
            if resource.type == kind:
                await _REGISTER[kind](region, template, resource)
                registered.append(resource.logical_id)
    document = _document(region, template, resources)
    await region.engine.put_resource(STACK, name, document)
    recall(elsewhere, document)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in document["Outputs"]}
    return {"stack": name, "registered": registered, "resources": len(resources), "outputs": outputs}


def recall(elsewhere: Elsewhere, stack: Document) -> None:
    """Make the names that a stack holds in other services, at loading and after a restart."""
    for resource in stack["Resources"]:
        elsewhere.will_hold(resource["ResourceType"], resource["PhysicalResourceId"])


def last_revision(region: Region, definition: str) -> int:
    """The highest revision of a job definition; 1 where there is none yet."""
    keys = (key.rpartition(":") for key in region.engine.resources(DEFINITION))
    return max((int(revision) for name, _, revision in keys if name == definition), default=1)


def _document(region: Region, template: Template, resources: list[Resource]) -> Document:
    now = datetime.fromtimestamp(region.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "StackName": template.stack,
        "StackId": template.stack_id,
        "CreationTime": now,
        "StackStatus": "CREATE_COMPLETE",
        "Description": str(template.body.get("Description", "")),
        "Outputs": [
            {"OutputKey": key, "OutputValue": value, "Description": description}
            for key, (value, description) in template.outputs().items()
        ],
        "Tags": [],
        "Parameters": [],
        "Resources": [
            {
                "StackName": template.stack,
                "StackId": template.stack_id,
                "LogicalResourceId": one.logical_id,
                "PhysicalResourceId": _physical(template, one),
                "ResourceType": one.type,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for one in resources
        ],
    }


def _physical(template: Template, resource: Resource) -> str:
    """What CloudFormation shows: for Batch the ARN, as a Ref gives it."""
    return template.attribute(resource.logical_id, "Ref", f"Resources.{resource.logical_id}")


async def _policy(region: Region, template: Template, resource: Resource) -> None:
    asked = _parameters(template, resource, "CreateSchedulingPolicy")
    asked["name"] = template.physical_id(resource.logical_id)
    existing = region.find(POLICY, asked["name"])
    if existing is None:
        await _perform(region, resource, "CreateSchedulingPolicy", asked)
    else:
        changes = {"arn": existing["arn"], "fairsharePolicy": asked.get("fairsharePolicy", {})}
        await _perform(region, resource, "UpdateSchedulingPolicy", changes)


async def _environment(region: Region, template: Template, resource: Resource) -> None:
    asked = _parameters(template, resource, "CreateComputeEnvironment")
    name = asked["computeEnvironmentName"] = template.physical_id(resource.logical_id)
    existing = region.find(ENVIRONMENT, name)
    if existing is None:
        await _perform(region, resource, "CreateComputeEnvironment", asked)
        return
    wanted = {"computeEnvironment": name, "state": asked.get("state", "ENABLED")}
    changes = _changes(asked.get("computeResources", {}), existing.get("computeResources", {}))
    changes.pop("desiredvCpus", None)  # it was for the beginning: what there is now follows the jobs
    if changes:
        wanted["computeResources"] = changes
    await _perform(region, resource, "UpdateComputeEnvironment", wanted)


def _changes(asked: Document, existing: Document) -> Document:
    return {member: value for member, value in asked.items() if existing.get(member) != value}


async def _queue(region: Region, template: Template, resource: Resource) -> None:
    asked = _parameters(template, resource, "CreateJobQueue")
    name = asked["jobQueueName"] = template.physical_id(resource.logical_id)
    if region.find(QUEUE, name) is None:
        await _perform(region, resource, "CreateJobQueue", asked)
        return
    members = ("state", "priority", "computeEnvironmentOrder", "jobStateTimeLimitActions", "schedulingPolicyArn")
    changes = {member: asked[member] for member in members if member in asked}
    await _perform(region, resource, "UpdateJobQueue", {"jobQueue": name, "state": "ENABLED", **changes})


async def _definition(region: Region, template: Template, resource: Resource) -> None:
    asked = _parameters(template, resource, "RegisterJobDefinition")
    name = asked["jobDefinitionName"] = template.physical_id(resource.logical_id)
    _keep_artifacts_here(region, asked)
    source = {"source": json.dumps(asked, sort_keys=True)}
    key = f"{name}:{last_revision(region, name)}"
    latest = region.find(DEFINITION, key)
    if latest is not None and latest["status"] == "ACTIVE" and region.find(_SOURCE, key) == source:
        return  # loading the same template again makes no new revision
    await _perform(region, resource, "RegisterJobDefinition", asked)
    await region.engine.put_resource(_SOURCE, f"{name}:{last_revision(region, name)}", source)


def _keep_artifacts_here(region: Region, asked: Document) -> None:
    """Local artifacts are plain files: wherever the definition names the store, it gets this region's folder."""
    for variable in asked.get("containerProperties", {}).get("environment", []):
        if variable.get("name") == SPOTBATCH_ARTIFACTS_URL:
            variable["value"] = region.artifacts_url


_REGISTER: Final[dict[str, Callable[[Region, Template, Resource], Awaitable[None]]]] = {
    "AWS::Batch::SchedulingPolicy": _policy,
    "AWS::Batch::ComputeEnvironment": _environment,
    "AWS::Batch::JobQueue": _queue,
    "AWS::Batch::JobDefinition": _definition,
}


async def _perform(region: Region, resource: Resource, operation: str, asked: Document) -> None:
    try:
        service_model.check(operation, asked)
        await operations.perform(region, operation, asked)
    except ApiError as error:
        raise InvalidInput(f"Resources.{resource.logical_id}: {operation} refused it: {error.message}") from error


def _parameters(template: Template, resource: Resource, operation: str) -> Document:
    """The properties of a resource as the parameters of the operation that makes it."""
    where = f"Resources.{resource.logical_id}.Properties"
    properties = copy.deepcopy(template.resolve(resource.properties, where))
    shape = service_model.input_shape(operation)
    parameters = _as_api(shape, properties, where)
    if not isinstance(parameters, dict):
        raise InvalidInput(f"{where} must be an object")
    return parameters


def _as_api(shape: Shape, value: Any, where: str) -> Any:
    """CloudFormation's spelling (MaxvCpus, "10", "managed") as the API's (maxvCpus, 10, "MANAGED")."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        members = {name.lower(): name for name in shape.members}
        known = [(members[name.lower()], one) for name, one in value.items() if name.lower() in members]
        return {name: _as_api(shape.members[name], one, f"{where}.{name}") for name, one in known}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_as_api(shape.member, one, where) for one in value]
    if isinstance(shape, MapShape):
        return _as_map(value)
    if shape.type_name in ("integer", "long") and isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if shape.type_name in ("float", "double") and isinstance(value, str | int):
        return float(value)
    if shape.type_name == "boolean" and value in ("true", "false"):
        return value == "true"
    return _as_text(shape, value) if shape.type_name == "string" else value


def _as_text(shape: Shape, value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    by_lower = {name.lower(): name for name in getattr(shape, "enum", None) or ()}
    return by_lower.get(value.lower(), value) if isinstance(value, str) else value


def _as_map(value: Any) -> Any:
    """Tags are an object in some types of CloudFormation and a list of Key and Value in others."""
    if isinstance(value, list):
        return {str(one["Key"]): str(one["Value"]) for one in value}
    return {name: str(one) for name, one in value.items()} if isinstance(value, Mapping) else value
