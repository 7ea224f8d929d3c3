"""The schema of the record of one attempt. The runtime writes it; everything else reads it through this type.

A JSON object at `batch.artifacts.attempt_record`. The runtime rewrites it while the attempt runs, so the record of an
attempt that was killed shows its state shortly before: its outcome is still "running".

Anyone who can write to the store can write here, and a later version may add fields. So reading never fails: a field
unknown to us is ignored, a field of the wrong type takes its default as if it were absent, and a document that is no
attempt record at all is read as None.
"""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum

from spotbatch.batch.light_dataclass import as_dict, dataclass, made_by
from spotbatch.batch.light_json import dumps
from spotbatch.batch.light_types import Any, Final

SCHEMA: Final = 1  # incremented when a field changes its meaning, not when a field is added
MOST_BYTES: Final = 1_000_000  # a record is about one kilobyte
_MOST_TEXT: Final = 2000  # characters in one field
_MOST_WARNINGS: Final = 100
MOST_USAGE: Final = 120  # points: a few kilobytes
_LATEST_SECONDS: Final = 253402300800.0  # the year 10000: a later time is corrupt


class RecordedOutcome(StrEnum):
    """What the runtime recorded as the end of its attempt."""

    RUNNING = "running"  # it was not over when the record was last written
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNHEALTHY = "unhealthy"
    NOT_SAVED = "not_saved"  # the command succeeded, but its outputs could not be stored
    NOT_RESTORED = "not_restored"  # the command was not started: the store did not answer, or a setting is invalid


class InterruptionCause(StrEnum):
    """What first told the runtime to stop."""

    NOTICE = "notice"  # EC2's notice for the host
    SIGTERM = "SIGTERM"  # from AWS Batch (terminate, timeout), the host's shutdown, or a user
    SIGINT = "SIGINT"


@dataclass(kw_only=True)
class AttemptRecord:
    """Times are UTC epoch seconds; None: not known. The runtime fills it in while the attempt runs."""

    schema: int = SCHEMA
    run_id: str = ""
    job_id: str = ""
    array_index: int | None = None
    attempt: int = 0
    instance_type: str = ""
    zone: str = ""
    started_at: float | None = None
    ended_at: float | None = None  # None while it runs, and permanently if it is killed
    outcome: str = RecordedOutcome.RUNNING  # a RecordedOutcome, or a value from a later version
    exit_code: int | None = None  # the runtime's own
    command_exit_code: int | None = None
    interruption_cause: str | None = None  # an InterruptionCause, or a value from a later version
    noticed_at: float | None = None
    notice_lead_seconds: float | None = None  # from the notice to the announced end
    resumed_from: str | None = None  # the checkpoint's name
    restore_seconds: float | None = None
    checkpoints_saved: int = 0
    checkpoints_failed: int = 0
    checkpoint_bytes: int = 0  # of the last one, whole
    checkpoint_uploaded_bytes: int = 0
    checkpoint_seconds: float = 0.0  # spent saving, in total
    restore_estimate_seconds: float | None = None  # for the last checkpoint, at the bandwidth of its saves
    snapshot_bytes: int = 0  # memory and files of the snapshot that was stored, before compression
    snapshot_seconds: float | None = None  # that the command was stopped for its dump
    snapshot_restore_seconds: float | None = None  # of this attempt's start, if it went on from a snapshot
    snapshot_refused: str | None = None  # why there was none, although it was asked for
    last_saved_at: float | None = None
    work_lost_seconds: float | None = None  # from the last saved state to the end, unless it succeeded
    peak_memory_mib: float = 0.0
    memory_limit_mib: float | None = None
    cpu_seconds: float = 0.0
    usage: list[list[float]] = made_by(default_factory=list)  # [seconds since started_at, cores, MiB in use], by time
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    output_files: int = 0
    output_bytes: int = 0
    warnings: list[str] = made_by(default_factory=list)  # disk nearly full, memory near its limit, zombies; each once

    def to_json(self) -> bytes:
        """The document that is stored."""
        return dumps(as_dict(self)).encode()

    @property
    def has_ended(self) -> bool:
        """Whether the runtime itself recorded the end."""
        return self.outcome != RecordedOutcome.RUNNING

    @property
    def was_noticed(self) -> bool:
        """Whether EC2's notice was what told the runtime to stop."""
        return self.interruption_cause == InterruptionCause.NOTICE

    @property
    def lasted_seconds(self) -> float | None:
        """From the start to the end, or to the last save if the end is not known; None if neither is known."""
        stop = self.last_saved_at if self.ended_at is None else self.ended_at
        return None if self.started_at is None or stop is None else max(0.0, stop - self.started_at)


def read_record(document: bytes | str) -> AttemptRecord | None:
    """A record from its JSON text; None if it is not a record."""
    if len(document) > MOST_BYTES:
        return None
    import json  # 2 ms, which a runtime that only writes need not pay

    try:
        found: object = json.loads(document)
    except (ValueError, RecursionError):
        return None
    return record_of(found)


def record_of(found: object) -> AttemptRecord | None:
    """A record from decoded JSON; None if it is not a record."""
    if not isinstance(found, Mapping):
        return None
    known = {name: value for name, read in _READERS.items() if (value := read(found.get(name))) is not None}
    if "started_at" not in known and "outcome" not in known:
        return None  # some other document
    return AttemptRecord(**known)


def _text(value: object) -> str | None:
    return value[:_MOST_TEXT] if isinstance(value, str) else None


def _count(value: object) -> int | None:
    """A non-negative whole number, as all counts, sizes and indexes are."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        return None
    return value


def _code(value: object) -> int | None:
    """An exit code; negative ones are signals, as in Python."""
    if isinstance(value, bool) or not isinstance(value, int) or not -1024 < value < 1 << 32:
        return None
    return value


def _measure(value: object) -> float | None:
    """A time, a duration or a size: finite, and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _moment(value: object) -> float | None:
    number = _measure(value)
    return number if number is not None and number < _LATEST_SECONDS else None


def _texts(value: object) -> list[str] | None:
    if not isinstance(value, list):
        return None
    return [text for each in value[:_MOST_WARNINGS] if (text := _text(each)) is not None]


def _usage(value: object) -> list[list[float]] | None:
    """Points in the order of time; damaged ones are left out."""
    if not isinstance(value, list):
        return None
    found: list[list[float]] = []
    for each in value[:MOST_USAGE]:
        point = [_measure(number) for number in each] if isinstance(each, list) and len(each) == 3 else []
        known = [number for number in point if number is not None]
        if len(known) == 3 and (not found or known[0] > found[-1][0]):
            found.append(known)
    return found


_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "schema": _count,
    "run_id": _text,
    "job_id": _text,
    "array_index": _count,
    "attempt": _count,
    "instance_type": _text,
    "zone": _text,
    "started_at": _moment,
    "ended_at": _moment,
    "outcome": _text,
    "exit_code": _code,
    "command_exit_code": _code,
    "interruption_cause": _text,
    "noticed_at": _moment,
    "notice_lead_seconds": _measure,
    "resumed_from": _text,
    "restore_seconds": _measure,
    "checkpoints_saved": _count,
    "checkpoints_failed": _count,
    "checkpoint_bytes": _count,
    "checkpoint_uploaded_bytes": _count,
    "checkpoint_seconds": _measure,
    "restore_estimate_seconds": _measure,
    "snapshot_bytes": _count,
    "snapshot_seconds": _measure,
    "snapshot_restore_seconds": _measure,
    "snapshot_refused": _text,
    "last_saved_at": _moment,
    "work_lost_seconds": _measure,
    "peak_memory_mib": _measure,
    "memory_limit_mib": _measure,
    "cpu_seconds": _measure,
    "usage": _usage,
    "uploaded_bytes": _count,
    "downloaded_bytes": _count,
    "output_files": _count,
    "output_bytes": _count,
    "warnings": _texts,
}
