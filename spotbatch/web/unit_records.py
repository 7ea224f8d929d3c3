"""The runtime's records for units on open pages, read once per unit and ended attempt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from spotbatch import wording
from spotbatch.aws import session
from spotbatch.aws.artifacts import Artifacts
from spotbatch.batch.attempt_outcome import interruptions_of
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.runs import artifact_store, records
from spotbatch.runs.inputs import InputNames, input_names
from spotbatch.runs.units import run_index

_READ_AT_ONCE: Final = 20  # units, from S3
_READ_AT_ONCE_LOCAL: Final = 500
_ALL_READ_UP_TO: Final = 500  # units; for larger runs only the interrupted ones
_KEPT: Final = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRecords:
    """Records of some units, how many are still missing, and why they cannot be read."""

    records: tuple[AttemptRecord, ...] = ()
    missing: int = 0
    problem: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for a bill made with these."""
        if self.problem:
            return (f"the attempts' records cannot be read, so lost work is taken as whole attempts ({self.problem})",)
        return (f"the records of {wording.count(self.missing, 'child')} are still being read",) if self.missing else ()


@dataclass(kw_only=True)
class UnitRecords:
    """Reads and caches records and input names from jobs' artifact stores."""

    stack: str | None
    _found: dict[tuple[str, int], list[AttemptRecord]] = field(default_factory=dict)
    _stores: dict[str, Artifacts] = field(default_factory=dict)
    _names: dict[str, InputNames] = field(default_factory=dict)

    def of(self, units: Sequence[Job]) -> FoundRecords:
        """The records of ended attempts: some more are read each time, 20 units per call from S3."""
        wanted = [unit for unit in units if _ended_attempts(unit)]
        if len(wanted) > _ALL_READ_UP_TO:
            wanted = [unit for unit in wanted if interruptions_of(unit)]
        unread = [unit for unit in wanted if (unit.id, _ended_attempts(unit)) not in self._found]
        room = _READ_AT_ONCE_LOCAL if session.is_local() else _READ_AT_ONCE
        try:
            for unit in unread[:room]:
                self._found[unit.id, _ended_attempts(unit)] = self.of_unit(unit)
        except SpotbatchError as error:
            return FoundRecords(problem=str(error))
        while len(self._found) > _KEPT:
            self._found.pop(next(iter(self._found)))
        known = [one for unit in wanted for one in self._found.get((unit.id, _ended_attempts(unit)), ())]
        return FoundRecords(records=tuple(known), missing=max(0, len(unread) - room))

    def known(self, unit: Job) -> Sequence[AttemptRecord]:
        """The records of a unit that have already been read."""
        return self._found.get((unit.id, _ended_attempts(unit)), ())

    def of_unit(self, unit: Job) -> list[AttemptRecord]:
        """One unit's current records. Raises the store's errors."""
        store = self._stores.get(unit.parent_id)
        if store is None:
            store = self._stores[unit.parent_id] = artifact_store.store_of(unit, stack=self.stack)
        return records.of_unit(store, artifact_store.run_id(unit), run_index(unit))

    def inputs_of(self, units: Sequence[Job]) -> Mapping[str, str]:
        """The names of the units' inputs by unit id; empty if the run's list cannot be read."""
        try:
            named = {unit.id: self.input_of(unit) for unit in units}
        except SpotbatchError:
            return {}
        return {unit_id: name for unit_id, name in named.items() if name}

    def input_of(self, unit: Job) -> str:
        """The name of a unit's input; "" if it has none. Raises the store's errors."""
        if unit.parent_id not in self._names:
            self._names[unit.parent_id] = input_names(unit)
        return self._names[unit.parent_id].of(run_index(unit))


def _ended_attempts(unit: Job) -> int:
    return sum(attempt.stopped_at is not None for attempt in unit.attempts)
