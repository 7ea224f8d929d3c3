"""A run: work under one run id, in one array or in several. What belongs to it is kept in the artifact store."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.aws.jobs import Jobs
from spotbatch.batch import artifacts as layout
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES, SPOTBATCH_INPUT_LIST, SPOTBATCH_RUN_ID
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import MAX_ARRAY_SIZE, Job, JobRequest
from spotbatch.batch.status import JobStatus
from spotbatch.runs.inputs import Inputs, indexes_text, named_ranges, run_index, store_inputs
from spotbatch.runtime.array_index import index_ranges

# A job's overrides must fit into 8 KiB (ECS API reference, RunTask, overrides): leave most of it to the command.
_LONGEST_INDEXES: Final = 3000
_NO_INDEX: Final = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPart:
    """One job of a run, and which of the run's indexes it holds, as 3,17,40-45."""

    job_id: str
    indexes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What `run.json` keeps. Later parts run indexes of earlier ones again."""

    run_id: str
    name: str
    queue: str
    created_at: float
    inputs: str = ""  # where they were named
    count: int = 0
    parts: tuple[RunPart, ...] = ()

    @property
    def job_ids(self) -> list[str]:
        return [part.job_id for part in self.parts]


def new_run_id(name: str) -> str:
    """A name that nobody has: the job's name, the time, and chance."""
    return f"{name[:80]}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def submit_run(
    jobs: Jobs, store: Artifacts, wanted: JobRequest, inputs: Inputs, on_part: Callable[[int], object]
) -> Run:
    """Store the inputs, then submit as many arrays as they need, 10,000 children each."""
    run = Run(
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
        write_run(store, run)  # after each: what was submitted is known even if the next one fails
        on_part(len(run.parts))
    return run


def parts_of(wanted: JobRequest, run_id: str, count: int) -> Iterator[JobRequest]:
    """The requests for a run of so many children: arrays of 10,000, and what is left."""
    for first in range(0, count, MAX_ARRAY_SIZE):
        size = min(MAX_ARRAY_SIZE, count - first)
        own = {SPOTBATCH_RUN_ID: run_id, SPOTBATCH_INPUT_LIST: "1"}
        own[SPOTBATCH_ARRAY_INDEXES] = f"{first}-{first + size - 1}" if size > 1 else str(first)
        yield replace(
            wanted,
            environment={**wanted.environment, **own},
            array_size=size if size > 1 else None,  # AWS Batch has no array of one
        )


def _indexes_of(part: JobRequest) -> str:
    return part.environment[SPOTBATCH_ARRAY_INDEXES]


def chunks(indexes: Sequence[int]) -> Iterator[list[int]]:
    """Indexes in as few arrays as their size and the length of the variable that names them allow."""
    chunk: list[int] = []
    length = 0
    for index in sorted(indexes):
        joins = bool(chunk) and chunk[-1] == index - 1
        added = 0 if joins and length and len(chunk) > 1 and chunk[-2] == index - 2 else len(str(index)) + 1
        if chunk and (len(chunk) == MAX_ARRAY_SIZE or length + added > _LONGEST_INDEXES):
            yield chunk
            chunk, length = [], 0
        chunk.append(index)
        length += added
    if chunk:
        yield chunk


def resubmit(jobs: Jobs, job_id: str, run_id: str, indexes: Sequence[int]) -> list[RunPart]:
    """Run some of a run's indexes again, as the job that held them was submitted."""
    parts = []
    for chunk in chunks(indexes):
        text = indexes_text(chunk)
        own = {SPOTBATCH_RUN_ID: run_id, SPOTBATCH_ARRAY_INDEXES: text}
        size = len(chunk) if len(chunk) > 1 else None
        parts.append(RunPart(job_id=jobs.again(job_id, environment=own, array_size=size), indexes=text))
    return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedUnit:
    """A child, or a job that is none, that FAILED and was not run again by a later part of its run."""

    job: Job  # the array, or the job itself
    unit_id: str
    index: int | None  # in the run
    exit_code: int | None
    reason: str


def failed_of(jobs: Jobs, parts: Sequence[Job], *, limit: int = MAX_ARRAY_SIZE) -> list[FailedUnit]:
    """What FAILED of a run and still stands so, by index; `limit` of each array. One call an array with failures."""
    found: list[FailedUnit] = []
    done_later: set[int | None] = set()
    for job in reversed(parts):
        found += [each for each in _failed_in(jobs, job, limit) if each.index not in done_later]
        done_later.update(indexes_of(job))
    return sorted(found, key=lambda each: -1 if each.index is None else each.index)


def _failed_in(jobs: Jobs, job: Job, limit: int) -> Iterator[FailedUnit]:
    if job.array is None:
        if job.status is JobStatus.FAILED:
            why = job.reason or job.status_reason
            yield FailedUnit(job=job, unit_id=job.id, index=run_index(job), exit_code=job.exit_code, reason=why)
    elif job.array.status_summary.get(JobStatus.FAILED):
        for child in jobs.children(job.id, JobStatus.FAILED, limit=limit):
            index, why = run_index(job, child.array_index), child.reason or child.status_reason
            yield FailedUnit(job=job, unit_id=child.id, index=index, exit_code=child.exit_code, reason=why)


def redone_units(jobs: Sequence[Job]) -> int:
    """How many units of a run a later job of it ran again: so many of its FAILED count no more."""
    spans = sorted(span for job in jobs for span in _spans(job))
    covered, reached = 0, _NO_INDEX - 1
    for first, last in spans:
        covered += max(0, last - max(first - 1, reached))
        reached = max(reached, last)
    return sum(last - first + 1 for first, last in spans) - covered


def _spans(job: Job) -> list[tuple[int, int]]:
    """The indexes in its run of a job's units, from first to last; one place for all that are no part of an array."""
    own = (0, job.array.size - 1) if job.array is not None else (_NO_INDEX, _NO_INDEX)
    return named_ranges(job) or [own]


def indexes_of(job: Job) -> list[int | None]:
    """The indexes in its run of a job's children, or its own; None for a job that is no part of an array."""
    if job.array is None:
        return [run_index(job)]
    return [run_index(job, child) for child in range(job.array.size)]


def unit_at(run: Run, index: int) -> str:
    """The id of the newest job or child that stands for an index of the run. Raises NotFound."""
    for part in reversed(run.parts):
        place = 0
        ranges = index_ranges(part.indexes) if part.indexes else []
        size = sum(last - first + 1 for first, last in ranges)
        for first, last in ranges:
            if first <= index <= last:
                return part.job_id if size == 1 else f"{part.job_id}:{place + index - first}"
            place += last - first + 1
    raise NotFound(f"run {run.run_id} has no index {index}")


def write_run(store: Artifacts, run: Run) -> None:
    """Keep what belongs to a run."""
    store.write(layout.run_manifest(run.run_id), json.dumps(asdict(run), indent=1).encode())


def read_run(store: Artifacts, run_id: str) -> Run:
    """What belongs to a run. Raises NotFound."""
    try:
        found: Any = read_json(store, layout.run_manifest(run_id))
    except NotFound as error:
        return _with_deadline(store, run_id, error)
    parts = tuple(RunPart(**part) for part in found.pop("parts"))
    return Run(**found, parts=parts)


def _with_deadline(store: Artifacts, run_id: str, error: NotFound) -> Run:
    """A run that the local region moves between queues: each move made a job of it."""
    try:
        story: Any = read_json(store, layout.deadline_story(run_id))
    except NotFound:
        raise error from None
    return Run(
        run_id=run_id,
        name=story["name"],
        queue=story["spot_queue"],
        created_at=story["created_at"],
        parts=tuple(RunPart(job_id=part["job_id"], indexes="") for part in story["parts"]),
    )
