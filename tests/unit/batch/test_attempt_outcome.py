"""How an attempt ended: the cases that people meet, and what holds for every combination of evidence."""

from itertools import product

import pytest

from spotbatch.batch.attempt_outcome import AttemptOutcome as Outcome
from spotbatch.batch.attempt_outcome import interruptions_of, outcome_of, outcomes_of
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.job import Attempt, Job
from spotbatch.batch.status import (
    CANNOT_PULL_REASON,
    CANNOT_START_REASON,
    CONTAINER_EXITED,
    INSTANCE_DRAINING,
    NOT_STARTED,
    NOT_STARTED_REASONS,
    OUT_OF_MEMORY_REASON,
    TIMEOUT_EXCEEDED,
    JobStatus,
    host_terminated,
)

HOST_GONE = host_terminated("i-0123456789abcdef0")
A_PERSONS = "no longer wanted"


def record(outcome: str, exit_code: int | None, cause: str | None = None) -> AttemptRecord:
    return AttemptRecord(started_at=1.0, outcome=outcome, exit_code=exit_code, interruption_cause=cause)


NOTICED = record("interrupted", 210, "notice")
SIGNALLED = record("interrupted", 210, "SIGTERM")

CASES = {
    "exit 0": ({"exit_code": 0, "status_reason": CONTAINER_EXITED}, Outcome.SUCCEEDED),
    "exit 0 after it was stopped: AWS Batch has the job FAILED": (
        {"exit_code": 0, "status_reason": A_PERSONS, "is_stopped": True},
        Outcome.STOPPED,
    ),
    "the command's own failure": ({"exit_code": 1, "status_reason": CONTAINER_EXITED}, Outcome.FAILED),
    "a reclaimed host": ({"status_reason": HOST_GONE}, Outcome.INTERRUPTED),
    "a reclaimed host whose container still said its code": (
        {"exit_code": 137, "status_reason": HOST_GONE},
        Outcome.INTERRUPTED,
    ),
    "a lost on-demand host": ({"status_reason": HOST_GONE, "is_spot": False}, Outcome.LOST),
    "an attempt that Spot took of a job that somebody cancelled later": (
        {"status_reason": HOST_GONE, "is_stopped": True},
        Outcome.INTERRUPTED,
    ),
    "spotrun left, nothing recorded": ({"exit_code": 210, "status_reason": CONTAINER_EXITED}, Outcome.INTERRUPTED),
    "spotrun left after a notice": ({"exit_code": 210, "record": NOTICED}, Outcome.INTERRUPTED),
    "spotrun left after a notice, and the job was cancelled then": (
        {"exit_code": 210, "is_stopped": True, "record": NOTICED},
        Outcome.INTERRUPTED,
    ),
    "spotrun was terminated, nothing recorded": ({"exit_code": 210, "is_stopped": True}, Outcome.STOPPED),
    "spotrun was terminated, as AWS Batch words it": (
        {"exit_code": 210, "is_stopped": True, "status_reason": CONTAINER_EXITED, "record": SIGNALLED},
        Outcome.STOPPED,
    ),
    "spotrun timed out": (
        {"exit_code": 210, "status_reason": TIMEOUT_EXCEEDED, "record": SIGNALLED},
        Outcome.TIMED_OUT,
    ),
    "timed out and killed": ({"exit_code": 137, "status_reason": TIMEOUT_EXCEEDED}, Outcome.TIMED_OUT),
    "timed out, no code": ({"status_reason": TIMEOUT_EXCEEDED}, Outcome.TIMED_OUT),
    "timed out, and left with 0": ({"exit_code": 0, "status_reason": TIMEOUT_EXCEEDED}, Outcome.TIMED_OUT),
    "SIGTERM that nobody asked for": ({"exit_code": 210, "record": SIGNALLED}, Outcome.LOST),
    "an on-demand host shut down": ({"exit_code": 210, "is_spot": False}, Outcome.LOST),
    "killed while it saved after a notice": (
        {"exit_code": 137, "record": record("running", None, "notice")},
        Outcome.INTERRUPTED,
    ),
    "killed by the kernel after a notice": (
        {"exit_code": 137, "reason": OUT_OF_MEMORY_REASON, "record": record("running", None, "notice")},
        Outcome.OUT_OF_MEMORY,
    ),
    "out of memory": ({"exit_code": 137, "reason": OUT_OF_MEMORY_REASON}, Outcome.OUT_OF_MEMORY),
    "one process of it was out of memory": (
        {"exit_code": 1, "reason": OUT_OF_MEMORY_REASON, "record": record("failed", 1)},
        Outcome.OUT_OF_MEMORY,
    ),
    "137 alone is nobody's": ({"exit_code": 137, "status_reason": CONTAINER_EXITED}, Outcome.FAILED),
    "killed thirty seconds after it was terminated": ({"exit_code": 137, "is_stopped": True}, Outcome.STOPPED),
    "unhealthy": ({"exit_code": 211}, Outcome.UNHEALTHY),
    "unhealthy, given up": ({"exit_code": 1, "record": record("unhealthy", 1)}, Outcome.UNHEALTHY),
    "outputs that can never be saved": ({"exit_code": 220}, Outcome.NOT_SAVED),
    "its host was drained": ({"exit_code": 143, "status_reason": INSTANCE_DRAINING}, Outcome.LOST),
    "its host was drained, and a notice had come": (
        {"exit_code": 210, "status_reason": INSTANCE_DRAINING, "record": NOTICED},
        Outcome.INTERRUPTED,
    ),
    "outputs not saved": ({"exit_code": 212, "record": record("not_saved", 212)}, Outcome.NOT_SAVED),
    "the store did not answer at the start": (
        {"exit_code": 210, "record": record("not_restored", 210)},
        Outcome.NOT_STARTED,
    ),
    "a wrong setting": ({"exit_code": 125, "record": record("not_restored", 125)}, Outcome.NOT_STARTED),
    "terminated while it restored": (
        {"exit_code": 210, "is_stopped": True, "record": record("not_restored", 210)},
        Outcome.STOPPED,
    ),
    "an image that is not there": (
        {"reason": f"{CANNOT_PULL_REASON} not found", "status_reason": NOT_STARTED},
        Outcome.NOT_STARTED,
    ),
    "a command that is not there": (
        {"reason": f"{CANNOT_START_REASON} no such file", "status_reason": CONTAINER_EXITED},
        Outcome.NOT_STARTED,
    ),
    "the agent": ({"reason": "AGENT", "status_reason": NOT_STARTED}, Outcome.NOT_STARTED),
    "no code, no reason": ({}, Outcome.LOST),
    "no code, stopped": ({"is_stopped": True, "status_reason": A_PERSONS}, Outcome.STOPPED),
    "a person's reason that begins as AWS's": (
        {"exit_code": 210, "is_stopped": True, "status_reason": "Host EC2 is too slow"},
        Outcome.STOPPED,
    ),
    "a record of another attempt": ({"exit_code": 1, "record": NOTICED}, Outcome.FAILED),
    "a record of a later version": ({"exit_code": 210, "record": record("hibernated", 210)}, Outcome.INTERRUPTED),
    "it runs": ({"is_running": True}, Outcome.RUNNING),
    "it runs, and is told to stop": ({"is_running": True, "is_stopped": True}, Outcome.RUNNING),
}


@pytest.mark.parametrize(("evidence", "outcome"), CASES.values(), ids=CASES)
def test_the_evidence_decides(evidence: dict[str, object], outcome: Outcome) -> None:
    assert outcome_of(**evidence) is outcome  # type: ignore[arg-type]  # keyword arguments by name


@pytest.mark.parametrize(
    "name", [*(f"{each}: why" for each in NOT_STARTED_REASONS), "CannotPullECRContainerError: why"]
)
def test_every_error_by_which_ecs_does_not_start_a_container_is_known(name: str) -> None:
    assert outcome_of(reason=name) is Outcome.NOT_STARTED


GROUPS = {Outcome.SUCCEEDED, Outcome.INTERRUPTED, Outcome.STOPPED, Outcome.FAILED}
CODES = (None, 0, 1, 125, 137, 143, 210, 211, 212)
REASONS = ("", OUT_OF_MEMORY_REASON, f"{CANNOT_PULL_REASON} x", f"{CANNOT_START_REASON} x", "DockerTimeoutError: x")
STATUS_REASONS = ("", CONTAINER_EXITED, NOT_STARTED, TIMEOUT_EXCEEDED, HOST_GONE, A_PERSONS)
CAUSES = (None, "notice", "SIGTERM", "SIGINT", "aliens")
ENDS = ("running", "succeeded", "failed", "interrupted", "unhealthy", "not_saved", "not_restored", "hibernated")
FLAGS = (False, True)


def all_evidence() -> list[dict[str, object]]:
    records = [None, *(record(end, None if end == "running" else 210, cause) for end in ENDS for cause in CAUSES)]
    names = ("exit_code", "reason", "status_reason", "is_stopped", "is_spot", "record", "is_running")
    combinations = product(CODES, REASONS, STATUS_REASONS, FLAGS, FLAGS, records, FLAGS)
    return [dict(zip(names, values, strict=True)) for values in combinations]


def test_what_holds_for_every_combination_of_evidence() -> None:
    seen = set()
    for evidence in all_evidence():
        outcome = outcome_of(**evidence)  # type: ignore[arg-type]
        seen.add(outcome)
        noted, status_reason = evidence["record"], str(evidence["status_reason"])
        was_noticed = isinstance(noted, AttemptRecord) and noted.was_noticed
        assert (outcome is Outcome.RUNNING) == evidence["is_running"], evidence
        if not outcome.is_over:
            continue
        if outcome.is_waivable:
            assert evidence["is_spot"], evidence
            assert status_reason != TIMEOUT_EXCEEDED, evidence
            assert not evidence["is_stopped"] or was_noticed or status_reason == HOST_GONE, evidence
            assert evidence["exit_code"] not in (0, 1, 125, 211, 212) or status_reason == HOST_GONE, evidence
        if outcome is Outcome.SUCCEEDED:
            assert evidence["exit_code"] == 0, evidence
            assert not evidence["is_stopped"], evidence
        if outcome is Outcome.TIMED_OUT:
            assert status_reason == TIMEOUT_EXCEEDED, evidence
        if outcome is Outcome.STOPPED:
            assert evidence["is_stopped"], evidence
        assert outcome.is_failure + outcome.is_stopped + outcome.may_go_on + (outcome is Outcome.SUCCEEDED) == 1
        assert outcome.group in GROUPS
    assert seen == set(Outcome), "the table reaches every outcome"


def job(*attempts: Attempt, status: JobStatus = JobStatus.FAILED, **more: object) -> Job:
    return Job(id="j", name="n", queue="q", definition="d:1", status=status, attempts=attempts, **more)  # type: ignore[arg-type]


TAKEN = Attempt(started_at=1.0, stopped_at=2.0, status_reason=HOST_GONE)
LEFT = Attempt(started_at=3.0, stopped_at=4.0, exit_code=210, status_reason=CONTAINER_EXITED)


def test_stopping_a_job_concerns_its_last_attempt_only() -> None:
    stopped = job(LEFT, TAKEN, LEFT, is_terminated=True, stopped_at=4.0)
    assert outcomes_of(stopped) == (Outcome.INTERRUPTED, Outcome.INTERRUPTED, Outcome.STOPPED)
    assert interruptions_of(stopped) == 2


def test_a_job_that_was_cancelled_while_it_waited_for_its_next_attempt_was_interrupted_before() -> None:
    assert outcomes_of(job(LEFT, is_terminated=True, stopped_at=60.0)) == (Outcome.INTERRUPTED,)
    assert outcomes_of(job(LEFT, is_terminated=True, stopped_at=4.001)) == (Outcome.STOPPED,)
    assert outcomes_of(job(LEFT, is_terminated=True)) == (Outcome.STOPPED,)
    assert outcomes_of(job(LEFT, is_terminated=True, stopped_at=4.5), {1: NOTICED}) == (Outcome.INTERRUPTED,)


def test_a_job_that_succeeded_before_it_could_be_stopped_was_not_stopped() -> None:
    done = Attempt(started_at=3.0, stopped_at=4.0, exit_code=0)
    assert outcomes_of(job(done, status=JobStatus.SUCCEEDED, is_terminated=True)) == (Outcome.SUCCEEDED,)


def test_an_attempt_without_an_end_runs() -> None:
    running = job(TAKEN, Attempt(started_at=5.0), status=JobStatus.RUNNING, is_terminated=True)
    assert outcomes_of(running) == (Outcome.INTERRUPTED, Outcome.RUNNING)
