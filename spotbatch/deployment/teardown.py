"""Removing the stack: what it holds, the steps to remove it, and a check of what is left. Nothing here prints."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch import wording
from spotbatch.aws import leftovers, stacks, teardown
from spotbatch.aws.leftovers import Left
from spotbatch.aws.stacks import Resource, Stack
from spotbatch.batch.errors import InvalidInput, Unavailable
from spotbatch.deployment.deploy_target import DeployTarget

JOBS_LIMIT_SECONDS: Final = 900.0
LAG_SECONDS: Final = 120.0  # AWS's tag index may list deleted resources for a while
_QUEUE: Final = "AWS::Batch::JobQueue"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What a removal finds, and what it will delete."""

    stack: Stack
    resources: Sequence[Resource]
    earlier: Sequence[Left]  # data of removed stacks with this name, which --everything deletes too
    everything: bool  # also delete the artifacts and the images

    @property
    def queues(self) -> list[str]:
        """All queues; a stack whose creation failed may have only some of them."""
        made = [each.physical_id for each in self.resources if each.kind == _QUEUE and each.physical_id]
        return made or list(self.stack.queues)

    @property
    def definitions(self) -> Sequence[str]:
        """Names of job definitions, without revisions."""
        made = {
            each.physical_id.rpartition("/")[2].partition(":")[0]
            for each in self.resources
            if each.kind == leftovers.DEFINITION and each.physical_id
        }
        if "JobDefinitionName" in self.stack.outputs:
            made.add(self.stack.outputs["JobDefinitionName"])
        return sorted(made)

    def data(self) -> Iterator[tuple[Resource, bool]]:
        """Buckets, repositories and keys, and whether each will be deleted."""
        for each in self.resources:
            if each.physical_id and each.kind in (leftovers.BUCKET, leftovers.REPOSITORY, leftovers.KEY):
                yield each, self.everything or not each.is_retained


@dataclass(frozen=True, kw_only=True, slots=True)
class Remains:
    """What AWS still lists after a removal."""

    left: Sequence[Left]
    everything: bool  # whether data was to be deleted too

    @property
    def surprises(self) -> Sequence[Left]:
        """What should have been deleted."""
        return [one for one in self.left if self.everything or not one.holds_data]


def plan(stack: Stack, target: DeployTarget, *, everything: bool, say: Say) -> Removal:
    """What removing this stack involves. Raises InvalidInput if the stack is not ours or is protected."""
    resources = [] if stack.status == stacks.EMPTY else stacks.resources(stack.stack_id)
    is_ours = stack.is_ours or any(each.kind == _QUEUE for each in resources)
    if resources and not is_ours:
        raise InvalidInput(
            f"{stack.name} was not made by deploy.sh, and has no AWS Batch queue: name the stack with --stack-name, or "
            f"remove this one with `aws cloudformation delete-stack --stack-name {stack.name}{target.aws}`"
        )
    if stack.is_protected:
        raise InvalidInput(
            f"{stack.name} is protected against deletion, and nothing was changed. If that is no longer wanted: `aws "
            f"cloudformation update-termination-protection --no-enable-termination-protection "
            f"--stack-name {stack.name}{target.aws}`"
        )
    ids = {each.physical_id for each in resources}
    earlier = [one for one in _data_of(stack.name, everything=everything, say=say) if one.name not in ids]
    return Removal(stack=stack, resources=resources, earlier=earlier, everything=everything)


def _data_of(stack: str, *, everything: bool, say: Say) -> Sequence[Left]:
    """A denied request must not block the removal of a stack; but whatever will be deleted must be listed first."""
    try:
        return leftovers.find(stack, data_only=True)
    except Unavailable as error:
        if everything:
            raise
        say(f"note: what earlier stacks kept is unknown: {error}")
        return ()


def kept_data(stack: str) -> Sequence[Left]:
    """The data of removed stacks of this name that can be deleted."""
    return [one for one in leftovers.find(stack) if one.can_be_deleted]


def carry_out(removal: Removal, *, say: Say) -> None:
    """Terminate the jobs, empty what CloudFormation deletes only when empty, delete the stack. Safe to rerun."""
    _end_jobs(removal, say=say)
    for definition in removal.definitions:
        teardown.deregister(definition, but=[each.physical_id for each in removal.resources])
    for each, is_deleted in removal.data():
        if is_deleted and not each.is_retained:
            _empty(each, say=say)
    stacks.delete(removal.stack, say=say)
    say(f"stack {removal.stack.name} is deleted")


def remains(stack: str, *, everything: bool, is_dry: bool = False, say: Say) -> Remains:
    """Delete the retained data if `everything` is set, then ask AWS what is left of the stack."""
    if everything and not is_dry:
        for one in kept_data(stack):
            leftovers.delete(one, say=say)
    left = leftovers.find_settled(stack, say=say, limit_seconds=LAG_SECONDS)
    return Remains(left=left, everything=everything and not is_dry)


def _end_jobs(removal: Removal, *, say: Say) -> None:
    open_queues = [queue for queue in removal.queues if teardown.disable_queue(queue)]
    for queue in open_queues:
        say(f"queue {queue.rpartition('/')[2]} takes no new jobs")
    if open_queues:
        count = teardown.end_jobs(open_queues, say=say, limit_seconds=JOBS_LIMIT_SECONDS)
        say(f"{wording.count(count, 'job')} ended" if count else "no jobs were running")


def _empty(each: Resource, *, say: Say) -> None:
    if each.kind == leftovers.BUCKET:
        teardown.empty_bucket(each.physical_id, say=say)
    elif each.kind == leftovers.REPOSITORY:
        count = teardown.empty_repository(each.physical_id)
        say(f"repository {each.physical_id}: {wording.count(count, 'image')} deleted")
