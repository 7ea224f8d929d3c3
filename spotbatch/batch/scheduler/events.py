"""The scheduler's inputs (events) and outputs (commands).

Jobs, hosts and compute environments are numbered or named by the scheduler's caller. A *unit* is what gets
an attempt: `(job_no, index)`, where index is the array index of a child, or 0 for a job that is not an array.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar, dataclass_transform

from spotbatch.batch.consumable import ConsumableNeed, ConsumableResource
from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.retry import RetryStrategy
from spotbatch.batch.status import JobStatus

_DEFAULT_REQUIREMENTS: Final = ResourceRequirements()
_TRIED_ONCE: Final = RetryStrategy()
_T = TypeVar("_T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def _told_each_attempt(cls: type[_T]) -> type[_T]:
    """A value created for every attempt: frozen for the type checker, a plain slotted class at run time.

    A dataclass that is frozen at run time sets each field through object.__setattr__, which takes twice the time; a
    scheduler on virtual time creates these few values more than any others.
    """
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(cls)


# ---- events: what happened ----


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedDependency:
    """A dependency whose job is known by its number; `index` names one child of an array, or None for the whole job.

    SEQUENTIAL names no job.
    """

    job_no: int | None = None
    index: int | None = None
    type: DependencyType = DependencyType.PLAIN


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSubmitted:
    """A job was accepted. `size` is 0 for a job that is not an array."""

    job_no: int
    queue: str
    size: int = 0
    requirements: ResourceRequirements = _DEFAULT_REQUIREMENTS
    retry: RetryStrategy = _TRIED_ONCE
    timeout_seconds: int | None = None
    dependencies: tuple[ResolvedDependency, ...] = ()
    share: str = ""
    priority: int = 0
    consumables: tuple[ConsumableNeed, ...] = ()  # what each unit needs of consumable resources


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRestored:
    """A job restored after a restart, with the status and number of attempts of each of its units.

    Restore all jobs in the order in which they were submitted, then feed AttemptEnded for every unit that was
    STARTING or RUNNING (its host is gone), and only then put the compute environments.
    `statuses` holds one status code (the position in STATUSES) per unit, `attempts` the attempts started per unit.
    """

    submitted: JobSubmitted
    statuses: bytes
    attempts: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCancelled:
    """CancelJob: acts on units that have not started. `index` None means the whole job."""

    job_no: int
    index: int | None = None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTerminated:
    """TerminateJob: acts on units in any non-terminal status. `index` None means the whole job."""

    job_no: int
    index: int | None = None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HostStarted:
    """A host requested by LaunchHost has booted."""

    host_no: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HostNoticed:
    """A host got its reclaim notice: it gets no new attempts."""

    host_no: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HostEnded:
    """A host is gone: reclaimed, terminated, or never launched. Its attempts were ended before this event.

    `relaunch_seconds` is when to retry the pool of a host that was never launched; None: after the usual time.
    """

    host_no: int
    relaunch_seconds: float | None = None


@_told_each_attempt
class AttemptStarted:
    """The container is running: STARTING becomes RUNNING."""

    job_no: int
    index: int
    attempt: int


@_told_each_attempt
class AttemptEnded:
    """The container ended, or was lost with its host (then there is no exit code)."""

    job_no: int
    index: int
    attempt: int
    exit_code: int | None = None
    reason: str = ""
    status_reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentPut:
    """A compute environment was created or changed."""

    environment: ComputeEnvironment


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentRemoved:
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuePut:
    """A job queue was created or changed."""

    queue: JobQueue


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueRemoved:
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumablePut:
    """A consumable resource was created or changed."""

    resource: ConsumableResource


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumableRemoved:
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TimePassed:
    """The time given by `Scheduler.next_wakeup` has come."""


Event = (
    JobSubmitted
    | JobRestored
    | JobCancelled
    | JobTerminated
    | HostStarted
    | HostNoticed
    | HostEnded
    | AttemptStarted
    | AttemptEnded
    | EnvironmentPut
    | EnvironmentRemoved
    | QueuePut
    | QueueRemoved
    | ConsumablePut
    | ConsumableRemoved
    | TimePassed
)

# ---- commands: what is to be done ----


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchHost:
    """Get an instance from this pool. Answer with HostStarted or, if none is available, HostEnded."""

    host_no: int
    environment: str
    pool: Pool


class HostEndCause(StrEnum):
    """Why the scheduler terminates a host."""

    IDLE = "IDLE"
    TASK_ENDED = "TASK_ENDED"  # on Fargate
    ENVIRONMENT = "ENVIRONMENT"  # the environment was disabled, shrunk or removed


@dataclass(frozen=True, kw_only=True, slots=True)
class TerminateHost:
    """Terminate a host without attempts. Answer with HostEnded."""

    host_no: int
    cause: HostEndCause


@_told_each_attempt
class StartAttempt:
    """Start the container of a unit on a host. Answer with AttemptStarted, then AttemptEnded."""

    job_no: int
    index: int
    attempt: int
    host_no: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StopAttempt:
    """SIGTERM, 30 seconds, SIGKILL. Answer with AttemptEnded, which can no longer change the outcome."""

    job_no: int
    index: int
    attempt: int
    status_reason: str


@_told_each_attempt
class AttemptRetried:
    """A unit goes back to RUNNABLE, at the front of its queue."""

    job_no: int
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitsReleased:
    """A unit's dependencies are met: PENDING becomes RUNNABLE. `index` None: all PENDING units of the job."""

    job_no: int
    index: int | None


@_told_each_attempt
class UnitEnded:
    """A unit reached its last status."""

    job_no: int
    index: int
    status: JobStatus
    status_reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEnded:
    """A whole job, with all of its units, reached its last status."""

    job_no: int
    status: JobStatus
    status_reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceConsumed:
    """An ended unit has used up some of a consumable resource that is not replenishable: its state now."""

    resource: ConsumableResource


Command = (
    LaunchHost
    | TerminateHost
    | StartAttempt
    | StopAttempt
    | AttemptRetried
    | UnitsReleased
    | UnitEnded
    | JobEnded
    | ResourceConsumed
)
