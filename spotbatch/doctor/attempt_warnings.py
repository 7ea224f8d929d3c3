"""The runtime's warnings in attempt records: read from the store, with a remedy for each kind."""

from collections.abc import Iterator, Sequence
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.doctor.case import AttemptWarning, Case, FailureGroup, Finding, likely
from spotbatch.runs import artifact_store, records
from spotbatch.runs.units import run_index

_MOST_UNITS: Final = 5
_MOST_FINDINGS: Final = 5
_HELP: Final = (  # how a warning begins, and the remedy
    ("memory:", "ask for more: --memory"),
    ("disk:", "a larger disk, a volume for SPOTBATCH_SCRATCH_DIR, or fewer files kept"),
    ("zombies:", "let the command wait for the processes that it starts"),
    ("checkpoints:", "write checkpoint files beside and rename them into place, in a folder that the command may read"),
    ("the checkpoint has", "keep less state in the checkpoint folder, or take hosts with more network bandwidth"),
)


def warnings_of(jobs: Jobs, job: Job, failures: Sequence[FailureGroup]) -> tuple[AttemptWarning, ...]:
    """Warnings from the newest attempts of a few units: sample failures, the job itself, or running children.

    Unreadable records are left out: a job need not have a store.
    """
    found = []
    for unit in _units(jobs, job, failures):
        try:
            store = artifact_store.store_of(unit)
            kept = records.matched(unit, records.of_unit(store, artifact_store.run_id(unit), run_index(unit)))
        except SpotbatchError:
            continue
        if kept:
            number = max(kept)
            found += [AttemptWarning(unit=unit, attempt=number, text=text) for text in kept[number].warnings]
    return tuple(found)


def _units(jobs: Jobs, job: Job, failures: Sequence[FailureGroup]) -> list[Job]:
    if failures:
        return [group.example for group in failures[:_MOST_UNITS]]
    if job.array is None:
        return [job] if job.attempts else []
    if not job.array.status_summary.get(JobStatus.RUNNING):
        return []
    running = jobs.children(job.id, JobStatus.RUNNING, limit=_MOST_UNITS)
    return jobs.describe([each.id for each in running])


def warned(case: Case) -> Iterator[Finding]:
    """The rule: one finding per text, however many attempts have it."""
    first: dict[str, AttemptWarning] = {}
    for each in case.warnings:
        first.setdefault(each.text, each)
    for each in list(first.values())[:_MOST_FINDINGS]:
        unit = case.unit(each.unit, run_index(each.unit) if case.run else each.unit.array_index)
        help_text = next((fix for start, fix in _HELP if each.text.startswith(start)), "see its story")
        yield likely(
            f"spotrun warned: {each.text}",
            evidence=f"the record of attempt {each.attempt} of {unit}",
            fix=f"{help_text}; spotbatch show {unit}",
        )
