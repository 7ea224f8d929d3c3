"""`spotbatch watch`: follow jobs to their end with one API call per poll, regardless of size."""

from collections.abc import Sequence
from typing import Final

import typer

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import JobFailed, NotFound
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import text
from spotbatch.cli.output.control import controlled_run, run_just_entered
from spotbatch.cli.output.facts import Facts
from spotbatch.cli.output.screens import open_screen, play
from spotbatch.runs import lookup
from spotbatch.runs.follow import Following
from spotbatch.runs.tracker import Tracker
from spotbatch.runs.units import failed_of

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def watch(
    job: JobArgument,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a job to its end: progress, retries, interruptions, failures.

    Exit code 0 if it SUCCEEDED and 1 if it FAILED. Ctrl-C leaves the job running.
    """
    jobs = Jobs()
    if (controlled := controlled_run(job, jobs=jobs, stack=stack, queue=queue, as_json=as_json)) is not None:
        return controlled.run()
    try:
        ids = lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue)
    except NotFound:  # a run whose first job is still to come, or not yet listed
        entered = run_just_entered(job, jobs=jobs, stack=stack, queue=queue, as_json=as_json)
        if entered is None:
            raise
        return entered.run()
    return follow(ids, jobs=jobs, as_json=as_json, called=job)


def follow(ids: Sequence[str], *, jobs: Jobs, as_json: bool, called: str | None = None) -> None:
    """Watch the jobs of a run. Raises JobFailed if one ends FAILED, typer.Exit(130) on Ctrl-C.

    `called` is the user's name for them.
    """
    name = called or ids[0]
    screen = open_screen(as_json=as_json)
    following = Following(jobs=jobs, tracker=Tracker(ids=ids), on_note=screen.note)
    try:
        play(following, screen, Facts(jobs=jobs))
    except KeyboardInterrupt:
        screen.close()
        text.hint(f"the job goes on. Come back with: spotbatch watch {name}")
        raise typer.Exit(130) from None
    finally:
        screen.close()
    seen = [following.tracker.jobs[each] for each in ids]
    if any(each.status is JobStatus.FAILED for each in seen):
        left = failed_of(jobs, seen)  # what a later part of the run has retried does not count
        if left:
            named = (
                name if len(ids) > 1 else left[0].job.id
            )  # a run's parts are referred to by its id, or only one part's logs would be shown
            raise JobFailed(_verdict(named, len(left), following.tracker.progress().total))


def _verdict(job_id: str, failed: int, total: int) -> str:
    if total == 1:
        return f"the job FAILED: `spotbatch logs {job_id}` shows what it wrote, `spotbatch show {job_id}` its story"
    return (
        f"{failed:,} of {total:,} children FAILED: `spotbatch logs {job_id} --failed` shows what they wrote, "
        f"`spotbatch retry {job_id}` runs them again"
    )
