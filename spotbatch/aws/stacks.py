"""A CloudFormation stack from the view of deploying and removing: its state, its resources, its deletion."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.batch.environment import STACK_TAG
from spotbatch.batch.errors import NotFound, Unavailable

SETTLE_LIMIT_SECONDS: Final = 3600.0
EMPTY: Final = "REVIEW_IN_PROGRESS"  # created by a change set that was never executed: the stack is empty
_DELETED: Final = "DELETE_COMPLETE"
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
_KEPT_POLICIES: Final = ("Retain", "RetainExceptOnCreate")
_QUEUE_OUTPUTS: Final = ("JobQueueName", "OnDemandJobQueueName")
_MOST_REASONS: Final = 3
_MOST_STACKS: Final = 5000  # CloudFormation forgets deleted stacks after 90 days


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource of a stack; `is_retained` tells whether it outlives the stack."""

    logical_id: str
    physical_id: str
    kind: str
    is_retained: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A stack as described by CloudFormation."""

    stack_id: str
    name: str
    status: str
    is_protected: bool
    outputs: Mapping[str, str]
    is_tagged: bool  # has the tag that app.py puts on its stacks

    @property
    def queues(self) -> Sequence[str]:
        """The job queues named in its outputs."""
        return [self.outputs[name] for name in _QUEUE_OUTPUTS if name in self.outputs]

    @property
    def is_ours(self) -> bool:
        """Whether app.py created it, judging by its tag and outputs: other stacks must not be changed or removed."""
        return self.is_tagged or bool(self.queues)


def find(stack: str) -> Stack | None:
    """The stack of this name (or id), or None if there is no such stack."""
    try:
        found: Any = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except NotFound:
        return None
    if not found or found[0]["StackStatus"] == _DELETED:
        return None
    one = found[0]
    return Stack(
        stack_id=one["StackId"],
        name=one["StackName"],
        status=one["StackStatus"],
        is_protected=bool(one.get("EnableTerminationProtection")),
        outputs={each["OutputKey"]: each["OutputValue"] for each in one.get("Outputs", [])},
        is_tagged=any(each["Key"] == STACK_TAG for each in one.get("Tags", [])),
    )


def template(stack: str) -> Mapping[str, Any]:
    """The template from which the stack was created. Raises NotFound."""
    body: Any = session.client("cloudformation").get_template(StackName=stack)["TemplateBody"]
    found: Mapping[str, Any] = json.loads(body) if isinstance(body, str) else body
    return found


def resources(stack: str) -> Sequence[Resource]:
    """The stack's current resources. Raises NotFound."""
    policies = {name: each.get("DeletionPolicy") for name, each in template(stack).get("Resources", {}).items()}
    return [
        Resource(
            logical_id=each["LogicalResourceId"],
            physical_id=each.get("PhysicalResourceId", ""),
            kind=each["ResourceType"],
            is_retained=policies.get(each["LogicalResourceId"]) in _KEPT_POLICIES,
        )
        for each in summaries(stack)
        if each["ResourceStatus"] != _DELETED
    ]


def summaries(stack: str) -> Iterator[Any]:
    """CloudFormation's own summaries of the stack's resources. Raises NotFound."""
    pages = session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    for page in pages:
        yield from page["StackResourceSummaries"]


def settled(stack: str, *, say: Callable[[str], None], limit_seconds: float = SETTLE_LIMIT_SECONDS) -> Stack | None:
    """The stack once it is no longer changing: CloudFormation continues on its own when we are interrupted.

    Raises Unavailable if it is still changing at the time limit.
    """
    last = ""
    for _ in pauses(limit_seconds):
        found = find(stack)
        if found is None or not found.status.endswith("_IN_PROGRESS") or found.status == EMPTY:
            return found
        if found.status != last:
            say(f"stack {stack} is {found.status}: waiting until CloudFormation has ended that ...")
            last = found.status
    raise Unavailable(f"{stack} was still {last} after {limit_seconds:.0f} s: run this again, it goes on from there")


def delete(stack: Stack, *, say: Callable[[str], None], limit_seconds: float = SETTLE_LIMIT_SECONDS) -> None:
    """Delete a stack and wait until it is gone. Raises Unavailable with CloudFormation's reasons if it fails."""
    session.client("cloudformation").delete_stack(StackName=stack.stack_id)
    last = ""
    for _ in pauses(limit_seconds):
        now = find(stack.stack_id)
        if now is None:
            return
        if now.status == "DELETE_FAILED" and last:  # at first this may be left over from an earlier deletion
            reasons = "; ".join(failures(stack.stack_id)) or "no reason was given"
            raise Unavailable(
                f"CloudFormation could not delete {stack.name}: {reasons}. Mend that, then run this again"
            )
        if now.status != last:
            say(f"stack {stack.name}: {now.status}")
            last = now.status
    raise Unavailable(
        f"{stack.name} was still {last} after {limit_seconds:.0f} s: run this again, it goes on from there"
    )


def pauses(limit_seconds: float) -> Iterator[float]:
    """Yield at once, then after growing pauses, until the limit; yields the elapsed seconds."""
    began = time.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    while (passed := time.monotonic() - began) < limit_seconds:
        yield passed
        time.sleep(min(pause, max(0.0, limit_seconds - passed)))
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def failures(stack: str) -> Sequence[str]:
    """Why resources of a stack last failed, in CloudFormation's words, at most a few; the root cause first."""
    events = session.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    found = [
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in events  # newest first
        if event.get("ResourceStatus", "").endswith("_FAILED") and event.get("ResourceStatusReason")
    ]
    return list(dict.fromkeys(reversed(found)))[-_MOST_REASONS:]


def kept_by_deleted(stack: str) -> Iterator[Resource]:
    """What stacks of this name retained when they were deleted; CloudFormation remembers it for 90 days."""
    pages = (
        session.client("cloudformation")
        .get_paginator("list_stacks")
        .paginate(StackStatusFilter=[_DELETED], PaginationConfig={"MaxItems": _MOST_STACKS})
    )
    for page in pages:
        for each in page["StackSummaries"]:
            if each["StackName"] == stack and each["StackStatus"] == _DELETED:
                yield from _left_by(each["StackId"])


def _left_by(stack_id: str) -> Iterator[Resource]:
    for each in summaries(stack_id):
        if each["ResourceStatus"] != _DELETED and each.get("PhysicalResourceId"):
            yield Resource(
                logical_id=each["LogicalResourceId"],
                physical_id=each["PhysicalResourceId"],
                kind=each["ResourceType"],
                is_retained=True,
            )
