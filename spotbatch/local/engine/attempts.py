"""Bookkeeping of attempts: from the scheduler's StartAttempt to a runner, and from their end to the scheduler."""

import math
import signal
from collections.abc import Callable, Sequence
from typing import Final

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import (
    CANNOT_START_REASON,
    CONTAINER_EXITED,
    DOCKER_TIMEOUT_REASON,
    NOT_STARTED,
    OUT_OF_MEMORY_REASON,
    PULL_FAILED_REASON,
    SPOT_TASK_INTERRUPTED,
    host_terminated,
)
from spotbatch.local import faults
from spotbatch.local.contract import EngineSettings
from spotbatch.local.engine.group_commit import GroupCommit
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.job_book import JobBook
from spotbatch.local.engine.leaked_processes import LATER_SECONDS, SOON_SECONDS, Carrier, LeakSweep
from spotbatch.local.engine.logs import task_id
from spotbatch.local.engine.running_attempt import AttemptNews, Runner, RunningAttempt

_OF_THE_UNIT: Final = "WHERE job_no = ? AND idx = ? AND attempt = ?"
_ATTEMPT_PLACED: Final = (
    "INSERT OR REPLACE INTO attempt (job_no, idx, attempt, task, instance_id, placed_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_ATTEMPT_STARTED: Final = f"UPDATE attempt SET started_at = ? {_OF_THE_UNIT}"  # noqa: S608 - our own words
_ATTEMPT_ENDED: Final = (
    f"UPDATE attempt SET stopped_at = ?, exit_code = ?, reason = ?, status_reason = ? {_OF_THE_UNIT}"  # noqa: S608
)
_ATTEMPT_RAN: Final = (
    "UPDATE attempt SET started_at = ?, stopped_at = ?, exit_code = ?, reason = ?, status_reason = ? "  # noqa: S608
    + _OF_THE_UNIT
)

_START_FAILURES: Final = {"pull_failures": PULL_FAILED_REASON, "docker_timeouts": DOCKER_TIMEOUT_REASON}

AttemptKey = tuple[int, int, int]


class Attempts:
    """The running attempts, each with an attempt id of our own. Implements `AttemptNews` for its runner."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        commit: GroupCommit,
        book: JobBook,
        hosts: Hosts,
        make_runner: Callable[[AttemptNews], Runner],
    ) -> None:
        self._settings = settings
        self._commit = commit
        self._book = book
        self._hosts = hosts
        self._last_id = 0
        self._running: dict[int, RunningAttempt] = {}
        self._of_unit: dict[tuple[int, int], RunningAttempt] = {}
        self._leak_sweep = LeakSweep(settings.home, self._of_ended_attempts)
        self._runner = make_runner(self)
        commit.carry_out({ev.StartAttempt: self._placed, ev.StopAttempt: self._told_to_stop})

    async def open(self) -> None:
        """Get ready to run attempts. Raises Unavailable if their runner is not available."""
        await self._runner.open()

    async def close(self) -> None:
        """End what still runs. Attempts that the journal then shows as running count as lost at the next start."""
        await self._runner.close()
        await self._leak_sweep.close()

    @property
    def is_any_running(self) -> bool:
        """Whether any attempt may still react to a signal."""
        return any(not attempt.is_held for attempt in self._running.values())

    # ---- what the scheduler commands ----

    def _placed(self, command: ev.StartAttempt) -> None:
        """The intent goes to disk first; the process starts after the commit."""
        job_no, index, number = command.job_no, command.index, command.attempt
        host = self._hosts.alive[command.host_no]
        task = task_id(self._book.job_id(job_no), job_no, index, number)
        now = self._commit.clock.now()
        self._commit.journal.write(_ATTEMPT_PLACED, (job_no, index, number, task, host.instance_id, now))
        self._last_id += 1
        attempt = RunningAttempt(
            attempt_id=self._last_id, job_no=job_no, index=index, attempt=number, host=host, task=task
        )
        self._running[attempt.attempt_id] = self._of_unit[job_no, index] = attempt
        self._commit.after_commit(lambda: self._start(attempt))

    def _start(self, attempt: RunningAttempt) -> None:
        if attempt.attempt_id not in self._running or self._commit.is_closing:
            return  # its host was lost in the same turn
        attempt.is_held = False
        away = self._hosts.agent_away_seconds(attempt.host.instance_id, self._commit.clock.steady())
        if away:  # it hears of the task once it is connected again
            attempt.is_held = True
            self._commit.later(away, self._start, attempt)
            return
        try:
            start_error = self._book.container(attempt.job_no).start_error
            if start_error:
                self.over(attempt.attempt_id, None, "", start_error)
            elif not self._is_struck(attempt):
                self._runner.start(attempt)
        except (OSError, Unavailable) as error:  # no space for its folder, or a row that cannot be read
            self.failed(attempt.attempt_id, str(error))

    def _is_struck(self, attempt: RunningAttempt) -> bool:
        """Whether a requested fault strikes at the start: decided once per attempt."""
        fault = None
        if not attempt.was_struck and not self._settings.faults.is_kind:
            fault = faults.of_start(self._settings.faults, self._settings.seed, attempt.attempt_id)
        if fault is None:
            return False
        attempt.was_struck = attempt.is_held = True
        if fault.failure is None:
            self._commit.later(fault.wait_seconds, self._start, attempt)
        else:
            reason = _START_FAILURES[fault.failure]
            self._commit.later(fault.wait_seconds, self.over, attempt.attempt_id, None, reason, NOT_STARTED)
        return True

    def _told_to_stop(self, command: ev.StopAttempt) -> None:
        unit, reason = (command.job_no, command.index), command.status_reason
        self._commit.after_commit(lambda: self._stop(unit, reason))

    def _stop(self, unit: tuple[int, int], reason: str) -> None:
        """SIGTERM, the grace period, SIGKILL (user guide, "Job timeouts": 30 seconds)."""
        attempt = self._of_unit.get(unit)
        if attempt is None:
            return
        self._ask_to_stop(attempt, reason)

    def _ask_to_stop(self, attempt: RunningAttempt, reason: str, at_most: float = math.inf) -> None:
        attempt.stop_reason = reason
        if attempt.is_held:  # there is nothing to signal
            self.over(attempt.attempt_id, None, "", reason)
            return
        self._runner.signal(attempt.attempt_id, signal.SIGTERM)
        stop_timeout = self._book.container(attempt.job_no).stop_timeout
        grace = self._settings.stop_grace_seconds if stop_timeout is None else float(stop_timeout)
        self._commit.later(min(grace, at_most), self._kill, attempt.attempt_id)

    def _kill(self, attempt_id: int) -> None:
        if attempt_id in self._running:
            self._runner.signal(attempt_id, signal.SIGKILL)

    # ---- what their hosts and the region's end do to them ----

    def lose(self, units: Sequence[AttemptKey]) -> None:
        """Their host is lost, and they are lost with it at once."""
        for job_no, index, _ in units:
            attempt = self._of_unit[job_no, index]
            self._runner.signal(attempt.attempt_id, signal.SIGKILL)
            self.over(attempt.attempt_id, None, "", host_terminated(attempt.host.instance_id))

    def interrupt(self, units: Sequence[AttemptKey], seconds: float) -> None:
        """Fargate Spot interrupts their tasks: SIGTERM, their stop timeout or less, SIGKILL.

        Their exit codes and the retry strategy decide what follows, as always.
        """
        for job_no, index, _ in units:
            attempt = self._of_unit[job_no, index]
            if attempt.stop_reason is None:
                self._ask_to_stop(attempt, SPOT_TASK_INTERRUPTED, seconds)

    def ask_all_to_stop(self) -> None:
        """SIGTERM for all, as when their hosts end."""
        for attempt_id in list(self._running):
            self._runner.signal(attempt_id, signal.SIGTERM)

    # ---- news of the runner ----

    def is_running(self, attempt_id: int) -> bool:
        """Whether an attempt is still running."""
        return attempt_id in self._running

    def started(self, attempt_id: int) -> None:
        attempt = self._running.get(attempt_id)
        if attempt is None:
            return
        attempt.started_at = now = self._commit.clock.now()
        attempt.start_row = self._commit.journal.write(_ATTEMPT_STARTED, (now, *attempt.key))
        self._commit.apply(ev.AttemptStarted(job_no=attempt.job_no, index=attempt.index, attempt=attempt.attempt))

    def failed(self, attempt_id: int, why: str) -> None:
        """The command could not be started: the attempt fails as a container would, and the engine carries on."""
        self.over(attempt_id, None, f"{CANNOT_START_REASON} {why}", NOT_STARTED)

    def overran(self, attempt_id: int) -> None:
        attempt = self._running.get(attempt_id)
        if attempt is not None:
            attempt.has_overrun = True

    def ended(self, attempt_id: int, exit_code: int) -> None:
        attempt = self._running.get(attempt_id)
        if attempt is None:
            return
        if self._commit.is_closing and exit_code != 0:
            del self._running[attempt_id]  # the region stopped it: counts as lost with its host, and is retried
            return
        reason = OUT_OF_MEMORY_REASON if attempt.has_overrun else ""
        status_reason = CONTAINER_EXITED if attempt.stop_reason is None else attempt.stop_reason
        away = 0.0 if self._commit.is_closing else self._agent_away_seconds(attempt)
        if away:  # should the host be lost before its agent reports the end, the attempt is lost with it
            self._commit.later(away, self.over, attempt_id, exit_code, reason, status_reason)
        else:
            self.over(attempt_id, exit_code, reason, status_reason)

    def _agent_away_seconds(self, attempt: RunningAttempt) -> float:
        """For how long the agent cannot report an end: it is disconnected already, or is struck by that fault now."""
        settings, instance_id, now = self._settings, attempt.host.instance_id, self._commit.clock.steady()
        away = self._hosts.agent_away_seconds(instance_id, now)
        if not away and not settings.faults.is_kind and not attempt.host.is_fargate:  # AWS's own agent
            away = faults.agent_away_seconds(settings.faults, settings.seed, attempt.attempt_id)
            if away:
                self._hosts.agent_leaves(instance_id, now + away)
        return away

    def lost(self) -> None:
        for attempt in list(self._running.values()):
            self.over(attempt.attempt_id, None, "", host_terminated(attempt.host.instance_id))

    def over(self, attempt_id: int, exit_code: int | None, reason: str, status_reason: str) -> None:
        """Journal the end of an attempt and apply the rules. News of an attempt that is already over is ignored.

        When an attempt ends, so does everything it started, even outside its process group.
        """
        attempt = self._running.pop(attempt_id, None)
        if attempt is None:
            return
        if self._of_unit.get((attempt.job_no, attempt.index)) is attempt:
            del self._of_unit[attempt.job_no, attempt.index]
        now = self._commit.clock.now()
        self._write_end(attempt, exit_code, reason, status_reason, now)
        self._runner.release(attempt_id, is_dead=exit_code is not None)
        self._commit.apply(
            ev.AttemptEnded(
                job_no=attempt.job_no,
                index=attempt.index,
                attempt=attempt.attempt,
                exit_code=exit_code,
                reason=reason,
                status_reason=status_reason,
            ),
            at=now,
        )
        ended_by_itself = exit_code is not None and attempt.stop_reason is None and not reason
        self._leak_sweep.look_within(LATER_SECONDS if ended_by_itself else SOON_SECONDS)

    def _write_end(
        self, attempt: RunningAttempt, exit_code: int | None, reason: str, status_reason: str, now: float
    ) -> None:
        """A single row for a start and an end in the same turn, as with short jobs."""
        journal = self._commit.journal
        if attempt.start_row and journal.withdraw(attempt.start_row):
            journal.write(_ATTEMPT_RAN, (attempt.started_at, now, exit_code, reason, status_reason, *attempt.key))
        else:
            journal.write(_ATTEMPT_ENDED, (now, exit_code, reason, status_reason, *attempt.key))

    def lost_before_the_start(self, key: AttemptKey, instance_id: str) -> None:
        """An attempt without an end was running when the region stopped, and its host stopped too."""
        job_no, index, attempt = key
        reason, now = host_terminated(instance_id), self._commit.clock.now()
        self._commit.change_log.placed(key, instance_id)
        self._commit.journal.write(_ATTEMPT_ENDED, (now, None, "", reason, *key))
        self._commit.apply(ev.AttemptEnded(job_no=job_no, index=index, attempt=attempt, status_reason=reason), at=now)

    def _of_ended_attempts(self, found: Sequence[Carrier]) -> Sequence[Carrier]:
        """Those whose attempts are not running. An attempt is recorded before it starts, and it starts only once."""
        running = {(self._book.unit_id(each.job_no, each.index), str(each.attempt)) for each in self._running.values()}
        return [one for one in found if one.job_id and (one.job_id, one.attempt) not in running]
