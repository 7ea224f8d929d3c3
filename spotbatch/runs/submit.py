"""Submitting a run: one job, an array, or as many arrays as its inputs need."""

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.array_indexes import spans
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES, SPOTBATCH_CODE, SPOTBATCH_INPUT_LIST, SPOTBATCH_RUN_ID
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import MAX_ARRAY_SIZE, JobRequest
from spotbatch.runs import lookup
from spotbatch.runs.artifact_store import store_at
from spotbatch.runs.code import Code, pack, send_code
from spotbatch.runs.destination import Destination, destination
from spotbatch.runs.inputs import Inputs, find_inputs, store_inputs
from spotbatch.runs.manifest import RunManifest, RunPart, write_manifest
from spotbatch.runs.request import JobOptions, check_is_for_arrays, request


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What is about to be sent: the request for the whole run, and the inputs of its children, if any."""

    request: JobRequest
    inputs: Inputs | None = None
    bucket: str = ""  # the stack's, if it was queried
    code: Code | None = None  # what is sent with the job

    @property
    def requests(self) -> list[JobRequest]:
        """The SubmitJob inputs: for many inputs, one per array, under a run id generated for this call."""
        if self.inputs is None:
            return [self.request]
        return list(parts_of(self.request, new_run_id(self.request.name), self.inputs.count))


def prepare(
    options: JobOptions,
    *,
    jobs: Jobs,
    listed: Inputs | None = None,
    packed: Code | None = None,
    is_checked: bool = True,
) -> Submission:
    """Find inputs, queue, definition and the jobs to wait for; nothing is sent.

    `listed` are inputs, and `packed` is code, that the caller already has; `is_checked`: refuse what the queue could
    never run. Raises InvalidInput, InvalidJob, NotFound.
    """
    _check_unquoted(options)
    inputs = find_inputs(options.inputs) if options.inputs is not None else listed
    if inputs is not None and options.array is not None:
        raise InvalidInput(f"--inputs makes the array: leave --array {options.array} out")
    if options.array is not None and options.array > MAX_ARRAY_SIZE:
        raise InvalidInput(
            f"--array makes one array of at most {MAX_ARRAY_SIZE:,} children, not {options.array:,}: "
            "--inputs FILE takes more lines, as several arrays under one run"
        )
    if options.array is None and inputs is None:  # before anything is queried
        check_is_for_arrays(options)
    where = destination(stack=options.stack, queue=options.queue, definition=options.definition)
    stack, queue = options.stack, where.queue
    resolved = replace(
        options,
        after=tuple(
            one for each in options.after for one in lookup.to_wait_for(each, jobs=jobs, stack=stack, queue=queue)
        ),
        after_each=tuple(lookup.one_job(each, jobs=jobs, stack=stack, queue=queue) for each in options.after_each),
    )
    code = pack(Path(options.code)) if options.code is not None else packed
    if code is not None:
        resolved = replace(resolved, env={**resolved.env, SPOTBATCH_CODE: code.sha256})
    wanted = request(resolved, queue=where.queue, definition=where.definition)
    prepared = Submission(request=wanted, inputs=inputs, bucket=where.bucket, code=code)
    if is_checked:
        from spotbatch.runs import preflight  # with the catalogue and prices; imported where it is needed

        for each in prepared.requests[:1]:
            preflight.check(each, jobs=jobs, folder=Path.cwd() if code is None else None)
    return prepared


def _check_unquoted(options: JobOptions) -> None:
    """Catch `--inputs data/*.txt` expanded by the shell: the first file is taken as a list, the rest as the command.

    Raises InvalidInput.
    """
    program = Path(options.command[0]) if options.command else None
    if options.inputs is None or program is None or not program.is_file() or os.access(program, os.X_OK):
        return
    if Path(options.inputs).is_file() and Path(options.inputs).suffix == program.suffix:
        pattern = Path(options.inputs).parent / f"*{program.suffix}"
        raise InvalidInput(
            f"the command begins with {program}, which is no program: was a pattern of --inputs without quotes? "
            f"--inputs '{pattern}' -- COMMAND"
        )


def send_along(jobs: Jobs, prepared: Submission) -> None:
    """Upload the code to the store before the job that needs it is submitted."""
    if prepared.code is not None:
        wanted = prepared.request
        where = Destination(queue=wanted.queue, definition=wanted.definition, bucket=prepared.bucket)
        send_code(store_at(jobs, where), prepared.code)


def send(jobs: Jobs, prepared: Submission) -> RunManifest:
    """Submit it; returns the run's manifest. For a single job or array the run id is its own id."""
    wanted = prepared.request
    send_along(jobs, prepared)
    if prepared.inputs is not None:
        where = Destination(queue=wanted.queue, definition=wanted.definition, bucket=prepared.bucket)
        return submit_run(jobs, store_at(jobs, where), wanted, prepared.inputs)
    job_id = jobs.submit(wanted)
    return RunManifest(
        run_id=wanted.environment.get(SPOTBATCH_RUN_ID, job_id),
        name=wanted.name,
        queue=wanted.queue,
        created_at=time.time(),
        count=wanted.array_size or 1,
        parts=(RunPart(job_id=job_id, indexes=f"0-{wanted.array_size - 1}" if wanted.array_size else ""),),
    )


def new_run_id(name: str) -> str:
    """A unique name: the job's name, the time, and random digits."""
    return f"{name[:80]}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def submit_run(jobs: Jobs, store: Artifacts, wanted: JobRequest, inputs: Inputs) -> RunManifest:
    """Store the inputs, then submit as many arrays as they need, of 10,000 children each."""
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
        write_manifest(store, run)  # after each, so that what was submitted is known even if the next one fails
    return run


def parts_of(wanted: JobRequest, run_id: str, count: int) -> Iterator[JobRequest]:
    """The requests for a run of this many children: arrays of 10,000, and a remainder."""
    for held in spans(count, most=MAX_ARRAY_SIZE):
        size = len(held)
        own = {SPOTBATCH_RUN_ID: run_id, SPOTBATCH_INPUT_LIST: "1"}
        own[SPOTBATCH_ARRAY_INDEXES] = str(held)
        yield replace(
            wanted,
            environment={**wanted.environment, **own},
            array_size=size if size > 1 else None,  # AWS Batch does not allow an array of one
        )


def _indexes_of(part: JobRequest) -> str:
    return part.environment[SPOTBATCH_ARRAY_INDEXES]
