"""The scheduler's book of jobs: one record per job, one byte per unit, so that an array of 10,000 costs one row."""

from typing import TYPE_CHECKING, Final

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.scheduler.events import JobSubmitted
from spotbatch.batch.status import STATUSES, JobStatus

if TYPE_CHECKING:
    from spotbatch.batch.scheduler.queue_order import QueueRecord

SUBMITTED, PENDING, RUNNABLE, STARTING, RUNNING, SUCCEEDED, FAILED = range(len(STATUSES))
TERMINAL_FROM: Final = SUCCEEDED  # codes from here on are terminal statuses

# A unit's key packs its job's number and its index into one integer; an array has at most 10,000 children.
_INDEX_BITS: Final = 14
_INDEX_MASK: Final = (1 << _INDEX_BITS) - 1


def key_of(job_no: int, index: int) -> int:
    return job_no << _INDEX_BITS | index


def unit_of(key: int) -> tuple[int, int]:
    """The (job number, index) that a key packs."""
    return key >> _INDEX_BITS, key & _INDEX_MASK


class JobRecord:
    """What the scheduler remembers about one job. Mutable, and never handed out."""

    __slots__ = (
        "attempts",
        "consumables",
        "counts",
        "cursor",
        "dependents",
        "deps_left",
        "job_no",
        "needs",
        "queue",
        "reasons",
        "shape",
        "status",
        "status_reason",
        "stopping",
        "submitted",
        "unit_deps",
        "units",
    )

    def __init__(self, submitted: JobSubmitted, queue: "QueueRecord", shape: int) -> None:
        self.submitted = submitted
        self.job_no = submitted.job_no
        self.queue = queue
        self.needs = submitted.requirements
        self.consumables = submitted.consumables
        self.shape = shape  # one number for equal needs: host books use it as a fast-hashing key
        self.units = submitted.size or 1
        self.status = bytearray(self.units)  # status codes; all start as SUBMITTED, which is 0
        self.attempts = bytearray(self.units)  # attempts started
        self.counts = [0] * len(STATUSES)
        self.counts[SUBMITTED] = self.units
        self.deps_left = 0  # dependencies that the whole job still waits for
        self.unit_deps: bytearray | None = None  # dependencies that each unit still waits for, where they differ
        self.cursor = self.units  # units from here on are covered by a lazy entry of the queue
        self.dependents: list[tuple[int, int | None, DependencyType]] = []  # (job number, our index, type)
        self.reasons: dict[int, str] = {}  # status reasons of units, if set
        self.stopping: dict[int, str] = {}  # units told to stop, and why: these are not retried
        self.status_reason = ""  # of the job as a whole

    @property
    def is_array(self) -> bool:
        return self.submitted.size > 0

    @property
    def has_ended(self) -> bool:
        return self.counts[SUCCEEDED] + self.counts[FAILED] == self.units

    @property
    def is_sequential(self) -> bool:
        return any(dependency.type is DependencyType.SEQUENTIAL for dependency in self.submitted.dependencies)

    def is_over(self, index: int) -> bool:
        """Whether a unit has reached its last status."""
        return self.status[index] >= TERMINAL_FROM

    def move(self, index: int, code: int) -> None:
        """Put one unit into a status."""
        self.counts[self.status[index]] -= 1
        self.counts[code] += 1
        self.status[index] = code

    def move_all(self, source: int, code: int) -> None:
        """Move every unit in status `source` to another status, with a single bytes.translate."""
        if self.counts[source] == 0:
            return
        table = bytearray(range(256))
        table[source] = code
        self.status = self.status.translate(table)
        self.counts[code] += self.counts[source]
        self.counts[source] = 0

    def job_status(self) -> JobStatus:
        """The status of the whole job: that of its unit, or PENDING for an array until all children have ended."""
        if not self.is_array:
            return STATUSES[self.status[0]]
        if not self.has_ended:
            return JobStatus.PENDING
        return JobStatus.FAILED if self.counts[FAILED] else JobStatus.SUCCEEDED
