"""From the name or id a user gives for a job or run to the ids of its jobs.

An id (complete, or its first digits, as shown on the dashboard) names that job. A name means the newest run with that
name, all of it: the arrays created for its inputs, and anything retried since. A run's id names the run as well.
"""

import difflib
import re
import time
from collections.abc import Sequence
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.runs.artifact_store import run_id, store_at, store_of
from spotbatch.runs.destination import destination, queue_of
from spotbatch.runs.manifest import RunManifest, read_manifest, unit_at

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(:[0-9]+)?")
_SHORT_ID: Final = re.compile(r"[0-9a-f]{4,8}|[0-9a-f]{8}-[0-9a-f-]{0,26}")
_TOO_SHORT_ID: Final = re.compile(r"[0-9a-f]{1,3}")
_LEAST_DIGITS: Final = 4  # as in _SHORT_ID
_COMPARED: Final = 1000  # jobs, searched for a name similar to a wrong one
_SAME_NAME: Final = 100  # jobs: one page of ListJobs and one call of DescribeJobs
_KEPT_SECONDS: Final = 8 * 86_400.0  # AWS Batch forgets a job about a week after it ends
_SEARCHED: Final = 10_000
_SHOWN: Final = 5


def is_id(written: str) -> bool:
    """Whether this is the complete id of a job or child, rather than a name."""
    return _ID.fullmatch(written) is not None


def job_ids(written: str, *, jobs: Jobs, stack: str | None = None, queue: str | None = None) -> list[str]:
    """The ids of the jobs that a user refers to, oldest first: one, or all of a run.

    `NAME:INDEX` and `RUN:INDEX` mean the newest job or child that stands for this index of the run.
    Raises NotFound, InvalidInput, and the errors of AWS Batch and the stack.
    """
    reference = written.rpartition(":job/")[2] if written.startswith("arn:") else written
    if is_id(reference):
        return [reference]
    name, _, index = reference.partition(":")
    if index and not index.isdigit():
        raise InvalidInput(f"a job is named by its id, its name or a child's id:index, not {written!r}")
    where = queue_of(stack=stack, queue=queue)
    if found := _newest_run(jobs, where, name, stack=stack):
        return [_unit(found, int(index), name)] if index else [each.id for each in found]
    if manifest := _by_run_id(jobs, name, stack=stack, queue=queue):
        return [unit_at(manifest, int(index))] if index else manifest.job_ids
    if _SHORT_ID.fullmatch(name) and (whole := _by_short_id(jobs, where, name)):
        return [f"{whole}:{index}" if index else whole]
    raise NotFound(_no_such_name(jobs, where, name))


def _no_such_name(jobs: Jobs, queue: str, name: str) -> str:
    """The error for a name that no job has: similar names, or what else may be wrong."""
    text = f"there is no job of the name {name!r} in queue {queue.rpartition('/')[2]}"
    try:
        names = [each.name for each in jobs.created_after(queue, time.time() - _KEPT_SECONDS, limit=_COMPARED)]
    except SpotbatchError:
        names = []
    if _TOO_SHORT_ID.fullmatch(name):
        text += f", and the beginning of an id is {_LEAST_DIGITS} digits or more, not {len(name)}"
    if close := difflib.get_close_matches(name, dict.fromkeys(names), n=3, cutoff=0.5):
        return f"{text}: did you mean {', '.join(close[:-1])}{' or ' if close[1:] else ''}{close[-1]}?"
    if not names:
        return f"{text}, nor any other since a week ago (AWS Batch keeps ended jobs for about that long)"
    return f"{text}: `spotbatch list` shows them all"


def one_job(written: str, *, jobs: Jobs, stack: str | None = None, queue: str | None = None) -> str:
    """The single job that a user refers to. Raises InvalidInput for a run of several."""
    ids = job_ids(written, jobs=jobs, stack=stack, queue=queue)
    if len(ids) > 1:
        raise InvalidInput(
            f"{written} is a run of {len(ids)} jobs: name one of them ({ids[0]}, ...), or one index as {written}:0"
        )
    return ids[0]


def to_wait_for(written: str, *, jobs: Jobs, stack: str | None = None, queue: str | None = None) -> list[str]:
    """The jobs to wait for until the whole run has ended.

    Those that have not ended or, if the run has ended, the newest: an array whose failed children were retried stays
    FAILED forever, and AWS Batch immediately fails what waits for a FAILED job (user guide, "Job dependencies").
    """
    ids = job_ids(written, jobs=jobs, stack=stack, queue=queue)
    return open_jobs(ids, jobs=jobs)


def open_jobs(ids: Sequence[str], *, jobs: Jobs) -> list[str]:
    """The jobs of a run, given oldest first, that have not ended; the newest if all have."""
    if len(ids) == 1:
        return list(ids)
    open_ones = [job.id for job in jobs.describe(ids) if not job.status.is_terminal]
    return open_ones or list(ids[-1:])


def run_jobs(jobs: Jobs, job: Job, *, stack: str | None = None) -> list[Job]:
    """All jobs of the run that a job belongs to, oldest first: those known to the run's manifest or AWS Batch.

    The manifest alone is not enough, since a retry may have lacked permission to write it; nor is AWS Batch alone,
    which lists by name and queue, 100 at a time.
    """
    own = run_id(job)
    by_name = [each.id for each in jobs.named(job.queue, job.name, limit=_SAME_NAME)]
    try:
        listed = read_manifest(store_of(job, stack=stack), own).job_ids
    except SpotbatchError:
        listed = []  # a plain job has none, and an unreadable one must not prevent showing the job
    found = jobs.describe(list(dict.fromkeys([*listed, *by_name, job.parent_id])))
    return _in_order([each for each in found if each.id in listed or run_id(each) == own])


def _newest_run(jobs: Jobs, queue: str, name: str, *, stack: str | None) -> list[Job]:
    """The jobs of the newest run with a name; none if no job has it."""
    newest = next(iter(jobs.named(queue, name, limit=_SAME_NAME)), None)
    described = jobs.describe([newest.id]) if newest is not None else []
    return run_jobs(jobs, described[0], stack=stack) if described else []


def _in_order(found: list[Job]) -> list[Job]:
    return sorted(found, key=lambda each: each.created_at or 0.0)


def _unit(found: list[Job], index: int, name: str) -> str:
    """The newest job or child of a run that stands for a given index."""
    manifest = RunManifest.of_jobs(run_id(found[0]), found)
    try:
        return unit_at(manifest, index)
    except NotFound:
        arrays = [each for each in found if each.array is not None]
        if not arrays:
            raise NotFound(f"{name} ({found[0].id}) is no array, so there is no child {index} of it") from None
        raise


def _by_run_id(jobs: Jobs, named: str, *, stack: str | None, queue: str | None) -> RunManifest | None:
    try:
        return read_manifest(store_at(jobs, destination(stack=stack, queue=queue)), named)
    except SpotbatchError:
        return None


def _by_short_id(jobs: Jobs, queue: str, beginning: str) -> str | None:
    """The job in a queue whose id begins with these digits. Raises InvalidInput if several do."""
    recent = jobs.created_after(queue, time.time() - _KEPT_SECONDS, limit=_SEARCHED)
    found = [each for each in recent if each.id.startswith(beginning)]
    if len(found) > 1:
        some = ", ".join(f"{each.id} ({each.name})" for each in found[:_SHOWN])
        raise InvalidInput(f"{beginning} may be {len(found)} jobs: write more of the id ({some})")
    return found[0].id if found else None
