"""Submitting a run: one job, an array, or as many arrays as its inputs take."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.array_indexes import spans
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES, SPOTBATCH_INPUT_LIST, SPOTBATCH_RUN_ID
from spotbatch.batch.job import MAX_ARRAY_SIZE, JobRequest
from spotbatch.runs.inputs import Inputs, store_inputs
from spotbatch.runs.manifest import RunManifest, RunPart, write_manifest


def new_run_id(name: str) -> str:
    """A name that nobody has: the job's name, the time, and chance."""
    return f"{name[:80]}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def submit_run(
    jobs: Jobs, store: Artifacts, wanted: JobRequest, inputs: Inputs, on_part: Callable[[int], object]
) -> RunManifest:
    """Store the inputs, then submit as many arrays as they need, 10,000 children each."""
    run = RunManifest(
        run_id=new_run_id(wanted.name),
        name=wanted.name,
        queue=wanted.queue,
        created_at=time.time(),
        inputs=inputs.source,
        count=inputs.count,
    )
    store_inputs(store, run.run_id, inputs)
    for part in parts_of(wanted, run.run_id, inputs.count):
        job_id = jobs.submit(part)
        run = replace(run, parts=(*run.parts, RunPart(job_id=job_id, indexes=_indexes_of(part))))
        write_manifest(store, run)  # after each: what was submitted is known even if the next one fails
        on_part(len(run.parts))
    return run


def parts_of(wanted: JobRequest, run_id: str, count: int) -> Iterator[JobRequest]:
    """The requests for a run of so many children: arrays of 10,000, and what is left."""
    for held in spans(count, most=MAX_ARRAY_SIZE):
        size = len(held)
        own = {SPOTBATCH_RUN_ID: run_id, SPOTBATCH_INPUT_LIST: "1"}
        own[SPOTBATCH_ARRAY_INDEXES] = str(held)
        yield replace(
            wanted,
            environment={**wanted.environment, **own},
            array_size=size if size > 1 else None,  # AWS Batch has no array of one
        )


def _indexes_of(part: JobRequest) -> str:
    return part.environment[SPOTBATCH_ARRAY_INDEXES]
