"""After a start: the journal goes back into the scheduler, and what ran is taken up as lost with its host."""

from typing import TYPE_CHECKING

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import STATUSES, JobStatus, host_terminated
from spotbatch.local.engine import codec
from spotbatch.local.engine.group_commit import say
from spotbatch.local.engine.packing import unpack

if TYPE_CHECKING:
    from spotbatch.local.engine.engine import LocalEngine

ENVIRONMENT = "compute-environment"
QUEUE = "job-queue"
_RUNNING = STATUSES.index(JobStatus.RUNNING)
_RUNNABLE = STATUSES.index(JobStatus.RUNNABLE)


def restore(engine: "LocalEngine") -> None:
    """Queues, then jobs in the order in which they came, then lost attempts; environments last, then work goes on."""
    _restore_documents(engine)
    for (kind, _), rules in engine.resource_rules.items():
        if kind == QUEUE and rules is not None:
            engine.apply(ev.QueuePut(queue=codec.decode(JobQueue, rules)))
    _restore_jobs(engine)
    _restore_stops(engine)
    _end_lost_attempts(engine)
    for (kind, _), rules in engine.resource_rules.items():
        if kind == ENVIRONMENT and rules is not None:
            engine.apply(ev.EnvironmentPut(environment=codec.decode(ComputeEnvironment, rules)))


def _restore_documents(engine: "LocalEngine") -> None:
    import json

    for kind, name, body, rules in engine.journal.rows("SELECT kind, name, body, rules FROM resource"):
        engine.remember_resource(kind, name, json.loads(body), rules)


def _restore_jobs(engine: "LocalEngine") -> None:
    """Those that have not ended. An ended one is looked up when it is asked for, or when one of these depends on it."""
    (last,) = engine.journal.row("SELECT COALESCE(MAX(job_no), 0) FROM job") or (0,)
    engine.next_job_no = max(engine.next_job_no, last + 1)
    query = "SELECT job_no, id, created_at, packed FROM job WHERE ended_at IS NULL ORDER BY job_no"
    for job_no, job_id, created_at, packed in list(engine.journal.rows(query)):
        submitted = codec.decode(ev.JobSubmitted, unpack(packed).rules)
        for dependency in submitted.dependencies:
            if dependency.job_no is not None:
                engine.recall(dependency.job_no)
        engine.enter_job(job_no, job_id, created_at)
        statuses, attempts = _unit_books(engine, job_no, submitted.size or 1)
        try:
            engine.apply(ev.JobRestored(submitted=submitted, statuses=statuses, attempts=attempts))
            engine.widen_quota(submitted)
        except (InvalidInput, NotFound) as error:  # the region was killed before it could take the job's row back
            engine.drop_job(job_no)
            engine.journal.write("DELETE FROM job WHERE job_no = ?", (job_no,))
            say(f"job {job_id} was refused, and is removed from the journal: {error}")


def _unit_books(engine: "LocalEngine", job_no: int, units: int) -> tuple[bytes, bytes]:
    """Status and number of attempts of each unit of a job that has not ended."""
    statuses, attempts = bytearray([_RUNNABLE]) * units, bytearray(units)
    query = "SELECT idx, MAX(attempt), SUM(stopped_at IS NULL) FROM attempt WHERE job_no = ? GROUP BY idx"
    for index, made, still_open in engine.journal.rows(query, (job_no,)):
        attempts[index] = made
        if still_open:
            statuses[index] = _RUNNING
    for index, status in engine.journal.rows("SELECT idx, status FROM unit WHERE job_no = ?", (job_no,)):
        statuses[index] = status
    return bytes(statuses), bytes(attempts)


def _restore_stops(engine: "LocalEngine") -> None:
    """What was accepted before the region went holds, though it may not have been carried out."""
    query = "SELECT job_no, idx, kind, reason FROM stop JOIN job USING (job_no) WHERE job.ended_at IS NULL"
    for job_no, number, kind, reason in list(engine.journal.rows(query)):
        index = None if number < 0 else number
        engine.stops[job_no, index] = kind
        if engine.scheduler.status(job_no, index).is_terminal:
            continue
        if kind == "cancelled":
            engine.apply(ev.JobCancelled(job_no=job_no, index=index, reason=reason))
        else:
            engine.apply(ev.JobTerminated(job_no=job_no, index=index, reason=reason))


def _end_lost_attempts(engine: "LocalEngine") -> None:
    """An attempt without an end was running when the region went: its host went too, and the retry strategy decides."""
    query = (
        "SELECT job_no, idx, attempt, instance_id FROM job JOIN attempt USING (job_no) "
        "WHERE job.ended_at IS NULL AND attempt.stopped_at IS NULL"
    )
    for job_no, index, attempt, instance_id in list(engine.journal.rows(query)):
        reason, now = host_terminated(instance_id), engine.now()
        engine.change_log.placed((job_no, index, attempt), instance_id)
        engine.write_attempt_end((job_no, index, attempt), None, "", reason, now)
        engine.apply(ev.AttemptEnded(job_no=job_no, index=index, attempt=attempt, status_reason=reason), at=now)
