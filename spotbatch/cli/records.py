"""The runtime's records of attempts, read back from the artifact store."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Final

from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Attempt, Job

_READERS: Final = 16
_CLOCKS_DIFFER_SECONDS: Final = 2.0  # the host's own, and AWS Batch's


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """What the runtime wrote about one attempt; docs/runtime.md tells of each. A field it left out has its default."""

    attempt: int = 0
    job_id: str = ""
    array_index: int | None = None
    instance_type: str = ""
    zone: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""
    exit_code: int | None = None
    command_exit_code: int | None = None
    interruption_cause: str | None = None
    noticed_at: float | None = None
    notice_lead_seconds: float | None = None
    resumed_from: str | None = None
    restore_seconds: float | None = None
    checkpoints_saved: int = 0
    checkpoints_failed: int = 0
    checkpoint_bytes: int = 0
    checkpoint_uploaded_bytes: int = 0
    checkpoint_seconds: float = 0.0
    last_saved_at: float | None = None
    work_lost_seconds: float | None = None
    peak_memory_mib: float = 0.0
    memory_limit_mib: float | None = None
    cpu_seconds: float = 0.0
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    output_files: int = 0
    output_bytes: int = 0
    warnings: tuple[str, ...] = ()


_NAMES: Final = frozenset(each.name for each in fields(AttemptRecord))


def of_unit(store: Artifacts, run_id: str, array_index: int | None) -> list[AttemptRecord]:
    """The records of one job or child. A record that is damaged is left out."""
    return list(_read_all(store, f"{layout.unit_prefix(run_id, array_index)}/attempts"))


def of_run(store: Artifacts, run_id: str) -> list[AttemptRecord]:
    """The records of every unit of a run."""
    return list(_read_all(store, layout.run_prefix(run_id)))


def matched(unit: Job, found: Iterable[AttemptRecord]) -> dict[int, AttemptRecord]:
    """A job's attempts (from 1, as AWS Batch counts them) with their records.

    Matched by time: the runtime counts on when a unit is run again under the same run id, AWS Batch begins anew.
    """
    own = sorted((one for one in found if one.job_id in ("", unit.id)), key=lambda one: one.started_at or 0.0)
    pairs = {}
    for number, attempt in enumerate(unit.attempts, start=1):
        record = next((one for one in own if _is_of(one, attempt)), None)
        if record is not None:
            pairs[number] = record
            own.remove(record)  # an attempt that follows at once has a record of its own
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
        found: Any = read_json(store, key)
    except SpotbatchError:
        return None
    return record_of(found) if isinstance(found, dict) else None


def record_of(found: Mapping[str, Any]) -> AttemptRecord:
    """A record from its JSON; what is unknown to us is left out, and null where we have a number counts as not said."""
    known = {name: value for name, value in found.items() if name in _NAMES and value is not None}
    known["warnings"] = tuple(known.get("warnings", ()))
    return AttemptRecord(**known)
