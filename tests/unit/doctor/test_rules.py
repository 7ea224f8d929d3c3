"""Every cause that the doctor names, from what was seen."""

from dataclasses import replace
from typing import Any

import pytest

from spotbatch.aws.inspection import Environment, Queue, Surroundings
from spotbatch.aws.quotas import quota_of
from spotbatch.batch.job import ArrayProperties, Attempt, Job, ResourceRequirements
from spotbatch.batch.status import JobStatus, host_terminated
from spotbatch.doctor.case import AttemptWarning, Case, Finding, Weight
from spotbatch.doctor.rules import diagnose
from spotbatch.pricing.catalogue import catalogue

ENVIRONMENT = Environment(
    name="spot",
    state="ENABLED",
    status="VALID",
    max_vcpus=256,
    instance_types=("c5.large", "m5.xlarge"),
    subnets=("s",),
)
QUEUE = Queue(name="q", state="ENABLED", status="VALID", environments=(ENVIRONMENT,))
JOB = Job(id="j", name="n", queue="q", definition="d:1", status=JobStatus.RUNNABLE)


def findings(
    *, job: Job = JOB, queue: Queue = QUEUE, dependencies: tuple[Job, ...] = (), head: Job | None = None, **seen: Any
) -> list[Finding]:
    around = Surroundings(queue=queue, **seen)
    return diagnose(Case(job=job, around=around, types=catalogue(), dependencies=dependencies, head=head))


def causes(**case: Any) -> list[str]:
    return [each.cause for each in findings(**case) if each.weight is Weight.CAUSE]


def with_environment(**changes: Any) -> Queue:
    return replace(QUEUE, environments=(replace(ENVIRONMENT, **changes),))


def asking(**needs: int) -> Job:
    return replace(JOB, requirements=ResourceRequirements(**needs))


def failed(**what: Any) -> Job:
    return replace(JOB, status=JobStatus.FAILED, **what)


def test_a_healthy_job_has_no_cause_and_waits_for_its_host() -> None:
    assert causes() == []
    assert any("waits for a Spot host" in each.cause for each in findings())


def test_memory_just_above_what_the_instance_offers_is_told_with_both_figures() -> None:
    [found] = [each for each in findings(job=asking(memory_mib=16384)) if each.weight is Weight.CAUSE]
    assert found.cause == "no instance type of the environment has so much usable memory"
    assert "asks for 16384 MiB; m5.xlarge is sold with 16384 MiB" in found.evidence
    assert "--memory 15" in found.fix


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"vcpus": 8}, "so many vCPUs"),
        ({"gpus": 1}, "so many GPUs"),
    ],
)
def test_what_no_type_has_is_named(needs: dict[str, int], said: str) -> None:
    assert said in causes(job=asking(**needs))[0]


def test_two_needs_that_no_single_type_meets_together() -> None:
    queue = with_environment(instance_types=("c5.xlarge", "r5.large"))
    assert causes(job=asking(vcpus=4, memory_mib=12000), queue=queue) == [
        "no single instance type has both the vCPUs and the memory"
    ]


def test_a_limit_below_one_host() -> None:
    assert causes(queue=with_environment(max_vcpus=1)) == ["no host that fits the job fits into the environment"]


def test_a_quota_below_one_host_is_a_cause_and_below_the_limit_a_guess() -> None:
    standard = quota_of("c5", is_spot=True)
    assert standard is not None
    assert causes(quota_vcpus={standard: 1.0}) == ["the account's vCPU quota is smaller than one host"]
    assert causes(quota_vcpus={standard: 32.0}) == []
    assert any("below the environment's limit" in each.cause for each in findings(quota_vcpus={standard: 32.0}))


def test_hosts_with_gpus_have_a_quota_of_their_own() -> None:
    standard, gpus = (quota_of(family, is_spot=True) for family in ("c5", "g5"))
    assert standard is not None
    assert gpus is not None
    seen = {standard: 512.0, gpus: 0.0}
    asked = replace(JOB, requirements=ResourceRequirements(gpus=1))
    only_gpus = with_environment(instance_types=("g5.xlarge",))
    assert causes(job=asked, queue=only_gpus, quota_vcpus=seen) == [
        "the account's vCPU quota is zero for what the environment launches"
    ]
    assert causes(job=asked, queue=only_gpus, quota_vcpus={standard: 0.0, gpus: 8.0}) == []
    both = with_environment(instance_types=("c5.large", "g5.xlarge"))
    assert causes(queue=both, quota_vcpus=seen) == []


def test_what_the_catalogue_does_not_know_is_not_said_to_be_too_small() -> None:
    queue = with_environment(instance_types=("c5.large", "g5.xlarge"))
    assert causes(job=replace(JOB, requirements=ResourceRequirements(gpus=1)), queue=queue) == []


@pytest.mark.parametrize(
    ("queue", "cause"),
    [
        (replace(QUEUE, state="DISABLED"), "the job queue is disabled"),
        (replace(QUEUE, status="INVALID"), "the job queue is invalid"),
        (with_environment(state="DISABLED"), "the compute environment is disabled"),
        (with_environment(status="INVALID", status_reason="no role"), "the compute environment is INVALID"),
    ],
)
def test_what_is_off_or_broken(queue: Queue, cause: str) -> None:
    assert causes(queue=queue) == [cause]


def test_spot_prices_above_the_cap_are_likely_and_below_it_nothing() -> None:
    said = [each for each in findings(queue=with_environment(bid_percentage=10)) if each.weight is Weight.LIKELY]
    assert [each.cause for each in said] == ["Spot prices are above the environment's cap"]
    assert "at most 10 % of the on-demand price" in said[0].evidence
    assert all(each.weight is Weight.NORMAL for each in findings(queue=with_environment(bid_percentage=100)))


def test_an_environment_that_is_being_changed_is_waited_for() -> None:
    assert any("still being changed" in each.cause for each in findings(queue=with_environment(status="UPDATING")))


def test_an_image_for_another_architecture() -> None:
    assert causes(image_architectures=("arm64",)) == ["the image is built for another architecture than the hosts have"]
    assert causes(image_architectures=("arm64", "x86_64")) == []


def test_image_network_and_roles() -> None:
    assert causes(image="r/x:1", is_image_there=False) == ["the image is not in the registry"]
    assert causes(subnets_without_way_out=("s",)) == ["subnets have no way to ECR, ECS and CloudWatch"]
    assert causes(missing_roles=("role x",)) == ["a role that is needed does not exist"]


def test_a_full_environment_and_jobs_ahead_are_normal() -> None:
    said = [each.cause for each in findings(queue=with_environment(desired_vcpus=256), ahead=("a", "b", "j"))]
    assert any("at their limit" in each for each in said)
    assert any("other jobs are before it" in each for each in said)
    assert causes(queue=with_environment(desired_vcpus=256), ahead=("a", "j")) == []


def test_dependencies() -> None:
    pending = replace(JOB, status=JobStatus.PENDING)
    other = replace(JOB, id="o", name="other", status=JobStatus.RUNNING)
    assert any("waits for a job" in each.cause for each in findings(job=pending, dependencies=(other,)))
    lost = replace(other, status=JobStatus.FAILED)
    assert causes(job=failed(status_reason="Dependent Job failed"), dependencies=(lost,))[0] == (
        "a job that it depends on has FAILED"
    )


def test_the_parent_of_an_array_is_pending_because_its_children_run() -> None:
    parent = replace(
        JOB, status=JobStatus.PENDING, array=ArrayProperties(size=2, status_summary={JobStatus.RUNNING: 2})
    )
    assert any("its children run" in each.cause for each in findings(job=parent))


@pytest.mark.parametrize(
    ("job", "cause"),
    [
        (failed(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"), "more memory"),
        (failed(reason="CannotPullContainerError: manifest unknown"), "could not be pulled"),
        (failed(status_reason="Job attempt duration exceeded timeout"), "longer than its timeout"),
        (failed(exit_code=127), "not found in the image"),
        (failed(exit_code=212), "outputs could not be saved"),
        (failed(exit_code=1), "the command itself failed"),
        (failed(is_terminated=True), "somebody stopped it"),
        (failed(attempts=(Attempt(stopped_at=1.0, status_reason=host_terminated("i-1")),)), "interrupted: 1 attempt"),
    ],
)
def test_why_a_job_failed(job: Job, cause: str) -> None:
    assert cause in causes(job=job)[0]


def test_what_runs_or_is_done_has_no_cause() -> None:
    for status in (JobStatus.STARTING, JobStatus.RUNNING, JobStatus.SUCCEEDED):
        found = findings(job=replace(JOB, status=status))
        assert [each.weight for each in found] == [Weight.NORMAL]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - All compute environments have", "EC2 has no host for it now"),
        ("MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - Batch service role has a permission issue", "AWS Batch says"),
    ],
)
def test_what_aws_batch_itself_says_of_the_head_of_a_queue_is_a_cause(reason: str, cause: str) -> None:
    stuck = replace(JOB, status_reason=reason)
    assert cause in causes(job=stuck)[0]
    assert causes(job=replace(stuck, requirements=ResourceRequirements(gpus=1)))[0].startswith("no instance type")
    behind = findings(job=replace(JOB, id="k"), ahead=("j",), head=stuck)
    assert any(f"the first is n (j), which waits: {reason}" in each.evidence for each in behind)
    assert any(each.fix == "spotbatch doctor j" for each in behind)


def test_the_local_regions_own_quota_is_named_and_spot_is_not_blamed() -> None:
    waiting = replace(JOB, status_reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - no host")
    case = Case(job=waiting, around=Surroundings(queue=QUEUE), types=catalogue(), is_cloud=False, local_vcpus=(8, 8))
    [found] = diagnose(case)
    assert "the local region's own vCPU quota is used up" in found.cause
    assert found.evidence == "its hosts have 8 of 8 vCPUs; the smallest host that fits has 2"
    assert "spotbatch local up --vcpu-quota 16" in found.fix
    [smaller] = diagnose(replace(case, local_vcpus=(0, 1)))
    assert (smaller.weight, smaller.fix) == (Weight.CAUSE, "spotbatch local down && spotbatch local up --vcpu-quota 2")
    assert "Spot" in diagnose(replace(case, job=JOB, local_vcpus=(2, 8)))[0].cause


def test_a_run_that_was_repaired_has_succeeded_and_is_called_as_its_user_calls_it() -> None:
    first = failed(id="a", array=ArrayProperties(size=6, status_summary={JobStatus.FAILED: 2, JobStatus.SUCCEEDED: 4}))
    second = replace(
        JOB, id="b", status=JobStatus.SUCCEEDED, environment={"SPOTBATCH_ARRAY_INDEXES": "2,5"},
        array=ArrayProperties(size=2, status_summary={JobStatus.SUCCEEDED: 2}),
    )  # fmt: skip
    around = Surroundings(queue=QUEUE)
    case = Case(job=second, around=around, types=catalogue(), run=(first, second), named="count")
    [found] = diagnose(case)
    assert found.evidence == "6 children, 2 of them after they were run again"
    assert found.fix == "spotbatch results count DEST"
    assert (case.unit(first, 2), replace(case, named="count:2").unit(first, 2)) == ("count:2", "count:2")


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("memory: 970 of 1024 MiB (95%) are in use", "--memory"),
        ("disk: 12 of 1000 MiB are free where /scratch stands", "larger disk"),
        ("checkpoints: db is not saved as it is: it cannot be read", "rename"),
        ("the checkpoint has 900 MB, and its saves moved 0.10 MB/s: a restore would", "less state"),
        ("something new", "spotbatch show j"),
    ],
)
@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.FAILED, JobStatus.SUCCEEDED, JobStatus.RUNNABLE])
def test_what_the_runtime_warned_of_is_a_likely_cause_with_what_helps(status: JobStatus, text: str, fix: str) -> None:
    job = replace(JOB, status=status, attempts=(Attempt(started_at=1.0, exit_code=1),))
    warnings = [AttemptWarning(unit=job, attempt=number, text=text) for number in (1, 2)]
    case = Case(job=job, around=Surroundings(queue=QUEUE), types=catalogue(), warnings=warnings)
    [found] = [each for each in diagnose(case) if "spotrun warned" in each.cause]
    assert found.weight is Weight.LIKELY
    assert text in found.cause
    assert fix in found.fix
    assert found.evidence == "the record of attempt 1 of j"
