"""What the dashboard asks of others: AWS through `Jobs`, and the command line's own answers, handed in as functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Attempt, Job
from spotbatch.pricing.report import CostReport


class Words(Protocol):
    """How times, lengths and numbers are written for people: the same way as on the terminal."""

    def moment(self, at: float | None) -> str: ...

    def clock(self, at: float) -> str: ...

    def duration(self, seconds: float | None) -> str: ...

    def ago(self, at: float | None, now: float) -> str: ...

    def count(self, number: int, noun: str) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The money of some jobs, their hosts and attempts, and what is not known of them."""

    report: CostReport
    at: float  # as of when, UTC epoch seconds
    unread: int = 0  # units of which attempts are not in it yet
    is_over: bool = True  # whether all of the work has ended
    notes: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)  # what the first of the failed units stand for, by id


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause that the doctor names. `weight`: cause, likely or normal."""

    weight: str
    cause: str
    evidence: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the doctor found, and what it could not see."""

    found: tuple[Finding, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What the runtime's records and the run's inputs add to a job. `told`: (label, text) by attempt, from 1."""

    told: Mapping[int, Sequence[tuple[str, str]]] = field(default_factory=dict)
    input: str = ""
    progress: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """All that the dashboard knows comes through here. Any of these may raise an error of our tree."""

    connect: Callable[[], Jobs]  # clients for where the AWS settings point now
    place: Callable[[], str]  # where that is, in words
    queue: str | None  # whose runs are listed; None: those that are named only
    words: Words
    run_id: Callable[[Job], str]
    members: Callable[[Jobs, str], Sequence[str]]  # the ids of a run's jobs
    account: Callable[[Sequence[Job], Sequence[Job]], Account]  # units, and others that may share their hosts
    story: Callable[[Job], Story]
    findings: Callable[[Jobs, Job], Findings]
    outcome: Callable[[Attempt], str]
    is_interruption: Callable[[Attempt], bool]
    redone_units: Callable[[Sequence[Job]], int]  # of a run: FAILED, and run again by a later job of it
    interruptions_of: Callable[[Job], int]  # what somebody stopped saves and leaves alike, and is none


@dataclass(frozen=True, kw_only=True, slots=True)
class Actions:
    """What `--actions` allows. Each says in one sentence what it did."""

    stop: Callable[[Jobs, Job], str]
    again: Callable[[Jobs, Job], str]
