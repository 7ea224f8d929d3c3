"""AWS Batch's job request, job and attempt, as plain values.

Times are UTC epoch seconds (float); memory is MiB; a child of an array is a `Job` with an `array_index`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from spotbatch.batch.dependency import MAX_DEPENDENCIES, Dependency
from spotbatch.batch.environment import RESERVED_PREFIX, SPOTBATCH_SUBMISSION
from spotbatch.batch.errors import InvalidJob
from spotbatch.batch.overrides import MAX_OVERRIDES_LENGTH, overrides_length
from spotbatch.batch.retry import RetryStrategy
from spotbatch.batch.status import JobStatus

MIN_ARRAY_SIZE: Final = 2
MAX_ARRAY_SIZE: Final = 10_000
MIN_TIMEOUT_SECONDS: Final = 60
Vcpus = int | float
FRACTIONS_OF_A_VCPU: Final = (0.25, 0.5)  # API reference, ResourceRequirement.value
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceRequirements:
    """What one attempt occupies on its host. Only Fargate has fractions of a vCPU: 0.25 and 0.5, which are exact."""

    vcpus: Vcpus = 1
    memory_mib: int = 2048
    gpus: int = 0

    def __post_init__(self) -> None:
        if (self.vcpus < 1 and self.vcpus not in FRACTIONS_OF_A_VCPU) or self.memory_mib < 4 or self.gpus < 0:
            raise InvalidJob(
                "a job needs at least 1 vCPU, 4 MiB and 0 GPUs, "
                f"not {self.vcpus} vCPUs, {self.memory_mib} MiB and {self.gpus} GPUs"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayProperties:
    """The size of an array job and, once submitted, the number of children in each status."""

    size: int
    status_summary: Mapping[JobStatus, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not MIN_ARRAY_SIZE <= self.size <= MAX_ARRAY_SIZE:
            raise InvalidJob(
                f"an array has {MIN_ARRAY_SIZE} to {MAX_ARRAY_SIZE} children, not {self.size}; "
                "submit a single job, or several arrays"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """SubmitJob's parameters. None means: as in the job definition. Raises InvalidJob where AWS would refuse it."""

    name: str
    queue: str
    definition: str
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    vcpus: int | None = None
    memory_mib: int | None = None
    gpus: int | None = None
    array_size: int | None = None
    dependencies: tuple[Dependency, ...] = ()
    retry: RetryStrategy | None = None
    timeout_seconds: int | None = None
    share_identifier: str | None = None
    scheduling_priority: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidJob(
                f"a job name has up to 128 letters, digits, hyphens and underscores and begins with a letter or digit, "
                f"not {self.name!r}"
            )
        if self.array_size is not None:
            ArrayProperties(size=self.array_size)
        for variable in self.environment:
            if variable.startswith(RESERVED_PREFIX):
                raise InvalidJob(f"variables that begin with {RESERVED_PREFIX} are AWS Batch's own, not {variable!r}")
        if self.timeout_seconds is not None and self.timeout_seconds < MIN_TIMEOUT_SECONDS:
            raise InvalidJob(f"a timeout is at least {MIN_TIMEOUT_SECONDS} seconds, not {self.timeout_seconds}")
        if len(self.dependencies) > MAX_DEPENDENCIES:
            raise InvalidJob(f"a job depends on at most {MAX_DEPENDENCIES} others, not {len(self.dependencies)}")
        self._check_overrides()

    def _check_overrides(self) -> None:
        """AWS Batch would accept the job and let it fail at its start."""
        wanted = (("VCPU", self.vcpus), ("MEMORY", self.memory_mib), ("GPU", self.gpus))
        length = overrides_length(
            command=self.command or (),
            environment={**self.environment, SPOTBATCH_SUBMISSION: "0" * 16},  # the mark that is sent along
            requirements={kind: str(value) for kind, value in wanted if value},
            queue=self.queue,
            is_array=self.array_size is not None,
        )
        if length > MAX_OVERRIDES_LENGTH:
            raise InvalidJob(
                f"the command and the variables of a job have at most {MAX_OVERRIDES_LENGTH} characters together, as "
                f"JSON and with AWS Batch's own, not {length}: put what is long into the image, a file on S3 "
                "(--inputs) or the job definition"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt of a job on one host."""

    started_at: float | None = None
    stopped_at: float | None = None
    exit_code: int | None = None
    reason: str = ""
    status_reason: str = ""
    log_stream: str | None = None
    host: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as reported by DescribeJobs, in the cloud or in the local region."""

    id: str
    name: str
    queue: str
    definition: str
    status: JobStatus
    status_reason: str = ""
    created_at: float | None = None
    started_at: float | None = None
    stopped_at: float | None = None
    requirements: ResourceRequirements = field(default_factory=ResourceRequirements)
    environment: Mapping[str, str] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    attempts_allowed: int = 1
    array: ArrayProperties | None = None
    array_index: int | None = None
    is_fargate: bool = False
    depends_on: tuple[Dependency, ...] = ()
    exit_code: int | None = None
    reason: str = ""
    log_stream: str | None = None
    log_group: str | None = None
    is_terminated: bool = False  # somebody cancelled or terminated it
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def parent_id(self) -> str:
        """The array's id for a child, otherwise the job's own id."""
        return self.id.partition(":")[0]
