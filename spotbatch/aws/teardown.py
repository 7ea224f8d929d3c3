"""Emptying a stack before removal: stop its queue, end its jobs, delete its data if requested."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.stacks import pauses
from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable
from spotbatch.batch.status import JobStatus

REASON: Final = "the stack is being removed"
_OPEN: Final = tuple(status for status in JobStatus if not status.is_terminal)
_GOING: Final = ("DELETING", "DELETED")
_BUCKET_TRIES: Final = 5
_OBJECTS_A_CALL: Final = 1000  # DeleteObjects' own limit
_OBJECTS_A_LINE: Final = 25_000  # of progress
_IMAGES_A_CALL: Final = 100  # BatchDeleteImage's own limit


def disable_queue(queue: str) -> bool:
    """Stop the queue from accepting jobs; False if the queue no longer exists or is being deleted."""
    batch = session.client("batch")
    found = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    if not found or found[0].get("status") in _GOING:
        return False
    if found[0]["state"] != "DISABLED":
        batch.update_job_queue(jobQueue=queue, state="DISABLED")
    return True


def open_jobs(queue: str) -> list[str]:
    """The ids of all jobs of a queue that have not ended; an array counts once. A queue that is gone has none."""
    jobs = Jobs()
    try:
        return [job.id for status in _OPEN for job in jobs.in_status(queue, status)]
    except NotFound:
        return []


def end_jobs(queues: Sequence[str], *, say: Callable[[str], None], limit_seconds: float) -> int:
    """Terminate every job of the queues and wait until all have ended; returns how many there were.

    Raises Unavailable if some are still running at the time limit.
    """
    jobs = Jobs()
    ended: set[str] = set()
    left: list[str] = []
    for passed in pauses(limit_seconds):
        left = [job_id for queue in queues for job_id in open_jobs(queue)]
        if not left:
            return len(ended)
        new = [job_id for job_id in left if job_id not in ended]
        jobs.terminate_all(new, REASON)
        ended.update(new)
        say(f"jobs that are being ended: {len(left)} ({passed:.0f} s)")
    raise Unavailable(
        f"jobs that had not ended after {limit_seconds:.0f} s: {len(left)}, {left[0]} among them. Run this again, it "
        f"goes on from there; `spotbatch doctor {left[0]}` says why one does not end"
    )


def deregister(definition: str, *, but: Sequence[str] = ()) -> int:
    """Deregister the active revisions of a job definition except some ARNs; returns how many there were."""
    batch = session.client("batch")
    pages = batch.get_paginator("describe_job_definitions").paginate(jobDefinitionName=definition, status="ACTIVE")
    arns = [each["jobDefinitionArn"] for page in pages for each in page["jobDefinitions"]]
    wanted = [arn for arn in arns if arn not in but]
    for arn in wanted:
        batch.deregister_job_definition(jobDefinition=arn)
    return len(wanted)


def empty_bucket(bucket: str, *, say: Callable[[str], None]) -> int:
    """Delete every version of every object; returns how many. A bucket that is gone is empty."""
    s3 = session.client("s3")
    deleted = said = 0
    with contextlib.suppress(NotFound):
        for batch in _in_batches(_versions(s3, bucket), _OBJECTS_A_CALL):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                raise Unavailable(f"{errors[0].get('Key')} in {bucket} cannot be deleted: {errors[0].get('Message')}")
            deleted += len(batch)
            if deleted - said >= _OBJECTS_A_LINE:
                said = deleted
                say(f"bucket {bucket}: {deleted:,} objects and versions deleted so far")
    if deleted:
        say(f"bucket {bucket}: {deleted:,} objects and versions deleted")
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


def delete_bucket(bucket: str, *, say: Callable[[str], None]) -> None:
    """Delete a bucket and its contents; one that is gone is not an error.

    Objects written meanwhile (access logs arrive late) are deleted too. Raises Unavailable if they keep coming.
    """
    for _ in range(_BUCKET_TRIES):
        empty_bucket(bucket, say=say)
        try:
            session.client("s3").delete_bucket(Bucket=bucket)
        except NotFound:
            return
        except SpotbatchError as error:
            if session.error_code(error) != "BucketNotEmpty":
                raise
        else:
            return
    raise Unavailable(
        f"bucket {bucket} fills up again while it is emptied: stop what writes there, then run this again"
    )


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
    """Delete a repository; one that is gone is not an error."""
    try:
        session.client("ecr").delete_repository(repositoryName=repository, force=True)
    except NotFound:
        return


def delete_key(key: str, *, days: int) -> str:
    """Schedule a key's deletion by KMS and delete its aliases now; returns the deletion date, "" if it is gone."""
    kms = session.client("kms")
    try:
        for page in kms.get_paginator("list_aliases").paginate(KeyId=key):
            for alias in page["Aliases"]:
                kms.delete_alias(AliasName=alias["AliasName"])
        answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=days)
    except NotFound:
        return ""
    return f"{answer['DeletionDate']:%Y-%m-%d}"
