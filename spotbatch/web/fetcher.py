"""Asks AWS for what pages need, a call or a few at a time, and puts it into the state. When, the poller decides."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import DEFAULT_GROUP, Logs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.web.sources import Sources
from spotbatch.web.state import State, Target

_KEPT_DAYS: Final = 7  # AWS Batch keeps ended jobs for about that long
_LIST_LIMIT: Final = 500
_IDS_A_CALL: Final = 100
_LOG_LINES: Final = 400
_ACCOUNTS_KEPT: Final = 50


@dataclass(kw_only=True)
class Fetcher:
    """Reads into the state. Every method raises the errors of `session.client`, and what its source raises."""

    state: State
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
            if not self.state.is_listed and self.sources.queue is not None:
                self.list_jobs()
                self._take(self.jobs.describe(self._listed_ids()[:_IDS_A_CALL]))
            return
        if target.kind == "run" and target.id not in self.state.runs:
            self.read_members(target.id)
        ids = [target.id] if target.kind == "job" else list(self.state.runs.get(target.id, ()))
        unknown = [each for each in ids if self.state.find(each) is None]
        if unknown:
            parents = [each.partition(":")[0] for each in unknown if ":" in each]
            self._take(self.jobs.describe([*unknown, *parents]))
        if target.kind == "job" and self.state.find(target.id) is None:
            raise NotFound(f"there is no job {target.id} here (AWS Batch forgets a job about a week after its end)")
        for job in self.arrays(self.state.members(target)):
            if not self.state.children_of(job).units:
                self._take(self.jobs.describe(self.state.children_of(job).wanted(_IDS_A_CALL)))
                break  # the rest in turns

    def list_jobs(self) -> bool:
        """The jobs of the queue that came since the last time; whether there are new ones."""
        if self.sources.queue is None:
            return False
        newest = max((each.created_at or 0.0 for each in self.state.listed.values()), default=0.0)
        since = max(self.now() - _KEPT_DAYS * 86400.0, newest - 60.0)  # a minute before: clocks and pages overlap
        before = set(self.state.listed)
        self.state.take_listed(self.jobs.created_after(self.sources.queue, since, limit=_LIST_LIMIT))
        if set(self.state.listed) == before:
            return False
        self.state.changed()
        return True

    def describe(self) -> bool:
        """The next hundred jobs and children of the pages that are open; whether anything changed."""
        return self._take(self.jobs.describe(self.next_ids()))

    def _take(self, described: list[Job]) -> bool:
        self.state.as_of = self.now()
        return self.state.take(described, self.now())

    def next_ids(self, *, dry: bool = False) -> list[str]:
        """What to describe in the next call: open jobs of the pages, then children in their turn. `dry`: if any."""
        with self.state.lock:
            targets = [target for target, count in self.state.watched.items() if count > 0]
            members = [job for target in targets if target.kind != "list" for job in self.state.members(target)]
            ids = [job.id for job in members if not job.status.is_terminal]
            if any(target.kind == "list" for target in targets):
                ids += self._listed_ids()
            arrays = [job for job in self.arrays(members) if not self.state.children_of(job).is_all_seen]
            if dry:
                return ids or [job.id for job in arrays]
            ids = self._in_turn(list(dict.fromkeys(ids)), _IDS_A_CALL // 2 if arrays else _IDS_A_CALL)
            for place, job in enumerate(arrays):
                room = (_IDS_A_CALL - len(ids)) // (len(arrays) - place)
                ids += self.state.children_of(job).wanted(room)
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
        return [job for job in self.state.detailed(members) if job.array is not None]

    def _listed_ids(self) -> list[str]:
        """Jobs of the list that are not described yet, the newest first, or that still go on."""
        newest = sorted(self.state.listed.values(), key=lambda one: one.created_at or 0.0, reverse=True)
        known = {each.id: self.state.jobs.get(each.id) for each in newest}
        never = [job_id for job_id, job in known.items() if job is None]
        open_ids = [job_id for job_id, job in known.items() if job is not None and not job.status.is_terminal]
        return [*never, *open_ids]

    def list_some(self, array_id: str) -> None:
        """Children of an array in a status of which not all are known yet."""
        job = self.state.find(array_id)
        if job is None or (status := self.state.children_of(job).lacking()) is None:
            return
        found = self.jobs.children(array_id, status)
        with self.state.lock:
            for child in found:
                if child.array_index is not None:
                    self.state.children_of(job).take_status(child.array_index, status)
        self.state.changed()

    def read_members(self, run_id: str) -> None:
        """Which jobs a run has; those that were not known are described."""
        ids = tuple(self.sources.members(self.jobs, run_id))
        unknown = [each for each in ids if self.state.find(each) is None]
        if unknown:
            self._take(self.jobs.describe(unknown))
        if self.state.runs.get(run_id) != ids:
            self.state.runs[run_id] = ids
            self.state.changed()

    def account(self, target: Target) -> None:
        """The money and the hosts of a page's jobs."""
        with self.state.lock:
            members = self.state.members(target)
            units = list(self.state.units(members))
            own = {job.id for job in members}
            others = [job for job in self.state.jobs.values() if job.parent_id not in own and job.array is None]
            children = [self.state.children_of(job) for job in self.arrays(members)]
            unread = sum(each.unread for each in children)
            is_over = all(job.status.is_terminal for job in members)
        account = replace(self.sources.account(units, others), unread=unread, is_over=is_over)
        with self.state.lock:
            self.state.accounts[target.id] = account
            self.state.accounts.move_to_end(target.id)
            while len(self.state.accounts) > _ACCOUNTS_KEPT:
                self.state.accounts.popitem(last=False)
        self.state.changed()

    def log(self, target: Target, job: Job) -> None:
        """The last lines of an attempt's log: of the one that the page names, or of the last."""
        streams = [attempt.log_stream for attempt in job.attempts]
        chosen = streams[target.attempt - 1] if target.attempt and target.attempt <= len(streams) else None
        stream = chosen or (streams[-1] if streams else job.log_stream)
        detail = self.state.detail(log_key(target))
        if not stream:
            return
        logs = Logs(group=job.log_group or DEFAULT_GROUP, logs=session.client("logs"))
        try:
            found, note = logs.tail(stream, _LOG_LINES), ""
        except NotFound as error:
            found, note = [], str(error)
        if (detail.log, detail.log_stream, detail.log_note) != (found, stream, note):
            detail.log, detail.log_stream, detail.log_note = found, stream, note
            self.state.changed()

    def story(self, job: Job) -> None:
        """What the runtime's records tell."""
        self.state.detail(job.id).story = self.sources.story(job)
        self.state.changed()

    def findings(self, job: Job) -> None:
        """What the doctor says."""
        self.state.detail(job.id).findings = self.sources.findings(self.jobs, job)
        self.state.changed()


def log_key(target: Target) -> str:
    """Where the state keeps the log of a page's attempt."""
    return f"{target.id}#{target.attempt or ''}"
