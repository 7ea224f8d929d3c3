"""`spotbatch doctor`: why does a job not run? The cause, the evidence and the fix."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

import typer

from spotbatch.aws.inspection import Inspector, Surroundings
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import current_catalogue
from spotbatch.batch.errors import NotFound, SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli import finding
from spotbatch.cli.diagnosis import diagnose
from spotbatch.cli.findings import Case, Finding, Weight
from spotbatch.cli.fitting import unknown_types
from spotbatch.cli.options import JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_MARKS: Final = {Weight.CAUSE: ("✗", "red"), Weight.LIKELY: ("?", "yellow"), Weight.NORMAL: ("·", "dim")}
_WAITING: Final = (JobStatus.RUNNABLE, JobStatus.STARTING, JobStatus.PENDING, JobStatus.SUBMITTED)


@app.command()
def doctor(
    job: Annotated[
        str | None,
        typer.Argument(metavar="[JOB]", help="A job or a run (default: the oldest that waits)."),
    ] = None,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why does a job not run, or why did it FAIL? Names the cause, the evidence and the fix; changes nothing.

    Where no job waits, it looks at what the next one would meet: queue, environments, quotas, image, network, roles.
    """
    jobs = Jobs()
    if job is not None:
        chosen = _most_in_need(jobs, finding.job_ids(job, jobs=jobs, stack=stack, queue=queue))
    else:
        waiting = oldest_waiting(jobs, finding.queue_of(stack=stack, queue=queue))
        if waiting is None:
            return _before_the_first(jobs, stack, queue, as_json=as_json)
        chosen = waiting
    case = examine(jobs, chosen)
    findings = diagnose(case)
    if as_json:
        return json.write(
            {
                "job_id": case.job.id,
                "status": case.job.status,
                "findings": findings,
                "could_not_see": list(case.around.unseen),
            }
        )
    _say(case.job, findings, case.around)
    return None


def _before_the_first(jobs: Jobs, stack: str | None, queue: str | None, *, as_json: bool) -> None:
    """What a job of the stack's own definition would meet."""
    place = finding.place(stack=stack, queue=queue)
    needs = jobs.definition(place.definition).requirements
    next_job = Job(
        id="",
        name="the next job",
        queue=place.queue,
        definition=place.definition,
        status=JobStatus.RUNNABLE,
        requirements=needs,
    )
    case = examine(jobs, next_job)
    findings = [each for each in diagnose(case) if each.weight is not Weight.NORMAL]
    if as_json:
        return json.write({"findings": findings, "could_not_see": list(case.around.unseen)})
    text.say(f"no job of the queue waits for anything{', but the next one would:' if findings else ''}")
    _say_findings(findings, case.around.unseen)
    return None


def _most_in_need(jobs: Jobs, ids: Sequence[str]) -> Job:
    """Of the jobs of a run the one that waits, or has FAILED. Raises NotFound."""
    order = (*_WAITING, JobStatus.FAILED, JobStatus.RUNNING, JobStatus.SUCCEEDED)
    if len(ids) == 1:
        return jobs.get(ids[0])
    found = jobs.describe(ids)
    if not found:
        raise NotFound(f"none of the run's {len(ids)} jobs is here any more")
    return min(found, key=lambda each: order.index(each.status))


def oldest_waiting(jobs: Jobs, queue: str) -> Job | None:
    """The job of a queue that has waited longest, RUNNABLE ones first."""
    for status in _WAITING:
        found = jobs.in_status(queue, status)
        if found:
            return jobs.get(found[-1].id)
    return None


def examine(jobs: Jobs, job: Job, *, is_cloud: bool | None = None) -> Case:
    """Everything about a job that a diagnosis needs. Of an array the first child that waits is looked at."""
    job = _waiting_child(jobs, job) or job
    image, roles = _of_definition(jobs, job)
    cloud = not finding.is_local() if is_cloud is None else is_cloud
    around = Inspector().look(job.queue, image=image, roles=roles, is_cloud=cloud)
    types = current_catalogue()
    unknown = sorted({name for each in around.queue.environments for name in unknown_types(each, types)})
    if unknown:
        note = f"size and price of {', '.join(unknown)}: the catalogue of {types.region} does not have them"
        around = replace(around, unseen=(*around.unseen, note))
    wanted = [each.job_id for each in job.depends_on if each.job_id]
    return Case(
        job=job,
        around=around,
        types=types,
        dependencies=jobs.describe(wanted) if wanted else (),
        head=_head(jobs, job, around),
    )


def _head(jobs: Jobs, job: Job, around: Surroundings) -> Job | None:
    """The job at the front of the queue: what it waits for, all behind it wait for."""
    first = next(iter(around.ahead or ()), None)
    if first is None or job.id in (first, first.partition(":")[0]):
        return None
    return next(iter(jobs.describe([first])), None)


def _waiting_child(jobs: Jobs, job: Job) -> Job | None:
    """A child that waits tells more than its parent, which is PENDING as long as any child runs."""
    if job.array is None or job.status.is_terminal:
        return None
    for status in (JobStatus.RUNNABLE, JobStatus.STARTING):
        if job.array.status_summary.get(status):
            found = jobs.children(job.id, status, limit=1)
            if found:
                return jobs.get(found[0].id)
    return None


def _of_definition(jobs: Jobs, job: Job) -> tuple[str, tuple[str, ...]]:
    try:
        definition = jobs.definition(job.definition)
    except (NotFound, SpotbatchError):
        return "", ()
    return definition.image, tuple(role for role in (definition.job_role, definition.execution_role) if role)


def _say(job: Job, findings: list[Finding], around: Surroundings) -> None:
    why = f": {job.status_reason}" if job.status_reason else ""
    text.say(f"{text.styled(job.name, 'bold')}  {job.id}  {text.status(job.status)}{why}")
    if not findings:
        text.say("nothing was found that explains it")
    _say_findings(findings, around.unseen if job.status in _WAITING else ())


def _say_findings(findings: Sequence[Finding], unseen: Sequence[str]) -> None:
    for each in findings:
        mark, style = _MARKS[each.weight]
        text.say(f"{text.styled(mark, style)} {text.styled(each.cause, 'bold')}")
        text.say(f"    seen  {each.evidence}")
        text.say(f"    {'next' if each.weight is Weight.NORMAL else 'fix '}  {each.fix}")
    for line in unseen:
        text.say(text.styled(f"not seen: {line}", "dim"))
