"""Retrying the failed units of a run from their checkpoints."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES, SPOTBATCH_CODE, SPOTBATCH_RUN_ID
from spotbatch.batch.errors import NotFound, SpotbatchError
from spotbatch.batch.job import MAX_ARRAY_SIZE, Job
from spotbatch.runs import artifact_store
from spotbatch.runs.code import Code, send_code
from spotbatch.runs.manifest import RunManifest, RunPart, indexes_held, read_manifest, write_manifest
from spotbatch.runs.units import FailedUnit, failed_of, run_index

Note = Callable[[str], object]
# A job's overrides must fit into 8 KiB (ECS API reference, RunTask, overrides): leave most of it to the command.
_LONGEST_INDEXES: Final = 3000


def indexes_of_failed(failed: Sequence[FailedUnit]) -> list[int]:
    """The run indexes of failed units."""
    return [each.index or 0 for each in failed]


def retry_run(
    jobs: Jobs,
    run: Sequence[Job],
    *,
    note: Note = lambda _: None,
    stack: str | None = None,
    code: Code | None = None,
) -> list[RunPart]:
    """Retry all units of a run that FAILED and were not retried since. `note` receives what could not be stored.

    With `code` it runs in that folder from now on, otherwise in the one originally sent, if any. Raises NotFound if
    nothing has FAILED.
    """
    failed = failed_of(jobs, run)
    if not failed:
        raise NotFound(f"nothing of run {artifact_store.run_id(run[0])} has FAILED, so there is nothing to run again")
    if code is not None:
        send_code(artifact_store.store_of(run[0], stack=stack), code)
    changed = {SPOTBATCH_CODE: code.sha256} if code is not None else {}
    return [
        part
        for own in run
        if (mine := [each for each in failed if each.job.id == own.id])
        for part in again(jobs, own, indexes_of_failed(mine), note=note, stack=stack, changed=changed)
    ]


def again(
    jobs: Jobs,
    found: Job,
    failed: list[int],
    *,
    note: Note,
    stack: str | None = None,
    changed: Mapping[str, str] | None = None,
) -> list[RunPart]:
    """Resubmit the failed units of a job and add it to the run's list; `note` receives what could not be stored.

    `changed` are variables with new values. Raises NotFound if nothing has FAILED.
    """
    if not failed:
        raise NotFound(f"nothing of job {found.id} ({found.status}) has FAILED, so there is nothing to run again")
    run_id = artifact_store.run_id(found)
    if found.array is None and found.array_index is None and run_index(found) is None:
        new = jobs.again(found.id, environment={**(changed or {}), SPOTBATCH_RUN_ID: run_id}, array_size=None)
        parts = [RunPart(job_id=new, indexes="")]
    else:
        parts = resubmit(jobs, found.parent_id, run_id, failed, changed or {})
    _remember(found, run_id, parts, stack, note)
    return parts


def _remember(job: Job, run_id: str, parts: list[RunPart], stack: str | None, note: Note) -> None:
    """Add the new jobs to the run's own list, so that the run can be queried as a whole."""
    try:
        store: Artifacts = artifact_store.store_of(job, stack=stack)
        try:
            run = read_manifest(store, run_id)
        except NotFound:
            first = RunPart(job_id=job.parent_id, indexes=indexes_held(job))
            began = job.created_at or time.time()
            run = RunManifest(run_id=run_id, name=job.name, queue=job.queue, created_at=began, parts=(first,))
        write_manifest(store, replace(run, parts=(*run.parts, *parts)))
    except SpotbatchError as error:
        note(f"the run's list of jobs could not be kept: {error}")


def resubmit(jobs: Jobs, job_id: str, run_id: str, indexes: Sequence[int], changed: Mapping[str, str]) -> list[RunPart]:
    """Rerun some of a run's indexes, submitted like the job that held them except for the changed variables."""
    parts = []
    for chunk in ArrayIndexes.of(indexes).chunks(most=MAX_ARRAY_SIZE, longest_text=_LONGEST_INDEXES):
        text = str(chunk)
        own = {**changed, SPOTBATCH_RUN_ID: run_id, SPOTBATCH_ARRAY_INDEXES: text}
        size = len(chunk) if len(chunk) > 1 else None
        parts.append(RunPart(job_id=jobs.again(job_id, environment=own, array_size=size), indexes=text))
    return parts
