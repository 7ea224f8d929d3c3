"""Loads a template into the region, the way CloudFormation creates, updates and removes a stack.

Its Batch resources go through the same operations as the API's own requests. Changed resources are updated, or
replaced where CloudFormation would do so; those no longer in the template are removed in order at the end; a load that
fails leaves everything unchanged.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL
from spotbatch.batch.errors import InvalidInput
from spotbatch.local.api import definitions, launch_templates, stack_resources
from spotbatch.local.api.cfn_properties import OPERATIONS, parameters_of
from spotbatch.local.api.region import LAUNCH_TEMPLATE, STACK, Document, Region
from spotbatch.local.api.stack_resources import NAMES, Kept, Undo
from spotbatch.local.moto_resources import KINDS, name_in
from spotbatch.local.template import Resource, Template, stack_arn
from spotbatch.local.template_names import MADE_UP_SUFFIX
from spotbatch.local.template_values import Value

_OURS: Final = "AWS::Batch::"
_LAUNCH_TEMPLATE: Final = "AWS::EC2::LaunchTemplate"
_MOST_EVENTS: Final = 200


class Elsewhere(Protocol):
    """Where the names of other services' resources are created: moto."""

    def will_hold(self, kind: str, name: str, content: Mapping[str, Any] | None = None) -> None:
        """From now on a resource with this CloudFormation type and name exists."""
        ...

    def will_drop(self, kind: str, name: str) -> None:
        """There is no such resource any more, if it is of a kind that works here."""
        ...

    def lookup(self, service: str, name: str) -> str | None:
        """The value of a name in SSM's Parameter Store (`ssm`) or in Secrets Manager (`secretsmanager`)."""
        ...

    def object_of(self, bucket: str, key: str) -> bytes | None:
        """An S3 object; None if it does not exist."""
        ...


async def load(
    region: Region,
    elsewhere: Elsewhere,
    name: str,
    body: Mapping[str, Any],
    *,
    parameters: Mapping[str, str] | None = None,
    imports: Mapping[str, str] | None = None,
    only_given: bool = False,
) -> Document:
    """Create or update a stack. Parameters and imports not given are taken from the previous load.

    With `only_given`, parameters not given get the template's defaults, as in UpdateStack.

    Raises InvalidInput, changing nothing, for an unreadable template and where AWS would refuse it.
    """
    before = region.find(STACK, name)
    if before is not None and before["StackStatus"].startswith("ROLLBACK"):
        before = None  # it never existed
    told = _told(before, body, parameters or {}, imports or {}, only_given=only_given)
    template = Template(
        stack=name,
        body=body,
        account_id=region.names.account_id,
        region=region.names.region,
        given=told["Given"],
        imports={**_exports(region, name), **told["Imports"]},
        lookup=elsewhere.lookup,
        revision_of=lambda definition: max(1, definitions.last_revision(region, definition)),
        replaced=dict(before.get("Replaced", {})) if before else {},
    )
    resources = template.resources()
    old = _kept_of(before)
    new = _planned(region, template, resources, old)
    document, leftovers = await _apply(region, template, resources, old, new, before, told)
    await region.engine.put_resource(STACK, name, document)
    recall(elsewhere, document)
    stands = set(_working(document))
    for kind, named in _working(before or {}):
        if (kind, named) not in stands:
            elsewhere.will_drop(kind, named)
    failed = await _clean_up(region, leftovers)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in document["Outputs"]}
    registered = [one.logical_id for one in new.values()]
    found = {"stack": name, "registered": registered, "resources": len(resources), "outputs": outputs}
    return {**found, "left": failed} if failed else found


def _told(
    before: Document | None,
    body: Mapping[str, Any],
    parameters: Mapping[str, str],
    imports: Mapping[str, str],
    *,
    only_given: bool,
) -> Document:
    """The parameters and imports now in effect, from this load and previous ones."""
    if before is None:
        return {"Given": dict(parameters), "Imports": dict(imports)}
    known = body.get("Parameters") or {}
    last = {} if only_given else {key: value for key, value in before.get("Given", {}).items() if key in known}
    return {"Given": {**last, **parameters}, "Imports": {**before.get("Imports", {}), **imports}}


async def keep_failed(region: Region, name: str, description: str, reason: str) -> None:
    """Keep the name of a stack that could not be created, with the reason, as CloudFormation does after a rollback."""
    now = _now(region)
    arn = stack_arn(name, region.names.account_id, region.names.region)
    head = {"StackName": name, "StackId": arn}
    event = {
        **head,
        "LogicalResourceId": name,
        "PhysicalResourceId": arn,
        "ResourceType": "AWS::CloudFormation::Stack",
        "ResourceStatus": "ROLLBACK_COMPLETE",
        "ResourceStatusReason": reason,
        "Timestamp": now,
    }
    document = {
        **head,
        "CreationTime": now,
        "StackStatus": "ROLLBACK_COMPLETE",
        "StackStatusReason": reason,
        "Description": description,
        **{member: [] for member in ("Outputs", "Tags", "Parameters", "Resources")},
        "Kept": {},
        "Events": [event],
    }
    await region.engine.put_resource(STACK, name, document)


def _now(region: Region) -> str:
    return datetime.fromtimestamp(region.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


async def unload(region: Region, elsewhere: Elsewhere, name: str) -> None:
    """Remove a stack and its resources, in order. Raises InvalidInput if a resource cannot be removed yet."""
    stack = region.get(STACK, name)
    failed = await _clean_up(region, [one for one in _kept_of(stack).values() if not one.keeps_when_deleted])
    if failed:
        raise InvalidInput(f"stack {name} cannot be removed: {'; '.join(failed)}")
    for key, body in list(region.engine.resources(LAUNCH_TEMPLATE).items()):
        if body.get("stack") == name:
            await region.engine.delete_resource(LAUNCH_TEMPLATE, key)
    await region.engine.delete_resource(STACK, name)
    for kind, named in _working(stack):
        elsewhere.will_drop(kind, named)


def recall(elsewhere: Elsewhere, stack: Document) -> None:
    """Create the names that a stack has in other services, when loading and after a restart."""
    held = stack.get("Held", {})
    for resource in stack["Resources"]:
        if resource["ResourceType"] in KINDS:
            continue
        content = held.get(resource["LogicalResourceId"])
        name = resource["PhysicalResourceId"].rpartition(":secret:")[2].removesuffix(MADE_UP_SUFFIX)
        elsewhere.will_hold(resource["ResourceType"], name, content)
    for kind, name in _working(stack):
        elsewhere.will_hold(kind, name, held[_key(stack, kind, name)])


def _working(stack: Document) -> list[tuple[str, str]]:
    """Type and name of a stack's resources that work here, in creation order."""
    held = stack.get("Held", {})
    found = [
        (one["ResourceType"], name_in(one["ResourceType"], one["PhysicalResourceId"]))
        for one in stack.get("Resources", ())
        if one["ResourceType"] in KINDS and one["LogicalResourceId"] in held
    ]
    return sorted(found, key=lambda one: KINDS.index(one[0]))


def _key(stack: Document, kind: str, name: str) -> str:
    return next(
        str(one["LogicalResourceId"])
        for one in stack["Resources"]
        if one["ResourceType"] == kind and name_in(kind, one["PhysicalResourceId"]) == name
    )


def _exports(region: Region, own: str) -> dict[str, str]:
    """What the other stacks of this region export."""
    return {
        output["ExportName"]: output["OutputValue"]
        for name, stack in region.documents(STACK).items()
        for output in stack["Outputs"]
        if name != own and output.get("ExportName")
    }


def _kept_of(stack: Document | None) -> dict[str, Kept]:
    """The Batch resources created by a stack, by logical id."""
    if stack is None:
        return {}
    if "Kept" not in stack:
        return {one["LogicalResourceId"]: _from_row(one) for one in stack["Resources"] if one["ResourceType"] in NAMES}
    return {key: Kept(**one) for key, one in stack["Kept"].items()}


def _from_row(row: Document) -> Kept:
    """A resource of a stack from before its parameters were stored: its ARN contains its name."""
    name, _, revision = row["PhysicalResourceId"].rpartition("/")[2].partition(":")
    return Kept(
        logical_id=row["LogicalResourceId"], type=row["ResourceType"], name=name, asked={}, revision=int(revision or 0)
    )


def _planned(region: Region, template: Template, resources: list[Resource], old: Mapping[str, Kept]) -> dict[str, Kept]:
    """The stack's planned resources, in creation order. Raises InvalidInput for what AWS would refuse."""
    unknown = [one for one in resources if one.type.startswith(_OURS) and one.type not in OPERATIONS]
    for one in unknown:
        raise InvalidInput(
            f"template of {template.stack}: Resources.{one.logical_id}: the local region has no {one.type}, "
            f"but {', '.join(sorted(OPERATIONS))}"
        )
    found: dict[str, Kept] = {}
    for kind in OPERATIONS:
        for resource in resources:
            if resource.type == kind:
                found[resource.logical_id] = _plan(region, template, resource, old.get(resource.logical_id))
    return found


def _plan(region: Region, template: Template, resource: Resource, before: Kept | None) -> Kept:
    planned = _kept(region, template, resource)
    if before is not None and before.type == planned.type and before.name == planned.name:
        if before.asked and stack_resources.is_replaced(before, planned):
            if template.has_own_name(resource.logical_id):
                raise InvalidInput(  # CloudFormation's wording
                    f"Resources.{resource.logical_id}: CloudFormation cannot update a stack when a custom-named "
                    f"resource requires replacing. Rename {planned.name} and update the stack again."
                )
            template.rename(resource.logical_id)
            planned = _kept(region, template, resource)
        planned = replace(planned, revision=before.revision)
    stack_resources.check(planned)
    return planned


def _kept(region: Region, template: Template, resource: Resource) -> Kept:
    where = f"Resources.{resource.logical_id}.Properties"
    properties = template.with_dynamic_references(template.resolve(resource.properties, where), where)
    asked, own = parameters_of(resource.type, properties, where)
    name = asked[NAMES[resource.type]] = template.physical_id(resource.logical_id)
    if resource.type == "AWS::Batch::JobDefinition":
        _keep_artifacts_here(region, asked)
    return Kept(
        logical_id=resource.logical_id,
        type=resource.type,
        name=name,
        asked=asked,
        own=own,
        keeps_when_deleted=resource.keeps_when_deleted,
        keeps_when_replaced=resource.keeps_when_replaced,
    )


def _keep_artifacts_here(region: Region, asked: Document) -> None:
    """Local artifacts are plain files: wherever the definition names the store, this region's folder is used."""
    tasks = asked.get("ecsProperties", {}).get("taskProperties", [])
    containers = [asked.get("containerProperties", {}), *(one for task in tasks for one in task.get("containers", []))]
    for container in containers:
        for variable in container.get("environment", []):
            if variable.get("name") == SPOTBATCH_ARTIFACTS_URL:
                variable["value"] = region.artifacts_url


async def _apply(
    region: Region,
    template: Template,
    resources: list[Resource],
    old: Mapping[str, Kept],
    new: dict[str, Kept],
    before: Document | None,
    told: Document,
) -> tuple[Document, list[Kept]]:
    """Carry out the plan; returns the stack's document, and what is to be removed now. Undone if it fails."""
    undo: list[Undo] = []
    leftovers = [one for key, one in old.items() if key not in new and not one.keeps_when_deleted]
    try:
        await _launch_templates(region, template, resources, undo)
        for key, planned in new.items():
            new[key], surplus = await _step(region, old.get(key), planned, undo)
            leftovers += surplus
        document = _document(region, template, resources, new, before)
    except BaseException:
        for back in reversed(undo):
            await back()
        raise
    return {**document, **told}, leftovers


async def _step(region: Region, old: Kept | None, new: Kept, undo: list[Undo]) -> tuple[Kept, list[Kept]]:
    """Process one resource; returns its new state, and what is to be removed of the old one at the end."""
    if old is not None and (old.name != new.name or old.type != new.type):
        made, _ = await _step(region, None, new, undo)
        return made, [] if new.keeps_when_replaced else [old]
    if new.type == "AWS::Batch::JobDefinition":
        return await _definition(region, old, new, undo)
    if old is None:
        undo.append(await stack_resources.make(region, new))
    elif old.asked != new.asked or stack_resources.is_gone(region, new):
        undo.append(await stack_resources.change(region, old, new))
    return new, []


async def _definition(region: Region, old: Kept | None, new: Kept, undo: list[Undo]) -> tuple[Kept, list[Kept]]:
    """An unchanged definition gets no new revision; for a changed one the previous revision is deregistered."""
    if old is not None and old.asked == new.asked and not stack_resources.is_gone(region, old):
        return new, []
    made = replace(new, revision=definitions.last_revision(region, new.name) + 1)
    undo.append(await stack_resources.make(region, made))
    keeps = str((new.own.get("ResourceRetentionPolicy") or {}).get("SkipDeregisterOnUpdate", False)).lower() == "true"
    return made, [] if old is None or keeps else [old]


async def _launch_templates(region: Region, template: Template, resources: list[Resource], undo: list[Undo]) -> None:
    """Record what the region reads of the stack's launch templates: names, user data, instance tags."""
    for resource in resources:
        if resource.type == _LAUNCH_TEMPLATE:
            where = f"Resources.{resource.logical_id}.Properties"
            key = template.physical_id(resource.logical_id)
            found = {"stack": template.stack, **_described(template, resource, where)}
            undo.append(await launch_templates.keep(region, key, found))


def _described(template: Template, resource: Resource, where: str) -> Document:
    """The name, the user data and the tags; nothing that only the cloud can resolve."""
    data = resource.properties.get("LaunchTemplateData") or {}
    wanted: dict[str, Value] = {"name": resource.properties.get("LaunchTemplateName"), "userData": None}
    if isinstance(data, Mapping):
        wanted["userData"] = data.get("UserData")
    found: Document = {}
    for name, value in wanted.items():
        try:
            resolved = template.resolve(value, where)
        except InvalidInput:
            continue
        if isinstance(resolved, str):
            found[name] = resolved
    return {**found, "tags": _instance_tags(template, data, where)}


def _instance_tags(template: Template, data: Value, where: str) -> dict[str, str]:
    """The tags that the launch template gives to instances; empty if only the cloud can resolve them."""
    try:
        specifications = template.resolve(data.get("TagSpecifications"), where) if isinstance(data, Mapping) else None
    except InvalidInput:
        return {}
    return {
        str(tag["Key"]): str(tag["Value"])
        for one in specifications or ()
        if isinstance(one, Mapping) and one.get("ResourceType") == "instance"
        for tag in one.get("Tags") or ()
        if isinstance(tag, Mapping) and {"Key", "Value"} <= tag.keys()
    }


async def _clean_up(region: Region, leftovers: list[Kept]) -> list[str]:
    """Remove what is left, dependents first; what cannot be removed is reported and left, as on AWS."""
    order = list(OPERATIONS)
    failed = []
    for one in sorted(leftovers, key=lambda kept: order.index(kept.type), reverse=True):
        try:
            await stack_resources.remove(region, one)
        except InvalidInput as error:
            failed.append(str(error))
    return failed


def _document(
    region: Region,
    template: Template,
    resources: list[Resource],
    new: Mapping[str, Kept],
    before: Document | None,
) -> Document:
    now = _now(region)
    status = "UPDATE_COMPLETE" if before else "CREATE_COMPLETE"
    rows = [_row(template, one, status) for one in resources]
    return {
        "StackName": template.stack,
        "StackId": template.stack_id,
        "CreationTime": before["CreationTime"] if before else now,
        **({"LastUpdatedTime": now} if before else {}),
        "StackStatus": status,
        "Description": str(template.body.get("Description", "")),
        "Outputs": [
            {"OutputKey": key, "OutputValue": value, "Description": description}
            | ({"ExportName": export} if export else {})
            for key, value, description, export in template.outputs()
        ],
        "Tags": [],
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": _shown(template, key, value)}
            for key, value in template.parameters.items()
        ],
        "Resources": rows,
        "Kept": {key: asdict(one) for key, one in new.items()},
        "Replaced": dict(template.replaced),
        "Held": _held(template, resources),
        "Events": _events(rows, status, now, before),
    }


def _row(template: Template, one: Resource, status: str) -> Document:
    return {
        "StackName": template.stack,
        "StackId": template.stack_id,
        "LogicalResourceId": one.logical_id,
        "PhysicalResourceId": _physical(template, one),
        "ResourceType": one.type,
        "ResourceStatus": status,
    }


def _shown(template: Template, key: str, value: str) -> str:
    """CloudFormation shows asterisks for a NoEcho parameter."""
    return "****" if str(template.body["Parameters"][key].get("NoEcho", False)).lower() == "true" else value


def _held(template: Template, resources: list[Resource]) -> Document:
    """The values of the stack's parameters and secrets, and all known properties of what works here."""
    found: Document = {}
    for one in resources:
        if one.type in KINDS:
            where = f"Resources.{one.logical_id}.Properties"
            with contextlib.suppress(InvalidInput):  # what only the cloud can resolve: it is listed, and does not work
                found[one.logical_id] = template.resolve(one.properties, where)
            continue
        if one.type == "AWS::IAM::Role" and one.properties.get("AssumeRolePolicyDocument") is not None:
            with contextlib.suppress(InvalidInput):  # who may assume it: moto checks that when a function has it
                policy = template.resolve(one.properties["AssumeRolePolicyDocument"], f"Resources.{one.logical_id}")
                found[one.logical_id] = {"AssumeRolePolicyDocument": json.dumps(policy)}
            continue
        member = {"AWS::SSM::Parameter": "Value", "AWS::SecretsManager::Secret": "SecretString"}.get(one.type)
        if member is not None and one.properties.get(member) is not None:
            try:
                found[one.logical_id] = {
                    member: template.resolve(one.properties[member], f"Resources.{one.logical_id}")
                }
            except InvalidInput:
                continue
    return found


def _events(rows: list[Document], status: str, now: str, before: Document | None) -> list[Document]:
    """The stack's events, newest first, as far back as they are kept."""
    head = {name: rows[0][name] for name in ("StackName", "StackId")}
    whole = {**head, "LogicalResourceId": head["StackName"], "PhysicalResourceId": head["StackId"]}
    last = {**whole, "ResourceType": "AWS::CloudFormation::Stack", "ResourceStatus": status}
    told = [{**one, "Timestamp": now} for one in (last, *reversed(rows))]
    return [*told, *(before or {}).get("Events", [])][:_MOST_EVENTS]


def _physical(template: Template, resource: Resource) -> str:
    """What CloudFormation shows: for Batch the ARN, the same as Ref returns."""
    return str(template.attribute(resource.logical_id, "Ref", f"Resources.{resource.logical_id}"))
