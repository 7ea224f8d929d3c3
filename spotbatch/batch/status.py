"""Job statuses, the transitions between them, and the status reasons that AWS Batch writes, each once."""

from enum import StrEnum
from typing import Final


class JobStatus(StrEnum):
    """The seven statuses of AWS Batch, in the order in which a job passes through them."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this status never leaves it."""
        return self in TERMINAL

    @property
    def is_cancellable(self) -> bool:
        """Whether CancelJob still acts (API reference, CancelJob): not once the job is STARTING."""
        return self in CANCELLABLE


STATUSES: Final = tuple(JobStatus)  # a status's place here is its code in byte columns
TERMINAL: Final = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED})
CANCELLABLE: Final = frozenset({JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE})

# From each status to those that may follow it. RUNNABLE follows RUNNING and STARTING when an attempt is retried.
TRANSITIONS: Final[dict[JobStatus, frozenset[JobStatus]]] = {
    JobStatus.SUBMITTED: frozenset({JobStatus.PENDING, JobStatus.RUNNABLE, JobStatus.FAILED}),
    JobStatus.PENDING: frozenset({JobStatus.RUNNABLE, JobStatus.SUCCEEDED, JobStatus.FAILED}),
    JobStatus.RUNNABLE: frozenset({JobStatus.STARTING, JobStatus.FAILED}),
    JobStatus.STARTING: frozenset({JobStatus.RUNNING, JobStatus.RUNNABLE, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNABLE}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
}

CONTAINER_EXITED: Final = "Essential container in task exited"
NOT_STARTED: Final = "Task failed to start"
TIMEOUT_EXCEEDED: Final = "Job attempt duration exceeded timeout"
DEPENDENCY_FAILED: Final = "Dependent Job failed"
ARRAY_CHILD_FAILED: Final = "Array Child Job failed"
QUEUE_DELETED: Final = "Job queue deleted"
OUT_OF_MEMORY_REASON: Final = "OutOfMemoryError: Container killed due to memory usage"
CANNOT_PULL_REASON: Final = "CannotPullContainerError:"
CANNOT_START_REASON: Final = "CannotStartContainerError:"
HOST_TERMINATED_PATTERN: Final = "Host EC2*"


def host_terminated(instance_id: str) -> str:
    """The status reason of an attempt whose host went away, as a Spot reclaim leaves it."""
    return f"Host EC2 (instance {instance_id}) terminated."
