"""How an attempt ended and what its record adds, in words, for the terminal and the dashboard."""

from collections.abc import Mapping, Sequence
from typing import Final

from spotbatch import wording
from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.environment import EXIT_INTERRUPTED
from spotbatch.batch.job import Attempt

_IN_WORDS: Final[Mapping[AttemptOutcome, str]] = {
    AttemptOutcome.RUNNING: "running",
    AttemptOutcome.SUCCEEDED: "succeeded",
    AttemptOutcome.FAILED: "failed",
    AttemptOutcome.INTERRUPTED: "interrupted",
    AttemptOutcome.STOPPED: "stopped",
    AttemptOutcome.TIMED_OUT: "stopped by its timeout",
    AttemptOutcome.UNHEALTHY: "failed: its health check gave up",
    AttemptOutcome.OUT_OF_MEMORY: "failed: out of memory",
    AttemptOutcome.NOT_STARTED: "the command was not started",
    AttemptOutcome.NOT_SAVED: "failed: its outputs could not be saved",
    AttemptOutcome.LOST: "lost with its host",
}


def outcome_text(attempt: Attempt, outcome: AttemptOutcome) -> str:
    """How an attempt ended, in words, including AWS Batch's own."""
    if not outcome.is_over:
        return _IN_WORDS[outcome]
    own = "; ".join(part for part in (attempt.reason, attempt.status_reason) if part)
    code = "" if attempt.exit_code is None else f"exit code {attempt.exit_code}"
    head = _IN_WORDS[outcome]
    if attempt.exit_code == EXIT_INTERRUPTED and (outcome.is_stopped or outcome.may_go_on):
        head = f"{head}: it saved and left"
    elif outcome is AttemptOutcome.INTERRUPTED:
        head = f"{head}: its host was reclaimed"
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
    if record.snapshot_restore_seconds is not None:
        lines.append(f"restored   from its snapshot in {record.snapshot_restore_seconds:.1f} s")
    if record.snapshot_bytes and record.snapshot_seconds is not None:
        size = wording.size(record.snapshot_bytes)
        lines.append(f"dumped     {size}, while the command stood still for {record.snapshot_seconds:.1f} s")
    if record.snapshot_refused:
        lines.append(f"snapshot   {record.snapshot_refused}")
    if record.checkpoints_saved:
        size = wording.size(record.checkpoint_bytes)
        lines.append(f"saved      {wording.count(record.checkpoints_saved, 'checkpoint')}, the last {size}")
    if record.restore_estimate_seconds is not None:
        seconds = record.restore_estimate_seconds
        length = f"about {wording.duration(seconds)}" if seconds >= 1 else "less than 1 s"
        lines.append(f"restores   in {length}, at the bandwidth of its saves")
    if record.work_lost_seconds is not None:
        lines.append(f"lost       {record.work_lost_seconds:.1f} s of work since the last checkpoint")
    if record.peak_memory_mib:
        lines.append(f"used       {record.peak_memory_mib:.0f} MiB at most, {record.cpu_seconds:.1f} s of CPU")
    lines += [f"warning    {warning}" for warning in record.warnings]
    return lines
