"""When AWS is queried, for all browsers: one thing at a time, under one call per second, and nothing while unwatched.

Each turn does what is most overdue. It waits longer while nothing changes, and while there is no answer; the pages
then keep showing what is known, with a line that says so.
"""

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from spotbatch.aws import session
from spotbatch.batch.errors import SpotbatchError, Unavailable
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.runs.control_story import is_controlled
from spotbatch.web.choice import Choice
from spotbatch.web.fetcher import Fetcher
from spotbatch.web.rate_limit import RateLimit
from spotbatch.web.run_list import run_rows
from spotbatch.web.scope import Scope
from spotbatch.web.state import State
from spotbatch.web.target import Target
from spotbatch.web.trends import ended_rows

_SHORTEST_SECONDS: Final = 1.1
_LONGEST_SECONDS: Final = 6.0
_LIST_SECONDS: Final = 4.0
_LACKING_SECONDS: Final = 2.5
_MEMBERS_SECONDS: Final = 30.0
_ACCOUNT_SECONDS: Final = 8.0
_TREND_SECONDS: Final = 20.0
_LOG_SECONDS: Final = 2.5
_STORY_SECONDS: Final = 10.0
_FINDINGS_SECONDS: Final = 45.0
_RESTING_SECONDS: Final = 60.0  # ended work is rechecked now and then: its hosts may still run, and log lines arrive
_REST_FACTOR: Final = 5.0  # slow queries are made less often
_AGAIN_SECONDS: Final = 10.0
_REFUSED_SECONDS: Final = 300.0  # refused queries are not soon repeated
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LONGEST_PAUSE_LOCAL_SECONDS: Final = 3.0
_LOCAL_READ_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 3600.0
_WAITING_FOR_LOCK_SECONDS: Final = 5.0
_ESSENTIAL: Final = frozenset({"jobs", "progress"})  # without these a page does not update
_GOES_ON: Final = (JobStatus.STARTING, JobStatus.RUNNING)
_WAITS: Final = frozenset({JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE, JobStatus.STARTING})

Key = tuple[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ask:
    """Something to query, how often, and how. The key begins with its display name."""

    key: Key
    seconds: float
    do: Callable[[], object]


@dataclass(kw_only=True)
class Poller:
    """Keeps the state fresh. `turn` is one step; `run` takes turns until `close`, in a thread of its own."""

    state: State
    scope: Scope
    clock: Callable[[], float] = time.monotonic
    is_local: Callable[[], bool] = session.is_local  # a region on this machine is queried without our own limit
    fetcher: Fetcher = field(init=False)
    rate_limit: RateLimit = field(init=False)
    _due: dict[Key, float] = field(default_factory=dict, init=False)
    _billed: dict[Target, int] = field(default_factory=dict, init=False)  # what was known when a page's bill was made
    _describe_seconds: float = field(default=_SHORTEST_SECONDS, init=False)
    _pause_seconds: float = field(default=0.0, init=False)
    _asking: threading.RLock = field(default_factory=threading.RLock, init=False)
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _is_closed: bool = field(default=False, init=False)
    _is_hurried: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.fetcher = Fetcher(state=self.state, scope=self.scope, is_local=self.is_local)
        self.rate_limit = RateLimit(calls_made=session.calls_made, clock=self.clock)

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
        """End `run` after its current turn."""
        self._is_closed = True
        self._wake.set()

    def wake(self) -> None:
        """Somebody is viewing something: do not wait."""
        self._wake.set()

    def hurry(self) -> None:
        """We changed something: query everything again at once."""
        self._is_hurried = True
        self._wake.set()

    def load(self, target: Target) -> None:
        """Load what a never viewed page needs, at once. Raises NotFound; without an answer the state says so."""
        if not self._asking.acquire(timeout=_WAITING_FOR_LOCK_SECONDS):
            return
        try:
            self.fetcher.load(target)
        except Unavailable as error:
            self._lost(error)
        finally:
            self._asking.release()

    def load_account(self, target: Target) -> None:
        """Load the bill of an unwatched page if there is none yet or work goes on. Raises the errors of the prices."""
        if not self._asking.acquire(timeout=_WAITING_FOR_LOCK_SECONDS):
            return
        try:
            known = self.state.accounts.get(target.id)
            if known is None or known.unread or not known.is_over:
                self.fetcher.account(target)
        except Unavailable as error:
            self._note_gap("money", str(error))
        finally:
            self._asking.release()

    def turn(self) -> float:
        """Do what is most overdue, if the rate limit allows; returns the seconds until the next turn."""
        if self._is_hurried:
            self._is_hurried, self._describe_seconds = False, _SHORTEST_SECONDS
            self._due.clear()
        asks = list(self._asks())
        if not asks:
            return _IDLE_SECONDS
        now = self.clock()
        self._due = {key: at for key, at in self._due.items() if at > now}
        first = min(asks, key=lambda ask: self._due.get(ask.key, 0.0))
        wait = max(self._due.get(first.key, 0.0) - now, 0.0 if self.is_local() else self.rate_limit.wait_seconds())
        if wait > 0:
            return wait
        with self._asking:
            return self._try(first)

    def _try(self, ask: _Ask) -> float:
        """Query once. A failure of something essential stops everything; other failures are noted."""
        name, began = ask.key[0], self.clock()
        try:
            self.fetcher.jobs  # noqa: B018 - connects, if there was no answer before
        except SpotbatchError as error:
            return self._lost(error)
        try:
            ask.do()
        except SpotbatchError as error:
            may_pass = isinstance(error, Unavailable) and error.is_transient
            if may_pass:
                self.fetcher.forget_clients()
            if name in _ESSENTIAL:
                return self._lost(error)
            self._due[ask.key] = self.clock() + (_AGAIN_SECONDS if may_pass else _REFUSED_SECONDS)
            self._note_gap(name, str(error))
            return 0.0
        self._found(name)
        seconds = self._describe_seconds if name == "progress" else ask.seconds
        self._due[ask.key] = self.clock() + max(seconds, _REST_FACTOR * (self.clock() - began))
        return 0.0

    def _found(self, name: str) -> None:
        self._pause_seconds = 0.0
        self.state.as_of = self.fetcher.now()
        self._note_gap(name, "")
        if self.state.trouble:
            self.state.trouble = ""
            self.state.changed()

    def _note_gap(self, name: str, why: str) -> None:
        """Note what could not be read, and why; "" if it was."""
        if self.state.gaps.get(name, "") != why:
            self.state.gaps = {key: text for key, text in {**self.state.gaps, name: why}.items() if text}
            self.state.changed()

    def _lost(self, error: SpotbatchError) -> float:
        """No answer: say so, make new clients next time, and wait longer each time."""
        self.fetcher.forget_clients()
        longest = _LONGEST_PAUSE_LOCAL_SECONDS if session.is_local() else _LONGEST_PAUSE_SECONDS
        self._pause_seconds = min(max(1.0, self._pause_seconds * 2), longest)
        trouble = str(error)
        if self.state.trouble != trouble:
            self.state.trouble = trouble
            self.state.changed()
        return self._pause_seconds

    # ---- what to query for the open pages ----

    def _asks(self) -> Iterator[_Ask]:
        with self.state.lock:
            targets = [target for target, count in self.state.watched.items() if count > 0]
        for target in targets:
            if not target.is_list:
                yield from self._asks_of(target)
            elif self.scope.queue is not None:
                yield _Ask(key=("jobs", ""), seconds=_LIST_SECONDS, do=self._list)
            if target.kind == "trends":
                yield from self._asks_of_trends(target)
        if targets and self.fetcher.next_ids(dry=True):
            yield _Ask(key=("progress", ""), seconds=_SHORTEST_SECONDS, do=self._describe)

    def _asks_of_trends(self, target: Target) -> Iterator[_Ask]:
        """The bills of ended runs that are not complete yet, the newest first."""
        for row in reversed(ended_rows(run_rows(self.state, Choice(search=target.id)))):
            account = self.state.accounts.get(row.key)
            if account is None or account.unread or not account.is_over:
                do = partial(self.fetcher.trend, row.target)
                yield _Ask(key=("money", (row.key, account is None)), seconds=_TREND_SECONDS, do=do)

    def _list(self) -> None:
        if self.fetcher.list_jobs():
            self._due.pop(("progress", ""), None)

    def _describe(self) -> None:
        changed = self.fetcher.describe()
        if self.is_local():
            with self.state.lock:
                targets = list(self.state.watched)
            for target in targets:
                self.fetcher.read_children(target, _LOCAL_READ_SECONDS)
        self._describe_seconds = _SHORTEST_SECONDS if changed else min(self._describe_seconds * 1.3, _LONGEST_SECONDS)

    def _asks_of(self, target: Target) -> Iterator[_Ask]:
        if target.children:
            yield _Ask(key=("logs", target), seconds=_LOG_SECONDS, do=partial(self.fetcher.several_logs, target))
            return
        with self.state.lock:
            members = self.state.members(target)
            known = hash(tuple((unit.status, len(unit.attempts)) for unit in self.state.units(members)))
            lacking = [job.id for job in self.fetcher.arrays(members) if self.state.children_of(job).lacking()]
        if target.kind == "run":
            do: Callable[[], object] = partial(self.fetcher.read_members, target.id)
            yield _Ask(key=("the run's jobs", target.id), seconds=_MEMBERS_SECONDS, do=do)
        for array_id in lacking:
            do = partial(self.fetcher.list_some, array_id)
            yield _Ask(key=("children", array_id), seconds=_LACKING_SECONDS, do=do)
        if members:
            is_resting = self._billed.get(target) == known and all(job.status.is_terminal for job in members)
            seconds = _RESTING_SECONDS if is_resting else _ACCOUNT_SECONDS
            yield _Ask(key=("money", (target, is_resting)), seconds=seconds, do=partial(self._account, target, known))
        if len(members) > 1 or any(job.array is not None for job in members):
            failed = tuple(unit.id for unit in self.fetcher.lacking_lines(target))
            if failed:
                do = partial(self.fetcher.failure_logs, target)
                yield _Ask(key=("logs", (target.id, failed)), seconds=_LOG_SECONDS, do=do)
        if is_controlled(members):
            do = partial(self.fetcher.control, target, members[-1])
            state = (target.id, tuple((job.id, job.status) for job in members))
            known_control = self.state.controls.get(target.id)
            seconds = _IDLE_SECONDS if known_control is not None and known_control.is_over else _STORY_SECONDS
            yield _Ask(key=("the controller", state), seconds=seconds, do=do)
        if len(members) == 1:
            yield from self._asks_of_one(target, members[0])

    def _account(self, target: Target, known: int) -> None:
        self.fetcher.account(target)
        self._billed = {each: what for each, what in self._billed.items() if each in self.state.watched}
        self._billed[target] = known

    def _asks_of_one(self, target: Target, job: Job) -> Iterator[_Ask]:
        has_ended = job.status.is_terminal
        state = (job.id, job.status, len(job.attempts), target.attempt)
        if job.array is None:
            log_seconds = _RESTING_SECONDS if has_ended else _LOG_SECONDS
            yield _Ask(key=("log", state), seconds=log_seconds, do=partial(self.fetcher.log, target, job))
            story_seconds = _IDLE_SECONDS if has_ended else _STORY_SECONDS
            yield _Ask(key=("records", state), seconds=story_seconds, do=partial(self.fetcher.story, job))
        if needs_findings(job):
            seconds = _IDLE_SECONDS if has_ended else _FINDINGS_SECONDS
            do = partial(self.fetcher.findings, job)
            yield _Ask(key=("doctor", (job.id, job.status)), seconds=seconds, do=do)


def needs_findings(job: Job) -> bool:
    """Whether to ask the doctor: for waiting jobs and failed single jobs; an array's failures are shown separately."""
    if job.array is None:
        return job.status in _WAITS or job.status is JobStatus.FAILED
    summary = job.array.status_summary
    return not job.status.is_terminal and not any(summary.get(each) for each in _GOES_ON)
