"""Random lives of the scheduler: whatever happens, in whatever order, its books agree and every job comes to an end."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spotbatch.batch.consumable import ConsumableNeed, ConsumableResource
from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.placement import BlockedReason, ComputeEnvironment, FairShare, JobQueue, StateTimeLimit
from spotbatch.batch.retry import RetryStrategy, spot_safe
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.fleet import HostState
from spotbatch.batch.status import STATUSES, JobStatus, host_terminated
from tests.simulation.oracle import after, check_dependencies, stands
from tests.world import LARGE, SMALL, World

WIRINGS = st.sampled_from([("e",), ("f",), ("e", "f"), ("f", "e")])
FAIR = st.sampled_from([None, FairShare(), FairShare(compute_reservation_percent=50, decay_seconds=60)])
ATTEMPTS = st.integers(1, 4)
TIME_LIMITS = st.sampled_from([(), tuple(StateTimeLimit(reason=each, max_seconds=100) for each in BlockedReason)])
CONSUMABLES = [
    (),
    (),
    (ConsumableNeed(name="licence", quantity=1),),
    (ConsumableNeed(name="licence", quantity=2), ConsumableNeed(name="credit", quantity=1)),
]
SIZES = st.sampled_from([0, 0, 2, 3, 7])


class SchedulerLife(RuleBasedStateMachine):
    """Two queues on two environments; `World.do` checks the books after every event, the oracle the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(
        fair=FAIR,
        quota=st.sampled_from([None, 4, 12]),
        maximum=st.integers(2, 16),
        limits=TIME_LIMITS,
        fargate=st.booleans(),
    )
    def build(
        self, fair: FairShare | None, quota: int | None, maximum: int, limits: tuple[StateTimeLimit, ...], fargate: bool
    ) -> None:
        self.world.scheduler = Scheduler(quota_vcpus=quota, remember=True)
        self.queues = [
            JobQueue(name="q", environments=("e", "f"), fair_share=fair, time_limits=limits),
            JobQueue(name="urgent", environments=("e",), priority=9),
        ]
        self.environments = {
            "e": ComputeEnvironment(name="e", pools=(SMALL, LARGE), max_vcpus=maximum, idle_seconds=5.0),
            "f": ComputeEnvironment(
                name="f", pools=(LARGE,), max_vcpus=8, is_spot=False, idle_seconds=5.0, is_fargate=fargate
            ),
        }
        self.put_all()
        self.world.do(ev.ConsumablePut(resource=ConsumableResource(name="licence", total=3)))
        self.world.do(ev.ConsumablePut(resource=ConsumableResource(name="credit", total=5, is_replenishable=False)))

    def put_all(self) -> None:
        self.world.do(*(ev.QueuePut(queue=queue) for queue in self.queues))
        self.world.do(*(ev.EnvironmentPut(environment=each) for each in self.environments.values()))

    @invariant()
    def units_wait_for_what_they_need_and_for_nothing_else(self) -> None:
        check_dependencies(self.world.scheduler)

    # ---- what users do ----

    @rule(
        size=SIZES,
        vcpus=st.integers(1, 9),
        memory_mib=st.sampled_from([500, 500, 9_000, 20_000]),  # what any host takes, a large one, none
        attempts=ATTEMPTS,
        urgent=st.booleans(),
        share=st.sampled_from("ab"),
        priority=st.integers(0, 2),
        consumables=st.sampled_from(CONSUMABLES),
    )
    def submit(self, attempts: int, urgent: bool, **needs: Any) -> None:
        retry = RetryStrategy(attempts=attempts)
        self.world.submit(retry=retry, queue="urgent" if urgent else "q", timeout_seconds=60, **needs)

    @precondition(lambda self: self.world.last_job > 0)
    @rule(data=st.data(), kind=st.sampled_from(list(DependencyType)), size=SIZES)
    def submit_after(self, data: st.DataObject, kind: DependencyType, size: int) -> None:
        other = data.draw(st.integers(1, self.world.last_job))
        length = self.world.scheduler.array_size(other)
        if kind is DependencyType.N_TO_N:
            size = length
        if kind is not DependencyType.PLAIN and not size:
            return
        job_no = None if kind is DependencyType.SEQUENTIAL else other
        index = data.draw(st.integers(0, length - 1)) if kind is DependencyType.PLAIN and length else None
        dependency = ev.ResolvedDependency(job_no=job_no, type=kind, index=index)
        self.world.submit(size=size, dependencies=(dependency,), retry=spot_safe(3))

    @precondition(lambda self: self.world.last_job > 0)
    @rule(data=st.data(), terminate=st.booleans(), whole=st.booleans())
    def stop(self, data: st.DataObject, terminate: bool, whole: bool) -> None:
        job = data.draw(st.integers(1, self.world.last_job))
        size = self.world.scheduler.array_size(job)
        index = None if whole or not size else data.draw(st.integers(0, size - 1))
        kind = ev.JobTerminated if terminate else ev.JobCancelled
        self.world.do(kind(job_no=job, index=index, reason="asked"))

    @rule(number=st.integers(0, 1), priority=st.integers(0, 9), where=WIRINGS)
    def change_a_queue(self, number: int, priority: int, where: tuple[str, ...]) -> None:
        self.queues[number] = replace(self.queues[number], priority=priority, environments=where)
        self.world.do(ev.QueuePut(queue=self.queues[number]))

    @rule(number=st.integers(0, 1))
    def delete_a_queue_and_make_it_again(self, number: int) -> None:
        """What waits in it ends at once, what runs when its process has; the new queue has nothing of them."""
        queue = self.queues[number]
        self.world.do(ev.QueueRemoved(name=queue.name))
        self.world.do(ev.QueuePut(queue=queue))
        assert self.world.scheduler.state.queues[queue.name].order.head(self.world.scheduler.state.now) is None

    @rule(name=st.sampled_from("ef"), enabled=st.booleans(), maximum=st.integers(2, 16), least=st.integers(0, 2))
    def change_an_environment(self, name: str, enabled: bool, maximum: int, least: int) -> None:
        changed = replace(self.environments[name], is_enabled=enabled, max_vcpus=maximum, min_vcpus=least)
        self.environments[name] = changed
        self.world.do(ev.EnvironmentPut(environment=changed))

    @rule(total=st.integers(0, 4))
    def change_a_consumable(self, total: int) -> None:
        self.world.do(ev.ConsumablePut(resource=ConsumableResource(name="licence", total=total)))

    # ---- what the cloud does ----

    @rule()
    def boot(self) -> None:
        self.world.boot()

    @rule()
    def start(self) -> None:
        self.world.run()

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)
        _end_told_hosts(self.world)

    @precondition(lambda self: self.world.running())
    @rule(data=st.data(), exit_code=st.sampled_from([0, 0, 1, 210]))
    def finish(self, data: st.DataObject, exit_code: int) -> None:
        job, index, attempt = data.draw(st.sampled_from(self.world.running()))
        expected = self.after(job, index, attempt, exit_code)
        self.world.finish(job, index, exit_code=exit_code)
        assert stands(self.world.scheduler, job, index) == expected

    def after(self, job: int, index: int, attempt: int, exit_code: int | None) -> str:
        stopped = {(each.job_no, each.index, each.attempt) for each in self.world.commands if isinstance(each, _STOP)}
        was_stopped = (job, index, attempt) in stopped
        return after(self.world.scheduler, job, index, exit_code=exit_code, was_stopped=was_stopped)

    @precondition(lambda self: self.world.scheduler.host_numbers())
    @rule(data=st.data())
    def reclaim(self, data: st.DataObject) -> None:
        host_no = data.draw(st.sampled_from(sorted(self.world.scheduler.host_numbers())))
        if self.world.scheduler.state.hosts[host_no].state is HostState.BOOTING:
            self.world.do(ev.HostEnded(host_no=host_no))  # it could not be had
        elif self.world.scheduler.state.hosts[host_no].state is not HostState.ENDING:
            ran = self.world.started_on(host_no)
            expected = [self.after(*unit, exit_code=None) for unit in ran]
            self.world.reclaim(host_no)
            assert [stands(self.world.scheduler, job, index) for job, index, _ in ran] == expected

    @rule()
    def restart(self) -> None:
        """Kill -9 and a new start: jobs come back as the journal has them, attempts that ran are lost."""
        old = self.world.scheduler
        self.world.scheduler = Scheduler(quota_vcpus=old.state.quota_vcpus, remember=True)
        self.world.do(*(ev.QueuePut(queue=queue) for queue in self.queues))
        self.world.do(*(ev.ConsumablePut(resource=each) for each in old.state.consumables.resources.values()))
        lost = []
        for job_no, record in sorted(old.state.jobs.items()):
            statuses, attempts = old.statuses(job_no), old.attempts(job_no)
            self.world.do(ev.JobRestored(submitted=record.submitted, statuses=statuses, attempts=attempts))
            lost += [(job_no, i) for i, code in enumerate(statuses) if STATUSES[code] in _STARTED]
        for job_no, index in lost:
            attempt = old.attempts_made(job_no, index)
            reason = host_terminated("i-1")
            self.world.do(ev.AttemptEnded(job_no=job_no, index=index, attempt=attempt, status_reason=reason))
        self.world.do(*(ev.EnvironmentPut(environment=each) for each in self.environments.values()))

    def teardown(self) -> None:
        """With nothing more in the way every job comes to its end; heads that can never run are cancelled."""
        if not hasattr(self, "queues"):
            return
        world = self.world
        for name, environment in self.environments.items():
            self.environments[name] = replace(environment, is_enabled=True)
        self.put_all()
        world.do(ev.ConsumablePut(resource=ConsumableResource(name="licence", total=10_000)))
        credit = ConsumableResource(name="credit", total=1_000_000, is_replenishable=False)
        world.do(ev.ConsumablePut(resource=credit))
        for _ in range(2_000):
            if all(world.status(job).is_terminal for job in world.scheduler.state.jobs):
                return
            world.boot()
            for job, index, _attempt in world.running():
                world.finish(job, index)
            world.wait(60)
            _end_told_hosts(world)
            if not world.running():
                _cancel_blocked_heads(world)
        jobs = world.scheduler.state.jobs
        stuck = {job: world.scheduler.summary(job) for job in jobs if not world.status(job).is_terminal}
        raise AssertionError(f"these never ended: {stuck}")


_STARTED = (JobStatus.STARTING, JobStatus.RUNNING)
_STOP = ev.StopAttempt


def _end_told_hosts(world: World) -> None:
    for host_no, host in list(world.scheduler.state.hosts.items()):
        if host.state is HostState.ENDING:
            world.do(ev.HostEnded(host_no=host_no))


def _cancel_blocked_heads(world: World) -> None:
    """A head that can never run holds its queue, as in AWS Batch, until somebody cancels it."""
    for name in world.scheduler.state.queues:
        head = world.scheduler.state.queues[name].order.head(world.scheduler.state.now)
        if head is not None and world.scheduler.blocked(name):
            is_array = head[0].is_array
            world.do(
                ev.JobCancelled(job_no=head[0].job_no, index=head[1] if is_array else None, reason="can never run")
            )


SchedulerLife.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestSchedulerLife = SchedulerLife.TestCase
