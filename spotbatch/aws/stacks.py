"""A CloudFormation stack as deploying and removing see it: its state, its resources, its end."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.batch.errors import NotFound, Unavailable

DELETE_LIMIT_SECONDS: Final = 3600.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource of a stack; `is_retained` tells whether it outlives the stack."""

    logical_id: str
    physical_id: str
    kind: str
    is_retained: bool


def status(stack: str) -> str | None:
    """The stack's status, or None if there is no such stack."""
    try:
        found = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except NotFound:
        return None
    return found[0]["StackStatus"] if found else None


def resources(stack: str) -> Sequence[Resource]:
    """What the stack is made of. Raises NotFound."""
    client = session.client("cloudformation")
    body: Any = client.get_template(StackName=stack)["TemplateBody"]
    template: Mapping[str, Any] = json.loads(body) if isinstance(body, str) else body
    retained = {name for name, each in template.get("Resources", {}).items() if each.get("DeletionPolicy") == "Retain"}
    pages = client.get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        Resource(
            logical_id=each["LogicalResourceId"],
            physical_id=each.get("PhysicalResourceId", ""),
            kind=each["ResourceType"],
            is_retained=each["LogicalResourceId"] in retained,
        )
        for page in pages
        for each in page["StackResourceSummaries"]
    ]


def delete(stack: str, *, say: Callable[[str], None], limit_seconds: float = DELETE_LIMIT_SECONDS) -> None:
    """Delete a stack and wait for its end. Raises Unavailable with CloudFormation's reasons if it fails."""
    client = session.client("cloudformation")
    client.delete_stack(StackName=stack)
    last = ""
    for _ in pauses(limit_seconds):
        now = status(stack)
        if now is None or now == "DELETE_COMPLETE":
            return
        if now == "DELETE_FAILED":
            reasons = "; ".join(_failures(stack)) or "no reason was given"
            raise Unavailable(f"CloudFormation could not delete {stack}: {reasons}. Mend that, then run this again")
        if now != last:
            say(f"stack {stack}: {now}")
            last = now
    raise Unavailable(f"{stack} was still {last} after {limit_seconds:.0f} s: run this again, it goes on from there")


def pauses(limit_seconds: float) -> Iterator[float]:
    """Yield at once, then after growing pauses, until the limit; yields the seconds that have passed."""
    began = time.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    while (passed := time.monotonic() - began) < limit_seconds:
        yield passed
        time.sleep(min(pause, max(0.0, limit_seconds - passed)))
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def _failures(stack: str) -> Iterator[str]:
    events = session.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    for event in events:
        if event.get("ResourceStatus") == "DELETE_FAILED" and event.get("ResourceStatusReason"):
            yield f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"


def left_by_tag(stack: str) -> Sequence[str]:
    """The ARNs of all resources that still carry the stack's name as their tag, whoever kept them."""
    pages = (
        session.client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(TagFilters=[{"Key": "aws:cloudformation:stack-name", "Values": [stack]}])
    )
    return sorted(each["ResourceARN"] for page in pages for each in page["ResourceTagMappingList"])
