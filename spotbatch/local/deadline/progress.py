"""How much of a job's work is done, according to the runtime's records in the artifact store. Decides purely."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spotbatch.batch import artifacts as layout

Record = Mapping[str, Any]


def done_seconds(artifacts: Path, run_id: str, work_seconds: float, now: float) -> float:
    """Seconds of the promised work that are done; unsaved work counts while its attempt is running."""
    unit = artifacts / layout.unit_prefix(run_id, None)
    records = [found for file in sorted((unit / "attempts").glob("*.json")) if (found := _read(file))]
    report = _read(artifacts / layout.progress_key(run_id, None))
    return measured(records, report, work_seconds, now)


def measured(records: Iterable[Record], report: Record | None, work_seconds: float, now: float) -> float:
    """Uses the running attempt's own report if there is one, otherwise the time worked and saved."""
    ordered = sorted(records, key=lambda one: float(one["started_at"]))
    running = ordered[-1] if ordered and ordered[-1].get("ended_at") is None else None
    if running is not None and report is not None and report.get("attempt") == running.get("attempt"):
        share = float(report["done"]) / float(report["total"])
        return work_seconds * min(max(share, 0.0), 1.0)
    kept = sum(_kept_seconds(one) for one in ordered if one is not running)
    if running is not None:
        kept += max(0.0, now - float(running["started_at"]) - float(running.get("restore_seconds") or 0.0))
    return min(kept, work_seconds)


def _kept_seconds(record: Record) -> float:
    """What an ended attempt added to the newest checkpoint; nothing if it saved none."""
    if not record.get("checkpoints_saved") or record.get("last_saved_at") is None:
        return 0.0
    worked = float(record["last_saved_at"]) - float(record["started_at"]) - float(record.get("restore_seconds") or 0.0)
    return max(0.0, worked)


def _read(file: Path) -> dict[str, Any] | None:
    """None if it does not exist yet; the runtime renames complete files into place."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
