"""The one who asks AWS, for all browsers: one thing at a time, under one call a second, and nothing while nobody looks.

Each turn does what is most overdue. It waits longer while nothing changes, and when there is no answer; what is known
stays on the pages meanwhile, with a line that says so.
"""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import DEFAULT_GROUP, Logs
from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.board import Board, Target
from spotbatch.web.pace import Pace
from spotbatch.web.sources import Sources

_SHORTEST_SECONDS: Final = 1.1
_LONGEST_SECONDS: Final = 6.0
_LIST_SECONDS: Final = 4.0
_LACKING_SECONDS: Final = 2.5
_MEMBERS_SECONDS: Final = 30.0
_ACCOUNT_SECONDS: Final = 8.0
_LOG_SECONDS: Final = 2.5
_STORY_SECONDS: Final = 10.0
_FINDINGS_SECONDS: Final = 45.0
_RESTING_SECONDS: Final = 60.0  # what has ended is looked at again now and then: its hosts may still run
_REST_FACTOR: Final = 5.0  # a bill that takes long to make is made less often
_REFUSED_SECONDS: Final = 300.0  # what we may not ask for is not asked again soon
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LONGEST_PAUSE_LOCAL_SECONDS: Final = 3.0
_IDLE_SECONDS: Final = 3600.0
_KEPT_DAYS: Final = 7  # AWS Batch keeps ended jobs for about that long
_LIST_LIMIT: Final = 500
_IDS_A_CALL: Final = 100
_LOG_LINES: Final = 400
_ACCOUNTS_KEPT: Final = 50
_WAITING_FOR_LOCK_SECONDS: Final = 5.0
_GOES_ON: Final = (JobStatus.STARTING, JobStatus.RUNNING)
_WAITS: Final = frozenset({JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE, JobStatus.STARTING})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ask:
    """Something to ask for, how often, and how it is done."""

    key: tuple[str, object]
    seconds: float
    do: Callable[[], None]


@dataclass(kw_only=True)
class Poller:
    """Fills the board. `turn` is one step; `run` takes turns until `close`, in a thread of its own."""

    board: Board
    sources: Sources
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    pace: Pace = field(init=False)
    _jobs: Jobs | None = field(default=None, init=False)
    _due: dict[tuple[str, object], float] = field(default_factory=dict, init=False)
    _stamps: dict[Target, object] = field(default_factory=dict, init=False)
    _first: int = field(default=0, init=False)  # where the next turn begins among more jobs than fit into one call
    _describe_seconds: float = field(default=_SHORTEST_SECONDS, init=False)
    _pause_seconds: float = field(default=0.0, init=False)
    _asking: threading.RLock = field(default_factory=threading.RLock, init=False)
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _is_closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.pace = Pace(calls_made=session.calls_made, clock=self.clock)

    def run(self) -> None:
        """Take turns until `close`."""
        while not self._is_closed:
            self._wake.wait(self._safe_turn())
            self._wake.clear()

    def _safe_turn(self) -> float:
        try:
            return self.turn()
        except Exception as error:  # noqa: BLE001 - whatever it is, pages must say so rather than silently stand still
            traceback.print_exc()
            return self._lost(Unavailable(f"a bug of spotbatch, please report it: {error!r}"))

    def close(self) -> None:
        """End `run` after its present turn."""
        self._is_closed = True
        self._wake.set()

    def wake(self) -> None:
        """Somebody looks at something: do not wait."""
        self._wake.set()

    def soon(self) -> None:
        """Something was changed by us: ask again at once, for everything."""
        self._due.clear()
        self._describe_seconds = _SHORTEST_SECONDS
        self._wake.set()

    def turn(self) -> float:
        """Do what is most overdue, if anything is and the pace allows; gives the seconds until the next turn."""
        asks = list(self._asks())
        if not asks:
            return _IDLE_SECONDS
        clock = self.clock()
        self._due = {key: at for key, at in self._due.items() if at > clock}
        first = min(asks, key=lambda ask: self._due.get(ask.key, 0.0))
        wait = max(self._due.get(first.key, 0.0) - clock, self.pace.wait_seconds())
        if wait > 0:
            return wait
        with self._asking:
            return self._try(first)

    def _try(self, ask: _Ask) -> float:
        try:
            ask.do()
        except Unavailable as error:
            if session.may_pass(error) or ask.key[0] in ("list", "describe", "connect"):
                return self._lost(error)
            self._due[ask.key] = self.clock() + _REFUSED_SECONDS
            return 0.0
        except SpotbatchError:
            self._due[ask.key] = self.clock() + _RESTING_SECONDS
            return 0.0
        self._found()
        seconds = self._describe_seconds if ask.key[0] == "describe" else ask.seconds
        self._due[ask.key] = max(self._due.get(ask.key, 0.0), self.clock() + seconds)
        return 0.0

    def _found(self) -> None:
        self._pause_seconds = 0.0
        self.board.as_of = self.now()
        if self.board.trouble:
            self.board.trouble = ""
            self.board.changed()

    def _lost(self, error: SpotbatchError) -> float:
        """No answer: say so, make new clients next time, and wait longer each time."""
        self._jobs = None
        longest = _LONGEST_PAUSE_LOCAL_SECONDS if session.is_local() else _LONGEST_PAUSE_SECONDS
        self._pause_seconds = min(max(1.0, self._pause_seconds * 2), longest)
        trouble = str(error)
        if self.board.trouble != trouble:
            self.board.trouble = trouble
            self.board.changed()
        return self._pause_seconds

    @property
    def jobs(self) -> Jobs:
        """The client of AWS Batch; made anew after there was no answer. Raises as `Sources.connect`."""
        if self._jobs is None:
            self._jobs = self.sources.connect()
        return self._jobs

    def load(self, target: Target) -> None:
        """What a page needs that was never looked at, at once. Raises NotFound; without an answer the board says so."""
        if not self._asking.acquire(timeout=_WAITING_FOR_LOCK_SECONDS):
            return
        try:
            self._load(target)
        except Unavailable as error:
            self._lost(error)
        finally:
            self._asking.release()

    def _load(self, target: Target) -> None:
        if target.kind == "list":
            if not self.board.is_listed and self.sources.queue is not None:
                self._list()
                self._describe()
            return
        if target.kind == "run" and target.id not in self.board.runs:
            self._members(target.id)
        ids = [target.id] if target.kind == "job" else list(self.board.runs.get(target.id, ()))
        unknown = [each for each in ids if self.board.find(each) is None]
        if unknown:
            parents = [each.partition(":")[0] for each in unknown if ":" in each]
            self._take(self.jobs.describe([*unknown, *parents]))
        if target.kind == "job" and self.board.find(target.id) is None:
            raise NotFound(f"there is no job {target.id} here (AWS Batch forgets a job about a week after its end)")
        for job in self._arrays(self.board.members(target)):
            if not self.board.family(job).units:
                self._take(self.jobs.describe(self.board.family(job).wanted(_IDS_A_CALL)))
                break  # the rest in turns

    # ---- what there is to ask for, for the pages that are open ----

    def _asks(self) -> Iterator[_Ask]:
        with self.board.lock:
            targets = [target for target, count in self.board.watched.items() if count > 0]
        for target in targets:
            if target.kind == "list":
                if self.sources.queue is not None:
                    yield _Ask(key=("list", ""), seconds=_LIST_SECONDS, do=self._list)
            else:
                yield from self._asks_of(target)
        if targets and self._next_ids(dry=True):
            yield _Ask(key=("describe", ""), seconds=_SHORTEST_SECONDS, do=self._describe)

    def _asks_of(self, target: Target) -> Iterator[_Ask]:
        with self.board.lock:
            members = self.board.members(target)
            stamp = tuple((unit.status, len(unit.attempts)) for unit in self.board.units(members))
            lacking = [job.id for job in self._arrays(members) if self.board.family(job).lacking()]
        if target.kind == "run":
            yield _Ask(key=("members", target.id), seconds=_MEMBERS_SECONDS, do=lambda: self._members(target.id))
        for array_id in lacking:
            yield _Ask(key=("lacking", array_id), seconds=_LACKING_SECONDS, do=partial(self._list_some, array_id))
        if not members:
            return
        is_resting = self._stamps.get(target) == hash(stamp) and all(job.status.is_terminal for job in members)
        seconds = _RESTING_SECONDS if is_resting else _ACCOUNT_SECONDS
        key = ("account", (target, is_resting))
        yield _Ask(key=key, seconds=seconds, do=partial(self._account, target, key))
        if len(members) == 1:
            yield from self._asks_of_one(target, members[0])

    def _asks_of_one(self, target: Target, job: Job) -> Iterator[_Ask]:
        has_ended = job.status.is_terminal
        state = (job.id, job.status, len(job.attempts), target.attempt)
        slow = _IDLE_SECONDS if has_ended else 0.0
        if job.array is None:
            yield _Ask(key=("log", state), seconds=max(slow, _LOG_SECONDS), do=lambda: self._log(target, job))
            yield _Ask(key=("story", state), seconds=max(slow, _STORY_SECONDS), do=lambda: self._story(job))
        if needs_findings(job):
            key = ("findings", (job.id, job.status))
            yield _Ask(key=key, seconds=max(slow, _FINDINGS_SECONDS), do=lambda: self._findings(job))

    def _next_ids(self, *, dry: bool = False) -> list[str]:
        """What to describe in the next call: open jobs of the pages, then children in their turn. `dry`: if any."""
        with self.board.lock:
            targets = [target for target, count in self.board.watched.items() if count > 0]
            members = [job for target in targets if target.kind != "list" for job in self.board.members(target)]
            ids = [job.id for job in members if not job.status.is_terminal]
            if any(target.kind == "list" for target in targets):
                ids += self._listed_ids()
            arrays = [job for job in self._arrays(members) if not self.board.family(job).is_all_seen]
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

    def _arrays(self, members: Iterable[Job]) -> list[Job]:
        return [job for job in self.board.detailed(members) if job.array is not None]

    def _listed_ids(self) -> list[str]:
        """Jobs of the list that are not described yet, the newest first, or that still go on."""
        newest = sorted(self.board.listed.values(), key=lambda one: one.created_at or 0.0, reverse=True)
        known = {each.id: self.board.jobs.get(each.id) for each in newest}
        never = [job_id for job_id, job in known.items() if job is None]
        open_ids = [job_id for job_id, job in known.items() if job is not None and not job.status.is_terminal]
        return [*never, *open_ids]

    # ---- asking ----

    def _list(self) -> None:
        queue = self.sources.queue
        if queue is None:
            return
        newest = max((each.created_at or 0.0 for each in self.board.listed.values()), default=0.0)
        since = max(self.now() - _KEPT_DAYS * 86400.0, newest - 60.0)  # a minute before: clocks and pages overlap
        before = set(self.board.listed)
        self.board.take_listed(self.jobs.created_after(queue, since, limit=_LIST_LIMIT))
        if set(self.board.listed) != before:
            self._due.pop(("describe", ""), None)
            self.board.changed()

    def _describe(self) -> None:
        changed = self._take(self.jobs.describe(self._next_ids()))
        self._describe_seconds = _SHORTEST_SECONDS if changed else min(self._describe_seconds * 1.3, _LONGEST_SECONDS)

    def _take(self, described: list[Job]) -> bool:
        self.board.as_of = self.now()
        return self.board.take(described, self.now())

    def _list_some(self, array_id: str) -> None:
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

    def _members(self, run_id: str) -> None:
        ids = tuple(self.sources.members(self.jobs, run_id))
        unknown = [each for each in ids if self.board.find(each) is None]
        if unknown:
            self._take(self.jobs.describe(unknown))
        if self.board.runs.get(run_id) != ids:
            self.board.runs[run_id] = ids
            self.board.changed()

    def _account(self, target: Target, key: tuple[str, object]) -> None:
        with self.board.lock:
            members = self.board.members(target)
            units = list(self.board.units(members))
            own = {job.id for job in members}
            others = [job for job in self.board.jobs.values() if job.parent_id not in own and job.array is None]
        stamp = hash(tuple((unit.status, len(unit.attempts)) for unit in units))
        began = self.clock()
        account = self.sources.account(units, others)
        with self.board.lock:
            self.board.accounts[target.id] = account
            self.board.accounts.move_to_end(target.id)
            while len(self.board.accounts) > _ACCOUNTS_KEPT:
                self.board.accounts.popitem(last=False)
        self._stamps[target] = stamp
        self._due[key] = self.clock() + _REST_FACTOR * (self.clock() - began)
        self.board.changed()

    def _log(self, target: Target, job: Job) -> None:
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

    def _story(self, job: Job) -> None:
        self.board.detail(job.id).story = self.sources.story(job)
        self.board.changed()

    def _findings(self, job: Job) -> None:
        self.board.detail(job.id).findings = self.sources.findings(self.jobs, job)
        self.board.changed()


def needs_findings(job: Job) -> bool:
    """Whether the doctor is asked: of what waits, and of a job that FAILED; an array's failures are told beside it."""
    if job.array is None:
        return job.status in _WAITS or job.status is JobStatus.FAILED
    summary = job.array.status_summary
    return not job.status.is_terminal and not any(summary.get(each) for each in _GOES_ON)


def log_key(target: Target) -> str:
    """Where the board keeps the log of a page's attempt."""
    return f"{target.id}#{target.attempt or ''}"
