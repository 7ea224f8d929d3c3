"""Why a job FAILED, in words: from its exit code, its reason and its status reason."""

from collections.abc import Iterator
from typing import Final

from spotbatch.batch.job import Job
from spotbatch.batch.status import CANNOT_PULL_PREFIX, OUT_OF_MEMORY_REASON, TIMEOUT_EXCEEDED, JobStatus
from spotbatch.doctor.case import Case, Finding, Weight
from spotbatch.runs.tracker import is_interruption

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
    """The rule for jobs that FAILED."""
    job = case.job
    own = f"{job.reason or job.status_reason}" or "no reason was given"
    code = f"exit code {job.exit_code}: " if job.exit_code is not None else ""
    cause, fix = _in_words(job)
    if job.array is not None:
        failed = job.array.status_summary.get(JobStatus.FAILED, 0)
        cause, fix = f"{failed} of {job.array.size} children FAILED", f"spotbatch logs {job.id} --failed"
    if cause:
        yield Finding(weight=Weight.CAUSE, cause=cause, evidence=f"{code}{own}", fix=fix)


def _in_words(job: Job) -> tuple[str, str]:
    log = f"spotbatch logs {job.id}"
    if job.is_terminated:
        return "somebody stopped it", "submit it again if that was not meant"
    if OUT_OF_MEMORY_REASON in job.reason:
        return "it used more memory than it asked for", "ask for more: --memory; `spotbatch show` has the peak"
    if job.reason.startswith(CANNOT_PULL_PREFIX):
        return "its image could not be pulled", "push it to the registry; check the subnets' route to ECR"
    if TIMEOUT_EXCEEDED in job.status_reason:
        return (
            "an attempt took longer than its timeout",
            "a longer --timeout; checkpoints are kept for `spotbatch retry`",
        )
    if job.attempts and is_interruption(job.attempts[-1]):
        return f"it was interrupted {len(job.attempts)} times, and has no attempts left", f"spotbatch retry {job.id}"
    if not job.attempts and job.depends_on:
        return "", ""  # the dependency's own finding says it
    if job.exit_code in _EXIT_WORDS:
        words, fix = _EXIT_WORDS[job.exit_code]
        return words, f"{fix}; {log}"
    return "the command itself failed", f"{log} shows what it wrote; once that is mended: spotbatch retry {job.id}"
