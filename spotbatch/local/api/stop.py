"""CancelJob and TerminateJob, one at a time or up to 50 (API reference)."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import is_job_id
from spotbatch.local.api.region import Document, Region

_MAX_REASON: Final = 1024
_MAX_BULK: Final = 50

Stop = Callable[[str, str], Awaitable[None]]


async def cancel(region: Region, asked: Document) -> Document:
    """CancelJob: what has not started yet. A job that does not exist, or has ended, is not an error, as on AWS."""
    await _stop(region.engine.cancel, asked["jobId"], _reason(asked))
    return {}


async def terminate(region: Region, asked: Document) -> Document:
    """TerminateJob: in any status."""
    await _stop(region.engine.terminate, asked["jobId"], _reason(asked))
    return {}


async def cancel_jobs(region: Region, asked: Document) -> Document:
    """CancelJobs, up to 50."""
    return await _bulk(region.engine.cancel, asked)


async def terminate_jobs(region: Region, asked: Document) -> Document:
    """TerminateJobs, up to 50."""
    return await _bulk(region.engine.terminate, asked)


async def _bulk(stop: Stop, asked: Document) -> Document:
    ids, reason = asked["jobs"], _reason(asked)
    if not 1 <= len(ids) <= _MAX_BULK:
        raise ClientException(f"jobs holds 1 to {_MAX_BULK} job ids, not {len(ids)}")
    if "" in ids:
        raise ClientException("jobs must not hold an empty job id")
    for job_id in ids:
        await _stop(stop, job_id, reason)
    return {"successful": ids, "errors": []}


async def _stop(stop: Stop, job_id: str, reason: str) -> None:
    # The API reference: the operation succeeds even if no job is cancelled.
    with contextlib.suppress(NotFound):
        if is_job_id(job_id):
            await stop(job_id, reason)


def _reason(asked: Document) -> str:
    reason: str = asked["reason"]
    if not 1 <= len(reason) <= _MAX_REASON:
        raise ClientException(f"reason has 1 to {_MAX_REASON} characters, not {len(reason)}")
    return reason
