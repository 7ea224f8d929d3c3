"""What CloudFormation says of the stacks whose templates were loaded; all else of that service is moto's."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from spotbatch.local.api.errors import ApiError, query_error
from spotbatch.local.api.http import Response
from spotbatch.local.api.region import STACK, Document, Region

_NAMESPACE: Final = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


def answer(region: Region, body: bytes) -> Response | None:
    """The answer for our stacks; None where moto is to answer: other operations, other stacks."""
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    function = _OPERATIONS.get(form.get("Action", ""))
    if function is None:
        return None
    try:
        result = function(region, form)
    except ApiError as error:
        return query_error(error.code, error.message, error.status)
    if result is None:
        return None
    action = form["Action"]
    inner = f"<{action}Result>{result}</{action}Result>"
    text = f'<{action}Response xmlns="{_NAMESPACE}">{inner}<ResponseMetadata/></{action}Response>'
    return Response(headers=[("content-type", "text/xml")], body=text.encode())


def _stack(region: Region, form: Mapping[str, str]) -> Document | None:
    wanted = form.get("StackName", "")
    stacks = region.documents(STACK).values()
    return next((one for one in stacks if wanted in (one["StackName"], one["StackId"])), None)


def _describe_stacks(region: Region, form: Mapping[str, str]) -> str | None:
    if "StackName" not in form:
        stacks = list(region.documents(STACK).values())
    else:
        stack = _stack(region, form)
        if stack is None:
            return None
        stacks = [stack]
    return _list("Stacks", (_described(stack) for stack in stacks))


def _described(stack: Document) -> str:
    outputs = (_members(output) for output in stack["Outputs"])
    tags = (_members(tag) for tag in stack["Tags"])
    parameters = (_members(parameter) for parameter in stack["Parameters"])
    head = {name: stack[name] for name in ("StackName", "StackId", "CreationTime", "StackStatus", "Description")}
    return _members(head) + _list("Outputs", outputs) + _list("Tags", tags) + _list("Parameters", parameters)


def _list_stacks(region: Region, _form: Mapping[str, str]) -> str:
    names = ("StackName", "StackId", "CreationTime", "StackStatus")
    stacks = region.documents(STACK).values()
    return _list("StackSummaries", (_members({name: stack[name] for name in names}) for stack in stacks))


def _resources(region: Region, form: Mapping[str, str], outer: str) -> str | None:
    stack = _stack(region, form)
    if stack is None:
        return None
    wanted = form.get("LogicalResourceId")
    chosen = (one for one in stack["Resources"] if wanted in (None, one["LogicalResourceId"]))
    rows = (_members({**resource, "Timestamp": stack["CreationTime"]}) for resource in chosen)
    if outer == "StackResourceSummaries":
        rows = (row.replace("Timestamp>", "LastUpdatedTimestamp>") for row in rows)
    return _list(outer, rows)


def _not_here(_region: Region, form: Mapping[str, str]) -> None:
    """moto would make such a stack with an AWS Batch of its own, whose jobs never run here."""
    if "AWS::Batch::" in form.get("TemplateBody", ""):
        message = "the local region loads templates with AWS Batch resources by `spotbatch local load FILE`"
        raise ApiError("ValidationError", message)


def _list(name: str, members: Iterable[str]) -> str:
    return f"<{name}>{''.join(f'<member>{member}</member>' for member in members)}</{name}>"


def _members(values: Mapping[str, object]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in values.items())


_OPERATIONS: Final[dict[str, Callable[[Region, Mapping[str, str]], Any]]] = {
    "CreateStack": _not_here,
    "UpdateStack": _not_here,
    "CreateChangeSet": _not_here,
    "DescribeStacks": _describe_stacks,
    "ListStacks": _list_stacks,
    "DescribeStackResources": lambda region, form: _resources(region, form, "StackResources"),
    "ListStackResources": lambda region, form: _resources(region, form, "StackResourceSummaries"),
}
