"""`spotbatch cleanup`: show what a removal deletes, ask, remove the stack, and show what is left."""

from typing import Annotated, Final

import typer

from spotbatch.aws import leftovers, preflight, stack_outputs, stacks, teardown
from spotbatch.aws.leftovers import Left
from spotbatch.aws.stacks import Stack
from spotbatch.batch.errors import Unavailable
from spotbatch.cli.confirm import agreed
from spotbatch.cli.deploy_options import ProfileOption, RegionOption, StackNameOption, interruptible, point_at
from spotbatch.cli.options import YesOption
from spotbatch.cli.output import text
from spotbatch.deployment import teardown as steps
from spotbatch.deployment.deploy_target import DeployTarget
from spotbatch.deployment.teardown import Removal

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)

_SCRIPT: Final = "cleanup.sh"
_HELP_EVERYTHING: Final = "Delete the artifacts and the images too, which otherwise outlive the stack."


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
    removal = steps.plan(stack, target, everything=everything, say=text.say)
    _show(removal)
    if dry_run:
        text.say("dry run: nothing was changed")
        return
    if not agreed(f"Remove {stack.name} {question}", yes=yes):
        raise typer.Exit(1)
    steps.carry_out(removal, say=text.say)
    _show_what_is_left(target, everything=everything)


def _show(removal: Removal) -> None:
    text.say(f"{removal.stack.name} is {removal.stack.status} and has {text.count(len(removal.resources), 'resource')}")
    for queue in removal.queues:
        waiting = teardown.open_jobs(queue)
        name = queue.rpartition("/")[2]
        jobs = f"{text.count(len(waiting), 'job')} running or waiting, to be terminated" if waiting else "no jobs"
        text.say(f"  queue {name}: {jobs}")
    for each, is_deleted in removal.data():
        text.say(f"  {Left(kind=each.kind, name=each.physical_id)}: {_fate(each.kind, is_deleted=is_deleted)}")
    for one in removal.earlier:
        fate = _fate(one.kind, is_deleted=removal.everything)
        text.say(f"  {one}, kept when an earlier {removal.stack.name} was removed: {fate}")


def _fate(kind: str, *, is_deleted: bool) -> str:
    if not is_deleted:
        return "kept (--everything deletes it)"
    return "deleted" if kind == leftovers.KEY else "deleted with all that it holds"


def _remove_what_was_kept(target: DeployTarget, question: str, *, everything: bool, dry_run: bool, yes: bool) -> None:
    """The stack was removed earlier; its data may still exist."""
    kept = steps.kept_data(target.stack) if everything else []
    for one in kept:
        text.say(f"  {one}, kept when {target.stack} was removed: {_fate(one.kind, is_deleted=True)}")
    if dry_run and kept:
        text.say("dry run: nothing was changed")
        return
    if kept and not agreed(f"Delete what was kept of {target.stack} {question}", yes=yes):
        raise typer.Exit(1)
    _show_what_is_left(target, everything=everything, dry_run=dry_run)


def _show_what_is_left(target: DeployTarget, *, everything: bool, dry_run: bool = False) -> None:
    """Raises Unavailable if something is left that should have been deleted."""
    found = steps.remains(target.stack, everything=everything, is_dry=dry_run, say=text.say)
    if not found.left:
        text.say(
            f"nothing is left of {target.stack}: AWS lists nothing with its tag, CloudFormation nothing that it kept"
        )
        return
    text.say(f"what is left of {target.stack}:")
    for one in found.left:
        text.say(f"  {one}" + ("" if one in found.surprises else " (kept on purpose)"))
    if found.surprises:
        raise Unavailable(
            "what is left and not kept on purpose could not be deleted here: AWS may still be deleting it, so run "
            f"{target.script(_SCRIPT)} again in some minutes; what is left then, delete by hand"
        )
    text.say(f"delete them too: {target.script(_SCRIPT, '--everything')}")
