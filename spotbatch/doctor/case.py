"""The doctor's inputs and findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from spotbatch.aws.inspection import Surroundings
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.job import Job
from spotbatch.pricing.catalogue import Catalogue


class Weight(StrEnum):
    """How certain a finding is."""

    CAUSE = "cause"  # the job cannot run until it is fixed
    LIKELY = "likely"  # it fits, but there may be another cause
    NORMAL = "normal"  # nothing is wrong: the job is just waiting for this


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause."""

    weight: Weight
    cause: str
    evidence: str
    fix: str


def certain(cause: str, *, evidence: str, fix: str) -> Finding:
    """A cause that certainly keeps the job from running."""
    return Finding(weight=Weight.CAUSE, cause=cause, evidence=evidence, fix=fix)


def likely(cause: str, *, evidence: str, fix: str) -> Finding:
    """A cause that fits but may not be the actual one."""
    return Finding(weight=Weight.LIKELY, cause=cause, evidence=evidence, fix=fix)


def normal(cause: str, *, evidence: str, fix: str) -> Finding:
    """Something the job waits for although nothing is wrong."""
    return Finding(weight=Weight.NORMAL, cause=cause, evidence=evidence, fix=fix)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureGroup:
    """Failed units that look alike. `lines` are the last log lines of one of them; None: not readable."""

    count: int
    example: Job
    indexes: ArrayIndexes  # empty for a job that is no array
    lines: tuple[str, ...] | None = None
    is_sampled: bool = False  # only some of their logs were read


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptWarning:
    """A warning by the runtime in the record of one attempt."""

    unit: Job
    attempt: int  # from 1
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Everything known about one job."""

    job: Job
    around: Surroundings
    types: Catalogue
    dependencies: Sequence[Job] = ()
    head: Job | None = None  # the job at the front of its queue, if that is another
    failures: Sequence[FailureGroup] = ()  # failure groups of a run, largest first
    warnings: Sequence[AttemptWarning] = ()
    run: Sequence[Job] = ()  # all jobs of the job's run, oldest first, if requested
    named: str = ""  # the user's name for the run
    is_cloud: bool = True
    local_vcpus: tuple[int, int | None] | None = None  # of the local region: those of its hosts, and its quota

    @property
    def is_run(self) -> bool:
        """Whether it is about several jobs of one run."""
        return len(self.run) > 1

    @property
    def called(self) -> str:
        """The argument for commands on the whole run: the user's own name for it, else the job's id."""
        return self.named or self.job.id

    def unit(self, unit: Job, index: int | None) -> str:
        """The argument for commands on one unit of the run."""
        if ":" in self.named:
            return self.named
        if not self.named or (index is None and not self.is_run):
            return unit.id
        return self.named if index is None else f"{self.named}:{index}"

    def aws(self, command: str) -> str:
        """An AWS CLI command that, when pasted, goes to where the job is: never from the local region to AWS."""
        return f"aws {command}" if self.is_cloud else f'(eval "$(spotbatch local env)" && aws {command})'
