"""Emptying a stack before it goes: its queue stopped, its jobs ended, its data deleted where that is asked for."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.stacks import pauses
from spotbatch.batch.errors import NotFound, Unavailable
from spotbatch.batch.status import JobStatus

JOBS_LIMIT_SECONDS: Final = 900.0
REASON: Final = "the stack is being removed"
_OPEN: Final = tuple(status for status in JobStatus if not status.is_terminal)
_OBJECTS_A_CALL: Final = 1000  # DeleteObjects' own limit
_IMAGES_A_CALL: Final = 100  # BatchDeleteImage's own limit


def disable_queue(queue: str) -> bool:
    """Let the queue take no new jobs; False if there is no such queue any more."""
    batch = session.client("batch")
    if not batch.describe_job_queues(jobQueues=[queue])["jobQueues"]:
        return False
    batch.update_job_queue(jobQueue=queue, state="DISABLED")
    return True


def open_jobs(queue: str) -> list[str]:
    """The ids of all jobs of a queue that have not ended; an array counts once."""
    jobs = Jobs()
    return [job.id for status in _OPEN for job in jobs.in_status(queue, status)]


def end_jobs(queue: str, *, say: Callable[[str], None], limit_seconds: float = JOBS_LIMIT_SECONDS) -> int:
    """Terminate every job of a queue and wait until all have ended; returns how many there were.

    Raises Unavailable if some still run at the limit.
    """
    jobs = Jobs()
    ended: set[str] = set()
    left: list[str] = []
    for passed in pauses(limit_seconds):
        left = open_jobs(queue)
        if not left:
            return len(ended)
        for job_id in left:
            if job_id not in ended:
                jobs.terminate(job_id, REASON)
                ended.add(job_id)
        say(f"{len(left)} jobs are being ended ({passed:.0f} s)")
    raise Unavailable(
        f"{len(left)} jobs had not ended after {limit_seconds:.0f} s: run this again, it goes on from there"
    )


def empty_bucket(bucket: str, *, say: Callable[[str], None]) -> int:
    """Delete every version of every object; returns how many. A bucket that is gone is empty."""
    s3 = session.client("s3")
    deleted = 0
    try:
        for batch in _in_batches(_versions(s3, bucket), _OBJECTS_A_CALL):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                raise Unavailable(f"{errors[0].get('Key')} in {bucket} cannot be deleted: {errors[0].get('Message')}")
            deleted += len(batch)
            say(f"bucket {bucket}: {deleted:,} objects and versions deleted")
    except NotFound:
        return deleted
    return deleted


def _versions(s3: Any, bucket: str) -> Iterator[dict[str, str]]:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            yield {"Key": each["Key"], "VersionId": each["VersionId"]}


def _in_batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def delete_bucket(bucket: str) -> None:
    """Delete an empty bucket; one that is gone is no error."""
    try:
        session.client("s3").delete_bucket(Bucket=bucket)
    except NotFound:
        return


def empty_repository(repository: str) -> int:
    """Delete every image; returns how many. A repository that is gone is empty."""
    ecr = session.client("ecr")
    deleted = 0
    try:
        pages = ecr.get_paginator("list_images").paginate(repositoryName=repository)
        images = [image for page in pages for image in page["imageIds"]]
        for batch in _in_batches(iter(images), _IMAGES_A_CALL):
            ecr.batch_delete_image(repositoryName=repository, imageIds=batch)
            deleted += len(batch)
    except NotFound:
        return deleted
    return deleted


def delete_repository(repository: str) -> None:
    """Delete a repository; one that is gone is no error."""
    try:
        session.client("ecr").delete_repository(repositoryName=repository, force=True)
    except NotFound:
        return
