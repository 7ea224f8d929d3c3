"""How an attempt ended and what its record adds, in words: for the terminal and the dashboard alike."""

from collections.abc import Sequence

from spotbatch import wording
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.environment import EXIT_INTERRUPTED
from spotbatch.batch.job import Attempt
from spotbatch.runs.tracker import is_interruption


def outcome(attempt: Attempt, *, is_stopped: bool = False) -> str:
    """How an attempt ended, in words, with AWS Batch's own. `is_stopped`: somebody stopped the job."""
    if attempt.stopped_at is None:
        return "running"
    own = "; ".join(part for part in (attempt.reason, attempt.status_reason) if part)
    code = "" if attempt.exit_code is None else f"exit code {attempt.exit_code}"
    if is_stopped and attempt.exit_code == EXIT_INTERRUPTED:
        head = "stopped: it saved and left"
    elif is_interruption(attempt):
        head = "interrupted: its host was reclaimed" if attempt.exit_code is None else "interrupted: it saved and left"
    elif attempt.exit_code == 0:
        head = "succeeded"
    else:
        head = "failed"
    return ", ".join(part for part in (head, code) if part) + (f" ({own})" if own else "")


def told_by(record: AttemptRecord | None) -> Sequence[str]:
    """What the runtime's record adds: notice, checkpoints, lost work, memory."""
    if record is None:
        return ()
    lines = []
    if record.noticed_at is not None:
        lead = f", {record.notice_lead_seconds:.0f} s ahead" if record.notice_lead_seconds is not None else ""
        lines.append(f"notice     {wording.moment(record.noticed_at)}{lead}")
    if record.resumed_from:
        took = f" in {record.restore_seconds:.1f} s" if record.restore_seconds is not None else ""
        lines.append(f"resumed    from checkpoint {record.resumed_from}{took}")
    if record.checkpoints_saved:
        size = wording.size(record.checkpoint_bytes)
        lines.append(f"saved      {wording.count(record.checkpoints_saved, 'checkpoint')}, the last {size}")
    if record.work_lost_seconds is not None:
        lines.append(f"lost       {record.work_lost_seconds:.1f} s of work since the last checkpoint")
    if record.peak_memory_mib:
        lines.append(f"used       {record.peak_memory_mib:.0f} MiB at most, {record.cpu_seconds:.1f} s of CPU")
    lines += [f"warning    {warning}" for warning in record.warnings]
    return lines
