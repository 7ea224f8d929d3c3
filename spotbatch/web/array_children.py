"""An array's children, as far as they are known: their statuses for the heat map, and which to query next. Pure.

10,000 children are 10,000 bytes, and a `Job` for each described one. Whatever the size, one call per turn is enough:
running ones are queried first, small groups are listed by status, and if only one status is left over in the
parent's summary, the children not seen yet must be in it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Final

from spotbatch.batch.attempt_outcome import interruptions_of
from spotbatch.batch.job import Job
from spotbatch.batch.status import STATUSES, JobStatus

UNSEEN: Final = 255
_CODE: Final = {status: code for code, status in enumerate(STATUSES)}
_ACTIVE: Final = (_CODE[JobStatus.STARTING], _CODE[JobStatus.RUNNING])
_LONGEST_LIST: Final = 500  # a larger group of children in one status is left to the turns: at most five calls
_ACTIVE_WEIGHT: Final = 8
_UNSEEN_WEIGHT: Final = 3


@dataclass(kw_only=True)
class ArrayChildren:
    """The children of one array. `take_*` process a response from AWS Batch."""

    parent: Job
    size: int
    units: dict[int, Job] = field(default_factory=dict)
    lost: int = field(default=0, init=False)  # attempts of the described ones ended by an interruption
    again: int = field(default=0, init=False)  # attempts beyond the first
    _codes: bytearray = field(init=False)
    _asked: list[int] = field(init=False)  # the turn in which each was last queried
    _turn: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._codes = bytearray([UNSEEN]) * self.size
        self._asked = [0] * self.size

    @property
    def summary(self) -> Mapping[JobStatus, int]:
        """Children by status, as the parent counts them; those of a fresh array not counted yet are SUBMITTED."""
        counted = self.parent.array.status_summary if self.parent.array is not None else {}
        left = max(0, self.size - sum(counted.values()))
        return {**counted, JobStatus.SUBMITTED: counted.get(JobStatus.SUBMITTED, 0) + left}

    @property
    def seen(self) -> int:
        """How many children were described."""
        return len(self.units)

    @property
    def unread(self) -> int:
        """How many children were not described in their current status: their part of a sum is not known."""
        described = Counter(unit.status for unit in self.units.values())
        return self.size - sum(min(described[status], count) for status, count in self.summary.items())

    def take_parent(self, parent: Job) -> None:
        """The parent as it stands now."""
        self.parent = parent

    def take_unit(self, unit: Job) -> None:
        """A described child. What it shares with the others is stored once."""
        if unit.array_index is None or not 0 <= unit.array_index < self.size:
            return
        before = self.units.get(unit.array_index)
        if before is None or before != unit:
            same = unit.requirements == self.parent.requirements
            needs = self.parent.requirements if same else unit.requirements
            shared = replace(unit, environment=self.parent.environment, tags=self.parent.tags, requirements=needs)
            self.units[unit.array_index] = shared
            self._count(shared, 1)
            if before is not None:
                self._count(before, -1)
        self._codes[unit.array_index] = _CODE[unit.status]

    def _count(self, unit: Job, times: int) -> None:
        lost, again = interruptions([unit])
        self.lost += lost * times
        self.again += again * times

    def take_status(self, index: int, status: JobStatus) -> None:
        """A child from a list: only its status. Children described to their end are kept."""
        unit = self.units.get(index)
        if 0 <= index < self.size and not (unit is not None and unit.status.is_terminal):
            self._codes[index] = _CODE[status]

    def lacking(self) -> JobStatus | None:
        """A status to list: the smallest incompletely known group, unless it is the largest or too long."""
        known, summary = self._known(), self.summary
        present = sorted((count, status) for status, count in summary.items() if count)
        for count, status in present[:-1]:
            if known[status] != count and count <= _LONGEST_LIST:
                return status
        return None

    def wanted(self, room: int) -> list[str]:
        """The ids of the children to describe next; none once all have been seen to end."""
        self._turn += 1
        chosen = nsmallest(room, self._open(), key=self._urgency)
        for index in chosen:
            self._asked[index] = self._turn
        return [f"{self.parent.id}:{index}" for index in chosen]

    def stale(self) -> list[str]:
        """The ids of children not described in their current status: unread ones, and those that moved on."""
        if not self.unread:
            return []
        by_index = ((index, self.units.get(index)) for index in range(self.size))
        return [
            f"{self.parent.id}:{index}"
            for index, unit in by_index
            if unit is None or not unit.status.is_terminal or _CODE[unit.status] != self._codes[index]
        ]

    @property
    def is_all_seen(self) -> bool:
        """Whether every child's story is known to its end."""
        return next(self._open(), None) is None

    def statuses(self) -> list[JobStatus | None]:
        """Each child's status by index, seen or deduced; None if it is not known."""
        rest = self._deduced()
        return [rest if code == UNSEEN else STATUSES[code] for code in self._codes]

    def _deduced(self) -> JobStatus | None:
        """The status of all unseen children if the summary leaves only one possible; otherwise unknown."""
        unseen = self._codes.count(UNSEEN)
        known = self._known()
        left = [status for status, count in self.summary.items() if count - known[status] >= max(1, unseen)]
        return left[0] if unseen and len(left) == 1 else None

    def _known(self) -> dict[JobStatus, int]:
        return {status: self._codes.count(code) for status, code in _CODE.items()}

    def _open(self) -> Iterator[int]:
        for index in range(self.size):
            unit = self.units.get(index)
            if unit is None or not unit.status.is_terminal:
                yield index

    def _urgency(self, index: int) -> tuple[int, int]:
        code = self._codes[index]
        weight = _ACTIVE_WEIGHT if code in _ACTIVE else _UNSEEN_WEIGHT if index not in self.units else 1
        return (-(self._turn - self._asked[index]) * weight, index)


def cells(statuses: Iterable[JobStatus | None], retried: frozenset[int]) -> str:
    """One character per child for the script that draws them: 0-6 by status, a-g if retried, . if unseen."""
    plain, again = "0123456", "abcdefg"
    return "".join(
        "." if status is None else (again if index in retried else plain)[_CODE[status]]
        for index, status in enumerate(statuses)
    )


def retried(units: Mapping[int, Job]) -> frozenset[int]:
    """The children that had more than one attempt, or wait for another one."""
    return frozenset(
        index
        for index, unit in units.items()
        if len(unit.attempts) > 1 or (unit.attempts and unit.status is JobStatus.RUNNABLE)
    )


def interruptions(units: Iterable[Job]) -> tuple[int, int]:
    """Attempts ended by an interruption, and attempts beyond the first."""
    lost = again = 0
    for unit in units:
        lost += interruptions_of(unit)
        again += max(0, len(unit.attempts) - 1)
    return lost, again
