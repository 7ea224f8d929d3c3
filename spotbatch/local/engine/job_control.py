"""Submission, stops and ends of jobs: the rows for them, and the scheduler's part."""

from dataclasses import replace
from typing import Final

from spotbatch.batch.errors import NotFound, SpotbatchError
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import STATUSES
from spotbatch.local.contract import Submission
from spotbatch.local.engine import codec
from spotbatch.local.engine.control_plane import ControlPlane, to_json
from spotbatch.local.engine.group_commit import GroupCommit
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.packing import JobTexts, definition_of, pack

_INSERT_JOB: Final = (
    "INSERT INTO job (job_no, id, name, queue, created_at, log_group, definition, share, packed) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_CONSUMING: Final = "INSERT OR IGNORE INTO consuming (consumable, job_no) VALUES (?, ?)"
DELETE_JOB: Final = "DELETE FROM job WHERE job_no = ?"
_JOB_ENDED: Final = (
    "UPDATE job SET status = ?, status_reason = ?, ended_at = ?, statuses = ?, attempts = ? WHERE job_no = ?"
)


class JobControl:
    """SubmitJob, CancelJob and TerminateJob, each on disk before the scheduler sees it."""

    def __init__(
        self, *, commit: GroupCommit, scheduler: Scheduler, book: JobBook, control_plane: ControlPlane
    ) -> None:
        self._commit = commit
        self._scheduler = scheduler
        self._book = book
        self._control_plane = control_plane
        commit.carry_out(
            {
                ev.UnitEnded: self._unit_ended,
                ev.JobEnded: self._job_ended,
                ev.AttemptRetried: _nothing_more,  # recorded by the ended attempt's row
                ev.UnitsReleased: _nothing_more,  # recorded by the dependencies' rows
            }
        )

    # ---- submission ----

    async def submit(self, submission: Submission) -> None:
        """Accept a job. Returns once it is on disk. Raises NotFound, InvalidInput or Unavailable, changing nothing."""
        if not self._scheduler.has_queue(submission.queue):
            raise NotFound(f"there is no job queue {submission.queue!r} to take job {submission.job_id}")
        job_no = self._book.new_number()
        rules = replace(submission.rules, job_no=job_no, dependencies=self._resolved(submission))
        texts = JobTexts(
            rules=codec.encode(rules),
            container=codec.encode(submission.container),
            described=to_json(submission.described),
        )
        row = (
            job_no,
            submission.job_id,
            submission.name,
            submission.queue,
            submission.created_at,
            submission.container.log_group,
            definition_of(str(submission.described.get("jobDefinition", ""))),
            rules.share,
            pack(texts),
        )
        uses = [(_INSERT_CONSUMING, (need.name, job_no)) for need in rules.consumables]
        await self._commit.accept((_INSERT_JOB, row), *uses, then=lambda: self._take(rules, submission))

    def _take(self, rules: ev.JobSubmitted, submission: Submission) -> None:
        try:
            for dependency in rules.dependencies:
                if dependency.job_no is not None:
                    self._book.recall(dependency.job_no)  # it may have been evicted since it was looked up
        except NotFound:  # or forgotten
            self._commit.write(DELETE_JOB, (rules.job_no,))
            raise
        self._book.enter(rules.job_no, submission.job_id, submission.created_at)
        self._control_plane.widen_quota(rules)
        try:
            self._commit.apply(rules)
        except SpotbatchError:
            self._book.drop(rules.job_no)
            self._commit.write(DELETE_JOB, (rules.job_no,))
            raise

    def _resolved(self, submission: Submission) -> tuple[ev.ResolvedDependency, ...]:
        found = []
        for dependency, job_id in zip(submission.rules.dependencies, submission.depends_on_ids, strict=True):
            if job_id:
                job_no, index = self._book.locate(job_id)
                found.append(replace(dependency, job_no=job_no, index=index))
            else:
                found.append(dependency)
        return tuple(found)

    # ---- stops ----

    async def cancel(self, job_id: str, reason: str) -> None:
        """Cancel what has not started. Returns once that is on disk. Raises NotFound or Unavailable."""
        job_no, index = self._book.locate(job_id)
        await self._stop("cancelled", ev.JobCancelled(job_no=job_no, index=index, reason=reason))

    async def terminate(self, job_id: str, reason: str) -> None:
        """Stop it whatever its status. Returns once that is on disk. Raises NotFound or Unavailable."""
        job_no, index = self._book.locate(job_id)
        await self._stop("terminated", ev.JobTerminated(job_no=job_no, index=index, reason=reason))

    async def _stop(self, kind: str, event: ev.JobCancelled | ev.JobTerminated) -> None:
        """Only a job that has not ended can be stopped: a late call has no effect (API reference, TerminateJob)."""
        if not self._can_stop(kind, event):
            self._commit.settle()
            return
        stops = self._book.stops
        unit = (event.job_no, -1 if event.index is None else event.index)

        def stop() -> None:
            if self._can_stop(kind, event):  # check again: writing took time
                stops[event.job_no, event.index] = kind
                self._commit.apply(event)
            elif (event.job_no, event.index) not in stops:
                self._commit.write("DELETE FROM stop WHERE job_no = ? AND idx = ?", unit)

        row = (*unit, kind, event.reason)
        await self._commit.accept(("INSERT OR REPLACE INTO stop VALUES (?, ?, ?, ?)", row), then=stop)

    def _can_stop(self, kind: str, event: ev.JobCancelled | ev.JobTerminated) -> bool:
        status = self._scheduler.status(event.job_no, event.index)
        return not status.is_terminal if kind == "terminated" else status.is_cancellable

    # ---- ends ----

    def _unit_ended(self, command: ev.UnitEnded) -> None:
        status = STATUSES.index(command.status)
        row = (command.job_no, command.index, status, command.status_reason, self._commit.at)
        self._commit.journal.write("INSERT OR REPLACE INTO unit VALUES (?, ?, ?, ?, ?)", row)

    def _job_ended(self, command: ev.JobEnded) -> None:
        job_no = command.job_no
        statuses, attempts = self._scheduler.statuses(job_no), self._scheduler.attempts(job_no)
        status = STATUSES.index(command.status)
        row = (status, command.status_reason, self._commit.at, statuses, attempts, job_no)
        self._commit.journal.write(_JOB_ENDED, row)
        self._commit.after_commit(lambda: self._book.ended(job_no))


def _nothing_more(command: ev.Command) -> None:
    """No row is written and nothing else follows."""
