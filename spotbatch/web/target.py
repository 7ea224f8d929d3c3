"""What a page is about, and which page a user means by a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.runs.artifact_store import run_id
from spotbatch.runs.lookup import job_ids, run_jobs
from spotbatch.web.scope import Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a page is about: the list, trends of the list, a run by its run id, or a job (a single one, an array, a
    child) by its id.
    """

    kind: Literal["list", "trends", "run", "job"]
    id: str = ""  # of trends: what is searched among the runs
    attempt: int | None = None  # whose log is shown; None: the last one's
    children: str = ""  # whose logs are shown together, as run indexes (3,17,40-45) or "*"; "": the page itself

    @property
    def is_list(self) -> bool:
        """Whether it is about all runs of the queue."""
        return self.kind in ("list", "trends")


def jobs_named(written: str, jobs: Jobs, scope: Scope) -> list[Job]:
    """The jobs of the run that a user means by an id, a name or a run id, oldest first; a child by itself.

    Raises NotFound if there is none.
    """
    found = jobs.describe(job_ids(written, jobs=jobs, stack=scope.stack, queue=scope.queue))
    if not found:
        raise NotFound(
            f"there is no job {written!r} here any more (AWS Batch forgets a job about a week after its end)"
        )
    if len(found) == 1 and found[0].array_index is None:
        return run_jobs(jobs, found[0], stack=scope.stack)  # a retried run is one story
    return sorted(found, key=lambda job: job.created_at or 0.0)


def target_of(members: Sequence[Job]) -> Target:
    """The page of these jobs: one job's own, or their run's."""
    if len(members) == 1:
        return Target(kind="job", id=members[0].id)
    return Target(kind="run", id=run_id(members[0]))
