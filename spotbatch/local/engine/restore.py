"""After a start: loads the journal into the scheduler, and treats whatever was running as lost with its host."""

from dataclasses import dataclass, replace
from typing import Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import STATUSES, JobStatus
from spotbatch.local.engine import codec
from spotbatch.local.engine.attempts import Attempts
from spotbatch.local.engine.control_plane import ControlPlane
from spotbatch.local.engine.group_commit import GroupCommit, say
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.job_control import DELETE_JOB
from spotbatch.local.engine.journal import Journal
from spotbatch.local.engine.packing import unpack

_LAST_NUMBER: Final = "SELECT MAX(COALESCE((SELECT MAX(job_no) FROM job), 0), COALESCE(MAX(job_no), 0)) FROM forgotten"
_RUNNING: Final = STATUSES.index(JobStatus.RUNNING)
_RUNNABLE: Final = STATUSES.index(JobStatus.RUNNABLE)


@dataclass(frozen=True, kw_only=True)
class Restore:
    """What is needed to resume from a journal."""

    journal: Journal
    commit: GroupCommit
    scheduler: Scheduler
    book: JobBook
    control_plane: ControlPlane
    attempts: Attempts

    def run(self) -> None:
        """Queues, then jobs in order of submission, then lost attempts; environments last, then work continues."""
        self.control_plane.restore_documents()
        self.control_plane.restore_queues()
        self.control_plane.restore_consumables()
        self._restore_jobs()
        self._restore_stops()
        self._end_lost_attempts()
        self.control_plane.restore_environments()

    def _restore_jobs(self) -> None:
        """Those that have not ended. An ended job is looked up on request, or when one of these needs it."""
        (last,) = self.journal.row(_LAST_NUMBER) or (0,)
        self.book.reserve_numbers(last)
        query = "SELECT job_no, id, created_at, packed FROM job WHERE ended_at IS NULL ORDER BY job_no"
        for job_no, job_id, created_at, packed in list(self.journal.rows(query)):
            submitted = self._without_forgotten(codec.decode(ev.JobSubmitted, unpack(packed).rules))
            self.book.enter(job_no, job_id, created_at)
            statuses, attempts = self._unit_books(job_no, submitted.size or 1)
            try:
                self.commit.apply(ev.JobRestored(submitted=submitted, statuses=statuses, attempts=attempts))
                self.control_plane.widen_quota(submitted)
            except (InvalidInput, NotFound) as error:  # the region was killed before it could withdraw the job's row
                self.book.drop(job_no)
                self.journal.write(DELETE_JOB, (job_no,))
                say(f"job {job_id} was refused, and is removed from the journal: {error}")

    def _without_forgotten(self, submitted: ev.JobSubmitted) -> ev.JobSubmitted:
        """Recalls what a job depends on. A forgotten job has ended, and what its end meant here has been recorded."""
        found = []
        for dependency in submitted.dependencies:
            if dependency.job_no is not None:
                try:
                    self.book.recall(dependency.job_no)
                except NotFound:
                    continue
            found.append(dependency)
        return submitted if len(found) == len(submitted.dependencies) else replace(submitted, dependencies=tuple(found))

    def _unit_books(self, job_no: int, units: int) -> tuple[bytes, bytes]:
        """Status and number of attempts of each unit of a job that has not ended."""
        statuses, attempts = bytearray([_RUNNABLE]) * units, bytearray(units)
        query = "SELECT idx, MAX(attempt), SUM(stopped_at IS NULL) FROM attempt WHERE job_no = ? GROUP BY idx"
        for index, made, still_open in self.journal.rows(query, (job_no,)):
            attempts[index] = made
            if still_open:
                statuses[index] = _RUNNING
        for index, status in self.journal.rows("SELECT idx, status FROM unit WHERE job_no = ?", (job_no,)):
            statuses[index] = status
        return bytes(statuses), bytes(attempts)

    def _restore_stops(self) -> None:
        """A request accepted before the region stopped remains valid, even if it was not carried out."""
        query = "SELECT job_no, idx, kind, reason FROM stop JOIN job USING (job_no) WHERE job.ended_at IS NULL"
        for job_no, number, kind, reason in list(self.journal.rows(query)):
            index = None if number < 0 else number
            self.book.stops[job_no, index] = kind
            if self.scheduler.status(job_no, index).is_terminal:
                continue
            if kind == "cancelled":
                self.commit.apply(ev.JobCancelled(job_no=job_no, index=index, reason=reason))
            else:
                self.commit.apply(ev.JobTerminated(job_no=job_no, index=index, reason=reason))

    def _end_lost_attempts(self) -> None:
        """An attempt without an end was running when the region stopped: the retry strategy decides what follows."""
        query = (
            "SELECT job_no, idx, attempt, instance_id FROM job JOIN attempt USING (job_no) "
            "WHERE job.ended_at IS NULL AND attempt.stopped_at IS NULL"
        )
        for job_no, index, attempt, instance_id in list(self.journal.rows(query)):
            self.attempts.lost_before_the_start((job_no, index, attempt), instance_id)
