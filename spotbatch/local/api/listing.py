"""ListJobs and GetJobQueueSnapshot (API reference)."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.status import JobStatus
from spotbatch.local.api import multinode
from spotbatch.local.api.describe_jobs import array_properties, stops, times
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import is_job_id
from spotbatch.local.api.pages import page, token_after, window
from spotbatch.local.api.region import DEFINITION, QUEUE, Document, Region
from spotbatch.local.contract import JobFilter, JobPlace

_MOST: Final = 1000
_MOST_FILTERED: Final = 100
_FRONT: Final = 100
_TOP_SHARES: Final = 20
_LAST_JOB: Final = re.compile(r"(?P<moment>[0-9]{1,12}\.[0-9]{1,9}) (?P<id>[0-9a-f-]{36})(:(?P<index>[0-9]{1,5}))?")


async def list_jobs(region: Region, asked: Document) -> Document:
    """ListJobs: the jobs of a queue, or the children of an array. Without a status or filter, the RUNNING ones."""
    named = [name for name in ("jobQueue", "arrayJobId", "multiNodeJobId") if asked.get(name)]
    if len(named) != 1:
        raise ClientException(f"give exactly one of jobQueue, arrayJobId and multiNodeJobId, not {named}")
    status = JobStatus(asked["jobStatus"]) if "jobStatus" in asked else None
    if named == ["multiNodeJobId"]:
        part, token = _nodes(region, asked, status or JobStatus.RUNNING), None
    elif named == ["arrayJobId"]:
        part, token = _children(region, asked, status or JobStatus.RUNNING)
    else:
        part, token = _of_queue(region, asked, status)
    summaries = [_summary(region, job_id) for job_id in part]
    if named == ["multiNodeJobId"]:
        summaries = [_node_summary(region, one) for one in summaries]
    return {"jobSummaryList": summaries, **({"nextToken": token} if token else {})}


def _nodes(region: Region, asked: Document, status: JobStatus) -> Sequence[str]:
    """The one node of a multi-node job that runs here, if it has that status."""
    parent = asked["multiNodeJobId"]
    _known_job(region, parent, is_array=False)
    window(asked, _MOST)
    is_there = multinode.is_multinode(dict(region.engine.described(parent)))
    return [parent] if is_there and region.engine.view(parent).status is status else ()


def _key(region: Region, job_id: str) -> str:
    return f"{region.engine.view(job_id).created_at!r} {job_id}"


def _children(region: Region, asked: Document, status: JobStatus) -> tuple[Sequence[str], str | None]:
    parent = asked["arrayJobId"]
    _known_job(region, parent, is_array=True)
    ids = region.engine.list_jobs(array_job_id=parent, status=status)

    def position(last: str) -> int:
        index = int(_last_job(last, of_array=True)["index"])
        return bisect_right(ids, index, key=lambda one: int(one.partition(":")[2]))

    return page(ids, lambda job_id: _key(region, job_id), asked, _MOST, position)


def _last_job(last: str, *, of_array: bool) -> "re.Match[str]":
    """Where a page ended: the list continues after that job, even if its status has changed by now."""
    match = _LAST_JOB.fullmatch(last)
    if match is None or (match["index"] is not None) is not of_array:
        raise ClientException(f"nextToken ({last[:100]!r}) is not one that this list gave")
    return match


def _of_queue(region: Region, asked: Document, status: JobStatus | None) -> tuple[Sequence[str], str | None]:
    queue = region.get(QUEUE, asked["jobQueue"])["jobQueueName"]
    filters = asked.get("filters", [])
    if len(filters) > 1:
        raise ClientException(f"only one filter can be used at a time, not {len(filters)}")
    where = _filter(region, filters[0]) if filters else None
    if where is None:
        status = status or JobStatus.RUNNING
    elif where.member != "share":
        status = None
    size, last = window(asked, _MOST_FILTERED if where else _MOST)
    after = None
    if last is not None:
        match = _last_job(last, of_array=False)
        after = JobPlace(job_id=match["id"], created_at=float(match["moment"]))
    ids = region.engine.find_jobs(queue=queue, status=status, where=where, after=after, limit=size + 1)
    return ids[:size], token_after(_key(region, ids[size - 1])) if len(ids) > size else None


def _known_job(region: Region, job_id: str, *, is_array: bool) -> Sequence[str]:
    try:
        view = region.engine.view(job_id) if is_job_id(job_id) else None
    except NotFound:
        view = None
    if view is None:
        raise ClientException(f"job {job_id[:100]!r} does not exist")
    if is_array and view.summary is None:
        raise ClientException(f"job {job_id} is not an array job")
    return ()


def _filter(region: Region, entry: Document) -> JobFilter:
    """What a filter asks for (API reference, ListJobs).

    Job names match case-insensitively, definition names case-sensitively; a trailing * in either matches any suffix.
    """
    name, values = entry.get("name", ""), entry.get("values", [])
    if len(values) != 1:
        raise ClientException(f"a filter has exactly one value, not {len(values)}")
    value = str(values[0])
    match name:
        case "BEFORE_CREATED_AT" | "AFTER_CREATED_AT":
            if not value.isdigit():
                raise ClientException(f"{name}: the value is a time in milliseconds since 1970, not {value[:50]!r}")
            return JobFilter(member="created_at", value=int(value) / 1000, is_after=name == "AFTER_CREATED_AT")
        case "JOB_NAME":
            return JobFilter(member="name", value=value.removesuffix("*"), is_prefix=value.endswith("*"))
        case "JOB_DEFINITION":
            return _of_definition(region, value)
        case "SHARE_IDENTIFIER":
            return JobFilter(member="share", value=value)
        case _:
            raise ClientException(f"filter {name[:50]!r} is unknown")


def _of_definition(region: Region, pattern: str) -> JobFilter:
    """An ARN means that one revision; a name means any of them, or the one given."""
    if pattern.startswith("arn:"):
        ours = region.names.arn(DEFINITION, "")
        return JobFilter(member="definition", value=pattern.removeprefix(ours) if pattern.startswith(ours) else "")
    if pattern.endswith("*"):
        return JobFilter(member="definition", value=pattern[:-1], is_prefix=True)
    if ":" in pattern:
        return JobFilter(member="definition", value=pattern)
    return JobFilter(member="definition", value=f"{pattern}:", is_prefix=True)


def _node_summary(region: Region, summary: Document) -> Document:
    node_id = f"{summary['jobId']}#0"
    properties = {"isMainNode": True, "numNodes": 1, "nodeIndex": 0}
    return {**summary, "jobId": node_id, "jobArn": region.names.arn("job", node_id), "nodeProperties": properties}


def _summary(region: Region, job_id: str) -> Document:
    view = region.engine.view(job_id)
    described = region.engine.described(job_id)
    summary: Document = {
        "jobArn": region.names.arn("job", job_id),
        "jobId": job_id,
        "jobName": described["jobName"],
        "jobDefinition": described["jobDefinition"],
        "status": view.status.value,
        **{name: True for name, is_so in stops(view).items() if is_so},  # API reference: present only if true
        **times(view),
    }
    if "shareIdentifier" in described:
        summary["shareIdentifier"] = described["shareIdentifier"]
    if view.status_reason:
        summary["statusReason"] = view.status_reason
    if view.array_size is not None:
        summary["arrayProperties"] = array_properties(view)
    last = view.attempts[-1] if view.attempts else None
    container = {"exitCode": last.exit_code if last else None, "reason": (last.reason or None) if last else None}
    summary["container"] = {name: value for name, value in container.items() if value is not None}
    return summary


async def snapshot(region: Region, asked: Document) -> Document:
    """GetJobQueueSnapshot: the first RUNNABLE jobs in dispatch order, and the queue's utilization."""
    queue = region.get(QUEUE, asked["jobQueue"])["jobQueueName"]
    now = round(region.clock() * 1000)
    front = [
        {"jobArn": region.names.arn("job", job_id), "earliestTimeAtPosition": round(since * 1000)}
        for job_id, since in region.engine.front_of_queue(queue, limit=_FRONT)
    ]
    return {
        "frontOfQueue": {"jobs": front, "lastUpdatedAt": now},
        "queueUtilization": {**_utilization(region, queue), "lastUpdatedAt": now},
    }


def _utilization(region: Region, queue: str) -> Document:
    """A queue's jobs' part of its environments' vCPUs; by share, largest first, if it has a policy."""
    together, shares = region.engine.queue_usage(queue)
    found: Document = {"totalCapacityUsage": _vcpus(together)}
    if "schedulingPolicyArn" in region.get(QUEUE, queue):
        active = sorted(((vcpus, name) for name, vcpus in shares.items() if vcpus), reverse=True)
        found["fairshareUtilization"] = {
            "activeShareCount": len(active),
            "topCapacityUtilization": [
                {"shareIdentifier": name, "capacityUsage": _vcpus(vcpus)} for vcpus, name in active[:_TOP_SHARES]
            ],
        }
    return found


def _vcpus(quantity: float) -> list[Document]:
    return [{"capacityUnit": "VCPU", "quantity": float(quantity)}]
