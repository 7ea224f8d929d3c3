"""`spotbatch show`: one job's whole story."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import typer

from spotbatch.aws.hosts import Host, Hosts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.attempt_outcome import outcomes_of
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Attempt, Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.runs import artifact_store, control_story, lookup, records
from spotbatch.runs.attempt_story import outcome_text, told_by
from spotbatch.runs.inputs import input_names
from spotbatch.runs.units import failed_of, indexes_of, run_index

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_FAILURES: Final = 10
_PRICED: Final = 200  # units at most: two calls of DescribeJobs


@app.command()
def show(job: JobArgument, queue: QueueOption = None, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """One job's whole story: attempts, hosts, reasons, checkpoints. For an array, how its children stand."""
    jobs = Jobs()
    ids = lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue)
    found = jobs.get(ids[-1])
    if (controlled := control_story.story_of_job(found, stack)) is not None and not as_json:
        for line in control_story.lines_of(controlled):
            text.say(line)
    if len(ids) > 1:
        return _show_run(job, jobs, jobs.describe(ids), controlled, as_json=as_json)
    kept = _records(found, stack)
    if as_json:
        return json.write({**_plain(found, kept), "controller": controlled})
    _head(found)
    hosts = Hosts()
    if money := _money(jobs, [found], hosts):
        text.say(f"cost         {money}")
    if found.array is not None:
        return _children(jobs, found)
    return _attempts(found, kept, hosts)


def _money(jobs: Jobs, parts: Sequence[Job], hosts: Hosts) -> str:
    """What the hosts cost so far, in a few words; `spotbatch cost` has the full bill."""
    from spotbatch.runs.bill import in_short

    is_child = parts[0].array_index is not None
    try:
        if is_child and _is_of_many(jobs, parts[0]):
            return f"`spotbatch cost {parts[0].parent_id}` has its run's"
        money = in_short(jobs, parts, most_units=_PRICED, is_exact=True, hosts=hosts)
    except SpotbatchError:
        return ""  # the cost is an addition to the story and must not prevent showing it
    return f"{money}, its share of the hosts" if money and is_child else money


def _is_of_many(jobs: Jobs, child: Job) -> bool:
    """Whether finding out who shared the child's hosts would take many calls."""
    parent = next(iter(jobs.describe([child.parent_id])), None)
    return parent is None or parent.array is None or parent.array.size > _PRICED


def _show_run(
    called: str, jobs: Jobs, parts: Sequence[Job], controlled: Mapping[str, object] | None, *, as_json: bool
) -> None:
    """Several jobs of one run: the state of each, and what FAILED and was not retried."""
    failed = failed_of(jobs, parts, limit=_FAILURES)
    names = input_names(parts[0])
    if as_json:
        plain = [{"run_index": each.index, "input": names.of(each.index) or None, "job_id": each.unit_id,
                  "exit_code": each.exit_code, "reason": each.reason} for each in failed]  # fmt: skip
        whole = [_plain(each, {}) for each in parts]
        return json.write({"run_id": called, "jobs": whole, "failed": plain, "controller": controlled})
    text.say(f"{text.styled(called, 'bold')}  a run of {len(parts)} jobs")
    if money := _money(jobs, parts, Hosts()):
        text.say(f"cost         {money}")
    rows = []
    for each in parts:
        indexes = [index for index in indexes_of(each) if index is not None]
        counts = each.array.status_summary if each.array is not None else {each.status: 1}
        stand = "  ".join(f"{text.status(status)} {count:,}" for status, count in counts.items() if count)
        rows.append((each.id, str(ArrayIndexes.of(indexes)) if indexes else "-", stand))
    text.table(("JOB", "INDEXES", "CHILDREN"), rows)
    if failed:
        text.say()
        shown = [(str(each.index), str(each.exit_code or "-"), names.of(each.index), each.reason) for each in failed]
        text.table(("FAILED INDEX", "EXIT", "INPUT", "REASON"), shown[:_FAILURES], right=(0, 1))
        text.hint(f"`spotbatch logs {called}:INDEX` shows what one wrote, `spotbatch retry {called}` runs them again")
    return None


def _records(job: Job, stack: str | None) -> dict[int, AttemptRecord]:
    """What the runtime wrote about each attempt; empty if the store cannot be read."""
    if job.array is not None:
        return {}
    try:
        store = artifact_store.store_of(job, stack=stack)
        return records.matched(job, records.of_unit(store, artifact_store.run_id(job), run_index(job)))
    except SpotbatchError as error:
        text.hint(f"the attempts' records cannot be read: {error}")
        return {}


def _head(job: Job) -> None:
    now = time.time()
    text.say(f"{text.styled(job.name, 'bold')}  {job.id}")
    why = f": {job.status_reason}" if job.status_reason else ""
    text.say(f"status       {text.status(job.status)}{why}")
    text.say(f"submitted    {text.moment(job.created_at)} ({text.ago(job.created_at, now)})")
    # the job's own start is that of its newest attempt (API reference, JobDetail.startedAt): the first one's is meant
    begun = next((each.started_at for each in job.attempts if each.started_at), job.started_at)
    if begun:
        waited = text.duration(_between(job.created_at, begun))
        text.say(f"started      {text.moment(begun)} (waited {waited})")
    if job.stopped_at and begun:
        took = text.duration(job.stopped_at - begun)
        ran = f"after {took} and {len(job.attempts)} attempts" if len(job.attempts) > 1 else f"ran {took}"
        text.say(f"ended        {text.moment(job.stopped_at)} ({ran})")
    needs = job.requirements
    gpus = f", {needs.gpus} GPUs" if needs.gpus else ""
    size = f"{text.count(needs.vcpus, 'vCPU')}, {needs.memory_mib} MiB{gpus}"
    text.say(f"asks for     {size}, up to {text.count(job.attempts_allowed, 'attempt')}")
    text.say(f"queue        {job.queue}, definition {job.definition}")
    wait = "waited for" if job.status.is_terminal or job.attempts else "waits for "
    for dependency in job.depends_on:
        text.say(f"{wait}   {dependency.job_id or 'the child before it'} ({dependency.type})")
    if SPOTBATCH_ARRAY_INDEXES in job.environment and job.array is None:
        text.say(f"run          {artifact_store.run_id(job)}, index {run_index(job)}")
    if mine := input_names(job).of(run_index(job)):
        text.say(f"input        {mine}")
    for key, value in job.tags.items():
        text.say(f"tag          {key}={value}")


def _between(start: float | None, end: float) -> float | None:
    return None if start is None else end - start


def _children(jobs: Jobs, job: Job) -> None:
    array = job.array
    if array is None:
        return
    counts = [f"{text.status(status)} {count:,}" for status, count in array.status_summary.items() if count]
    text.say(f"children     {array.size:,}: {'  '.join(counts) or 'not counted yet'}")
    if not array.status_summary.get(JobStatus.FAILED):
        return
    failed = jobs.children(job.id, JobStatus.FAILED, limit=_FAILURES)
    text.say()
    names = input_names(job)
    rows = [
        (
            child.id,
            str(child.exit_code or "-"),
            names.of(run_index(job, child.array_index)),
            child.reason or child.status_reason,
        )
        for child in failed
    ]
    text.table(("FAILED CHILD", "EXIT", "INPUT", "REASON"), rows)
    if array.status_summary[JobStatus.FAILED] > len(failed):
        text.hint(f"`spotbatch list --array {job.id} --status FAILED` lists all of them")


def _attempts(job: Job, kept: dict[int, AttemptRecord], around: Hosts) -> None:
    if not job.attempts:
        text.say(f"attempts     none{'' if job.status.is_terminal else ' yet'}")
        if not job.status.is_terminal:
            text.hint(f"`spotbatch doctor {job.id}` says why")
        return
    hosts = _hosts(job, around)
    outcomes = outcomes_of(job, kept)
    for number, attempt in enumerate(job.attempts, start=1):
        text.say()
        how = outcome_text(attempt, outcomes[number - 1])
        text.say(text.styled(f"attempt {number} of {job.attempts_allowed}", "bold") + f": {how}")
        _attempt(attempt, kept.get(number), hosts)


def _attempt(attempt: Attempt, record: AttemptRecord | None, hosts: dict[str, Host]) -> None:
    if attempt.started_at:
        end = text.clock(attempt.stopped_at) if attempt.stopped_at else "now"
        ran = (attempt.stopped_at or time.time()) - attempt.started_at
        text.say(f"  ran        {text.moment(attempt.started_at)} to {end} ({text.duration(ran)})")
    if attempt.host:
        text.say(f"  host       {_host(attempt.host, hosts, record)}")
    for line in told_by(record):
        text.say(f"  {line}")
    if attempt.log_stream:
        text.say(f"  log        {attempt.log_stream}")


def _hosts(job: Job, hosts: Hosts) -> dict[str, Host]:
    """The EC2 instances behind the attempts, as long as ECS remembers them."""
    arns = [attempt.host for attempt in job.attempts if attempt.host]
    try:
        return hosts.by_arn(arns)
    except SpotbatchError:
        return {}  # the permission may be missing; then Batch's own name for the host is shown


def _host(arn: str, hosts: dict[str, Host], record: AttemptRecord | None) -> str:
    host = hosts.get(arn)
    if host is not None:
        return f"{host.instance_id} ({host.instance_type}, {host.zone})"
    where = f" ({record.instance_type}, {record.zone})" if record and record.instance_type else ""
    return f"{arn.rpartition('/')[2]}{where}"


def _plain(job: Job, kept: dict[int, AttemptRecord]) -> dict[str, object]:
    return {
        "job_id": job.id,
        "name": job.name,
        "run_id": artifact_store.run_id(job),
        "queue": job.queue,
        "definition": job.definition,
        "status": job.status,
        "status_reason": job.status_reason,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "stopped_at": job.stopped_at,
        "exit_code": job.exit_code,
        "reason": job.reason,
        "array_size": job.array.size if job.array else None,
        "array_index": job.array_index,
        "run_index": run_index(job),
        "input": input_names(job).of(run_index(job)) or None,
        "status_summary": dict(job.array.status_summary) if job.array else None,
        "requirements": job.requirements,
        "attempts_allowed": job.attempts_allowed,
        "attempts": [
            {
                "attempt": number,
                "outcome": outcome_text(attempt, outcome),
                "outcome_kind": outcome,
                **_attempt_plain(attempt),
                "record": kept.get(number),
            }
            for number, (attempt, outcome) in enumerate(zip(job.attempts, outcomes_of(job, kept), strict=True), start=1)
        ],
        "depends_on": [{"job_id": one.job_id, "type": one.type} for one in job.depends_on],
        "environment": dict(job.environment),
        "log_group": job.log_group,
        "log_stream": job.log_stream,
        "tags": dict(job.tags),
    }


def _attempt_plain(attempt: Attempt) -> dict[str, object]:
    return {
        "started_at": attempt.started_at,
        "stopped_at": attempt.stopped_at,
        "exit_code": attempt.exit_code,
        "reason": attempt.reason,
        "status_reason": attempt.status_reason,
        "log_stream": attempt.log_stream,
        "host": attempt.host,
    }
