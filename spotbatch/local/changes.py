"""What an engine hands on to its observers: what happened to jobs, attempts, hosts and queues, commit by commit.

The seam for whatever follows the region's life (events, rules, alarms). An observer is named in
`EngineSettings.observers` before the engine opens, so that it hears of attempts that were lost with an earlier run of
the region too. It is called in the engine's event loop, once for each commit of the journal, with what that commit made
true, in the order in which it happened: never with what a kill could undo. It must not wait; what it raises goes to the
loop's log and stops nothing. A kill between the commit and the call loses the call: who needs more compares with the
engine's views at its start. What `Engine.view` answers at the call may be later than the change.

Without observers, or while `EngineSettings.is_observed` says that none wants anything, nothing is recorded, and nothing
costs. Of an attempt that was placed meanwhile the instance is not told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from spotbatch.batch.placement import BlockedReason
from spotbatch.batch.status import JobStatus

if TYPE_CHECKING:
    from spotbatch.local.contract import HostView


@dataclass(frozen=True, kw_only=True, slots=True)
class JobChange:
    """A job, an array's parent or children of an array came to a status. Times are UTC epoch seconds.

    An array of 10,000 is submitted with a few of these, not with 10,000: `children` says which of them it is about.
    """

    at: float
    job_id: str  # the whole job's, for children too
    children: range | None  # None: the job itself
    status: JobStatus
    status_reason: str = ""


class AttemptState(StrEnum):
    """Where an attempt stands, in the words of an ECS task's `lastStatus`."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptChange:
    """An attempt, which is an ECS task, was placed on a host, runs, or is over."""

    at: float
    job_id: str  # with `:index` for the child of an array
    attempt: int
    task_id: str  # the last part of its task's ARN, and of its log stream's name
    instance_id: str
    state: AttemptState
    exit_code: int | None = None  # of one that is over, unless it was lost with its host or never started
    reason: str = ""  # of its container
    status_reason: str = ""


class HostState(StrEnum):
    """What happened to a host."""

    LAUNCHED = "LAUNCHED"  # EC2: pending
    STARTED = "STARTED"  # EC2: running; its agent has registered it
    NOTICED = "NOTICED"  # the interruption warning
    DRAINING = "DRAINING"  # its agent takes no new tasks
    ENDED = "ENDED"  # EC2: terminated; `host.end_cause` says why
    NEVER_CAME = "NEVER_CAME"  # there was no capacity: EC2 launched nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class HostChange:
    """Something happened to a host; `host` is as it was right after."""

    at: float
    host: "HostView"
    state: HostState


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueBlocked:
    """The head of a queue can never start as things are. Told once for each head and reason."""

    at: float
    queue: str
    job_id: str  # with `:index` for the child of an array
    reason: BlockedReason


Change = JobChange | AttemptChange | HostChange | QueueBlocked
Observer = Callable[[Sequence[Change]], None]
