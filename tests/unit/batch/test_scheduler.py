"""The rules of AWS Batch, one behaviour a test; `World.do` checks the invariants after every event."""

from dataclasses import replace

import pytest

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.errors import InvalidInput, InvalidJob, NotFound
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import (
    AllocationStrategy,
    BlockedReason,
    ComputeEnvironment,
    FairShare,
    JobQueue,
    Pool,
    ShareWeight,
    StateTimeLimit,
    choose_pool,
)
from spotbatch.batch.retry import RetryStrategy
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import DEPENDENCY_FAILED, STATUSES, TIMEOUT_EXCEEDED, JobStatus
from tests.world import LARGE, SMALL, World

FAILED, SUCCEEDED, RUNNABLE, PENDING = JobStatus.FAILED, JobStatus.SUCCEEDED, JobStatus.RUNNABLE, JobStatus.PENDING
STARTING, RUNNING = JobStatus.STARTING, JobStatus.RUNNING


@pytest.fixture
def world() -> World:
    world = World()
    world.put()
    return world


def kinds(commands: list[ev.Command]) -> list[str]:
    return [type(command).__name__ for command in commands]


def after(job: int, kind: DependencyType = DependencyType.PLAIN) -> tuple[ev.ResolvedDependency, ...]:
    return (ev.ResolvedDependency(job_no=job, type=kind),)


# ---- one job ----


def test_a_job_on_an_empty_environment_launches_a_host_from_zero(world: World) -> None:
    job = world.submit()
    assert kinds(world.commands) == ["UnitsReleased", "LaunchHost"]
    assert world.status(job) is RUNNABLE
    assert kinds(world.boot()) == ["StartAttempt"]
    assert world.status(job) is STARTING


def test_a_job_that_exits_zero_has_succeeded(world: World) -> None:
    job = world.submit()
    world.boot()
    world.run()
    assert world.status(job) is RUNNING
    world.finish(job)
    assert world.status(job) is SUCCEEDED


def test_a_job_that_fails_is_retried_at_the_front_of_its_queue() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    first, second, third = (world.submit(vcpus=2, retry=RetryStrategy(attempts=2)) for _ in range(3))
    world.boot()
    world.finish(first, exit_code=1)
    assert world.status(first) is STARTING
    assert world.scheduler.attempts_made(first) == 2
    world.finish(first, exit_code=1)
    assert world.status(first) is FAILED
    assert (world.status(second), world.status(third)) == (STARTING, RUNNABLE)


def test_news_of_an_attempt_that_is_over_changes_nothing(world: World) -> None:
    job = world.submit(retry=RetryStrategy(attempts=2))
    world.boot()
    world.finish(job, exit_code=1)
    assert world.do(ev.AttemptEnded(job_no=job, index=0, attempt=1, exit_code=0)) == []
    assert world.status(job) is STARTING


def test_a_timed_out_attempt_is_stopped_and_not_retried(world: World) -> None:
    job = world.submit(timeout_seconds=60)
    world.boot()
    world.run()
    stopped = world.wait(61)
    assert kinds(stopped) == ["StopAttempt"]
    world.finish(job, exit_code=0)
    assert world.status(job) is FAILED
    assert world.scheduler.status_reason(job) == TIMEOUT_EXCEEDED


def test_a_job_number_is_taken_only_once(world: World) -> None:
    world.submit()
    with pytest.raises(InvalidInput, match="before"):
        world.do(ev.JobSubmitted(job_no=1, queue="q"))


def test_a_job_for_a_queue_that_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(NotFound, match="'nowhere'"):
        world.submit(queue="nowhere")


# ---- cancel and terminate ----


def test_cancel_ends_a_job_that_waits_and_leaves_one_that_runs() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    runs, waits = world.submit(vcpus=2), world.submit(vcpus=2)
    world.boot()
    world.do(ev.JobCancelled(job_no=runs, reason="no"), ev.JobCancelled(job_no=waits, reason="not needed"))
    assert world.status(runs) is STARTING
    assert (world.status(waits), world.scheduler.status_reason(waits)) == (FAILED, "not needed")


def test_terminate_stops_what_runs_and_it_is_not_retried(world: World) -> None:
    job = world.submit(retry=RetryStrategy(attempts=5))
    world.boot()
    assert kinds(world.do(ev.JobTerminated(job_no=job, reason="enough"))) == ["StopAttempt"]
    world.finish(job, exit_code=143)
    assert (world.status(job), world.scheduler.status_reason(job)) == (FAILED, "enough")


def test_cancelling_the_head_that_blocks_a_queue_lets_the_next_one_start() -> None:
    world = World()
    world.put(SMALL)
    giant, small = world.submit(vcpus=64), world.submit()
    assert world.running() == []
    world.do(ev.JobCancelled(job_no=giant, reason="too big"))
    world.boot()
    assert world.status(small) is STARTING


def test_cancelling_a_job_bound_to_a_booting_host_gives_its_room_to_the_next() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    first, second = world.submit(vcpus=2), world.submit(vcpus=2)
    world.do(ev.JobCancelled(job_no=first, reason="no"))
    world.boot()
    assert world.status(second) is STARTING


# ---- arrays ----


def test_an_array_is_pending_while_children_run_and_its_summary_counts_them(world: World) -> None:
    job = world.submit(size=5)
    world.boot()
    world.finish(job, 0)
    assert world.status(job) is PENDING
    assert world.scheduler.summary(job)[SUCCEEDED] == 1
    world.finish_all()
    assert world.status(job) is SUCCEEDED


def test_an_array_fails_when_every_child_has_ended_and_one_failed(world: World) -> None:
    job = world.submit(size=3)
    world.boot()
    world.finish(job, 1, exit_code=1)
    assert world.status(job) is PENDING
    world.finish_all()
    assert world.status(job) is FAILED
    assert [world.status(job, index) for index in range(3)] == [SUCCEEDED, FAILED, SUCCEEDED]


def test_terminating_an_array_reaches_every_child() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    job = world.submit(size=4)
    world.boot()
    world.do(ev.JobTerminated(job_no=job, reason="stop"))
    for index in (0, 1):
        world.finish(job, index, exit_code=143)
    assert world.status(job) is FAILED
    assert world.scheduler.summary(job)[FAILED] == 4


def test_ten_thousand_children_are_one_submission_and_only_what_fits_starts(world: World) -> None:
    job = world.submit(size=10_000)
    world.boot()
    assert world.scheduler.summary(job)[STARTING] == 256
    assert world.scheduler.summary(job)[RUNNABLE] == 10_000 - 256


# ---- dependencies ----


def test_a_job_waits_for_the_job_that_it_depends_on(world: World) -> None:
    first = world.submit(size=2)
    second = world.submit(dependencies=after(first))
    assert world.status(second) is PENDING
    world.boot()
    world.finish(first, 0)
    assert world.status(second) is PENDING
    world.finish(first, 1)
    assert world.status(second) in (RUNNABLE, STARTING)


def test_a_job_whose_dependency_fails_is_failed_down_the_whole_chain(world: World) -> None:
    jobs = [world.submit()]
    for _ in range(300):
        jobs.append(world.submit(dependencies=after(jobs[-1])))
    world.boot()
    world.scheduler.handle(ev.AttemptEnded(job_no=jobs[0], index=0, attempt=1, exit_code=1), world.now)
    assert {world.status(job) for job in jobs} == {FAILED}
    assert world.scheduler.status_reason(jobs[-1]) == DEPENDENCY_FAILED


def test_a_dependency_that_has_ended_already_is_no_hindrance(world: World) -> None:
    first = world.submit()
    world.finish_all()
    second = world.submit(dependencies=after(first))
    assert world.status(second) in (RUNNABLE, STARTING)


def test_n_to_n_lets_each_child_follow_its_own_index(world: World) -> None:
    first = world.submit(size=3)
    second = world.submit(size=3, dependencies=after(first, DependencyType.N_TO_N))
    world.boot()
    world.finish(first, 1)
    world.boot()
    assert [world.status(second, index) for index in range(3)] == [PENDING, STARTING, PENDING]
    world.finish(first, 0, exit_code=1)
    assert world.status(second, 0) is FAILED
    world.finish_all()
    assert world.status(second, 2) is SUCCEEDED


def test_n_to_n_between_arrays_of_different_sizes_is_refused(world: World) -> None:
    first = world.submit(size=3)
    with pytest.raises(InvalidJob, match="one size, not 4 and 3"):
        world.submit(size=4, dependencies=after(first, DependencyType.N_TO_N))


def test_sequential_children_run_one_after_the_other(world: World) -> None:
    job = world.submit(size=3, dependencies=(ev.ResolvedDependency(type=DependencyType.SEQUENTIAL),))
    world.boot()
    for index in range(3):
        assert world.running() == [(job, index, 1)]
        world.finish(job, index)
        world.boot()
    assert world.status(job) is SUCCEEDED


def test_a_sequential_child_that_fails_fails_all_behind_it(world: World) -> None:
    job = world.submit(size=10_000, dependencies=(ev.ResolvedDependency(type=DependencyType.SEQUENTIAL),))
    world.boot()
    world.finish(job, 0, exit_code=1)
    assert world.scheduler.summary(job)[FAILED] == 10_000


# ---- hosts ----


def test_a_reclaimed_hosts_units_are_retried_elsewhere_with_the_next_attempt(world: World) -> None:
    job = world.submit(size=4)
    world.boot()
    reclaimed, other = world.scheduler.host_numbers()
    world.reclaim(reclaimed)
    assert world.scheduler.summary(job)[RUNNABLE] == 2
    world.boot()
    assert reclaimed not in world.scheduler.state.hosts
    assert world.scheduler.host_units(other) == [(job, 2, 1), (job, 3, 1)]
    assert sorted(world.running()) == [(job, 0, 2), (job, 1, 2), (job, 2, 1), (job, 3, 1)]


def test_a_noticed_host_gets_no_new_units() -> None:
    world = World()
    world.put(SMALL, max_vcpus=4)
    first, _, third = (world.submit(vcpus=2) for _ in range(3))
    world.boot()
    (host_no, *_) = world.scheduler.host_numbers()
    world.do(ev.HostNoticed(host_no=host_no))
    world.finish(first)
    assert world.scheduler.host_units(host_no) == []
    assert world.status(third) is RUNNABLE


def test_idle_hosts_are_let_go_down_to_the_minimum() -> None:
    world = World()
    world.put(SMALL, min_vcpus=2, idle_seconds=60.0)
    world.submit(size=6)
    world.finish_all()
    world.wait(59)
    assert not any(isinstance(command, ev.TerminateHost) for command in world.commands)
    let_go = world.wait(2)
    assert kinds(let_go) == ["TerminateHost"] * 2  # of three: none is ended only to be launched again
    world.do(*(ev.HostEnded(host_no=c.host_no) for c in let_go if isinstance(c, ev.TerminateHost)))
    assert world.scheduler.launched_vcpus() == 2


def test_a_launch_that_fails_is_tried_again_later_and_loses_no_unit() -> None:
    world = World()
    world.put(SMALL)
    job = world.submit()
    (host_no,) = world.scheduler.host_numbers()
    world.do(ev.HostEnded(host_no=host_no))
    assert world.status(job) is RUNNABLE
    assert not world.scheduler.host_numbers()
    assert kinds(world.wait(31)) == ["LaunchHost"]
    world.boot()
    assert world.status(job) is STARTING


def test_whoever_refuses_a_launch_may_say_when_to_ask_again() -> None:
    world = World()
    world.put(SMALL)
    world.submit()
    (host_no,) = world.scheduler.host_numbers()
    world.do(ev.HostEnded(host_no=host_no, relaunch_seconds=0.5))
    assert world.scheduler.next_wakeup == 0.5
    assert kinds(world.wait(1)) == ["LaunchHost"]


def test_the_account_quota_limits_all_environments_together() -> None:
    world = World()
    world.scheduler.state.quota_vcpus = 4
    world.put(SMALL)
    world.submit(size=20)
    world.boot()
    assert len(world.running()) == 4


def test_a_disabled_environment_starts_nothing_new_and_lets_its_idle_hosts_go() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    first, second = world.submit(vcpus=2), world.submit(vcpus=2)
    world.boot()
    off = ComputeEnvironment(name="e", pools=(SMALL,), max_vcpus=2, is_enabled=False)
    world.do(ev.EnvironmentPut(environment=off))
    world.finish(first)
    assert world.status(second) is RUNNABLE
    assert kinds(world.wait(1)) == ["TerminateHost"]


def test_a_disabled_environment_keeps_its_minimum_until_it_is_removed() -> None:
    world = World()
    world.put(SMALL, min_vcpus=2, max_vcpus=4)
    world.submit(size=2, vcpus=2)
    world.finish_all()
    off = ComputeEnvironment(name="e", pools=(SMALL,), min_vcpus=2, max_vcpus=4, is_enabled=False)
    let_go = world.do(ev.EnvironmentPut(environment=off)) + world.wait(3600)
    assert kinds(let_go) == ["TerminateHost"]
    world.do(*(ev.HostEnded(host_no=c.host_no) for c in let_go if isinstance(c, ev.TerminateHost)))
    world.do(ev.EnvironmentRemoved(name="e"))
    assert kinds(world.wait(1)) == ["TerminateHost"]


FIRST = ComputeEnvironment(name="e", pools=(SMALL,), max_vcpus=2)


def queue_of_two() -> World:
    """One queue on two environments, each with room for one host; their hosts are of different types."""
    world = World()
    world.do(
        ev.QueuePut(queue=JobQueue(name="q", environments=("e", "f"))),
        ev.EnvironmentPut(environment=FIRST),
        ev.EnvironmentPut(environment=ComputeEnvironment(name="f", pools=(OTHER,), max_vcpus=2)),
    )
    return world


def test_what_waits_for_a_host_to_boot_leaves_an_environment_that_its_queue_gives_up() -> None:
    world = queue_of_two()
    job = world.submit()
    world.do(ev.QueuePut(queue=JobQueue(name="q", environments=("f",))))
    world.boot()
    assert world.started_on(2) == [(job, 0, 1)]
    assert kinds(world.wait(60)) == ["TerminateHost"]


def test_what_waits_for_a_host_to_boot_leaves_an_environment_that_is_disabled_meanwhile() -> None:
    world = queue_of_two()
    job = world.submit()
    world.do(ev.EnvironmentPut(environment=replace(FIRST, is_enabled=False)))
    world.boot()
    assert world.status(job) is STARTING
    assert world.started_on(2) == [(job, 0, 1)]
    assert kinds(world.wait(1)) == ["TerminateHost"]


def test_a_second_environment_takes_what_the_first_one_cannot() -> None:
    world = World()
    world.do(ev.QueuePut(queue=JobQueue(name="q", environments=("spot", "od"))))
    world.do(ev.EnvironmentPut(environment=ComputeEnvironment(name="spot", pools=(SMALL,), max_vcpus=2)))
    world.do(ev.EnvironmentPut(environment=ComputeEnvironment(name="od", pools=(LARGE,), max_vcpus=8, is_spot=False)))
    for _ in range(2):
        world.submit(vcpus=2)
    launched = [command.environment for command in world.commands if isinstance(command, ev.LaunchHost)]
    assert launched == ["spot", "od"]


# ---- order ----


def test_a_big_job_at_the_head_is_not_starved_by_small_ones_behind_it() -> None:
    world = World()
    world.put(LARGE, max_vcpus=8)
    small = world.submit(size=8)
    world.boot()
    big = world.submit(vcpus=8)
    later = world.submit(size=8)
    for index in range(7):
        world.finish(small, index)
    assert world.scheduler.summary(later)[RUNNABLE] == 8
    world.finish(small, 7)
    assert world.status(big) is STARTING


def test_the_queue_with_the_higher_priority_goes_first() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    world.do(ev.QueuePut(queue=JobQueue(name="urgent", environments=("e",), priority=10)))
    runs, waits = world.submit(vcpus=2), world.submit(vcpus=2)
    urgent = world.submit(vcpus=2, queue="urgent")
    world.boot()
    world.finish(runs)
    assert (world.status(urgent), world.status(waits)) == (STARTING, RUNNABLE)


def test_fair_shares_get_room_by_their_weights() -> None:
    world = World()
    policy = FairShare(shares=(ShareWeight(identifier="a", weight=1.0), ShareWeight(identifier="b", weight=3.0)))
    world.put(SMALL, max_vcpus=2, queue=JobQueue(name="q", environments=("e",), fair_share=policy))
    a, b = world.submit(size=400, share="a", vcpus=2), world.submit(size=400, share="b", vcpus=2)
    world.boot()
    for _ in range(400):
        world.now += 10
        ((job, index, _),) = world.running()
        world.scheduler.handle(ev.AttemptEnded(job_no=job, index=index, attempt=1, exit_code=0), world.now)
    done_a, done_b = (world.scheduler.summary(job)[SUCCEEDED] for job in (a, b))
    assert 2.7 < done_a / done_b < 3.3


def test_shares_that_are_long_idle_are_forgotten_and_those_that_count_are_not() -> None:
    world = World()
    world.put(SMALL, queue=JobQueue(name="q", environments=("e",), fair_share=FairShare()))
    world.submit(share="waits", vcpus=64)
    for number in range(1_100):  # without the checks of `World.do`, which would take seconds here
        job = ev.JobSubmitted(job_no=1_000 + number, queue="q", share=f"once{number}")
        world.scheduler.handle(job, world.now)
        world.scheduler.handle(ev.JobCancelled(job_no=job.job_no, reason="no need"), world.now)
    world.scheduler.check()
    assert len(world.scheduler.shares("q")) <= 500
    assert "waits" in world.scheduler.shares("q")


def test_within_a_share_the_higher_scheduling_priority_goes_first() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2, queue=JobQueue(name="q", environments=("e",), fair_share=FairShare()))
    first = world.submit(vcpus=2, share="a")
    low, high = world.submit(vcpus=2, share="a", priority=1), world.submit(vcpus=2, share="a", priority=9)
    world.boot()
    world.finish(first)
    assert (world.status(high), world.status(low)) == (STARTING, RUNNABLE)


# ---- why a job is stuck ----


@pytest.mark.parametrize(
    ("vcpus", "memory_mib", "max_vcpus", "reason"),
    [
        (1, 100_000, 256, BlockedReason.REQUIREMENT),
        (8, 1000, 4, BlockedReason.ENVIRONMENT_MAX),
    ],
)
def test_a_job_that_can_never_run_is_told_why(
    vcpus: int, memory_mib: int, max_vcpus: int, reason: BlockedReason
) -> None:
    world = World()
    world.put(max_vcpus=max_vcpus)
    world.submit(vcpus=vcpus, memory_mib=memory_mib)
    assert world.scheduler.blocked("q") is reason


def test_what_a_blocked_head_says_is_what_the_user_guide_says() -> None:
    world = World()
    world.put(SMALL, LARGE, max_vcpus=4)
    tight = world.submit(vcpus=8)
    assert world.scheduler.status_reason(tight) == (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU "
        "requirement of the job."
    )
    world.put(SMALL, LARGE, max_vcpus=8)
    world.do(*(ev.HostEnded(host_no=host) for host in world.scheduler.host_numbers()))
    assert world.scheduler.status_reason(tight) == (
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type "
        "[c5.2xlarge]"
    )


def test_best_fit_waits_for_the_type_that_it_prefers_where_the_progressive_strategy_takes_another() -> None:
    for strategy, launched in ((AllocationStrategy.BEST_FIT, 1), (AllocationStrategy.BEST_FIT_PROGRESSIVE, 2)):
        world = World()
        world.put(SMALL, LARGE, strategy=strategy, is_spot=False)
        world.submit()
        world.do(ev.HostEnded(host_no=1))  # there is none of the small type now
        pools = [command.pool for command in world.commands if isinstance(command, ev.LaunchHost)]
        assert pools == [SMALL, LARGE][:launched]
        world.wait(31)
        pools = [command.pool for command in world.commands if isinstance(command, ev.LaunchHost)]
        assert pools[:2] == ([SMALL, SMALL] if launched == 1 else [SMALL, LARGE])


def test_the_ordered_strategy_takes_the_first_listed_type_that_fits_and_sizes_of_a_family_by_fit() -> None:
    needs = ResourceRequirements(vcpus=1, memory_mib=1000)
    big, small, family = replace(LARGE, rank=0), replace(SMALL, rank=1, usd_per_hour=0.001), replace(SMALL, rank=0)
    ordered = AllocationStrategy.BEST_FIT_PROGRESSIVE_ORDERED
    assert choose_pool(ordered, [small, big], needs, waiting_vcpus=1, headroom_vcpus=64) == big
    assert choose_pool(ordered, [small, big, family], needs, waiting_vcpus=1, headroom_vcpus=64) == family
    assert choose_pool(ordered, [small, big], needs, waiting_vcpus=1, headroom_vcpus=4) == small


def test_the_prioritized_spot_strategy_asks_for_capacity_first_and_for_the_order_second() -> None:
    needs = ResourceRequirements(vcpus=1, memory_mib=1000)
    first, second = replace(LARGE, rank=0, depth=3.0), replace(SMALL, rank=1, depth=3.0)
    prioritized = AllocationStrategy.SPOT_CAPACITY_OPTIMIZED_PRIORITIZED
    assert choose_pool(prioritized, [second, first], needs, waiting_vcpus=1, headroom_vcpus=64) == first
    deeper = replace(second, depth=4.0)
    assert choose_pool(prioritized, [deeper, first], needs, waiting_vcpus=1, headroom_vcpus=64) == deeper


def test_a_job_that_only_waits_its_turn_is_not_called_blocked() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    world.submit(vcpus=2)
    world.submit(vcpus=2)
    assert world.scheduler.blocked("q") is None


def test_a_state_time_limit_cancels_the_head_that_can_never_run() -> None:
    world = World()
    limit = StateTimeLimit(reason=BlockedReason.REQUIREMENT, max_seconds=600)
    world.put(SMALL, queue=JobQueue(name="q", environments=("e",), time_limits=(limit,)))
    stuck, fine = world.submit(memory_mib=100_000), world.submit()
    world.wait(599)
    assert world.status(stuck) is RUNNABLE
    world.wait(2)
    assert world.status(stuck) is FAILED
    assert world.scheduler.status_reason(stuck) == (
        "Canceled by JobStateTimeLimit action due to reason: MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    )
    world.boot()
    assert world.status(fine) is STARTING


# ---- after a restart ----


def test_restored_jobs_go_on_where_they_stood_and_lost_attempts_count() -> None:
    before = World()
    before.put(SMALL, max_vcpus=2)
    array = before.submit(size=4)
    follower = before.submit(dependencies=after(array))
    before.boot()
    before.finish(array, 0)
    old = before.scheduler

    world = World()
    world.do(ev.QueuePut(queue=JobQueue(name="q", environments=("e",))))
    for job in (array, follower):
        submitted = old.submitted(job)
        world.do(ev.JobRestored(submitted=submitted, statuses=old.statuses(job), attempts=old.attempts(job)))
    for index in (1, 2):
        lost = ev.AttemptEnded(
            job_no=array, index=index, attempt=1, status_reason="Host EC2 (instance i-1) terminated."
        )
        world.do(lost)
    world.do(ev.EnvironmentPut(environment=ComputeEnvironment(name="e", pools=(SMALL,), max_vcpus=2)))
    assert world.status(array, 0) is SUCCEEDED
    world.boot()
    assert world.running() == [(array, 1, 2), (array, 2, 2)]
    world.finish_all()
    assert (world.status(array), world.status(follower)) == (SUCCEEDED, SUCCEEDED)
    assert list(world.scheduler.attempts(array)) == [1, 2, 2, 1]


def test_a_job_is_forgotten_only_once_it_has_ended(world: World) -> None:
    job = world.submit()
    with pytest.raises(InvalidInput, match="has not ended"):
        world.scheduler.forget(job)
    world.finish_all()
    world.scheduler.forget(job)
    with pytest.raises(NotFound):
        world.status(job)


# ---- what waits is looked at whenever room comes, wherever it comes from ----

OTHER = Pool(instance_type="m5.large", zone="us-east-1c", vcpus=2, memory_mib=7000, usd_per_hour=0.096)


def two_environments(*, quota_vcpus: int | None = None, **queue_settings: object) -> World:
    """Queue `q` on environment `e`, queue `r` on environment `f`, hosts of two vCPUs, at most one in each."""
    world = World(scheduler=Scheduler(quota_vcpus=quota_vcpus, remember=True))
    world.put(SMALL, max_vcpus=2, queue=JobQueue(name="q", environments=("e",), **queue_settings))  # type: ignore[arg-type]
    world.do(
        ev.QueuePut(queue=JobQueue(name="r", environments=("f",))),
        ev.EnvironmentPut(environment=ComputeEnvironment(name="f", pools=(OTHER,), max_vcpus=2)),
    )
    return world


def test_quota_that_one_environment_gives_back_is_used_by_another() -> None:
    world = two_environments(quota_vcpus=2)
    first, second = world.submit(vcpus=2), world.submit(vcpus=2, queue="r")
    world.boot()
    world.finish(first)
    assert kinds(world.wait(60)) == ["TerminateHost"]
    assert kinds(world.do(ev.HostEnded(host_no=1))) == ["LaunchHost"]
    world.boot()
    assert world.status(second) is STARTING


def test_a_head_that_was_cancelled_lets_the_queues_go_that_it_held_back() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    world.do(ev.QueuePut(queue=JobQueue(name="urgent", environments=("e",), priority=9)))
    running = world.submit(vcpus=1)
    world.boot()
    big = world.submit(vcpus=2, queue="urgent")
    held = world.submit(vcpus=1)
    assert world.status(held) is RUNNABLE
    world.do(ev.JobCancelled(job_no=big, reason="no need"))
    assert world.status(held) is STARTING
    assert world.status(running) is STARTING


def test_a_head_that_waits_holds_lower_priorities_back_but_not_its_equals() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    for name, priority in (("equal", 1), ("lower", 0)):
        world.do(ev.QueuePut(queue=JobQueue(name=name, environments=("e",), priority=priority)))
    first, second = world.submit(vcpus=1), world.submit(vcpus=1)
    world.boot()
    big, low = world.submit(vcpus=2), world.submit(vcpus=1, queue="lower")
    equal = world.submit(size=2, vcpus=1, queue="equal")
    world.finish(first)
    assert world.status(equal, 0) is STARTING
    world.finish(second)
    assert world.status(equal, 1) is STARTING
    assert world.status(big) is RUNNABLE
    assert world.status(low) is RUNNABLE


def test_a_retried_job_goes_to_the_queues_other_environment_if_its_own_was_disabled() -> None:
    world = queue_of_two()
    job = world.submit(retry=RetryStrategy(attempts=2))
    world.boot()
    world.do(ev.EnvironmentPut(environment=replace(FIRST, is_enabled=False)))
    world.finish(job, exit_code=1)
    world.boot()
    assert world.status(job) is STARTING
    assert world.started_on(2) == [(job, 0, 2)]


def test_a_changed_scheduling_policy_weighs_the_shares_anew() -> None:
    world = World()
    policy = FairShare(shares=(ShareWeight(identifier="a"), ShareWeight(identifier="b")))
    queue = JobQueue(name="q", environments=("e",), fair_share=policy)
    world.put(SMALL, max_vcpus=2, queue=queue)
    a, b = world.submit(size=400, share="a", vcpus=2), world.submit(size=400, share="b", vcpus=2)
    heavy = FairShare(shares=(ShareWeight(identifier="a"), ShareWeight(identifier="b", weight=4.0)))
    world.do(ev.QueuePut(queue=replace(queue, fair_share=heavy)))
    world.boot()
    for _ in range(400):
        world.now += 10
        ((job, index, _),) = world.running()
        world.finish(job, index)
    done_a, done_b = (world.scheduler.summary(job)[SUCCEEDED] for job in (a, b))
    assert 3.6 < done_a / done_b < 4.4


def test_a_queue_neither_gets_nor_loses_a_scheduling_policy() -> None:
    world = World()
    world.put(SMALL)
    with pytest.raises(InvalidInput, match="scheduling policy"):
        world.do(ev.QueuePut(queue=JobQueue(name="q", environments=("e",), fair_share=FairShare())))


def test_what_ran_in_a_share_before_a_restart_is_booked_to_it_until_it_is_lost() -> None:
    world = World()
    queue = JobQueue(name="q", environments=("e",), fair_share=FairShare())
    world.do(ev.QueuePut(queue=queue))
    job = ev.JobSubmitted(job_no=1, queue="q", share="a")
    running = bytes([STATUSES.index(RUNNING)])
    world.do(ev.JobRestored(submitted=job, statuses=running, attempts=b"\1"))
    world.do(ev.AttemptEnded(job_no=1, index=0, attempt=1, status_reason="Host EC2 (instance i-1) terminated."))
    assert world.status(1) is FAILED  # `World.do` checked the shares' books after each step


def test_a_restored_job_whose_queue_was_deleted_is_ended_not_lost() -> None:
    world = World()
    submitted = ev.JobSubmitted(job_no=1, queue="gone", size=2, retry=RetryStrategy(attempts=3))
    world.do(ev.JobRestored(submitted=submitted, statuses=bytes([STATUSES.index(RUNNING), 2]), attempts=b"\1\0"))
    world.do(ev.AttemptEnded(job_no=1, index=0, attempt=1, status_reason="Host EC2 (instance i-1) terminated."))
    assert world.status(1) is FAILED
    assert world.scheduler.status_reason(1, 1) == "Job queue deleted"


def test_a_hundred_attempts_with_timeouts_ask_for_one_wakeup(world: World) -> None:
    world.put(LARGE, max_vcpus=800)
    jobs = [world.submit(timeout_seconds=60) for _ in range(100)]
    world.boot()
    world.run()
    for job in jobs[:-1]:
        world.now += 0.1
        world.finish(job)
    assert world.scheduler.next_wakeup == 60.0
    assert kinds(world.wait(60)).count("StopAttempt") == 1


def test_timeouts_are_kept_apart_by_their_length_and_start_with_each_attempt() -> None:
    world = World()
    world.put(LARGE)
    long, short = world.submit(timeout_seconds=120), world.submit(timeout_seconds=60)
    world.boot()
    world.run()
    world.now += 30
    late = world.submit(timeout_seconds=60)
    world.run()
    stopped = {command.job_no: world.now for command in world.wait(30) if isinstance(command, ev.StopAttempt)}
    assert stopped == {short: 60.0}
    assert [command.job_no for command in world.wait(31) if isinstance(command, ev.StopAttempt)] == [late]
    assert [command.job_no for command in world.wait(30) if isinstance(command, ev.StopAttempt)] == [long]


def test_a_state_time_limit_looks_again_at_a_head_that_waited_for_another_reason_first() -> None:
    world = World()
    limit = StateTimeLimit(reason=BlockedReason.ENVIRONMENT_MAX.value, max_seconds=600)
    world.put(LARGE, max_vcpus=8, queue=JobQueue(name="q", environments=("e",), time_limits=(limit,)))
    world.submit(vcpus=8, retry=RetryStrategy())
    head = world.submit(vcpus=8)
    world.boot()
    world.wait(700)
    assert world.status(head) is RUNNABLE, "it only waited its turn"
    world.put(LARGE, max_vcpus=4, queue=JobQueue(name="q", environments=("e",), time_limits=(limit,)))
    world.reclaim(1)
    world.wait(700)
    assert world.status(head) is FAILED


# ---- what is told of those who wait ----


def test_changed_time_limits_count_for_the_head_that_waits_already_and_dropped_ones_do_not() -> None:
    world = World()
    limit = StateTimeLimit(reason=BlockedReason.REQUIREMENT.value, max_seconds=600)
    queue = JobQueue(name="q", environments=("e",), time_limits=(limit,))
    world.put(SMALL, queue=queue)
    head = world.submit(vcpus=64)
    world.wait(500)
    world.do(ev.QueuePut(queue=replace(queue, time_limits=())))
    world.wait(5_000)
    assert world.status(head) is RUNNABLE
    world.do(ev.QueuePut(queue=queue))
    world.wait(599)
    assert world.status(head) is RUNNABLE
    world.wait(1)
    assert world.status(head) is FAILED


def test_a_head_that_can_never_run_says_so_in_its_status_reason_and_nobody_else_does() -> None:
    world = World()
    world.put(SMALL)
    head, behind = world.submit(vcpus=16), world.submit()
    reason = world.scheduler.status_reason(head)
    assert reason.startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - ")
    assert world.scheduler.status_reason(behind) == ""
    world.do(ev.JobTerminated(job_no=head, reason="stop"))
    assert world.scheduler.status_reason(head) == "stop"
    assert world.scheduler.status_reason(behind) == ""


def test_a_head_whose_environments_are_all_disabled_waits_without_a_reason() -> None:
    world = World()
    world.put(SMALL, is_enabled=False)
    assert world.scheduler.status_reason(world.submit(vcpus=16)) == ""


def test_the_front_of_a_queue_is_told_in_the_order_of_dispatch() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2)
    retried = world.submit(vcpus=2, retry=RetryStrategy(attempts=2))
    assert world.scheduler.front("q", 9) == [(retried, 0)], "a host boots for it"
    world.boot()
    assert world.scheduler.front("q", 9) == []
    head, array = world.submit(vcpus=2), world.submit(size=3, vcpus=2)
    world.do(ev.JobCancelled(job_no=array, index=1, reason="no need"))
    assert world.scheduler.front("q", 9) == [(head, 0), (array, 0), (array, 2)]
    world.do(ev.HostNoticed(host_no=1))
    world.finish(retried, exit_code=1)
    assert world.scheduler.front("q", 2) == [(retried, 0), (head, 0)]


def test_the_front_of_a_fair_queue_goes_by_share_then_by_priority() -> None:
    world = World()
    world.put(SMALL, max_vcpus=2, queue=JobQueue(name="q", environments=("e",), fair_share=FairShare()))
    first = world.submit(share="b", vcpus=2)
    world.boot()
    world.now += 100
    low, high = world.submit(share="b", vcpus=2), world.submit(share="b", vcpus=2, priority=5)
    other = world.submit(share="a", vcpus=2)
    assert world.scheduler.front("q", 9) == [(other, 0), (high, 0), (low, 0)]
    assert world.scheduler.shares("q") == {"a": 0, "b": 2}
    world.finish(first)
    assert world.status(other) is STARTING
