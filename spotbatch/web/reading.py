"""Asks AWS for what pages need, a call or a few at a time, and puts it on the board. When, the poller decides."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import DEFAULT_GROUP, Logs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.web.board import Board, Target
from spotbatch.web.sources import Sources

_KEPT_DAYS: Final = 7  # AWS Batch keeps ended jobs for about that long
_LIST_LIMIT: Final = 500
_IDS_A_CALL: Final = 100
_LOG_LINES: Final = 400
_ACCOUNTS_KEPT: Final = 50


@dataclass(kw_only=True)
class Reader:
    """Reads onto the board. Every method raises the errors of `session.client`, and what its source raises."""

    board: Board
    sources: Sources
    now: Callable[[], float] = time.time
    _jobs: Jobs | None = field(default=None, init=False)
    _first: int = field(default=0, init=False)  # where the next turn begins among more jobs than fit into one call

    @property
    def jobs(self) -> Jobs:
        """The client of AWS Batch; made anew after `forget_clients`. Raises as `Sources.connect`."""
        if self._jobs is None:
            self._jobs = self.sources.connect()
        return self._jobs

    def forget_clients(self) -> None:
        """There was no answer: connect anew, perhaps to another place."""
        self._jobs = None

    def load(self, target: Target) -> None:
        """What a page needs that was never looked at. Raises NotFound where there is no such job."""
        if target.kind == "list":
            if not self.board.is_listed and self.sources.queue is not None:
                self.list_jobs()
                self._take(self.jobs.describe(self._listed_ids()[:_IDS_A_CALL]))
            return
        if target.kind == "run" and target.id not in self.board.runs:
            self.read_members(target.id)
        ids = [target.id] if target.kind == "job" else list(self.board.runs.get(target.id, ()))
        unknown = [each for each in ids if self.board.find(each) is None]
        if unknown:
            parents = [each.partition(":")[0] for each in unknown if ":" in each]
            self._take(self.jobs.describe([*unknown, *parents]))
        if target.kind == "job" and self.board.find(target.id) is None:
            raise NotFound(f"there is no job {target.id} here (AWS Batch forgets a job about a week after its end)")
        for job in self.arrays(self.board.members(target)):
            if not self.board.family(job).units:
                self._take(self.jobs.describe(self.board.family(job).wanted(_IDS_A_CALL)))
                break  # the rest in turns

    def list_jobs(self) -> bool:
        """The jobs of the queue that came since the last time; whether there are new ones."""
        if self.sources.queue is None:
            return False
        newest = max((each.created_at or 0.0 for each in self.board.listed.values()), default=0.0)
        since = max(self.now() - _KEPT_DAYS * 86400.0, newest - 60.0)  # a minute before: clocks and pages overlap
        before = set(self.board.listed)
        self.board.take_listed(self.jobs.created_after(self.sources.queue, since, limit=_LIST_LIMIT))
        if set(self.board.listed) == before:
            return False
        self.board.changed()
        return True

    def describe(self) -> bool:
        """The next hundred jobs and children of the pages that are open; whether anything changed."""
        return self._take(self.jobs.describe(self.next_ids()))

    def _take(self, described: list[Job]) -> bool:
        self.board.as_of = self.now()
        return self.board.take(described, self.now())

    def next_ids(self, *, dry: bool = False) -> list[str]:
        """What to describe in the next call: open jobs of the pages, then children in their turn. `dry`: if any."""
        with self.board.lock:
            targets = [target for target, count in self.board.watched.items() if count > 0]
            members = [job for target in targets if target.kind != "list" for job in self.board.members(target)]
            ids = [job.id for job in members if not job.status.is_terminal]
            if any(target.kind == "list" for target in targets):
                ids += self._listed_ids()
            arrays = [job for job in self.arrays(members) if not self.board.family(job).is_all_seen]
            if dry:
                return ids or [job.id for job in arrays]
            ids = self._in_turn(list(dict.fromkeys(ids)), _IDS_A_CALL // 2 if arrays else _IDS_A_CALL)
            for place, job in enumerate(arrays):
                room = (_IDS_A_CALL - len(ids)) // (len(arrays) - place)
                ids += self.board.family(job).wanted(room)
            return ids

    def _in_turn(self, ids: list[str], room: int) -> list[str]:
        """As many as there is room for, others each time when there are more."""
        if len(ids) <= room:
            return ids
        start = self._first = self._first % len(ids)
        self._first += room
        return (ids[start:] + ids[:start])[:room]

    def arrays(self, members: Iterable[Job]) -> list[Job]:
        """The arrays among them whose children are asked about."""
        return [job for job in self.board.detailed(members) if job.array is not None]

    def _listed_ids(self) -> list[str]:
        """Jobs of the list that are not described yet, the newest first, or that still go on."""
        newest = sorted(self.board.listed.values(), key=lambda one: one.created_at or 0.0, reverse=True)
        known = {each.id: self.board.jobs.get(each.id) for each in newest}
        never = [job_id for job_id, job in known.items() if job is None]
        open_ids = [job_id for job_id, job in known.items() if job is not None and not job.status.is_terminal]
        return [*never, *open_ids]

    def list_some(self, array_id: str) -> None:
        """Children of an array in a status of which not all are known yet."""
        job = self.board.find(array_id)
        if job is None or (status := self.board.family(job).lacking()) is None:
            return
        found = self.jobs.children(array_id, status)
        with self.board.lock:
            for child in found:
                if child.array_index is not None:
                    self.board.family(job).take_status(child.array_index, status)
        self.board.changed()

    def read_members(self, run_id: str) -> None:
        """Which jobs a run has; those that were not known are described."""
        ids = tuple(self.sources.members(self.jobs, run_id))
        unknown = [each for each in ids if self.board.find(each) is None]
        if unknown:
            self._take(self.jobs.describe(unknown))
        if self.board.runs.get(run_id) != ids:
            self.board.runs[run_id] = ids
            self.board.changed()

    def account(self, target: Target) -> None:
        """The money and the hosts of a page's jobs."""
        with self.board.lock:
            members = self.board.members(target)
            units = list(self.board.units(members))
            own = {job.id for job in members}
            others = [job for job in self.board.jobs.values() if job.parent_id not in own and job.array is None]
        account = self.sources.account(units, others)
        with self.board.lock:
            self.board.accounts[target.id] = account
            self.board.accounts.move_to_end(target.id)
            while len(self.board.accounts) > _ACCOUNTS_KEPT:
                self.board.accounts.popitem(last=False)
        self.board.changed()

    def log(self, target: Target, job: Job) -> None:
        """The last lines of an attempt's log: of the one that the page names, or of the last."""
        streams = [attempt.log_stream for attempt in job.attempts]
        chosen = streams[target.attempt - 1] if target.attempt and target.attempt <= len(streams) else None
        stream = chosen or (streams[-1] if streams else job.log_stream)
        detail = self.board.detail(log_key(target))
        if not stream:
            return
        logs = Logs(group=job.log_group or DEFAULT_GROUP, logs=session.client("logs"))
        try:
            found, note = logs.tail(stream, _LOG_LINES), ""
        except NotFound as error:
            found, note = [], str(error)
        if (detail.log, detail.log_stream, detail.log_note) != (found, stream, note):
            detail.log, detail.log_stream, detail.log_note = found, stream, note
            self.board.changed()

    def story(self, job: Job) -> None:
        """What the runtime's records tell."""
        self.board.detail(job.id).story = self.sources.story(job)
        self.board.changed()

    def findings(self, job: Job) -> None:
        """What the doctor says."""
        self.board.detail(job.id).findings = self.sources.findings(self.jobs, job)
        self.board.changed()


def log_key(target: Target) -> str:
    """Where the board keeps the log of a page's attempt."""
    return f"{target.id}#{target.attempt or ''}"
