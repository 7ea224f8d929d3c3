"""CloudFormation for stacks with AWS Batch resources: they are created, changed, removed and described here.

Everything else in that service is left to moto: stacks without such resources, and operations not in this file.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.api import stacks
from spotbatch.local.api.cfn_requests import parameters_in, template_in
from spotbatch.local.api.errors import ApiError, query_error
from spotbatch.local.api.http import Response
from spotbatch.local.api.region import STACK, Document, Region
from spotbatch.local.api.stack_resources import ResourceFailed
from spotbatch.local.api.stacks import Elsewhere
from spotbatch.local.template import stack_arn
from spotbatch.local.template_file import template_of

_NAMESPACE: Final = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
_OURS: Final = "AWS::Batch::"
_NO_UPDATE: Final = "No updates are to be performed."  # CloudFormation's wording
_HEAD: Final = ("StackName", "StackId", "CreationTime", "LastUpdatedTime", "StackStatus", "StackStatusReason")

Form = Mapping[str, str]


async def answer(region: Region, elsewhere: Elsewhere, body: bytes) -> Response | None:
    """The response for our stacks; None if moto is to answer: other operations, other stacks."""
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    action = form.get("Action", "")
    try:
        if action in _CHANGES:
            result = await _CHANGES[action](region, elsewhere, form)
        elif action in _OPERATIONS:
            result = _OPERATIONS[action](region, form)
        else:
            return None
    except ApiError as error:
        return query_error(error.code, error.message, error.status)
    if result is None:
        return None
    inner = f"<{action}Result>{result}</{action}Result>"
    text = f'<{action}Response xmlns="{_NAMESPACE}">{inner}<ResponseMetadata/></{action}Response>'
    return Response(headers=[("content-type", "text/xml")], body=text.encode())


def _refused(message: str) -> ApiError:
    return ApiError("ValidationError", message)


def _stack(region: Region, form: Form) -> Document | None:
    wanted = form.get("StackName", "")
    found = region.documents(STACK).values()
    return next((one for one in found if wanted in (one["StackName"], one["StackId"])), None)


# ---- what changes stacks ----


async def _create(region: Region, elsewhere: Elsewhere, form: Form) -> str | None:
    """CreateStack. A failed one is rolled back and kept as such, or deleted with OnFailure DELETE, as on AWS."""
    text, template = _template(elsewhere, form)
    if template is None or not _is_ours(template):
        return None
    name = form.get("StackName", "")
    before = _stack(region, form)
    if before is not None:
        raise ApiError("AlreadyExistsException", f"Stack [{name}] already exists")
    found = f"<StackId>{escape(stack_arn(name, region.names.account_id, region.names.region))}</StackId>"
    try:
        await stacks.load(region, elsewhere, name, template, parameters=parameters_in(form))
    except ResourceFailed as error:
        if form.get("OnFailure") != "DELETE":
            await stacks.keep_failed(region, name, str(template.get("Description", "")), str(error))
        return found
    except InvalidInput as error:
        raise _refused(str(error)) from error
    await _keep_template(region, name, text)
    return found


async def _update(region: Region, elsewhere: Elsewhere, form: Form) -> str | None:
    """UpdateStack. If it fails the stack stays as it was, UPDATE_ROLLBACK_COMPLETE."""
    before = _stack(region, form)
    text, template = _template(elsewhere, form, before)
    if before is None:
        if template is not None and _is_ours(template):
            raise _refused(f"Stack [{form.get('StackName', '')}] does not exist")
        return None
    if before["StackStatus"].startswith("ROLLBACK"):
        raise _refused(f"Stack:{before['StackId']} is in {before['StackStatus']} state and can not be updated.")
    if template is None:
        raise _refused("Either Template URL or Template Body must be specified.")
    name = before["StackName"]
    given = parameters_in(form, before.get("Given", {}))
    try:
        await stacks.load(region, elsewhere, name, template, parameters=given, only_given=True)
    except ResourceFailed as error:
        again = region.get(STACK, name)
        failed = {"StackStatus": "UPDATE_ROLLBACK_COMPLETE", "StackStatusReason": str(error)}
        await region.engine.put_resource(STACK, name, {**again, **failed})
        return f"<StackId>{escape(before['StackId'])}</StackId>"
    except InvalidInput as error:
        raise _refused(str(error)) from error
    after = region.get(STACK, name)
    is_same = all(after.get(part) == before.get(part) for part in ("Kept", "Outputs", "Given"))
    if is_same and template_of(before.get("TemplateBody", "{}"), "the template before") == template:
        await region.engine.put_resource(STACK, name, before)
        raise _refused(_NO_UPDATE)
    await _keep_template(region, name, text)
    return f"<StackId>{escape(before['StackId'])}</StackId>"


async def _delete(region: Region, elsewhere: Elsewhere, form: Form) -> str | None:
    """DeleteStack returns at once; the stack is DELETE_IN_PROGRESS until its queues' jobs have ended."""
    stack = _stack(region, form)
    if stack is None:
        return None
    if stack["StackStatus"] != "DELETE_IN_PROGRESS":
        await region.engine.put_resource(STACK, stack["StackName"], {**stack, "StackStatus": "DELETE_IN_PROGRESS"})
        region.keep(asyncio.create_task(_finish_deletion(region, elsewhere, stack["StackName"])))
    return ""


async def _finish_deletion(region: Region, elsewhere: Elsewhere, name: str) -> None:
    try:
        await stacks.unload(region, elsewhere, name)
    except (InvalidInput, NotFound, ApiError) as error:
        stack = region.find(STACK, name)
        if stack is not None:
            failed = {"StackStatus": "DELETE_FAILED", "StackStatusReason": str(error)}
            await region.engine.put_resource(STACK, name, {**stack, **failed})


async def take_up(region: Region, elsewhere: Elsewhere, name: str) -> None:
    """Resume the deletion of a stack that was interrupted when the region stopped."""
    await _finish_deletion(region, elsewhere, name)


def _template(elsewhere: Elsewhere, form: Form, before: Document | None = None) -> tuple[str, Document | None]:
    """The template in a request, as text and parsed; None if it has none."""
    text = template_in(form, elsewhere.object_of)
    if text is None and form.get("UsePreviousTemplate") == "true" and before is not None:
        text = before.get("TemplateBody")
    if text is None:
        return "", None
    try:
        return text, template_of(text, "the template")
    except InvalidInput as error:
        raise _refused(f"Template format error: {error}") from error


def _is_ours(template: Mapping[str, Any]) -> bool:
    resources = template.get("Resources")
    if not isinstance(resources, Mapping):
        return False
    kinds = (one.get("Type") for one in resources.values() if isinstance(one, Mapping))
    return any(str(kind).startswith(_OURS) for kind in kinds)


async def _keep_template(region: Region, name: str, text: str) -> None:
    """For GetTemplate, UsePreviousTemplate, and to see whether an update changes anything."""
    await region.engine.put_resource(STACK, name, {**region.get(STACK, name), "TemplateBody": text})


async def _change_set(_region: Region, elsewhere: Elsewhere, form: Form) -> None:
    """moto would create such a stack with its own AWS Batch, whose jobs never run here."""
    _, template = _template(elsewhere, form)
    if template is not None and _is_ours(template):
        raise _refused(
            "the local region has no change sets for stacks with AWS Batch resources: use CreateStack, UpdateStack, "
            "or `spotbatch local load FILE`"
        )


# ---- what tells of stacks ----


def _describe_stacks(region: Region, form: Form) -> str | None:
    if not form.get("StackName"):
        found = list(region.documents(STACK).values())
    else:
        stack = _stack(region, form)
        if stack is None:
            return None
        found = [stack]
    return _list("Stacks", (_described(stack) for stack in found))


def _described(stack: Document) -> str:
    outputs = (_members(output) for output in stack["Outputs"])
    tags = (_members(tag) for tag in stack["Tags"])
    parameters = (_members(parameter) for parameter in stack["Parameters"])
    head: Document = {name: stack[name] for name in (*_HEAD, "Description") if name in stack}
    return _members(head) + _list("Outputs", outputs) + _list("Tags", tags) + _list("Parameters", parameters)


def _list_stacks(region: Region, _form: Form) -> str:
    found = region.documents(STACK).values()
    rows = (_members({name: stack[name] for name in _HEAD if name in stack}) for stack in found)
    return _list("StackSummaries", rows)


def _resources(region: Region, form: Form, outer: str) -> str | None:
    stack = _stack(region, form)
    if stack is None:
        return None
    wanted = form.get("LogicalResourceId")
    chosen = (one for one in stack["Resources"] if wanted in (None, one["LogicalResourceId"]))
    rows = (_members({**resource, "Timestamp": stack["CreationTime"]}) for resource in chosen)
    if outer == "StackResourceSummaries":
        rows = (row.replace("Timestamp>", "LastUpdatedTimestamp>") for row in rows)
    return _list(outer, rows)


def _resource(region: Region, form: Form) -> str | None:
    stack = _stack(region, form)
    if stack is None:
        return None
    wanted = form.get("LogicalResourceId", "")
    for one in stack["Resources"]:
        if one["LogicalResourceId"] == wanted:
            detail = _members({**one, "LastUpdatedTimestamp": stack.get("LastUpdatedTime", stack["CreationTime"])})
            return f"<StackResourceDetail>{detail}</StackResourceDetail>"
    raise _refused(f"Resource {wanted} does not exist for stack {stack['StackName']}")


def _events(region: Region, form: Form) -> str | None:
    stack = _stack(region, form)
    if stack is None:
        return None
    events = stack.get("Events", [])
    rows = (_members({**one, "EventId": f"{len(events) - place}"}) for place, one in enumerate(events))
    return _list("StackEvents", rows)


def _get_template(region: Region, form: Form) -> str | None:
    stack = _stack(region, form)
    if stack is None or "TemplateBody" not in stack:
        return None
    return f"<TemplateBody>{escape(stack['TemplateBody'])}</TemplateBody>"


def _list(name: str, members: Iterable[str]) -> str:
    return f"<{name}>{''.join(f'<member>{member}</member>' for member in members)}</{name}>"


def _members(values: Mapping[str, object]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in values.items())


_CHANGES: Final[dict[str, Callable[[Region, Elsewhere, Form], Awaitable[str | None]]]] = {
    "CreateStack": _create,
    "UpdateStack": _update,
    "DeleteStack": _delete,
    "CreateChangeSet": _change_set,
}
_OPERATIONS: Final[dict[str, Callable[[Region, Form], str | None]]] = {
    "DescribeStacks": _describe_stacks,
    "ListStacks": _list_stacks,
    "DescribeStackResource": _resource,
    "DescribeStackResources": lambda region, form: _resources(region, form, "StackResources"),
    "ListStackResources": lambda region, form: _resources(region, form, "StackResourceSummaries"),
    "DescribeStackEvents": _events,
    "GetTemplate": _get_template,
}
