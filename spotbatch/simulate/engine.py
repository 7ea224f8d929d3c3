"""The world on virtual time: drives the rulebook's scheduler and answers its commands as EC2 and containers would."""

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import Any, Final

from spotbatch.batch.environment import EXIT_INTERRUPTED
from spotbatch.batch.job import MAX_ARRAY_SIZE, ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.retry import spot_safe
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.job_record import key_of
from spotbatch.batch.status import JobStatus, host_terminated
from spotbatch.simulate.fleet import SimulatedHost, SimulatedPool
from spotbatch.simulate.observer import Watcher
from spotbatch.simulate.result import RunResult
from spotbatch.simulate.scenario import Scenario
from spotbatch.simulate.work import Attempt, Work

_QUEUE: Final = "simulated"
_DAY: Final = 86_400.0
_PASSED: Final = ev.TimePassed()


class World:
    """One run of a scenario. Call `run` once; a `watcher` sees every host and attempt end."""

    def __init__(self, scenario: Scenario, watcher: Watcher, *, is_checked: bool = False) -> None:
        self._scenario = scenario
        self._watcher = watcher
        self._is_checked = is_checked
        self._scheduler = Scheduler()
        self._timings = scenario.timings
        self._random = Random(f"{scenario.seed}/work")  # noqa: S311 - a seeded world is no secret
        self._work = Work(scenario.jobs, scenario.timings, self._random)
        self._now = 0.0
        self._order = 0
        self._due: list[tuple[float, int, Callable[..., None], Any]] = []
        self._pools: dict[Pool, SimulatedPool] = {}
        self._hosts: dict[int, SimulatedHost] = {}
        self._running: dict[int, Attempt] = {}
        self._open_units = scenario.jobs.count
        self._attempts = self._interruptions = self._launched = self._reclaimed = self._refused = 0
        self._ended = {JobStatus.SUCCEEDED: 0, JobStatus.FAILED: 0}
        self._last_end = 0.0
        self._answers: dict[type, Callable[[Any], None]] = {
            ev.LaunchHost: self._launch,
            ev.TerminateHost: self._terminate,
            ev.StartAttempt: self._start,
            ev.UnitEnded: self._unit_ended,
            ev.JobEnded: self._job_ended,
            ev.AttemptRetried: self._retried,
            ev.UnitsReleased: self._released,
        }

    def run(self) -> RunResult:
        """Run it to its end, or until the scenario's maximum number of days."""
        self._open()
        limit = self._scenario.most_days * _DAY
        due, scheduler = self._due, self._scheduler
        while self._open_units or self._hosts:
            wakeup = scheduler.next_wakeup
            if wakeup is not None and (not due or wakeup <= due[0][0]):
                at, what, about = wakeup, self._wake, None
            elif due:
                at, _, what, about = heapq.heappop(due)
            else:
                break
            if at > limit:
                break
            self._now = max(self._now, at)
            what(about)
        for host in list(self._hosts.values()):
            self._bill(host, is_reclaimed=False)
        return self._result()

    def _open(self) -> None:
        scenario, jobs = self._scenario, self._scenario.jobs
        self._feed(ev.QueuePut(queue=JobQueue(name=_QUEUE, environments=(_QUEUE,))))
        self._feed(
            ev.EnvironmentPut(
                environment=ComputeEnvironment(
                    name=_QUEUE,
                    pools=scenario.pools,
                    max_vcpus=scenario.max_vcpus,
                    strategy=scenario.strategy,
                    is_spot=scenario.is_spot,
                    idle_seconds=scenario.idle_seconds,
                )
            )
        )
        needs = ResourceRequirements(vcpus=jobs.vcpus, memory_mib=jobs.memory_mib)
        retry = spot_safe(jobs.attempts)
        for job_no, begin in enumerate(range(0, jobs.count, MAX_ARRAY_SIZE), start=1):
            size = min(MAX_ARRAY_SIZE, jobs.count - begin)
            self._feed(
                ev.JobSubmitted(
                    job_no=job_no, queue=_QUEUE, size=size if size > 1 else 0, requirements=needs, retry=retry
                )
            )

    # ---- the loop's small parts ----

    def _feed(self, event: ev.Event) -> None:
        commands = self._scheduler.handle(event, self._now)
        if self._is_checked:
            self._scheduler.check()
        for command in commands:
            self._answers[type(command)](command)

    def _at(self, when: float, what: Callable[..., None], about: Any) -> None:
        self._order += 1
        heapq.heappush(self._due, (when, self._order, what, about))

    def _wake(self, about: None) -> None:  # noqa: ARG002 - the same face as all that can be due
        self._feed(_PASSED)

    # ---- what the scheduler asks for ----

    def _launch(self, command: ev.LaunchHost) -> None:
        pool = self._pool(command.pool)
        refused_at = pool.refused_until(self._now, self._timings.refusal_seconds)
        if refused_at is not None:
            self._refused += 1
            self._at(refused_at, self._refuse, command.host_no)
            return
        host = SimulatedHost(command.host_no, command.pool, self._now)
        self._hosts[host.host_no] = pool.hosts[host.host_no] = host
        self._launched += 1
        self._at(self._now + self._timings.boot_seconds, self._boot, host)
        rate = self._scenario.capacity.host_reclaims_per_hour
        if rate and self._scenario.is_spot:
            self._at(self._now + pool.random.expovariate(rate / 3600.0), self._notice, host)

    def _terminate(self, command: ev.TerminateHost) -> None:
        host = self._hosts.get(command.host_no)
        if host is not None:
            self._at(self._now, self._gone, (host, False))

    def _start(self, command: ev.StartAttempt) -> None:
        self._attempts += 1
        key = key_of(command.job_no, command.index)
        attempt, seconds, exit_code = self._work.begin(key, command.attempt, command.host_no, self._now)
        self._running[key] = attempt
        self._at(self._now, self._started, command)
        self._at(self._now + seconds, self._end, (command, exit_code))

    def _released(self, command: ev.UnitsReleased) -> None:
        """Nothing to do: the scheduler finds hosts for these units by itself."""

    def _retried(self, command: ev.AttemptRetried) -> None:
        """Nothing to do: the unit is back in its queue."""

    def _unit_ended(self, command: ev.UnitEnded) -> None:
        self._open_units -= 1
        self._ended[command.status] += 1
        self._last_end = self._now

    def _job_ended(self, command: ev.JobEnded) -> None:
        self._at(self._now, self._forget, command.job_no)

    # ---- what happens ----

    def _forget(self, job_no: int) -> None:
        self._scheduler.forget(job_no)

    def _refuse(self, host_no: int) -> None:
        self._feed(ev.HostEnded(host_no=host_no))

    def _boot(self, host: SimulatedHost) -> None:
        if host.host_no in self._hosts and not host.is_noticed:
            host.started_at = self._now
            self._feed(ev.HostStarted(host_no=host.host_no))

    def _started(self, command: ev.StartAttempt) -> None:
        self._feed(ev.AttemptStarted(job_no=command.job_no, index=command.index, attempt=command.attempt))

    def _end(self, about: tuple[ev.StartAttempt, int]) -> None:
        command, exit_code = about
        key = key_of(command.job_no, command.index)
        attempt = self._running.get(key)
        if attempt is None or attempt.number != command.attempt:
            return  # it was interrupted before
        del self._running[key]
        self._work.finish(key, attempt, exit_code)
        self._watcher.attempt_ended(command.job_no, command.index, attempt, self._now, exit_code)
        self._feed(
            ev.AttemptEnded(job_no=command.job_no, index=command.index, attempt=command.attempt, exit_code=exit_code)
        )

    def _outage(self, pool: SimulatedPool) -> None:
        """EC2 reclaims capacity: all hosts of the pool go, within minutes of each other."""
        for host in pool.hosts.values():
            self._at(self._now + pool.random.random() * self._timings.reclaim_spread_seconds, self._notice, host)
        self._await_end(pool)

    def _await_end(self, pool: SimulatedPool) -> None:
        outage = pool.next_outage
        if outage is not None and outage.ends < math.inf:
            self._at(outage.ends, self._recover, pool)

    def _recover(self, pool: SimulatedPool) -> None:
        pool.forward(self._now)
        if pool.next_outage is not None:
            self._at(pool.next_outage.begins, self._outage, pool)

    def _notice(self, host: SimulatedHost) -> None:
        if host.is_noticed or host.host_no not in self._hosts:
            return
        host.is_noticed = True
        self._at(self._now + self._timings.notice_seconds, self._gone, (host, True))
        self._feed(ev.HostNoticed(host_no=host.host_no))
        if self._timings.is_saved_on_notice and self._timings.checkpoint_seconds <= self._timings.notice_seconds:
            self._at(self._now + self._timings.checkpoint_seconds, self._leave, host)

    def _leave(self, host: SimulatedHost) -> None:
        """The runtime saved on the notice, and the host's attempts end with its exit code."""
        self._interrupt_all(host, EXIT_INTERRUPTED)

    def _gone(self, about: tuple[SimulatedHost, bool]) -> None:
        host, is_reclaimed = about
        if host.host_no not in self._hosts:
            return
        if is_reclaimed:
            self._reclaimed += 1
            self._interrupt_all(host, None)
        self._bill(host, is_reclaimed=is_reclaimed)
        self._feed(ev.HostEnded(host_no=host.host_no))

    def _interrupt_all(self, host: SimulatedHost, exit_code: int | None) -> None:
        reason = host_terminated(f"i-{host.host_no:017x}") if exit_code is None else ""
        for job_no, index, number in self._scheduler.host_units(host.host_no):
            key = key_of(job_no, index)
            attempt = self._running.pop(key, None)
            if attempt is None:
                continue  # bound to the host, not started
            self._interruptions += 1
            lost = self._work.interrupt(key, attempt, self._now, is_saved=exit_code is not None)
            self._watcher.attempt_ended(job_no, index, attempt, self._now, exit_code, lost)
            self._feed(
                ev.AttemptEnded(job_no=job_no, index=index, attempt=number, exit_code=exit_code, status_reason=reason)
            )

    # ---- books ----

    def _pool(self, pool: Pool) -> SimulatedPool:
        found = self._pools.get(pool)
        if found is None:
            found = self._pools[pool] = SimulatedPool(pool, self._scenario.capacity, self._scenario.seed)
            if found.has_capacity(self._now):
                self._recover(found)
            else:
                self._await_end(found)
        return found

    def _bill(self, host: SimulatedHost, *, is_reclaimed: bool) -> None:
        del self._hosts[host.host_no]
        self._pools[host.pool].hosts.pop(host.host_no)
        self._watcher.host_ended(host, self._now, is_reclaimed=is_reclaimed)

    def _result(self) -> RunResult:
        work = self._work
        return RunResult(
            seed=self._scenario.seed,
            offset_seconds=getattr(self._scenario.capacity, "offset_seconds", 0.0),
            is_finished=not self._open_units,
            makespan_seconds=self._last_end if not self._open_units else self._now,
            attempts=self._attempts,
            succeeded=self._ended[JobStatus.SUCCEEDED],
            failed=self._ended[JobStatus.FAILED],
            interruptions=self._interruptions,
            hosts=self._launched,
            reclaimed_hosts=self._reclaimed,
            refused_launches=self._refused,
            work_seconds=work.done_seconds,
            lost_seconds=work.lost_seconds,
            restart_seconds=work.restart_seconds,
            checkpoint_seconds=work.checkpoint_seconds,
            usd=self._watcher.usd,
            on_demand_usd=self._watcher.on_demand_usd,
        )
