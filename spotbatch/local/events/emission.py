"""Turns the engine's changes into the events that AWS would send: read from the region when they are needed.

An event's detail is rendered later than the change that it describes, so that nothing waits for it. Anything after
the change is removed again: later attempts, and how the attempt of that moment ended.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.status import JobStatus
from spotbatch.local.api import describe_jobs, ecs
from spotbatch.local.api.region import Region
from spotbatch.local.changes import AttemptChange, AttemptState, Change, HostChange, HostState, JobChange, QueueBlocked
from spotbatch.local.contract import AttemptView, UnitView
from spotbatch.local.events import shapes
from spotbatch.local.events.shapes import Event, Kind
from spotbatch.local.host_view import HostView

# EC2 user guide, "Monitor instance state changes": the instance states for each of the engine's terms.
_INSTANCE_STATES: Final = {
    HostState.LAUNCHED: ("pending",),
    HostState.STARTED: ("running",),
    HostState.ENDED: ("shutting-down", "terminated"),
}
_MOST_ENDED: Final = 1024
MayTake = Callable[[str, Mapping[str, Any]], bool]
_REGISTERED: Final = (HostState.STARTED, HostState.DRAINING, HostState.ENDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What is kept between events."""

    ended: dict[str, UnitView] = field(default_factory=dict)  # views of jobs that no longer change
    recommended: set[str] = field(default_factory=set)  # instances that have had their rebalance recommendation


def kinds_of(change: Change) -> tuple[Kind, ...]:
    """The kinds of events that a change produces, determined without reading the region."""
    if isinstance(change, JobChange):
        return (shapes.JOB_STATE,)
    if isinstance(change, AttemptChange):
        return (shapes.TASK_STATE,)
    if isinstance(change, QueueBlocked):
        return (shapes.QUEUE_BLOCKED,)
    found: tuple[Kind, ...] = (shapes.INSTANCE_STATE,) if change.state in _INSTANCE_STATES else ()
    if change.state is HostState.NOTICED:
        found += (shapes.SPOT_WARNING, shapes.REBALANCE)
    return (*found, shapes.CONTAINER_INSTANCE_STATE) if change.state in _REGISTERED else found


def count_of(change: Change) -> int:
    """About how many events a change produces, determined without reading the region."""
    return len(change.children) if isinstance(change, JobChange) and change.children is not None else 1


def events_of(
    region: Region, change: Change, wanted: frozenset[Kind], memory: Memory, may_take: MayTake
) -> Iterator[Event]:
    """The events of the wanted kinds for a change. There are none for a job that has been deleted by now.

    A job's event is rendered only if `may_take` accepts its status and its constant members.
    """
    if isinstance(change, JobChange):
        yield from _job_states(region, change, memory.ended, may_take)
    elif isinstance(change, QueueBlocked):
        yield from _blocked(region, change)
    elif isinstance(change, AttemptChange):
        yield from _task(region, change)
    else:
        yield from _host(region, change, wanted, memory)


def _units(change: JobChange) -> Iterator[str]:
    if change.children is None:
        yield change.job_id
    else:
        yield from (f"{change.job_id}:{index}" for index in change.children)


def _event(region: Region, kind: Kind, detail: Any, at: float, resources: Sequence[str]) -> Event:
    names = region.names
    return shapes.envelope(kind, detail, at=at, account_id=names.account_id, region=names.region, resources=resources)


# ---- AWS Batch ----


def _job_states(region: Region, change: JobChange, ended: dict[str, UnitView], may_take: MayTake) -> Iterator[Event]:
    try:
        fixed = describe_jobs.fixed_of(region, change.job_id)
        if not may_take(change.status.value, fixed.members):
            return
        for job_id in _units(change):
            view = as_of(_view(region, job_id, ended), change.status, change.status_reason, change.at)
            detail = describe_jobs.members_of(region, job_id, view, fixed)
            yield _event(region, shapes.JOB_STATE, detail, change.at, [detail["jobArn"]])
    except NotFound:
        return


def _view(region: Region, job_id: str, ended: dict[str, UnitView]) -> UnitView:
    """A job's view: an ended job's is read once for all its events. Raises NotFound."""
    found = ended.get(job_id)
    if found is None:
        found = region.engine.view(job_id)
        if found.status.is_terminal:
            ended[job_id] = found
            if len(ended) > _MOST_ENDED:
                del ended[next(iter(ended))]
    return found


def _blocked(region: Region, change: QueueBlocked) -> Iterator[Event]:
    try:
        view = replace(region.engine.view(change.job_id), status_reason=change.status_reason)
        fixed = describe_jobs.fixed_of(region, change.job_id)
        detail = describe_jobs.members_of(region, change.job_id, view, fixed)
    except NotFound:
        return
    resources = [detail["jobArn"], region.names.arn("job-queue", change.queue)]
    yield _event(region, shapes.QUEUE_BLOCKED, detail, change.at, resources)


def as_of(view: UnitView, status: JobStatus, reason: str, at: float) -> UnitView:
    """A job as it was when it entered a status, derived from its later state."""
    ended = [one for one in view.attempts if one.stopped_at is not None and one.stopped_at <= at]
    attempts = list(ended)
    if status in (JobStatus.STARTING, JobStatus.RUNNING) and len(view.attempts) > len(ended):
        attempts.append(_open(view.attempts[len(ended)], is_running=status is JobStatus.RUNNING))
    is_past_start = status is JobStatus.RUNNING or status.is_terminal
    return replace(
        view,
        status=status,
        status_reason=reason,
        attempts=attempts,
        started_at=(attempts[-1].started_at if attempts else view.started_at) if is_past_start else None,
        stopped_at=view.stopped_at if status.is_terminal else None,
    )


def _open(attempt: AttemptView, *, is_running: bool) -> AttemptView:
    started = attempt.started_at if is_running else None
    return replace(attempt, started_at=started, stopped_at=None, exit_code=None, reason="", status_reason="")


# ---- EC2 and ECS ----


def _host(region: Region, change: HostChange, wanted: frozenset[Kind], memory: Memory) -> Iterator[Event]:
    host, at, names = change.host, change.at, region.names
    if host.is_fargate:
        return  # neither EC2 nor ECS has an instance: only its task is heard of
    if change.state is HostState.NOTICED and shapes.REBALANCE in wanted:
        # EC2 user guide, "Rebalance recommendations": it arrives no later than the notice.
        yield from rebalance(region, [host.instance_id], at, memory)
    own = shapes.instance_resource(names.region, names.account_id, host.instance_id)
    if change.state is HostState.NOTICED and shapes.SPOT_WARNING in wanted:
        detail = {"instance-id": host.instance_id, "instance-action": "terminate"}
        yield _event(region, shapes.SPOT_WARNING, detail, at, [shapes.spot_resource(host.zone, host.instance_id)])
    if shapes.INSTANCE_STATE in wanted:
        for state in _INSTANCE_STATES.get(change.state, ()):
            yield _event(region, shapes.INSTANCE_STATE, {"instance-id": host.instance_id, "state": state}, at, [own])
    if change.state in _REGISTERED and host.started_at is not None and shapes.CONTAINER_INSTANCE_STATE in wanted:
        yield _container_instance(region, host, change.state, at)


def rebalance(region: Region, instance_ids: Sequence[str], at: float, memory: Memory) -> Iterator[Event]:
    """Rebalance recommendations for the instances that have not had one."""
    names = region.names
    for one in instance_ids:
        if one not in memory.recommended:
            memory.recommended.add(one)
            resource = shapes.instance_resource(names.region, names.account_id, one)
            yield _event(region, shapes.REBALANCE, {"instance-id": one}, at, [resource])


def _container_instance(region: Region, host: HostView, state: HostState, at: float) -> Event:
    version = _REGISTERED.index(state) + 1
    detail = shapes.container_instance_detail(
        ecs.instance_document(region, host),
        cluster=region.names.ecs_arn("cluster", ecs.cluster_of(region, host.environment)),
        version=version,
        at=at,
    )
    return _event(region, shapes.CONTAINER_INSTANCE_STATE, detail, at, [detail["containerInstanceArn"]])


def _task(region: Region, change: AttemptChange) -> Iterator[Event]:
    try:
        view = region.engine.view(change.job_id)
    except NotFound:
        return
    if not 1 <= change.attempt <= len(view.attempts):
        return
    attempt = view.attempts[change.attempt - 1]
    if change.state is not AttemptState.STOPPED:
        attempt = _open(attempt, is_running=change.state is AttemptState.RUNNING)
    states = (AttemptState.PENDING, AttemptState.RUNNING, AttemptState.STOPPED)
    task = ecs.task_document(region, change.job_id, view, attempt)
    detail = shapes.task_detail(task, version=states.index(change.state) + 1, at=change.at)
    yield _event(region, shapes.TASK_STATE, detail, change.at, [detail["taskArn"]])
