"""A region whose engine only remembers: jobs stay RUNNABLE. For tests of the endpoint until the engine is there."""

import sys
from collections.abc import AsyncIterator, Sequence

from spotbatch.batch.errors import NotFound
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import EngineSettings, HostView, Json, Submission, UnitView
from spotbatch.local.running import main


class FakeEngine:
    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, Json]] = {}
        self.jobs: dict[str, Submission] = {}
        self.ended: dict[str, str] = {}

    async def close(self) -> None: ...

    def resources(self, kind: str) -> dict[str, Json]:
        return self.kinds.get(kind, {})

    async def put_resource(
        self, kind: str, name: str, body: Json, *, rules: ComputeEnvironment | JobQueue | None = None
    ) -> None:
        self.kinds.setdefault(kind, {})[name] = body

    async def delete_resource(self, kind: str, name: str) -> None:
        del self.kinds[kind][name]

    async def submit(self, submission: Submission) -> None:
        self.jobs[submission.job_id] = submission

    async def cancel(self, job_id: str, reason: str) -> None:
        self.view(job_id)
        self.ended[job_id] = reason

    terminate = cancel

    def _job(self, job_id: str) -> Submission:
        parent, _, index = job_id.partition(":")
        found = self.jobs.get(parent)
        if found is None or (index and int(index) >= found.rules.size):
            raise NotFound(f"job {job_id} does not exist")
        return found

    def described(self, job_id: str) -> Json:
        return self._job(job_id).described

    def view(self, job_id: str) -> UnitView:
        job = self._job(job_id)
        index = job_id.partition(":")[2]
        size = job.rules.size
        is_parent = bool(size) and not index
        status = JobStatus.PENDING if is_parent else JobStatus.RUNNABLE
        reason = self.ended.get(job_id, "")
        return UnitView(
            status=JobStatus.FAILED if reason else status,
            status_reason=reason,
            created_at=job.created_at,
            array_index=int(index) if index else None,
            array_size=size or None,
            summary={JobStatus.RUNNABLE: size} if is_parent else None,
        )

    def list_jobs(
        self, *, queue: str | None = None, array_job_id: str | None = None, status: JobStatus | None = None
    ) -> Sequence[str]:
        if array_job_id is not None:
            ids = [f"{array_job_id}:{index}" for index in range(self._job(array_job_id).rules.size)]
        else:
            ids = [job.job_id for job in reversed(self.jobs.values()) if job.queue == queue]
        return [one for one in ids if status in (None, self.view(one).status)]

    def front_of_queue(self, queue: str, *, limit: int = 100) -> Sequence[tuple[str, float]]:
        return [(one, 0.0) for one in reversed(self.list_jobs(queue=queue, status=JobStatus.RUNNABLE))][:limit]

    def job_of_stream(self, log_stream: str) -> str | None:
        return None

    def log_streams(self, log_group: str, prefix: str = "") -> Sequence[str]:
        return []

    def read_log(
        self, log_stream: str, *, offset: int = 0, limit: int = 10_000
    ) -> tuple[Sequence[tuple[float, str]], int]:
        raise NotFound(log_stream)

    def hosts(self) -> Sequence[HostView]:
        return []

    async def interrupt(
        self, *, instance_ids: Sequence[str] = (), count: int = 0, notice_seconds: float | None = None
    ) -> Sequence[str]:
        return list(instance_ids)

    async def changes(self) -> AsyncIterator[None]:
        yield None


async def open_fake(_settings: EngineSettings) -> FakeEngine:
    return FakeEngine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], open_fake))
