"""`spotbatch cleanup`: end the jobs, empty what must be empty, delete the stack, and say what is left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from spotbatch.aws import leftovers, preflight, stack_outputs, stacks, teardown
from spotbatch.aws.leftovers import Left
from spotbatch.aws.stacks import Resource, Stack
from spotbatch.batch.errors import InvalidInput, Unavailable
from spotbatch.cli.confirm import agreed
from spotbatch.cli.deploy_options import ProfileOption, RegionOption, StackNameOption, interruptible, point_at
from spotbatch.cli.options import YesOption
from spotbatch.cli.output import text
from spotbatch.deployment.deploy_target import DeployTarget

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)

JOBS_LIMIT_SECONDS: Final = 900.0
LAG_SECONDS: Final = 120.0  # AWS's index of tags may list for a while what is gone
_SCRIPT: Final = "cleanup.sh"
_QUEUE: Final = "AWS::Batch::JobQueue"
_HELP_EVERYTHING: Final = "Delete the artifacts and the images too, which otherwise outlive the stack."


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What is there, and what is wanted of it."""

    stack: Stack
    resources: Sequence[Resource]
    earlier: Sequence[Left]  # data of stacks of this name that went before, which --everything deletes too
    everything: bool

    @property
    def queues(self) -> list[str]:
        """All queues: of a stack whose creation failed only some are there."""
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
        """Buckets, repositories and keys, and whether each is to go."""
        for each in self.resources:
            if each.physical_id and each.kind in (leftovers.BUCKET, leftovers.REPOSITORY, leftovers.KEY):
                yield each, self.everything or not each.is_retained


@app.command(epilog="Example: spotbatch cleanup --stack-name MyBatch --everything")
def cleanup(
    stack_name: StackNameOption = stack_outputs.DEFAULT_STACK,
    everything: Annotated[bool, typer.Option("--everything", help=_HELP_EVERYTHING)] = False,
    profile: ProfileOption = None,
    region: RegionOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    yes: YesOption = False,
) -> None:
    """Remove the stack. Safe to interrupt at any moment and to run again."""
    point_at(profile, region)
    target = DeployTarget(stack=stack_name, profile=profile, region=region)
    with interruptible("the same command"):
        who = preflight.caller()
        text.say(f"account {who.account}, region {who.region}, stack {stack_name} (as {who.arn})")
        found = stacks.find(stack_name) if dry_run else stacks.settled(stack_name, say=text.say)
        question = f"from account {who.account} in {who.region}?"
        if found is None:
            text.say(f"there is no stack {stack_name} here (another --region or --profile?)")
            _remove_what_was_kept(target, question, everything=everything, dry_run=dry_run, yes=yes)
        else:
            _remove(found, target, question, everything=everything, dry_run=dry_run, yes=yes)


def _remove(stack: Stack, target: DeployTarget, question: str, *, everything: bool, dry_run: bool, yes: bool) -> None:
    plan = _plan(stack, target, everything=everything)
    _show(plan)
    if dry_run:
        text.say("dry run: nothing was changed")
        return
    if not agreed(f"Remove {stack.name} {question}", yes=yes):
        raise typer.Exit(1)
    _end_jobs(plan)
    for definition in plan.definitions:
        teardown.deregister(definition, but=[each.physical_id for each in plan.resources])
    for each, goes in plan.data():
        if goes and not each.is_retained:
            _empty(each)  # CloudFormation deletes no bucket and no repository that holds something
    stacks.delete(stack, say=text.say)
    text.say(f"stack {stack.name} is deleted")
    _finish(target, everything=everything)


def _plan(stack: Stack, target: DeployTarget, *, everything: bool) -> _Plan:
    """Raises InvalidInput for a stack that is not ours to remove."""
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
    earlier = [one for one in _data_of(stack.name, everything=everything) if one.name not in ids]
    return _Plan(stack=stack, resources=resources, earlier=earlier, everything=everything)


def _data_of(stack: str, *, everything: bool) -> Sequence[Left]:
    """What may not be asked must not keep a stack from going; what is to be deleted must be seen before."""
    try:
        return leftovers.find(stack, data_only=True)
    except Unavailable as error:
        if everything:
            raise
        text.say(f"note: what earlier stacks kept cannot be told: {error}")
        return ()


def _show(plan: _Plan) -> None:
    text.say(f"{plan.stack.name} is {plan.stack.status} and has {text.count(len(plan.resources), 'resource')}")
    for queue in plan.queues:
        waiting = teardown.open_jobs(queue)
        name = queue.rpartition("/")[2]
        jobs = f"{text.count(len(waiting), 'job')} running or waiting, to be terminated" if waiting else "no jobs"
        text.say(f"  queue {name}: {jobs}")
    for each, goes in plan.data():
        text.say(f"  {Left(kind=each.kind, name=each.physical_id)}: {_fate(each.kind, goes=goes)}")
    for one in plan.earlier:
        text.say(
            f"  {one}, kept when an earlier {plan.stack.name} was removed: {_fate(one.kind, goes=plan.everything)}"
        )


def _fate(kind: str, *, goes: bool) -> str:
    if not goes:
        return "kept (--everything deletes it)"
    return "deleted" if kind == leftovers.KEY else "deleted with all that it holds"


def _end_jobs(plan: _Plan) -> None:
    open_queues = [queue for queue in plan.queues if teardown.disable_queue(queue)]
    for queue in open_queues:
        text.say(f"queue {queue.rpartition('/')[2]} takes no new jobs")
    if open_queues:
        count = teardown.end_jobs(open_queues, say=text.say, limit_seconds=JOBS_LIMIT_SECONDS)
        text.say(f"{text.count(count, 'job')} ended" if count else "no jobs were running")


def _empty(each: Resource) -> None:
    if each.kind == leftovers.BUCKET:
        teardown.empty_bucket(each.physical_id, say=text.say)
    elif each.kind == leftovers.REPOSITORY:
        count = teardown.empty_repository(each.physical_id)
        text.say(f"repository {each.physical_id}: {text.count(count, 'image')} deleted")


def _remove_what_was_kept(target: DeployTarget, question: str, *, everything: bool, dry_run: bool, yes: bool) -> None:
    """The stack went earlier: its data may be there still."""
    kept = [one for one in leftovers.find(target.stack) if one.can_be_deleted] if everything else []
    for one in kept:
        text.say(f"  {one}, kept when {target.stack} was removed: {_fate(one.kind, goes=True)}")
    if dry_run and kept:
        text.say("dry run: nothing was changed")
        return
    if kept and not agreed(f"Delete what was kept of {target.stack} {question}", yes=yes):
        raise typer.Exit(1)
    _finish(target, everything=everything and not dry_run)


def _finish(target: DeployTarget, *, everything: bool) -> None:
    """Delete what was kept where that is wanted; then ask AWS what is left, and say it."""
    if everything:
        for one in leftovers.find(target.stack):
            if one.can_be_deleted:
                leftovers.delete(one, say=text.say)
    left = leftovers.find_settled(target.stack, say=text.say, limit_seconds=LAG_SECONDS)
    if not left:
        text.say(
            f"nothing is left of {target.stack}: AWS lists nothing with its tag, CloudFormation nothing that it kept"
        )
        return
    surprises = [one for one in left if everything or not one.holds_data]
    text.say(f"what is left of {target.stack}:")
    for one in left:
        text.say(f"  {one}" + ("" if one in surprises else " (kept on purpose)"))
    if surprises:
        raise Unavailable(
            "what is left and not kept on purpose could not be deleted here: it may be going still, so run "
            f"{target.script(_SCRIPT)} again in some minutes; what is left then, delete by hand"
        )
    text.say(f"delete them too: {target.script(_SCRIPT, '--everything')}")
