"""What the controller needs of the world, and the errors that it expects of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.controller.run import Run
from spotbatch.controller.seen import Work


class Conflict(Unavailable):
    """Another invocation wrote the run meanwhile: what was decided here is void."""


class Store(Protocol):
    """Where runs are kept. Raises Unavailable where it does not answer."""

    def read(self, run_id: str) -> Run | None:
        """The run as it was written last; None where it is not under control."""
        ...

    def write(self, run: Run) -> Run:
        """Write a run over its last revision; returns it with the new one. Raises Conflict."""
        ...

    def active(self) -> Sequence[str]:
        """The ids of all runs that are not over."""
        ...


class Batch(Protocol):
    """AWS Batch. Raises Unavailable where it does not answer or throttles, InvalidJob where it refuses."""

    def submit(self, request: Mapping[str, Any]) -> str:
        """SubmitJob; the id of the job."""
        ...

    def tagged(self, queue: str, name: str, tags: Mapping[str, str]) -> Sequence[str]:
        """The ids of a queue's jobs of this name with these tags, oldest first."""
        ...

    def describe(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Those of these jobs and children that there are."""
        ...

    def children(self, job_id: str, status: JobStatus) -> Sequence[int]:
        """Which children of an array stand in a status."""
        ...

    def terminate(self, job_ids: Sequence[str], reason: str) -> None:
        """TerminateJob for each; one that has ended is left alone."""
        ...


class Records(Protocol):
    """The run's artifacts."""

    def work_of(self, run: Run, index: int, now: float) -> Work:
        """How far a unit's work is; nothing where nothing is known."""
        ...

    def tell(self, run: Run) -> None:
        """Write the run's list of jobs and its story, for everybody to read."""
        ...
