"""A run's manifest, `run.json` in the artifact store: the jobs of the run, and which indexes each holds."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPart:
    """One job of a run, and which of the run's indexes it holds, as in 3,17,40-45."""

    job_id: str
    indexes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunManifest:
    """The content of `run.json`. Later parts rerun indexes of earlier ones."""

    run_id: str
    name: str
    queue: str
    created_at: float
    inputs: str = ""  # if they were given
    count: int = 0
    parts: tuple[RunPart, ...] = ()

    @property
    def job_ids(self) -> list[str]:
        return [part.job_id for part in self.parts]

    @classmethod
    def of_jobs(cls, run_id: str, jobs: Sequence[Job]) -> "RunManifest":
        """The manifest of these jobs of one run, oldest first."""
        return cls(
            run_id=run_id,
            name=jobs[0].name,
            queue=jobs[0].queue,
            created_at=jobs[0].created_at or time.time(),
            parts=tuple(RunPart(job_id=each.id, indexes=indexes_held(each)) for each in jobs),
        )


def indexes_held(job: Job) -> str:
    """The indexes of its run that a job holds, as text; "" for a job that is not part of an array."""
    own = str(ArrayIndexes.span(0, job.array.size)) if job.array is not None else ""
    return job.environment.get(SPOTBATCH_ARRAY_INDEXES, own)


def unit_at(run: RunManifest, index: int) -> str:
    """The id of the newest job or child that stands for a run index. Raises NotFound."""
    for part in reversed(run.parts):
        held = _held(part)
        child = held.child_of(index)
        if child is not None:
            return part.job_id if len(held) == 1 else f"{part.job_id}:{child}"
    known = [last for part in run.parts for _, last in _held(part).ranges]
    those = f"its indexes are 0 to {max(known)}" if known else "it is no array"
    raise NotFound(f"run {run.run_id} has no index {index}: {those}")


def _held(part: RunPart) -> ArrayIndexes:
    return ArrayIndexes.parse(part.indexes) if part.indexes else ArrayIndexes()


def write_manifest(store: Artifacts, run: RunManifest) -> None:
    """Store a run's manifest."""
    store.write(layout.run_manifest(run.run_id), json.dumps(asdict(run), indent=1).encode())


def read_manifest(store: Artifacts, run_id: str) -> RunManifest:
    """A run's manifest. Raises NotFound."""
    found: Any = read_json(store, layout.run_manifest(run_id))
    parts = tuple(RunPart(**part) for part in found.pop("parts"))
    return RunManifest(**found, parts=parts)
