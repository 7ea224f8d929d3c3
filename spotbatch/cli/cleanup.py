"""`spotbatch cleanup`: end the jobs, empty what must be empty, delete the stack, and say what is left."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from spotbatch.aws import preflight, stack_outputs, stacks, teardown
from spotbatch.aws.stacks import Resource
from spotbatch.batch.errors import NotFound, Unavailable
from spotbatch.cli.asking import agreed
from spotbatch.cli.deploy import ProfileOption, RegionOption, StackNameOption, point_at
from spotbatch.cli.options import YesOption
from spotbatch.cli.output import text

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)

_BUCKET: Final = "AWS::S3::Bucket"
_REPOSITORY: Final = "AWS::ECR::Repository"
_QUEUE: Final = "AWS::Batch::JobQueue"
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
    who = preflight.caller()
    text.say(f"account {who.account}, region {who.region}, stack {stack_name} (as {who.arn})")
    if stacks.status(stack_name) is None:
        text.say(f"there is no stack {stack_name} here: nothing to delete")
        _finish(stack_name, everything=everything, dry_run=dry_run, yes=yes)
        return
    found = stacks.resources(stack_name)
    queue = _queue_of(stack_name, found)
    _show_plan(stack_name, found, queue, everything=everything)
    if dry_run:
        text.say("dry run: nothing was changed")
        return
    if not agreed(f"Remove {stack_name} from account {who.account} in {who.region}?", yes=yes):
        raise typer.Exit(1)
    if queue and teardown.disable_queue(queue):
        text.say(f"queue {queue} takes no new jobs")
        count = teardown.end_jobs(queue, say=text.say)
        text.say(f"{count} jobs were ended" if count else "no jobs were running")
    _empty(found, everything=everything)
    stacks.delete(stack_name, say=text.say)
    text.say(f"stack {stack_name} is deleted")
    if everything:
        _delete_kept(found)
    _finish(stack_name, everything=everything, dry_run=False, yes=True)


def _queue_of(stack: str, found: Sequence[Resource]) -> str:
    """The queue's name or ARN; "" for a stack whose creation did not come so far."""
    for each in found:
        if each.kind == _QUEUE and each.physical_id:
            return each.physical_id
    try:
        return stack_outputs.read(stack).job_queue
    except NotFound:
        return ""


def _show_plan(stack: str, found: Sequence[Resource], queue: str, *, everything: bool) -> None:
    text.say(f"{stack} has {len(found)} resources")
    if queue:
        waiting = teardown.open_jobs(queue)
        text.say(f"  jobs not ended: {len(waiting)}" + ("; they will be terminated" if waiting else ""))
    for each in found:
        if each.kind in (_BUCKET, _REPOSITORY):
            fate = "deleted with all that it holds" if everything or not each.is_retained else "kept"
            text.say(f"  {each.physical_id} ({each.kind}): {fate}")


def _empty(found: Sequence[Resource], *, everything: bool) -> None:
    """CloudFormation deletes no bucket and no repository that holds something."""
    for each in found:
        if not (everything or not each.is_retained) or not each.physical_id:
            continue
        if each.kind == _BUCKET:
            teardown.empty_bucket(each.physical_id, say=text.say)
        elif each.kind == _REPOSITORY:
            count = teardown.empty_repository(each.physical_id)
            text.say(f"repository {each.physical_id}: {count} images deleted")


def _delete_kept(found: Sequence[Resource]) -> None:
    """What the stack left standing by its deletion policy."""
    for each in found:
        if each.is_retained and each.kind == _BUCKET:
            teardown.empty_bucket(each.physical_id, say=text.say)  # a job that ended late may have written
            teardown.delete_bucket(each.physical_id)
            text.say(f"bucket {each.physical_id} is deleted")
        elif each.is_retained and each.kind == _REPOSITORY:
            teardown.delete_repository(each.physical_id)
            text.say(f"repository {each.physical_id} is deleted")


def _finish(stack: str, *, everything: bool, dry_run: bool, yes: bool) -> None:
    """Ask AWS, by the stack's tag, what is left, and delete kept data where that is wanted."""
    left = stacks.left_by_tag(stack)
    if left and everything and not dry_run:
        _delete_by_arn(left, yes=yes)
        left = stacks.left_by_tag(stack)
    if not left:
        text.say(f"nothing is left that carries the stack's tag {stack}")
        return
    text.say(f"{len(left)} resources are left:")
    for arn in left:
        text.say(f"  {arn}")
    if everything and not dry_run:
        raise Unavailable("these could not be deleted here: delete them by hand, or run this again in a while")
    text.say(f"delete them too: ./cleanup.sh --stack-name {stack} --everything")


def _delete_by_arn(left: Sequence[str], *, yes: bool) -> None:
    """Buckets and repositories of a stack that went earlier."""
    kept = [arn for arn in left if ":s3:::" in arn or (":ecr:" in arn and ":repository/" in arn)]
    if not kept or not agreed(f"Delete {', '.join(kept)} with all that they hold?", yes=yes):
        return
    for arn in kept:
        if ":s3:::" in arn:
            bucket = arn.rpartition(":")[2]
            teardown.empty_bucket(bucket, say=text.say)
            teardown.delete_bucket(bucket)
        else:
            teardown.delete_repository(arn.partition(":repository/")[2])
        text.say(f"{arn} is deleted")
