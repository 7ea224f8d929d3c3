"""Job statuses, and the reasons written by AWS Batch and ECS, each defined once."""

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


STATUSES: Final = tuple(JobStatus)  # a status's position here is its code in byte columns
TERMINAL: Final = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED})
CANCELLABLE: Final = frozenset({JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE})

# Status reasons of jobs and attempts, as written by AWS Batch and its ECS tasks. No other module spells them out.
CONTAINER_EXITED: Final = "Essential container in task exited"
NOT_STARTED: Final = "Task failed to start"
TIMEOUT_EXCEEDED: Final = "Job attempt duration exceeded timeout"
DEPENDENCY_FAILED: Final = "Dependent Job failed"
ARRAY_CHILD_FAILED: Final = "Array Child Job failed"
TIME_LIMIT_PREFIX: Final = (
    "Canceled by JobStateTimeLimit action due to reason: "  # user guide, "Jobs stuck in RUNNABLE"
)
QUEUE_DELETED: Final = "Job queue deleted"

# How a container's reason begins, from the ECS agent's named errors (amazon-ecs-agent,
# agent/api/errors and agent/engine/errors.go; ECS developer guide, "Amazon ECS stopped tasks error messages").
OUT_OF_MEMORY: Final = "OutOfMemoryError"
OUT_OF_MEMORY_REASON: Final = f"{OUT_OF_MEMORY}: Container killed due to memory usage"
CANNOT_PULL_PREFIX: Final = "CannotPull"  # ...ContainerError, ...ECRContainerError, ...ImageManifestError and others
CANNOT_PULL_REASON: Final = f"{CANNOT_PULL_PREFIX}ContainerError:"
CANNOT_START_REASON: Final = "CannotStartContainerError:"
# How the agent words two transient failures (amazon-ecs-agent, agent/engine/errors.go; ECS developer
# guide, "CannotPullContainer task errors").
PULL_FAILED_REASON: Final = f"{CANNOT_PULL_REASON} pull image manifest has been retried 5 time(s): i/o timeout"
DOCKER_TIMEOUT_REASON: Final = "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s"
NOT_INITIALIZED_REASON: Final = "ResourceInitializationError:"
NOT_STARTED_REASONS: Final = (
    CANNOT_PULL_PREFIX,
    "CannotStartContainerError",
    "CannotCreateContainerError",
    "CannotCreateVolumeError",
    "CannotInspectContainerError",
    "DockerTimeoutError",
    "HostConfigError",
    NOT_INITIALIZED_REASON.removesuffix(":"),
)

HOST_TERMINATED_PATTERN: Final = "Host EC2*"  # as matched by a retry strategy or a metric filter
HOST_TERMINATED_PREFIX: Final = "Host EC2 (instance "  # longer: a user's own terminate reason does not match
# ECS developer guide, "Amazon ECS clusters for Fargate" (termination notices) and the attempts of public Fargate jobs.
SPOT_TASK_INTERRUPTED: Final = "Your Spot Task was interrupted."
# AWS Batch user guide, "Instance draining and task interruptions".
INSTANCE_DRAINING: Final = "Task stopped during instance draining"
TASK_NOT_RUN_PATTERN: Final = "Task *"  # NOT_STARTED and INSTANCE_DRAINING, as matched by a retry strategy


def host_terminated(instance_id: str) -> str:
    """The status reason of an attempt whose host went away, as left by a Spot reclaim."""
    return f"{HOST_TERMINATED_PREFIX}{instance_id}) terminated."
