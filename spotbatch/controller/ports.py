"""What the controller needs from the outside world, and the errors that it expects."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.controller.run import Run
from spotbatch.controller.seen import Work


class Conflict(Unavailable):
    """Another invocation wrote the run in the meantime: the decision made here is void."""


class Store(Protocol):
    """Where runs are kept. Raises Unavailable if it does not answer."""

    def read(self, run_id: str) -> Run | None:
        """The run as last written; None if it is not under control."""
        ...

    def write(self, run: Run) -> Run:
        """Write a run over its last revision; returns the run with its new revision. Raises Conflict."""
        ...

    def active(self) -> Sequence[str]:
        """The ids of all runs that are not over."""
        ...


class Batch(Protocol):
    """AWS Batch. Raises Unavailable if it does not answer or throttles, InvalidJob if it refuses."""

    def submit(self, request: Mapping[str, Any]) -> str:
        """SubmitJob; returns the id of the job."""
        ...

    def tagged(self, queue: str, name: str, tags: Mapping[str, str]) -> Sequence[str]:
        """The ids of a queue's jobs with this name and these tags, oldest first."""
        ...

    def describe(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Those of these jobs and children that exist."""
        ...

    def children(self, job_id: str, status: JobStatus) -> Sequence[int]:
        """The children of an array that are in a status."""
        ...

    def terminate(self, job_ids: Sequence[str], reason: str) -> None:
        """TerminateJob for each; jobs that have ended are left alone."""
        ...


class Records(Protocol):
    """The run's artifacts."""

    def work_of(self, run: Run, index: int, now: float) -> Work:
        """A unit's progress; empty if nothing is known."""
        ...

    def has_any(self, run: Run) -> bool:
        """Whether any attempt of the run was recorded, which spotrun does as soon as it starts. Raises Unavailable."""
        ...

    def tell(self, run: Run) -> None:
        """Write the run's list of jobs and its story, for anyone to read."""
        ...
