"""Jobs in AWS Batch, in the cloud or in the local region: submit, describe, list, cancel, terminate."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from spotbatch.aws import session
from spotbatch.aws.describe_answer import read_as_json
from spotbatch.aws.job_shapes import (
    Definition,
    JobSummary,
    again_shape,
    definition_of,
    job_of,
    submit_shape,
    summary_of,
    variable_of,
    with_variable,
)
from spotbatch.batch.environment import SPOTBATCH_SUBMISSION
from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable
from spotbatch.batch.job import Job, JobRequest
from spotbatch.batch.status import JobStatus

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

_DESCRIBED_AT_ONCE: Final = 100  # API reference, DescribeJobs
_TERMINATED_AT_ONCE: Final = 50  # API reference, TerminateJobs
_SUBMISSIONS: Final = 4
_LOOKS_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)  # the maximum listing delay is not published; reports say seconds
_FRESH_SECONDS: Final = 20.0
_FRESH_LOOK_SECONDS: Final = 0.5
DEFAULT_LIMIT: Final = 1000


_fresh: Final[dict[str, tuple[float, int]]] = {}  # jobs that this process submitted: when (monotonic), and their sizes


def _submitted_now(job_id: str, shape: Mapping[str, Any]) -> str:
    """Remember a new job for a while; returns its id."""
    now = time.monotonic()
    for other in [one for one, (at, _) in _fresh.items() if now - at > _FRESH_SECONDS]:
        _fresh.pop(other, None)  # several threads may do this at once
    _fresh[job_id] = (now, int(shape.get("arrayProperties", {}).get("size", 0)))
    return job_id


def _is_fresh(job_id: str) -> bool:
    """Whether this process just submitted the job, or the array of an existing child."""
    parent, _, index = job_id.partition(":")
    at, size = _fresh.get(parent, (0.0, 0))
    if parent not in _fresh or time.monotonic() - at > _FRESH_SECONDS:
        return False
    return not index or (index.isdecimal() and int(index) < size)


def _client() -> "BatchClient":
    return read_as_json(session.client("batch"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """AWS Batch's operations on jobs. Every call raises the errors described at `session.client`."""

    batch: "BatchClient" = field(default_factory=_client)
    sleep: Callable[[float], None] = time.sleep

    def submit(self, request: JobRequest) -> str:
        """Submit a job, once; returns its id."""
        return self._submit_once(submit_shape(request))

    def _submit_once(self, shape: dict[str, Any]) -> str:
        """Call SubmitJob until it is accepted, without a second job if the answer to an accepted call was lost.

        AWS Batch has no client token, so each submission carries a unique mark in its variables, and after an
        inconclusive answer (a 5xx, a closed connection) the queue is searched for it. Raises Unavailable if the
        outcome cannot be determined.
        """
        mark = secrets.token_hex(8)
        marked = with_variable(shape, SPOTBATCH_SUBMISSION, mark)
        for left in reversed(range(_SUBMISSIONS)):
            try:
                answer: Any = self.batch.submit_job(**marked)
                return _submitted_now(str(answer["jobId"]), marked)
            except Unavailable as error:
                if not session.may_have_been_done(error):
                    raise
                found = self._find_marked(marked, mark, error)
                if found is not None:
                    return found
                if not left:
                    raise
        raise AssertionError("the last one returns or raises")

    def _find_marked(self, shape: dict[str, Any], mark: str, error: Unavailable) -> str | None:
        """The job of a submission whose answer is unknown; None if it was not accepted. New jobs are listed late."""
        try:
            for seconds in _LOOKS_SECONDS:
                self.sleep(seconds)
                listed = self.named(str(shape["jobQueue"]), str(shape["jobName"]), limit=_DESCRIBED_AT_ONCE)
                shapes: Any = self.batch.describe_jobs(jobs=[each.id for each in listed])["jobs"] if listed else []
                for each in shapes:
                    if variable_of(each, SPOTBATCH_SUBMISSION) == mark:
                        return _submitted_now(str(each["jobId"]), shape)
        except SpotbatchError as failed:
            raise Unavailable(
                f"it is not known whether AWS Batch took job {shape['jobName']} ({error}), and looking failed "
                f"({failed}): see `spotbatch list` before you submit it again"
            ) from error
        return None

    def get(self, job_id: str) -> Job:
        """One job, an array's parent or a child (`id:index`). Raises NotFound."""
        found = self.describe([job_id])
        if not found:
            raise NotFound(self._why_not_there(job_id))
        return found[0]

    def _why_not_there(self, job_id: str) -> str:
        """Why it is missing: a child may not exist because its array is smaller."""
        parent_id, _, index = job_id.partition(":")
        parent = next(iter(self.describe([parent_id])), None) if index else None
        if parent is None:
            return (
                f"there is no job {job_id!r} here: `spotbatch list` shows those that there are "
                "(AWS Batch forgets a job about a week after its end)"
            )
        if parent.array is None:
            return f"job {parent_id} is no array, so there is no child {index} of it"
        return (
            f"array {parent_id} has {parent.array.size:,} children, with indexes 0 to {parent.array.size - 1}: "
            f"there is no {index}"
        )

    def describe(self, job_ids: Sequence[str]) -> list[Job]:
        """The jobs that exist, in the order of the ids, 100 per call.

        Jobs that this process just submitted exist even if AWS Batch does not list them yet, so it is asked again.
        """
        found: list[Job] = []
        for start in range(0, len(job_ids), _DESCRIBED_AT_ONCE):
            ids = list(job_ids[start : start + _DESCRIBED_AT_ONCE])
            by_id = self._described(ids)
            while missing := [job_id for job_id in ids if job_id not in by_id and _is_fresh(job_id)]:
                self.sleep(_FRESH_LOOK_SECONDS)
                by_id |= self._described(missing)
            found += [by_id[job_id] for job_id in ids if job_id in by_id]
        return found

    def _described(self, ids: list[str]) -> dict[str, Job]:
        shapes: Any = self.batch.describe_jobs(jobs=ids)["jobs"]
        return {shape["jobId"]: job_of(shape) for shape in shapes}

    def children(self, array_id: str, status: JobStatus, *, limit: int = DEFAULT_LIMIT) -> list[JobSummary]:
        """The children of an array in one status, by index, at most `limit`."""
        found = self._listed(limit, arrayJobId=array_id, jobStatus=status.value)
        return sorted(found, key=lambda child: child.array_index or 0)

    def created_after(self, queue: str, moment: float, *, limit: int = DEFAULT_LIMIT) -> list[JobSummary]:
        """The jobs of a queue, in any status, that were created after a time (UTC epoch seconds); newest first."""
        after = [{"name": "AFTER_CREATED_AT", "values": [str(int(moment * 1000))]}]
        return self._newest_first(self._listed(limit, jobQueue=queue, filters=after))

    def in_status(self, queue: str, status: JobStatus, *, limit: int = DEFAULT_LIMIT) -> list[JobSummary]:
        """The jobs of a queue in one status, at most `limit`, newest first."""
        return self._newest_first(self._listed(limit, jobQueue=queue, jobStatus=status.value))

    def named(self, queue: str, name: str, *, limit: int = DEFAULT_LIMIT) -> list[JobSummary]:
        """The jobs of a queue with a name (a trailing `*` matches any end), newest first."""
        return self._newest_first(self._listed(limit, jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}]))

    def again(self, job_id: str, *, environment: Mapping[str, str], array_size: int | None) -> str:
        """Resubmit a job with other variables and another size; returns the new id."""
        shapes: Any = self.batch.describe_jobs(jobs=[job_id])["jobs"]
        if not shapes:
            raise NotFound(f"there is no job {job_id!r} here any more")
        return self._submit_once(again_shape(shapes[0], environment=environment, array_size=array_size))

    def definition(self, reference: str) -> Definition:
        """A job definition, by default the newest active revision. Raises NotFound."""
        return definition_of(self.definition_shape(reference))

    def definition_shape(self, reference: str) -> Any:
        """A job definition as AWS Batch describes it. Raises NotFound."""
        name, _, revision = reference.rpartition("/")[2].partition(":")
        found: Any = self._definitions(name, revision)
        if not found:
            raise NotFound(f"there is no active job definition {reference!r} here")
        return max(found, key=lambda one: int(one["revision"]))

    def _definitions(self, name: str, revision: str) -> Any:
        if revision:
            return self.batch.describe_job_definitions(jobDefinitions=[f"{name}:{revision}"])["jobDefinitions"]
        pages = self.batch.get_paginator("describe_job_definitions").paginate(jobDefinitionName=name, status="ACTIVE")
        return [each for page in pages for each in page["jobDefinitions"]]

    def cancel(self, job_id: str, reason: str) -> None:
        """CancelJob: acts on jobs that have not started."""
        self.batch.cancel_job(jobId=job_id, reason=reason)

    def terminate(self, job_id: str, reason: str) -> None:
        """TerminateJob: acts in any status, on all children of an array."""
        self.batch.terminate_job(jobId=job_id, reason=reason)

    def terminate_all(self, job_ids: Sequence[str], reason: str) -> None:
        """TerminateJob for many: 50 per call with TerminateJobs, one by one if a region does not have that yet.

        Raises the error of the first job that could not be terminated.
        """
        for start in range(0, len(job_ids), _TERMINATED_AT_ONCE):
            some = list(job_ids[start : start + _TERMINATED_AT_ONCE])
            for job_id in self._not_terminated_at_once(some, reason):
                self.terminate(job_id, reason)  # it raises a clear error if it cannot

    def _not_terminated_at_once(self, job_ids: list[str], reason: str) -> list[str]:
        """The jobs that TerminateJobs did not accept."""
        try:
            answer: Any = self.batch.terminate_jobs(jobs=job_ids, reason=reason)
        except AttributeError:  # boto3 predates the operation
            return job_ids
        except SpotbatchError as error:
            if error.is_transient:
                raise
            return job_ids
        return [str(each["job"]) for each in answer.get("errors", [])]

    def front_of_queue(self, queue: str) -> list[str]:
        """The ids of the first RUNNABLE jobs, in the order in which they will be dispatched (up to 100)."""
        snapshot: Any = self.batch.get_job_queue_snapshot(jobQueue=queue)
        jobs = snapshot.get("frontOfQueue", {}).get("jobs", [])
        return [str(each["jobArn"]).rpartition("job/")[2] for each in jobs]

    def _listed(self, limit: int, **asked: Any) -> list[JobSummary]:
        return list(islice(self._pages(asked), limit))

    def _pages(self, asked: dict[str, Any]) -> Iterator[JobSummary]:
        for page in self.batch.get_paginator("list_jobs").paginate(**asked):
            for shape in page["jobSummaryList"]:
                yield summary_of(shape)

    @staticmethod
    def _newest_first(found: list[JobSummary]) -> list[JobSummary]:
        return sorted(found, key=lambda each: each.created_at or 0.0, reverse=True)
