"""ListJobs and GetJobQueueSnapshot (API reference)."""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.status import JobStatus
from spotbatch.local.api import multinode
from spotbatch.local.api.described import array_properties, stops, times
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import is_job_id
from spotbatch.local.api.paging import page
from spotbatch.local.api.region import QUEUE, Document, Region

_MOST: Final = 1000
_MOST_FILTERED: Final = 100
_FRONT: Final = 100
_TOP_SHARES: Final = 20
_LAST_JOB: Final = re.compile(r"(?P<moment>[0-9]{1,12}\.[0-9]{1,9}) (?P<id>[0-9a-f-]{36})(:(?P<index>[0-9]{1,5}))?")


async def list_jobs(region: Region, asked: Document) -> Document:
    """ListJobs: of a queue, or the children of an array. Without a status or filter, the RUNNING ones."""
    ids, most = _chosen(region, asked)

    def key(job_id: str) -> str:
        return f"{region.engine.view(job_id).created_at!r} {job_id}"

    of_array = bool(asked.get("arrayJobId"))
    part, token = page(ids, key, asked, most, lambda last: _position(region, ids, last, of_array=of_array))
    summaries = [_summary(region, job_id) for job_id in part]
    if asked.get("multiNodeJobId"):
        summaries = [_node_summary(region, one) for one in summaries]
    return {"jobSummaryList": summaries, **({"nextToken": token} if token else {})}


def _position(region: Region, ids: Sequence[str], last: str, *, of_array: bool) -> int:
    """Where what follows the last job of a page begins, even if that job is in another status by now."""
    match = _LAST_JOB.fullmatch(last)
    if match is None or (match["index"] is not None) is not of_array:
        raise ClientException(f"nextToken ({last[:100]!r}) is not one that this list gave")
    if of_array:
        return bisect_right(ids, int(match["index"]), key=lambda one: int(one.partition(":")[2]))
    if match["id"] in ids:
        return ids.index(match["id"]) + 1
    return bisect_right(ids, -float(match["moment"]), key=lambda one: -region.engine.view(one).created_at)


def _chosen(region: Region, asked: Document) -> tuple[Sequence[str], int]:
    named = [name for name in ("jobQueue", "arrayJobId", "multiNodeJobId") if asked.get(name)]
    if len(named) != 1:
        raise ClientException(f"give exactly one of jobQueue, arrayJobId and multiNodeJobId, not {named}")
    status = JobStatus(asked["jobStatus"]) if "jobStatus" in asked else None
    if named == ["multiNodeJobId"]:
        parent = asked["multiNodeJobId"]
        _known_job(region, parent, is_array=False)
        is_there = multinode.is_multinode(dict(region.engine.described(parent)))
        return [parent] if is_there and region.engine.view(parent).status is (
            status or JobStatus.RUNNING
        ) else (), _MOST
    if named == ["arrayJobId"]:
        parent = asked["arrayJobId"]
        _known_job(region, parent, is_array=True)
        return region.engine.list_jobs(array_job_id=parent, status=status or JobStatus.RUNNING), _MOST
    queue = region.get(QUEUE, asked["jobQueue"])["jobQueueName"]
    filters = asked.get("filters", [])
    if not filters:
        return region.engine.list_jobs(queue=queue, status=status or JobStatus.RUNNING), _MOST
    if len(filters) > 1:
        raise ClientException(f"only one filter can be used at a time, not {len(filters)}")
    keep = _filter(region, filters[0])
    of_share = filters[0].get("name") == "SHARE_IDENTIFIER"
    ids = region.engine.list_jobs(queue=queue, status=status if of_share else None)
    return [job_id for job_id in ids if keep(job_id)], _MOST_FILTERED


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


def _filter(region: Region, entry: Document) -> Callable[[str], bool]:
    """Whether a job passes (API reference, ListJobs).

    A job's name matches without regard to case, a definition's with it; a trailing * of either matches any end.
    """
    name, values = entry.get("name", ""), entry.get("values", [])
    if len(values) != 1:
        raise ClientException(f"a filter has exactly one value, not {len(values)}")
    value = str(values[0])
    if name in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT"):
        if not value.isdigit():
            raise ClientException(f"{name}: the value is a time in milliseconds since 1970, not {value[:50]!r}")
        moment, sign = int(value) / 1000, 1 if name == "AFTER_CREATED_AT" else -1
        return lambda job_id: (region.engine.view(job_id).created_at - moment) * sign > 0
    if name not in _BY_MEMBER:
        raise ClientException(f"filter {name[:50]!r} is unknown")
    member, matches = _BY_MEMBER[name]

    def passes(job_id: str) -> bool:
        return matches(value, str(region.engine.described(job_id).get(member, "")))

    return passes


def _is_named(pattern: str, name: str) -> bool:
    return _matches(pattern.lower(), name.lower())


def _is_of_definition(pattern: str, arn: str) -> bool:
    """By ARN it is that one revision; by name any of them, or the one that is given."""
    if pattern.startswith("arn:"):
        return arn == pattern
    reference = arn.rpartition("/")[2]
    return _matches(pattern, reference if ":" in pattern else reference.partition(":")[0])


def _matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


_BY_MEMBER: Final[Mapping[str, tuple[str, Callable[[str, str], bool]]]] = {
    "JOB_NAME": ("jobName", _is_named),
    "JOB_DEFINITION": ("jobDefinition", _is_of_definition),
    "SHARE_IDENTIFIER": ("shareIdentifier", str.__eq__),
}


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
        **{name: True for name, is_so in stops(view).items() if is_so},  # API reference: there only if true
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
    """GetJobQueueSnapshot: the first RUNNABLE jobs in the order in which they will be dispatched, and who uses what."""
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
    """What a queue's jobs have of its environments' vCPUs; by share, the largest first, where it has a policy."""
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


def _vcpus(quantity: int) -> list[Document]:
    return [{"capacityUnit": "VCPU", "quantity": float(quantity)}]
