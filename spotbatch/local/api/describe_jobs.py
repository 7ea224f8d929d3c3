"""DescribeJobs: the constant part of a job is rendered to bytes once, and the changing part is added to it."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from spotbatch.batch.errors import NotFound
from spotbatch.batch.status import STATUSES, JobStatus
from spotbatch.local.api import ecs, multinode
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import is_job_id
from spotbatch.local.api.region import JOB_TAGS, Answer, Document, Fixed, Region, Rendered
from spotbatch.local.contract import AttemptView, UnitView
from spotbatch.local.host_view import is_fargate

_MAX_IDS: Final = 100
_OF_THE_TASK: Final = ("containerInstanceArn", "taskArn")
_CACHED: Final = 4096  # of each kind; a rendered job is about 1 kB
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)  # json.dumps would create one per call

Value = TypeVar("Value")


async def describe_jobs(region: Region, asked: Document) -> bytes:
    """DescribeJobs, as the bytes of its response. Unknown ids are left out."""
    ids = asked["jobs"]
    if len(ids) > _MAX_IDS:
        raise ClientException(f"jobs holds up to {_MAX_IDS} job ids, not {len(ids)}")
    region.follow_forgotten()
    known = (_job_or_node(region, job_id) for job_id in dict.fromkeys(ids))
    found = [one for one in known if one is not None]
    return b'{"jobs":[' + b",".join(found) + b"]}"


def _job_or_node(region: Region, asked_id: str) -> bytes | None:
    job_id = multinode.job_of_node(asked_id) if "#" in asked_id else asked_id
    found = _job(region, job_id) if job_id is not None and is_job_id(job_id) else None
    if found is None or job_id is None or job_id == asked_id:
        return found
    is_there = multinode.is_multinode(dict(region.engine.described(job_id)))
    return multinode.node_of(region, found, asked_id) if is_there else None


def _job(region: Region, job_id: str) -> bytes | None:
    """One job as JSON. While nothing changes, and after it has ended, its last response is reused."""
    last = region.answers.get(job_id)
    if last is not None and last.view.status.is_terminal:
        return last.json
    try:
        if last is not None and region.engine.still_holds(job_id, last.view):
            return last.json
        view = region.engine.view(job_id)
        answer = render(region, job_id, view)
    except NotFound:
        return None
    _remember(region.answers, job_id, Answer(view=view, json=answer))
    return answer


def fixed_of(region: Region, job_id: str) -> Fixed:
    """The constant part of a job, for several calls of `members_of`. Raises NotFound."""
    parent = job_id.partition(":")[0]
    cached = region.fixed.get(parent)
    if cached is None:
        cached = _fixed(region, parent)
        _remember(region.fixed, parent, cached)
    return cached


def _fixed(region: Region, job_id: str) -> Fixed:
    described = dict(region.engine.described(job_id))
    for changing in ("jobArn", "jobId"):
        described.pop(changing, None)
    if changed := region.find(JOB_TAGS, job_id):
        described["tags"] = changed["tags"]
    container = described.pop("container", {})
    ecs_properties: Any = described.pop("ecsProperties", None)
    if not isinstance(container, Mapping):
        raise TypeError(f"job {job_id}: its container is no mapping")
    task = ecs_properties["taskProperties"][0] if ecs_properties else None
    return Fixed(members=described, container=dict(container), task=task)


def members_of(region: Region, job_id: str, view: UnitView, fixed: Fixed) -> Document:
    """What `render` joins into bytes, for those who need its members. Its values may be shared: do not change them."""
    document = {**_head(region, job_id, view, fixed.task), **fixed.members}
    last = view.attempts[-1] if view.attempts else None
    if fixed.task is not None:
        return document | {"ecsProperties": {"taskProperties": [_ended_task(region, fixed.task, last)]}}
    added = {} if last is None else _attempt_container(region, last)
    return document | {"container": {**fixed.container, **added}}


def _head(region: Region, job_id: str, view: UnitView, task: Document | None) -> Document:
    return {"jobArn": region.names.arn("job", job_id), "jobId": job_id, **_changing(region, view, task)}


def render(region: Region, job_id: str, view: UnitView) -> bytes:
    """One job as DescribeJobs returns it, with this view of its changing part. Raises NotFound if it does not exist."""
    fixed = _rendered(region, job_id.partition(":")[0])
    head = _head(region, job_id, view, fixed.task)
    if fixed.task is not None:
        task = _ended_task(region, fixed.task, view.attempts[-1] if view.attempts else None)
        properties = _inner({"ecsProperties": {"taskProperties": [task]}})
        return b"{" + _inner(head) + b"," + fixed.members + b"," + properties + b"}"
    # What the last attempt, running or ended, adds to the container; an array's parent has no attempts of its own.
    container = _inner(_attempt_container(region, view.attempts[-1])) if view.attempts else b""
    joined = fixed.container + (b"," if container and fixed.container else b"") + container
    return b"{" + _inner(head) + b"," + fixed.members + b',"container":{' + joined + b"}}"


def _rendered(region: Region, job_id: str) -> Rendered:
    cached = region.rendered.get(job_id)
    if cached is not None:
        return cached
    fixed = _fixed(region, job_id)
    rendered = Rendered(members=_inner(fixed.members), container=_inner(fixed.container), task=fixed.task)
    _remember(region.rendered, job_id, rendered)
    return rendered


def _remember(cache: dict[str, Value], key: str, value: Value) -> None:
    """Store a value, and evict the oldest if there are too many."""
    if len(cache) >= _CACHED:
        del cache[next(iter(cache))]
    cache[key] = value


def _inner(value: Mapping[str, object]) -> bytes:
    return _ENCODER.encode(value).encode()[1:-1]


def _changing(region: Region, view: UnitView, task: Document | None) -> Document:
    # AWS lists an attempt once it has ended; a running one is visible only in the container.
    ended = [attempt for attempt in view.attempts if attempt.stopped_at is not None]
    document: Document = {
        "status": view.status.value,
        "attempts": [_attempt(region, attempt, task) for attempt in ended],
        **stops(view),
        **times(view),
    }
    if view.status_reason:
        document["statusReason"] = view.status_reason
    if view.array_size is not None:
        document["arrayProperties"] = array_properties(view)
    return document


def stops(view: UnitView) -> Document:
    """isCancelled and isTerminated: for a child that had succeeded before its array was stopped, neither is true."""
    is_open = view.status is not JobStatus.SUCCEEDED
    return {"isCancelled": view.is_cancelled and is_open, "isTerminated": view.is_terminated and is_open}


def times(view: UnitView) -> Document:
    """createdAt, startedAt and stoppedAt in milliseconds, if set."""
    moments = {"createdAt": view.created_at, "startedAt": view.started_at, "stoppedAt": view.stopped_at}
    return {name: _milliseconds(moment) for name, moment in moments.items() if moment is not None}


def array_properties(view: UnitView) -> Document:
    """For a child its index; for a parent its size and the number of children in each status.

    Clients recognize a parent by its size (API reference, ArrayPropertiesDetail).
    """
    if view.summary is None:
        return {"index": view.array_index, "statusSummary": {}}
    counts = {status.value: view.summary.get(status, 0) for status in STATUSES}
    return {"size": view.array_size, "statusSummary": counts}


def _ended_task(region: Region, task: Document, attempt: AttemptView | None) -> Document:
    """A task as in the job, with what its attempt adds to it and to its container."""
    if attempt is None:
        return task
    added = _attempt_container(region, attempt)
    of_the_task: Document = {name: added.pop(name) for name in _OF_THE_TASK if name in added}
    (container,) = task["containers"]
    found: Document = {**task, **of_the_task}
    return {**found, "containers": [{**container, **added}]}


def _attempt(region: Region, attempt: AttemptView, task: Document | None) -> Document:
    """API reference, AttemptDetail: the results of a job with ecsProperties are in its task's containers."""
    added = _attempt_container(region, attempt)
    if task is None:
        document: Document = {"container": added}
    else:
        of_the_task: Document = {name: added.pop(name) for name in _OF_THE_TASK if name in added}
        named = {member: task["containers"][0][member] for member in ("name",) if member in task["containers"][0]}
        document = {"taskProperties": [{**of_the_task, "containers": [{**named, **added}]}]}
    for name, moment in (("startedAt", attempt.started_at), ("stoppedAt", attempt.stopped_at)):
        if moment is not None:
            document[name] = _milliseconds(moment)
    if attempt.status_reason:
        document["statusReason"] = attempt.status_reason
    return document


def _attempt_container(region: Region, attempt: AttemptView) -> Document:
    document: Document = {"networkInterfaces": []}
    if attempt.exit_code is not None:
        document["exitCode"] = attempt.exit_code
    if attempt.reason:
        document["reason"] = attempt.reason
    if attempt.log_stream:
        document["logStreamName"] = attempt.log_stream
        document["taskArn"] = ecs.task_arn(region, attempt)
    if attempt.instance_id and not is_fargate(attempt.instance_id):
        document["containerInstanceArn"] = ecs.container_instance_arn(region, attempt.instance_id, attempt.environment)
    return document


def _milliseconds(moment: float) -> int:
    return round(moment * 1000)
