"""Queries AWS for what pages need, one or a few calls at a time, and updates the state. The poller decides when."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import DEFAULT_GROUP, LogEvent, Logs
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.artifact_store import run_id as run_id_of
from spotbatch.runs.bill import neighbours
from spotbatch.runs.control_story import ControlStory, read_story
from spotbatch.runs.lookup import job_ids, run_jobs
from spotbatch.web.account import account_of
from spotbatch.web.failure_rows import failure_rows
from spotbatch.web.job_graph import parents_of
from spotbatch.web.run_units import run_units
from spotbatch.web.scope import Scope, connect
from spotbatch.web.several_logs import SeveralLogs, chosen_indexes, merged
from spotbatch.web.state import State
from spotbatch.web.story import findings_of, story_of
from spotbatch.web.target import Target
from spotbatch.web.unit_records import UnitRecords

_KEPT_DAYS: Final = 7  # AWS Batch keeps ended jobs for about this long
_LIST_LIMIT: Final = 500
_STEPS_BACK: Final = 3
_IDS_A_CALL: Final = 100
_LOG_LINES: Final = 400
_LINES_EACH: Final = 200
_SEVERAL_KEPT: Final = 20
_FAILURE_LINES: Final = 5
_FAILURES_WITH_LOG: Final = 6
_LAST_LINES_KEPT: Final = 500
_ACCOUNTS_KEPT: Final = 50
_LOCAL_READ_SECONDS: Final = 2.0
_NEIGHBOURS_ASKED: Final = 500  # units of other jobs: five calls
_NEIGHBOURS_NOTE: Final = (
    "attempts of other jobs on the same hosts were not all read, so the share of this run may be too high; "
    "`spotbatch cost` asks for them"
)
_LOCAL_READERS: Final = 2


@dataclass(kw_only=True)
class Fetcher:
    """Reads into the state. Every method raises the errors of `session.client` and of its source."""

    state: State
    scope: Scope
    records: UnitRecords = field(init=False)
    now: Callable[[], float] = time.time
    is_local: Callable[[], bool] = session.is_local
    _neighbours: dict[Target, list[Job]] = field(default_factory=dict, init=False)
    _jobs: Jobs | None = field(default=None, init=False)
    _first: int = field(default=0, init=False)  # where the next turn starts among more jobs than fit into one call

    def __post_init__(self) -> None:
        self.records = UnitRecords(stack=self.scope.stack)

    @property
    def jobs(self) -> Jobs:
        """The AWS Batch client; recreated after `forget_clients`. Raises like `connect`."""
        if self._jobs is None:
            self._jobs = connect()
        return self._jobs

    def forget_clients(self) -> None:
        """Called if there was no answer: reconnect, perhaps to another place."""
        self._jobs = None

    def load(self, target: Target) -> None:
        """Load what a page needs that was never viewed. Raises NotFound if there is no such job."""
        if target.is_list:
            if not self.state.is_listed and self.scope.queue is not None:
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
        self._load_list()
        self._load_waited_for(self.state.members(target))
        if target.kind == "job" and self.state.find(target.id) is None:
            raise NotFound(f"there is no job {target.id} here (AWS Batch forgets a job about a week after its end)")
        if self.is_local():
            self.read_children(target, _LOCAL_READ_SECONDS)
        for job in self.arrays(self.state.members(target)):
            if not self.state.children_of(job).units:
                self._take(self.jobs.describe(self.state.children_of(job).wanted(_IDS_A_CALL)))
                break  # the rest in turns

    def _load_list(self) -> None:
        """The queue's jobs, once: those of a local region may wait for a page's."""
        if self.is_local() and not self.state.is_listed and self.scope.queue is not None:
            self.list_jobs()
            self._take(self.jobs.describe(self._listed_ids()[:_IDS_A_CALL]))

    def _load_waited_for(self, members: Sequence[Job]) -> None:
        """Describe the jobs that these wait for, and so on: a call for each step, up to three."""
        jobs = list(members)
        for _ in range(_STEPS_BACK):
            wanted = {parent for job in jobs for parent in parents_of(job) if self.state.find(parent) is None}
            if not wanted:
                return
            jobs = self.jobs.describe(sorted(wanted)[:_IDS_A_CALL])
            self._take(jobs)

    def read_children(self, target: Target, seconds: float) -> None:
        """Describe children of a page's arrays until all are known in their current status, or time is up.

        Two calls at a time: while one response is parsed, the region prepares the next.
        """
        until = time.monotonic() + seconds
        for job in self.arrays(self.state.members(target)):
            with self.state.lock:
                stale = self.state.children_of(job).stale()
            calls = [stale[start : start + _IDS_A_CALL] for start in range(0, len(stale), _IDS_A_CALL)]
            with ThreadPoolExecutor(max_workers=_LOCAL_READERS) as readers:
                for first in range(0, len(calls), _LOCAL_READERS):
                    if time.monotonic() > until:
                        return
                    for described in readers.map(self.jobs.describe, calls[first : first + _LOCAL_READERS]):
                        self._take(described)

    def list_jobs(self) -> bool:
        """List the queue's jobs since the last time; returns whether there are new ones."""
        if self.scope.queue is None:
            return False
        newest = max((each.created_at or 0.0 for each in self.state.listed.values()), default=0.0)
        since = max(self.now() - _KEPT_DAYS * 86400.0, newest - 60.0)  # a minute before: clocks and pages overlap
        before = set(self.state.listed)
        self.state.take_listed(self.jobs.created_after(self.scope.queue, since, limit=_LIST_LIMIT))
        if set(self.state.listed) == before:
            return False
        self.state.changed()
        return True

    def describe(self) -> bool:
        """Describe the next hundred jobs and children of open pages; returns whether anything changed."""
        return self._take(self.jobs.describe(self.next_ids()))

    def _take(self, described: list[Job]) -> bool:
        self.state.as_of = self.now()
        return self.state.take(described, self.now())

    def next_ids(self, *, dry: bool = False) -> list[str]:
        """What to describe in the next call: open jobs of the pages, then children in turn. `dry`: if any."""
        with self.state.lock:
            targets = [target for target, count in self.state.watched.items() if count > 0]
            members = [job for target in targets for job in self.state.members(target)]
            ids = [job.id for job in members if not job.status.is_terminal]
            if any(target.is_list for target in targets):
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
        """As many as fit, rotating if there are more."""
        if len(ids) <= room:
            return ids
        start = self._first = self._first % len(ids)
        self._first += room
        return (ids[start:] + ids[:start])[:room]

    def arrays(self, members: Iterable[Job]) -> list[Job]:
        """The arrays among them whose children are queried."""
        return [job for job in self.state.detailed(members) if job.array is not None]

    def _listed_ids(self) -> list[str]:
        """Jobs of the list that are not described yet, newest first, or that have not ended."""
        newest = sorted(self.state.listed.values(), key=lambda one: one.created_at or 0.0, reverse=True)
        known = {each.id: self.state.jobs.get(each.id) for each in newest}
        never = [job_id for job_id, job in known.items() if job is None]
        open_ids = [job_id for job_id, job in known.items() if job is not None and not job.status.is_terminal]
        return [*never, *open_ids]

    def list_some(self, array_id: str) -> None:
        """List children of an array in a status of which not all are known yet."""
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
        """Read which jobs a run currently has. Raises NotFound if there is no such run."""
        found = self._members(run_id)
        self._take(found)
        ids = tuple(job.id for job in found)
        if self.state.runs.get(run_id) != ids:
            self.state.runs[run_id] = ids
            self.state.changed()

    def _members(self, run_id: str) -> list[Job]:
        with self.state.lock:
            known = [job for job in self.state.jobs.values() if job.array_index is None and run_id_of(job) == run_id]
        if not known:
            ids = job_ids(run_id, jobs=self.jobs, stack=self.scope.stack, queue=self.scope.queue)
            known = self.jobs.describe(ids)
        if not known:
            raise NotFound(
                f"there is no run {run_id} here any more (AWS Batch forgets a job about a week after its end)"
            )
        return run_jobs(self.jobs, known[0], stack=self.scope.stack)

    def shown(self, target: Target) -> list[Job]:
        """The current jobs of a page, oldest first. Raises NotFound."""
        if target.kind == "run":
            self.read_members(target.id)
        ids = [target.id] if target.kind == "job" else list(self.state.runs.get(target.id, ()))
        found = self.jobs.describe(ids)
        if not found:
            raise NotFound(f"there is no job {target.id} here any more (AWS Batch forgets a job a week after its end)")
        return sorted(found, key=lambda job: job.created_at or 0.0)

    def run_of(self, job: Job) -> list[Job]:
        """All current jobs of a job's run, oldest first; for a child only itself."""
        return [job] if job.array_index is not None else run_jobs(self.jobs, job, stack=self.scope.stack)

    def account(self, target: Target) -> None:
        """Read the cost and hosts of a page's jobs."""
        with self.state.lock:
            members = self.state.members(target)
            units = list(self.state.units(members))
            own = {job.id for job in members}
            seen = [job for job in self.state.jobs.values() if job.parent_id not in own and job.array is None]
            children = [self.state.children_of(job) for job in self.arrays(members)]
            unread = sum(each.unread for each in children)
            is_over = all(job.status.is_terminal for job in members)
        others = self._others(target, members)
        account = account_of(units, seen if others is None else others, self.records, unread=unread, is_over=is_over)
        if others is None and is_over:
            account = replace(account, notes=(*account.notes, _NEIGHBOURS_NOTE))
        with self.state.lock:
            self.state.accounts[target.id] = account
            self.state.accounts.move_to_end(target.id)
            while len(self.state.accounts) > _ACCOUNTS_KEPT:
                self.state.accounts.popitem(last=False)
        self.state.changed()

    def trend(self, target: Target) -> None:
        """Read what trends show of an ended run. On AWS, a hundred children of an array are described each time."""
        self.load(target)
        with self.state.lock:
            stale = [
                each for job in self.arrays(self.state.members(target)) for each in self.state.children_of(job).stale()
            ]
        if stale and not self.is_local():
            self._take(self.jobs.describe(stale[:_IDS_A_CALL]))
        self.account(target)

    def _others(self, target: Target, members: Sequence[Job]) -> list[Job] | None:
        """Units of other jobs that may have shared the hosts, as in `spotbatch cost`; once for a run that is over.

        None if querying AWS for them would take many calls, or while work is running there.
        """
        is_over = all(job.status.is_terminal for job in members)
        if not self.is_local() and not (is_over and self._has_few_neighbours(members)):
            return None
        if not is_over or target not in self._neighbours:
            found = neighbours(self.jobs, members)
            kept = list(self._neighbours.items())[-_ACCOUNTS_KEPT:]
            self._neighbours = {**dict(kept), target: found}
        return self._neighbours[target]

    def _has_few_neighbours(self, members: Sequence[Job]) -> bool:
        own = {job.id for job in members}
        others = [each for each in self.state.listed.values() if each.id not in own]
        return self.state.is_listed and sum(each.array_size or 1 for each in others) <= _NEIGHBOURS_ASKED

    def control(self, target: Target, job: Job) -> None:
        """Read what the controller did with a run, and why."""
        try:
            found = read_story(job, self.scope.stack)
        except NotFound:
            return  # it has done nothing yet
        told = ControlStory.of(found) if found is not None else None
        with self.state.lock:
            if told is None or self.state.controls.get(target.id) == told:
                return
            self.state.controls[target.id] = told
            self.state.controls.move_to_end(target.id)
            while len(self.state.controls) > _ACCOUNTS_KEPT:
                self.state.controls.popitem(last=False)
        self.state.changed()

    def log(self, target: Target, job: Job) -> None:
        """Read the last lines of an attempt's log: of the attempt named by the page, or the last one."""
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

    def several_logs(self, target: Target) -> None:
        """Read the last lines of the logs of some children together: a call for each child."""
        with self.state.lock:
            units = run_units(self.state.members(target))
            indexes = chosen_indexes(units, self.state.find, target.children)
            ids = {index: unit_id for index in indexes if (unit_id := units.unit_id(index)) is not None}
            open_ids = [each for each in ids.values() if not self._has_ended(each)]
        if open_ids:
            self._take(self.jobs.describe(open_ids))
        found = {index: unit for index, unit_id in ids.items() if (unit := self.state.find(unit_id)) is not None}
        lines = merged([(index, self._tail(unit, _LINES_EACH)) for index, unit in found.items()])
        told = SeveralLogs(
            children=tuple((index, unit.id, unit.status.value) for index, unit in found.items()), lines=lines
        )
        if self.state.several.get(target) != told:
            with self.state.lock:
                self.state.several[target] = told
                self.state.several.move_to_end(target)
                while len(self.state.several) > _SEVERAL_KEPT:
                    self.state.several.popitem(last=False)
            self.state.changed()

    def _has_ended(self, unit_id: str) -> bool:
        unit = self.state.find(unit_id)
        return unit is not None and unit.status.is_terminal

    def _tail(self, unit: Job, lines: int) -> list[LogEvent]:
        """The last lines of a unit's newest log; none if there are none yet."""
        stream = unit.attempts[-1].log_stream if unit.attempts else unit.log_stream
        if not stream:
            return []
        try:
            return Logs(group=unit.log_group or DEFAULT_GROUP, logs=session.client("logs")).tail(stream, lines)
        except NotFound:
            return []

    def failure_logs(self, target: Target) -> None:
        """Read the last lines of one log per failure reason on a page; each log is read once."""
        for unit in self.lacking_lines(target):
            found = self._tail(unit, _FAILURE_LINES)
            kept = list(self.state.last_lines.items())[-_LAST_LINES_KEPT:]
            self.state.last_lines = {**dict(kept), unit.id: tuple(line.text for line in found)}
            self.state.changed()

    def lacking_lines(self, target: Target) -> list[Job]:
        """The first unit for each of a page's most frequent failure reasons whose log was not read."""
        with self.state.lock:
            members = self.state.members(target)
            standing = run_units(members)
            failed = [unit for unit in self.state.units(members) if unit.status is JobStatus.FAILED]
        rows = failure_rows([unit for unit in failed if standing.stands(unit)], {}, {})[:_FAILURES_WITH_LOG]
        lacking = {row.example for row in rows} - self.state.last_lines.keys()
        return [unit for unit in failed if unit.id in lacking]

    def story(self, job: Job) -> None:
        """Read what the runtime's records say."""
        self.state.detail(job.id).story = story_of(job, self.records)
        self.state.changed()

    def findings(self, job: Job) -> None:
        """Read the doctor's findings."""
        self.state.detail(job.id).findings = findings_of(self.jobs, job)
        self.state.changed()


def log_key(target: Target) -> str:
    """The state's key for the log of a page's attempt."""
    return f"{target.id}#{target.attempt or ''}"
