"""`spotbatch doctor`: why does a job not run? The cause, the evidence and the fix."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.doctor.case import Case, Finding, Weight
from spotbatch.doctor.examine import WAITING, examine, most_in_need, oldest_waiting, run_of
from spotbatch.doctor.rules import diagnose
from spotbatch.runs import destination, lookup

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_MARKS: Final = {Weight.CAUSE: ("✗", "red"), Weight.LIKELY: ("?", "yellow"), Weight.NORMAL: ("·", "dim")}


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
        run = run_of(jobs, lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue))
        chosen = most_in_need(jobs, run)
    else:
        waiting = oldest_waiting(jobs, destination.queue_of(stack=stack, queue=queue))
        if waiting is None:
            return _before_the_first(jobs, stack, queue, as_json=as_json)
        chosen, run = waiting, [waiting]
    case = examine(jobs, chosen, run=run, named=job or "")
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
    _say(case, findings)
    return None


def _before_the_first(jobs: Jobs, stack: str | None, queue: str | None, *, as_json: bool) -> None:
    """Check what a job of the stack's own definition would encounter."""
    place = destination.destination(stack=stack, queue=queue)
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


def _say(case: Case, findings: list[Finding]) -> None:
    job, around = case.job, case.around
    why = f": {job.status_reason}" if job.status_reason and not case.is_run else ""
    what = f"a run of {len(case.run)} jobs" if case.is_run else job.id
    text.say(f"{text.styled(job.name, 'bold')}  {what}  {text.status(job.status)}{why}")
    if not findings:
        text.say("nothing was found that explains it")
    _say_findings(findings, around.unseen if job.status in WAITING else ())


def _say_findings(findings: Sequence[Finding], unseen: Sequence[str]) -> None:
    for each in findings:
        mark, style = _MARKS[each.weight]
        text.say(f"{text.styled(mark, style)} {text.styled(each.cause, 'bold')}")
        text.say(f"    seen  {each.evidence}")
        text.say(f"    {'next' if each.weight is Weight.NORMAL else 'fix '}  {each.fix}")
    for line in unseen:
        text.say(text.styled(f"not seen: {line}", "dim"))
