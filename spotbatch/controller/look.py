"""Looking at a run: fetch what the rules need from AWS Batch, in as few calls as possible."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.job import Job
from spotbatch.batch.status import TERMINAL, JobStatus
from spotbatch.controller.place import is_safe_as_it_is
from spotbatch.controller.ports import Batch, Records
from spotbatch.controller.run import Part, Run
from spotbatch.controller.seen import PartSeen, Unit, unit_of

_KEPT_SECONDS: Final = 3600.0  # a job still unknown to AWS Batch this long after its submission is not explained by lag
MOST_DESCRIBED: Final = 3000  # children a look: a call of the function has 45 s, and the rest is seen at the next look
_COSTS: Final = (JobStatus.STARTING, JobStatus.RUNNING)
_LIVING: Final = (JobStatus.RUNNING, JobStatus.STARTING, JobStatus.RUNNABLE)


def look(run: Run, batch: Batch, records: Records, now: float) -> dict[int, PartSeen]:
    """The state of each part that has open units. Raises Unavailable."""
    wanted = [part for part in run.parts if len(part.open)]
    known = {job.id: job for job in batch.describe([part.job_id for part in wanted])}
    seen: dict[int, PartSeen] = {}
    room = MOST_DESCRIBED
    for part in wanted:
        job = known.get(part.job_id)
        if job is None:
            if now - part.at > _KEPT_SECONDS:
                seen[part.number] = PartSeen(is_gone=True)
        elif job.array is None:
            (index,) = part.indexes
            unit = _unit(run, part, index, job, records, now)
            seen[part.number] = PartSeen(running=int(job.status in _COSTS), units={index: unit})
        else:
            seen[part.number] = _array(run, part, job, batch, records, now, room)
            room -= len(seen[part.number].units)
    return seen


def has_begun(seen: Mapping[int, PartSeen]) -> bool:
    """Whether any unit that was seen has run, or is running."""
    return any(
        unit.outcome is not None or unit.started_at is not None
        for each in seen.values()
        for unit in each.units.values()
    )


def _unit(run: Run, part: Part, index: int, job: Job, records: Records, now: float) -> Unit:
    """One unit; its records are read only where they could change where it should run."""
    unit = unit_of(job)
    if run.wishes.deadline is None or job.status.is_terminal or is_safe_as_it_is(run, part, unit, now):
        return unit
    return unit_of(job, records.work_of(run, index, now))


def _array(run: Run, part: Part, job: Job, batch: Batch, records: Records, now: float, room: int) -> PartSeen:
    """An array, of whose children at most `room` are described."""
    counts = job.array.status_summary if job.array is not None else {}
    running = sum(counts.get(status, 0) for status in _COSTS)
    if room <= 0:
        return PartSeen(running=running)
    asked = dict.fromkeys(child for status in _asked_for(run, part, counts) for child in batch.children(job.id, status))
    wanted = [child for child in asked if part.indexes.at(child) in part.open]
    units: dict[int, Unit] = {}
    for child in batch.describe([f"{part.job_id}:{child}" for child in wanted[:room]]):
        index = part.indexes.at(child.array_index or 0)
        if index is not None:
            units[index] = _unit(run, part, index, child, records, now)
    if len(wanted) <= room:  # else what was not described is not known to have succeeded
        for index in _succeeded(run, part, job, batch, units):
            units.setdefault(index, Unit(status=JobStatus.SUCCEEDED, is_done=True))
    return PartSeen(running=running, units=units)


def _asked_for(run: Run, part: Part, counts: Mapping[JobStatus, int]) -> Iterator[JobStatus]:
    """The statuses whose children are described: FAILED where one is new, and with a deadline all live statuses."""
    ended = part.indexes.without(part.open)
    known = len(ended) - len(ended.common(run.succeeded))
    if counts.get(JobStatus.FAILED, 0) > known:
        yield JobStatus.FAILED
    if run.wishes.deadline is not None:
        yield from (status for status in _LIVING if counts.get(status, 0))


def _succeeded(run: Run, part: Part, job: Job, batch: Batch, units: Mapping[int, Unit]) -> Iterable[int]:
    """The open children that succeeded, if that matters now: a move waits for one, or the array is over."""
    counts = job.array.status_summary if job.array is not None else {}
    if job.status.is_terminal and sum(counts.get(status, 0) for status in TERMINAL) == len(part.indexes):
        ended = ArrayIndexes.of(index for index, unit in units.items() if unit.status.is_terminal)
        return part.open.without(ended)
    is_wanted = run.wishes.deadline is not None or any(len(move.ending.common(part.open)) for move in run.moves)
    if not is_wanted or not counts.get(JobStatus.SUCCEEDED, 0):
        return ()
    found = (part.indexes.at(child) for child in batch.children(job.id, JobStatus.SUCCEEDED))
    return [index for index in found if index is not None and index in part.open]
