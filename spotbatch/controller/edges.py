"""The controller's ports to AWS Batch and to a run's artifacts, built on the command line's clients."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from spotbatch.aws.artifacts import Artifacts, open_artifacts, read_json
from spotbatch.aws.jobs import Jobs
from spotbatch.batch import artifacts as layout
from spotbatch.batch.attempt_record import AttemptRecord, read_record
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError
from spotbatch.batch.job import MAX_ARRAY_SIZE, Job
from spotbatch.batch.status import JobStatus
from spotbatch.controller.run import Run
from spotbatch.controller.seen import Work

_ATTEMPTS: Final = "/attempts/"
_KEYS_LOOKED_AT: Final = 1000  # one page of ListObjectsV2
_SAME_NAME: Final = 100  # jobs: one page of ListJobs, and one DescribeJobs call


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchJobs:
    """A `Batch` at the endpoint in this process's AWS settings."""

    jobs: Jobs = field(default_factory=Jobs)

    def submit(self, request: Mapping[str, Any]) -> str:
        try:
            answer: Any = self.jobs.batch.submit_job(**request)
        except NotFound as error:
            raise InvalidInput(str(error)) from error  # no such queue or definition: not a transient error
        return str(answer["jobId"])

    def tagged(self, queue: str, name: str, tags: Mapping[str, str]) -> Sequence[str]:
        newest = self.jobs.named(queue, name, limit=_SAME_NAME)
        found = [job for job in self.jobs.describe([each.id for each in newest]) if tags.items() <= job.tags.items()]
        return [job.id for job in sorted(found, key=lambda job: job.created_at or 0.0)]

    def describe(self, job_ids: Sequence[str]) -> Sequence[Job]:
        return self.jobs.describe(job_ids)

    def children(self, job_id: str, status: JobStatus) -> Sequence[int]:
        listed = self.jobs.children(job_id, status, limit=MAX_ARRAY_SIZE)
        return [child.array_index for child in listed if child.array_index is not None]

    def terminate(self, job_ids: Sequence[str], reason: str) -> None:
        self.jobs.terminate_all(job_ids, reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRecords:
    """A `Records` in the store named by a run."""

    def work_of(self, run: Run, index: int, now: float) -> Work:
        """From the records of its attempts, and never more than the command itself reports; empty if there are none."""
        assert run.wishes.deadline is not None  # noqa: S101 - called only for a deadline
        unit = index if run.size else None
        store = open_artifacts(run.artifacts_url)
        folder = f"{layout.unit_prefix(run.run_id, unit)}/attempts"
        try:
            found = [read_record(store.read(each.key)) for each in store.list(folder) if each.key.endswith(".json")]
            report = _report(store, layout.progress_key(run.run_id, unit))
        except NotFound:
            return Work()
        return work_done((each for each in found if each is not None), report, run.wishes.deadline.work_seconds, now)

    def has_any(self, run: Run) -> bool:
        """Looked for among the first keys: a child's attempts come before its checkpoints and the run's own files."""
        keys = (each.key for each in open_artifacts(run.artifacts_url).list(layout.run_prefix(run.run_id)))
        return any(_ATTEMPTS in key for key in islice(keys, _KEYS_LOOKED_AT))

    def tell(self, run: Run) -> None:
        """Write the manifest and the story; if that fails the run goes on, and the next change writes both."""
        try:
            store = open_artifacts(run.artifacts_url)
            store.write(layout.run_manifest(run.run_id), json.dumps(manifest_of(run), indent=1).encode())
            store.write(layout.controller_story(run.run_id), json.dumps(story_of(run), indent=1).encode())
        except SpotbatchError:
            return


def work_done(
    records: Iterable[AttemptRecord], report: Mapping[str, Any] | None, work_seconds: float, now: float
) -> Work:
    """A unit's progress, in seconds of its promised work. Pure.

    For a finished attempt, the work that it had saved counts; for a running one, the work in its last save. If the
    command reports less than that, its report counts.
    """
    ordered = sorted((each for each in records if each.started_at is not None), key=lambda each: each.started_at or 0.0)
    kept = worked = 0.0
    for number, each in enumerate(ordered, start=1):
        began = (each.started_at or 0.0) + (each.restore_seconds or 0.0)
        saved = max(0.0, (each.last_saved_at or 0.0) - began) if each.checkpoints_saved else 0.0
        is_running = number == len(ordered) and not each.has_ended and each.ended_at is None
        kept += saved
        worked += max(saved, now - began) if is_running else saved
    most = work_seconds
    running = ordered[-1] if ordered and not ordered[-1].has_ended else None
    if running is not None and report is not None and report.get("attempt") == running.attempt:
        most = work_seconds * _share(report)
    return Work(kept_seconds=min(kept, most), worked_seconds=min(worked, most))


def _share(report: Mapping[str, Any]) -> float:
    """The fraction of its work that a command reports as done; 1 if it reports nothing usable."""
    try:
        share = float(report["done"]) / float(report["total"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return 1.0
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else 1.0


def _report(store: Artifacts, key: str) -> Mapping[str, Any] | None:
    try:
        found: Any = read_json(store, key)
    except SpotbatchError:
        return None
    return found if isinstance(found, dict) else None


def manifest_of(run: Run) -> dict[str, Any]:
    """`run.json`: the jobs of the run, and which of its indexes each holds (see runs/manifest.py)."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "queue": run.spot_queue,
        "created_at": run.created_at,
        "inputs": run.inputs,
        "count": max(1, run.size),
        "parts": [{"job_id": part.job_id, "indexes": str(part.indexes) if run.size else ""} for part in run.parts],
    }


def story_of(run: Run) -> dict[str, Any]:
    """`controller.json`: the public part of a run under control."""
    wanted = run.wishes.deadline
    return {
        "run_id": run.run_id,
        "name": run.name,
        "size": run.size,
        "created_at": run.created_at,
        "outcome": run.outcome.value,
        "ended_at": run.ended_at,
        "deadline_at": wanted.at if wanted is not None else None,
        "max_usd": str(run.wishes.budget.max_usd) if run.wishes.budget is not None else None,
        "spent_usd": str(run.spent_usd) if run.wishes.budget is not None else None,
        "learnt_mib": run.learnt_mib,
        "succeeded": len(run.succeeded),
        "failed": len(run.failed),
        "stopped": len(run.stopped),
        "parts": [
            {
                "job_id": part.job_id,
                "indexes": str(part.indexes) if run.size else "",
                "place": part.need.place.value,
                "memory_mib": part.need.memory_mib,
                "at": part.at,
                "why": part.why,
            }
            for part in run.parts
        ],
        "notes": [{"at": each.at, "text": each.text} for each in run.notes],
    }
