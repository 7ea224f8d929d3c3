"""The runtime's records of attempts, read back from the artifact store."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from spotbatch.aws.artifacts import Artifacts
from spotbatch.batch import artifacts as layout
from spotbatch.batch.attempt_record import AttemptRecord, read_record
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Attempt, Job

_READERS: Final = 16
_CLOCKS_DIFFER_SECONDS: Final = 2.0  # the host's own, and AWS Batch's


def of_unit(store: Artifacts, run_id: str, array_index: int | None) -> list[AttemptRecord]:
    """The records of one job or child. Damaged records are left out."""
    return list(_read_all(store, f"{layout.unit_prefix(run_id, array_index)}/attempts"))


def of_run(store: Artifacts, run_id: str) -> list[AttemptRecord]:
    """The records of every unit of a run."""
    return list(_read_all(store, layout.run_prefix(run_id)))


def matched(unit: Job, found: Iterable[AttemptRecord]) -> dict[int, AttemptRecord]:
    """A job's attempts (from 1, as AWS Batch counts them) with their records.

    Matched by time: when a unit is retried under the same run id, the runtime keeps counting, AWS Batch starts anew.
    """
    own = sorted((one for one in found if one.job_id in ("", unit.id)), key=lambda one: one.started_at or 0.0)
    pairs = {}
    for number, attempt in enumerate(unit.attempts, start=1):
        record = next((one for one in own if _is_of(one, attempt)), None)
        if record is not None:
            pairs[number] = record
            own.remove(record)  # an attempt that follows immediately has its own record
    return pairs


def _is_of(record: AttemptRecord, attempt: Attempt) -> bool:
    if record.started_at is None or attempt.started_at is None:
        return False
    is_before_end = attempt.stopped_at is None or record.started_at <= attempt.stopped_at
    return attempt.started_at - _CLOCKS_DIFFER_SECONDS <= record.started_at and is_before_end


def _read_all(store: Artifacts, prefix: str) -> Iterator[AttemptRecord]:
    keys = [found.key for found in store.list(prefix) if _is_record(found.key)]
    with ThreadPoolExecutor(max_workers=_READERS) as readers:
        for record in readers.map(lambda key: _read(store, key), keys):
            if record is not None:
                yield record


def _is_record(key: str) -> bool:
    folder, _, name = key.rpartition("/")
    return folder.endswith("/attempts") and name.endswith(".json")


def _read(store: Artifacts, key: str) -> AttemptRecord | None:
    try:
        return read_record(store.read(key))
    except SpotbatchError:
        return None
