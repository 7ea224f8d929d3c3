"""What an engine passes to its observers: what happened to jobs, attempts, hosts and queues, commit by commit.

The interface for everything that follows the region's life (events, rules, alarms). An observer is registered in
`EngineSettings.observers` before the engine opens, so that it also hears of attempts that were lost with an earlier
run of the region. It is called in the engine's event loop, once per commit of the journal, with what that commit made
true, in the order in which it happened: never with what a kill could undo. It must not block; its exceptions go to the
loop's log and stop nothing. A kill between the commit and the call loses the call: an observer that needs more compares
with the engine's views at its start. What `Engine.view` returns during the call may be newer than the change.

Without observers, or while `EngineSettings.is_observed` reports that none wants anything, nothing is recorded, at no
cost. For an attempt placed during that time the instance is not reported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from spotbatch.batch.placement import BlockedReason
from spotbatch.batch.status import JobStatus

if TYPE_CHECKING:
    from spotbatch.local.host_view import HostView


@dataclass(frozen=True, kw_only=True, slots=True)
class JobChange:
    """A job, an array's parent or children of an array entered a status. Times are UTC epoch seconds.

    Submitting an array of 10,000 takes only a few of these, not 10,000: `children` says which children are meant.
    """

    at: float
    job_id: str  # the whole job's, even for children
    children: range | None  # None: the job itself
    status: JobStatus
    status_reason: str = ""


class AttemptState(StrEnum):
    """The state of an attempt, in terms of an ECS task's `lastStatus`."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptChange:
    """An attempt, which is an ECS task, was placed on a host, runs, or is over."""

    at: float
    job_id: str  # with `:index` for a child of an array
    attempt: int
    task_id: str  # the last part of its task's ARN, and of its log stream's name
    instance_id: str
    state: AttemptState
    exit_code: int | None = None  # of a finished attempt, unless it was lost with its host or never started
    reason: str = ""  # of its container
    status_reason: str = ""


class HostState(StrEnum):
    """What happened to a host."""

    LAUNCHED = "LAUNCHED"  # EC2: pending
    STARTED = "STARTED"  # EC2: running; its agent has registered it
    NOTICED = "NOTICED"  # the interruption warning
    DRAINING = "DRAINING"  # its agent accepts no new tasks
    ENDED = "ENDED"  # EC2: terminated; `host.end_cause` says why
    NEVER_CAME = "NEVER_CAME"  # there was no capacity: EC2 launched nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class HostChange:
    """Something happened to a host; `host` is its state right afterwards."""

    at: float
    host: "HostView"
    state: HostState


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueBlocked:
    """The head of a queue can never start in the current situation. Reported once per head and reason."""

    at: float
    queue: str
    job_id: str  # with `:index` for a child of an array
    reason: BlockedReason
    status_reason: str  # the reason in words


Change = JobChange | AttemptChange | HostChange | QueueBlocked
Observer = Callable[[Sequence[Change]], None]
