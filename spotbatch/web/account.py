"""The bill of a page's jobs: the same as from `spotbatch cost`, and how much of it is known."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.pricing.completeness import Completeness
from spotbatch.pricing.report import CostReport
from spotbatch.runs.bill import bill_of
from spotbatch.web.unit_records import UnitRecords

_FAILED_NAMED: Final = 50
_ALL_NAMED_UP_TO: Final = 10_000  # units: a thousand names are one object in the store


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The cost of some jobs, their hosts and attempts, and what is not known about them."""

    report: CostReport
    at: float  # as of this time, UTC epoch seconds
    unread: int = 0  # units whose attempts are not included yet
    is_over: bool = True  # whether all of the work has ended, and its records were read
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # what is missing from the sums, which are too low as a result
    inputs: Mapping[str, str] = field(default_factory=dict)  # by unit id; of many units only those that FAILED

    @property
    def completeness(self) -> Completeness:
        """Whether the sums are final, so far, or partial, and why."""
        return Completeness.of(self.report, missing=self.missing, unread=self.unread, is_over=self.is_over)


def account_of(
    units: Sequence[Job], others: Sequence[Job], records: UnitRecords, *, unread: int, is_over: bool
) -> Account:
    """The bill of already described units, with `others` that may have shared their hosts.

    Raises the errors of the price and host queries.
    """
    found = records.of(units)
    made = bill_of(units, found.records, others=others)
    failed = [unit for unit in units if unit.status is JobStatus.FAILED][:_FAILED_NAMED]
    named = units if len(units) <= _ALL_NAMED_UP_TO else failed
    return Account(
        report=made.report,
        at=time.time(),
        unread=unread,
        is_over=is_over and not found.missing,
        notes=(*found.notes, *made.notes),
        missing=made.missing,
        inputs=records.inputs_of(named),
    )
