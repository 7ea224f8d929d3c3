"""What the doctor looks at, and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from spotbatch.aws.inspection import Surroundings
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.job import Job
from spotbatch.pricing.catalogue import Catalogue


class Weight(StrEnum):
    """How sure a finding is."""

    CAUSE = "cause"  # the job cannot run until it is mended
    LIKELY = "likely"  # it fits, and something else may be true
    NORMAL = "normal"  # nothing is wrong: this is what the job waits for


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause."""

    weight: Weight
    cause: str
    evidence: str
    fix: str


def certain(cause: str, *, evidence: str, fix: str) -> Finding:
    """What surely keeps the job from running."""
    return Finding(weight=Weight.CAUSE, cause=cause, evidence=evidence, fix=fix)


def likely(cause: str, *, evidence: str, fix: str) -> Finding:
    """What fits, and may not be it."""
    return Finding(weight=Weight.LIKELY, cause=cause, evidence=evidence, fix=fix)


def normal(cause: str, *, evidence: str, fix: str) -> Finding:
    """What the job waits for although nothing is wrong."""
    return Finding(weight=Weight.NORMAL, cause=cause, evidence=evidence, fix=fix)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureGroup:
    """Failed units that look alike. `lines` are the last of one of them; None: they could not be read."""

    count: int
    example: Job
    indexes: ArrayIndexes  # empty for a job that is no array
    lines: tuple[str, ...] | None = None
    is_sampled: bool = False  # the log of a part of them was read


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptWarning:
    """What the runtime warned of in the record of one attempt."""

    unit: Job
    attempt: int  # from 1
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """All that is known about one job."""

    job: Job
    around: Surroundings
    types: Catalogue
    dependencies: Sequence[Job] = ()
    head: Job | None = None  # the job at the front of its queue, where that is another
    failures: Sequence[FailureGroup] = ()  # of a run that FAILED, largest first
    warnings: Sequence[AttemptWarning] = ()
    run: Sequence[Job] = ()  # all jobs of the run that the job is of, oldest first, where that was asked for
    named: str = ""  # what the user calls the run
    is_cloud: bool = True
    local_vcpus: tuple[int, int | None] | None = None  # of the local region: those of its hosts, and its quota

    @property
    def is_run(self) -> bool:
        """Whether it is about several jobs of one run."""
        return len(self.run) > 1

    @property
    def called(self) -> str:
        """What commands that mean the whole are pasted with: the user's own name for it, else the job's id."""
        return self.named or self.job.id

    def unit(self, unit: Job, index: int | None) -> str:
        """What a command that means one unit of the run is pasted with."""
        if ":" in self.named:
            return self.named
        if not self.named or (index is None and not self.is_run):
            return unit.id
        return self.named if index is None else f"{self.named}:{index}"

    def aws(self, command: str) -> str:
        """A command of the AWS CLI that, pasted, goes to where the job is: never from the local region to AWS."""
        return f"aws {command}" if self.is_cloud else f'(eval "$(spotbatch local env)" && aws {command})'
