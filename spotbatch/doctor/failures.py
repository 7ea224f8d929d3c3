"""Why a job FAILED, in words: from its exit code, its reason, its status reason and the end of its log."""

from collections.abc import Iterator
from typing import Final

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.attempt_outcome import AttemptOutcome, outcome_of, outcomes_of
from spotbatch.batch.job import Job
from spotbatch.batch.status import CANNOT_PULL_PREFIX, CONTAINER_EXITED
from spotbatch.doctor.case import Case, FailureGroup, Finding, Weight
from spotbatch.doctor.log_causes import cause_in, last_line
from spotbatch.runs.units import run_index, run_size
from spotbatch.wording import count

_MOST_GROUPS: Final = 5

_EXIT_WORDS: Final = {
    125: ("spotrun could not begin", "its log says which variable is wrong"),
    126: ("the command cannot be run", "make it executable, and built for this architecture"),
    127: ("the command was not found in the image", "install it in the image, or name its whole path"),
    137: ("it was killed: out of memory, or its time was over", "ask for more --memory; `spotbatch show` has its peak"),
    139: ("it crashed (segmentation fault)", "its log may tell more; try it under `spotbatch rehearse`"),
    143: ("it was told to stop (SIGTERM)", "a timeout, a cancel, or the host's end: see its status reason"),
    212: ("the command succeeded, but its outputs could not be saved", "S3 did not answer; `spotbatch retry` goes on"),
    220: ("the command succeeded, but its outputs can never be saved as they are", "mend what its log names"),
}


def why_failed(case: Case) -> Iterator[Finding]:
    """The rule for jobs that FAILED: one finding per group of similar failures."""
    job = case.job
    total = run_size(case.run or (job,))
    if not job.attempts and job.array is None and job.depends_on:
        return  # the dependency's own finding covers it
    groups = case.failures or (FailureGroup(count=1, example=job, indexes=ArrayIndexes()),)
    for group in groups[:_MOST_GROUPS]:
        cause, fix = _in_words(case, group)
        head = f"{group.count:,} of {total:,} children FAILED: " if job.array is not None or total > 1 else ""
        yield Finding(weight=Weight.CAUSE, cause=f"{head}{cause}", evidence=_evidence(group), fix=fix)
    if len(groups) > _MOST_GROUPS:
        rest = sum(group.count for group in groups[_MOST_GROUPS:])
        yield Finding(
            weight=Weight.CAUSE,
            cause=f"{rest:,} more FAILED in {len(groups) - _MOST_GROUPS} other ways",
            evidence=f"exit codes {', '.join(sorted({_code(group.example) for group in groups[_MOST_GROUPS:]}))}",
            fix=f"spotbatch logs {case.called} --failed",
        )


def _evidence(group: FailureGroup) -> str:
    unit = group.example
    own = unit.reason or unit.status_reason
    parts = [_code(unit), own if own != CONTAINER_EXITED else ""]
    if group.indexes:
        parts.append(f"{'child' if group.count == 1 else 'children'} {group.indexes.shown(most=6)}")
    if group.lines is None:
        parts.append("its log could not be read")
    elif line := last_line(group.lines):
        parts.append(f"{'the last line of one' if group.is_sampled else 'last line'}: {line}")
    return "; ".join(part for part in parts if part) or "no reason was given"


def _code(unit: Job) -> str:
    return f"exit code {unit.exit_code}" if unit.exit_code is not None else "no exit code"


def _in_words(case: Case, group: FailureGroup) -> tuple[str, str]:
    """The cause and the fix; AWS Batch's and the kernel's evidence takes precedence over the log's."""
    unit = group.example
    own = case.unit(unit, _index_of(case, unit))
    log = f"spotbatch logs {own}"
    again = f"then: spotbatch retry {case.called}"
    if unit.is_terminated:
        return "somebody stopped it", "submit it again if that was not meant"
    match _outcome(unit):
        case AttemptOutcome.OUT_OF_MEMORY:
            return (
                "it used more memory than it asked for",
                f"ask for more: --memory; its peak: spotbatch show {own}",
            )
        case AttemptOutcome.TIMED_OUT:
            return "an attempt took longer than its timeout", f"a longer --timeout; checkpoints are kept, {again}"
        case AttemptOutcome.INTERRUPTED | AttemptOutcome.LOST:
            lost = count(len(unit.attempts), "attempt")
            return f"it was interrupted: {lost}, and none is left", f"spotbatch retry {case.called}"
    if unit.reason.startswith(CANNOT_PULL_PREFIX):
        return "its image could not be pulled", "push it to the registry; check the subnets' route to ECR"
    if unit.exit_code in _EXIT_WORDS:
        words, fix = _EXIT_WORDS[unit.exit_code]
        return words, f"{fix}; its log: {log}"
    if found := cause_in(group.lines or ()):
        return found.cause, f"{found.fix}; its log: {log}; {again}"
    return "the command itself failed", f"see what it wrote: {log}; once that is mended, {again}"


def _index_of(case: Case, unit: Job) -> int | None:
    """The run index that a unit stands for: known from a child's job, which has its parent's variables."""
    return run_index(unit) if case.run else unit.array_index


def _outcome(unit: Job) -> AttemptOutcome:
    """The outcome of its last attempt or, if it never had one, by the job's own status reason."""
    if unit.attempts:
        return outcomes_of(unit)[-1]
    if unit.exit_code is None and not unit.status_reason and not unit.reason:
        return AttemptOutcome.FAILED
    return outcome_of(exit_code=unit.exit_code, reason=unit.reason, status_reason=unit.status_reason)
