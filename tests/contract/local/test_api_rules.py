"""AWS Batch's rules over HTTP, with real jobs: overrides, parameters, dependencies, shares, who waits for what."""

import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, refusal, running, until

ENDS_SECONDS = 30.0
ONE_HOST = {**ENVIRONMENT_RESOURCES, "instanceTypes": ["c5.large"], "maxvCpus": 2}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    quick = ("--boot-seconds", "0.05", "--stop-grace-seconds", "1", "--idle-seconds", "0.2")
    with running(tmp_path_factory.mktemp("region") / "home", *quick) as started:
        batch = started.client("batch")
        for name, state in (("ce", "ENABLED"), ("off", "DISABLED")):
            batch.create_compute_environment(
                computeEnvironmentName=name, type="MANAGED", state=state, computeResources=ONE_HOST
            )
        queue(batch, "q", "ce")
        queue(batch, "idle", "off")
        shell = {**CONTAINER, "command": ["sh", "-c", "Ref::script", "Ref::name", "Ref::missing"]}
        batch.register_job_definition(
            jobDefinitionName="shell",
            type="container",
            containerProperties=shell,
            parameters={"script": "exit 0", "name": "default"},
        )
        yield started


@pytest.fixture(scope="module")
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def queue(batch: Any, name: str, *environments: str, priority: int = 1, **more: Any) -> str:
    order = [{"order": place, "computeEnvironment": each} for place, each in enumerate(environments)]
    batch.create_job_queue(jobQueueName=name, priority=priority, computeEnvironmentOrder=order, **more)
    return name


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def submit(batch: Any, script: str = "exit 0", **more: Any) -> str:
    asked = {"jobName": "job", "jobQueue": "q", "jobDefinition": "shell", "parameters": {"script": script}}
    job_id: str = batch.submit_job(**{**asked, **more})["jobId"]
    return job_id


def describe(batch: Any, job_id: str) -> Any:
    (found,) = batch.describe_jobs(jobs=[job_id])["jobs"]
    return found


def reaches(batch: Any, job_id: str, *statuses: str) -> Any:
    def found() -> Any:
        job = describe(batch, job_id)
        return job if job["status"] in statuses else None

    return until(found, seconds=ENDS_SECONDS)


def ended(batch: Any, job_id: str) -> Any:
    return reaches(batch, job_id, "SUCCEEDED", "FAILED")


def needs(job: Any) -> dict[str, str]:
    return {entry["type"]: entry["value"] for entry in job["container"]["resourceRequirements"]}


# ---- what a submission overrides ----


def test_the_deprecated_overrides_do_not_change_resource_requirements_of_the_definition(batch: Any) -> None:
    old = {"vcpus": 2, "memory": 512}
    assert needs(describe(batch, submit(batch, jobQueue="idle", containerOverrides=old))) == {
        "VCPU": "1",
        "MEMORY": "256",
    }
    new = {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}
    assert needs(describe(batch, submit(batch, jobQueue="idle", containerOverrides={**old, **new}))) == {
        "VCPU": "2",
        "MEMORY": "256",
    }


@pytest.mark.parametrize("name", ["AWS_BATCH", "AWS_BATCH_JOB_ID", "AWS_BATCHX"])
def test_names_that_begin_with_aws_batch_are_reserved_everywhere(batch: Any, name: str) -> None:
    variables = [{"name": name, "value": "x"}]
    asked = {"jobName": "j", "jobQueue": "q", "jobDefinition": "shell"}
    assert "AWS Batch's own" in refusal(batch.submit_job, containerOverrides={"environment": variables}, **asked)
    properties = {**CONTAINER, "environment": variables}
    assert "AWS Batch's own" in refusal(
        batch.register_job_definition,
        jobDefinitionName=unique("d"),
        type="container",
        containerProperties=properties,
    )


def test_parameters_have_defaults_that_a_submission_overrides_and_what_has_no_value_stays(batch: Any) -> None:
    found = describe(batch, submit(batch, "echo hello", jobQueue="idle"))
    assert found["container"]["command"] == ["sh", "-c", "echo hello", "default", "Ref::missing"]
    assert found["parameters"] == {"script": "echo hello", "name": "default"}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("eksPropertiesOverride", {"podProperties": {}}),
        ("nodeOverrides", {}),
    ],
)
def test_overrides_for_what_the_region_does_not_have_are_refused_not_ignored(
    batch: Any, member: str, value: Any
) -> None:
    asked = {"jobName": "j", "jobQueue": "q", "jobDefinition": "shell", member: value}
    assert member in refusal(batch.submit_job, **asked)


def test_a_job_of_an_ecs_definition_is_described_with_its_ecs_properties(batch: Any) -> None:
    name = unique("ecs")
    properties = {"taskProperties": [{"containers": [{**CONTAINER, "name": "main", "essential": True}]}]}
    batch.register_job_definition(jobDefinitionName=name, type="container", ecsProperties=properties)
    override = {"taskProperties": [{"containers": [{"name": "main", "command": ["sh", "-c", "exit 0"]}]}]}
    asked: dict[str, Any] = {"jobDefinition": name, "ecsPropertiesOverride": override, "parameters": {}}
    found = ended(batch, submit(batch, **asked))
    (container,) = found["ecsProperties"]["taskProperties"][0]["containers"]
    assert (container["name"], container["command"]) == ("main", ["sh", "-c", "exit 0"])
    assert found["status"] == "SUCCEEDED"


def test_retries_and_timeout_of_the_definition_hold_unless_the_submission_says_otherwise(batch: Any) -> None:
    name = unique("d")
    entries = [{"action": "RETRY", "onExitCode": "5"}, {"action": "EXIT", "onReason": "*"}]
    batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={**CONTAINER, "command": ["sh", "-c", "exit 5"]},
        retryStrategy={"attempts": 2, "evaluateOnExit": entries},
        timeout={"attemptDurationSeconds": 600},
    )
    found = ended(batch, submit(batch, jobDefinition=name, parameters={}))
    assert (found["status"], len(found["attempts"]), found["timeout"]) == ("FAILED", 2, {"attemptDurationSeconds": 600})
    more: dict[str, Any] = {"retryStrategy": {"attempts": 1}, "timeout": {"attemptDurationSeconds": 60}}
    found = ended(batch, submit(batch, jobDefinition=name, parameters={}, **more))
    assert (len(found["attempts"]), found["timeout"]["attemptDurationSeconds"]) == (1, 60)
    assert found["retryStrategy"]["attempts"] == 1


# ---- arrays and dependencies ----


def test_an_array_of_ten_thousand_is_one_submission_with_one_summary(batch: Any) -> None:
    job_id = submit(batch, jobQueue="idle", arrayProperties={"size": 10_000})
    found = describe(batch, job_id)
    assert (found["status"], found["arrayProperties"]["size"]) == ("PENDING", 10_000)
    assert found["arrayProperties"]["statusSummary"]["RUNNABLE"] == 10_000
    assert describe(batch, f"{job_id}:9999")["arrayProperties"]["index"] == 9_999
    batch.terminate_job(jobId=job_id, reason="enough")
    summary = ended(batch, job_id)["arrayProperties"]["statusSummary"]
    assert (summary["FAILED"], sum(summary.values())) == (10_000, 10_000)


def test_sequential_children_run_one_after_the_other(batch: Any) -> None:
    more: dict[str, Any] = {"arrayProperties": {"size": 3}, "dependsOn": [{"type": "SEQUENTIAL"}]}
    job_id = submit(batch, **more)
    assert ended(batch, job_id)["status"] == "SUCCEEDED"
    children = [describe(batch, f"{job_id}:{index}") for index in range(3)]
    for elder, younger in pairwise(children):
        assert elder["stoppedAt"] <= younger["startedAt"]


def test_a_child_that_fails_takes_its_n_to_n_partner_with_it_and_nobody_else(batch: Any) -> None:
    array: dict[str, Any] = {"arrayProperties": {"size": 2}}
    first = submit(batch, "exit $AWS_BATCH_JOB_ARRAY_INDEX", **array)
    second = submit(batch, dependsOn=[{"jobId": first, "type": "N_TO_N"}], **array)
    assert ended(batch, second)["arrayProperties"]["statusSummary"]["FAILED"] == 1
    partner = describe(batch, f"{second}:1")
    assert (partner["status"], partner["statusReason"]) == ("FAILED", "Dependent Job failed")
    assert describe(batch, f"{second}:0")["status"] == "SUCCEEDED"
    assert describe(batch, second)["statusReason"] == "Array Child Job failed"


def test_a_job_that_waits_for_another_is_pending_and_is_cancelled_as_such(batch: Any) -> None:
    first = submit(batch, jobQueue="idle")
    second = submit(batch, jobQueue="idle", dependsOn=[{"jobId": first}])
    assert describe(batch, second)["status"] == "PENDING"
    batch.cancel_job(jobId=second, reason="not needed")
    found = ended(batch, second)
    assert (found["statusReason"], found["isCancelled"], found["isTerminated"]) == ("not needed", True, False)
    batch.terminate_job(jobId=first, reason="stop")
    third = submit(batch, jobQueue="idle", dependsOn=[{"jobId": first}])
    assert ended(batch, third)["statusReason"] == "Dependent Job failed"


def test_one_child_is_stopped_alone(batch: Any) -> None:
    job_id = submit(batch, jobQueue="idle", arrayProperties={"size": 3})
    batch.terminate_job(jobId=f"{job_id}:1", reason="this one")
    child = describe(batch, f"{job_id}:1")
    assert (child["status"], child["statusReason"], child["isTerminated"]) == ("FAILED", "this one", True)
    parent = describe(batch, job_id)
    assert (parent["status"], parent["isTerminated"]) == ("PENDING", False)
    assert parent["arrayProperties"]["statusSummary"]["RUNNABLE"] == 2


def test_whoever_asks_again_and_again_sees_each_change_of_a_job_at_once(batch: Any) -> None:
    script = "trap '' TERM; test $AWS_BATCH_JOB_ATTEMPT = 2 || exit 1; while :; do sleep 0.1; done"
    job_id = submit(batch, script, retryStrategy={"attempts": 2}, arrayProperties={"size": 2}, jobQueue="q")
    child = f"{job_id}:0"

    def second_attempt() -> Any:
        parent, found = batch.describe_jobs(jobs=[job_id, child])["jobs"]
        summary = parent["arrayProperties"]["statusSummary"]
        assert sum(summary.values()) == 2
        return found if found["status"] == "RUNNING" and found["attempts"] else None

    found = until(second_attempt, seconds=ENDS_SECONDS)
    assert (len(found["attempts"]), found["attempts"][0]["container"]["exitCode"]) == (1, 1)
    assert found["startedAt"] >= found["attempts"][0]["stoppedAt"]
    batch.terminate_job(jobId=job_id, reason="seen enough")
    assert describe(batch, child)["isTerminated"], "though it ignores SIGTERM and still runs"
    last = ended(batch, child)
    assert (last["statusReason"], len(last["attempts"])) == ("seen enough", 2)


def test_a_child_that_succeeded_before_its_array_was_terminated_is_not_called_terminated(batch: Any) -> None:
    job_id = submit(batch, "test $AWS_BATCH_JOB_ARRAY_INDEX = 0 || sleep 60", arrayProperties={"size": 2})
    ended(batch, f"{job_id}:0")
    batch.terminate_job(jobId=job_id, reason="enough")
    assert ended(batch, job_id)["status"] == "FAILED"
    first, second = (describe(batch, f"{job_id}:{index}") for index in range(2))
    assert (first["status"], first["isTerminated"]) == ("SUCCEEDED", False)
    assert (second["status"], second["statusReason"], second["isTerminated"]) == ("FAILED", "enough", True)


def test_a_child_that_runs_while_its_array_is_cancelled_goes_on_and_is_not_called_cancelled(
    batch: Any, tmp_path: Path
) -> None:
    script = f"test $AWS_BATCH_JOB_ARRAY_INDEX = 1 && exit 3; until test -e {tmp_path}/go; do sleep 0.05; done; exit 4"
    job_id = submit(batch, script, arrayProperties={"size": 4})  # two fit: 0 and 2 run once 1 has failed, 3 waits

    def counted(**wanted: int) -> bool:
        summary = describe(batch, job_id)["arrayProperties"]["statusSummary"]
        return all(summary[status] == count for status, count in wanted.items())

    until(lambda: counted(FAILED=1, RUNNING=2, RUNNABLE=1))
    batch.cancel_job(jobId=job_id, reason="enough")
    assert counted(FAILED=2, RUNNING=2)
    assert [stopped(batch, f"{job_id}:{index}") for index in range(4)] == [False, False, False, True]
    (tmp_path / "go").touch()
    assert ended(batch, job_id)["isCancelled"]
    assert [stopped(batch, f"{job_id}:{index}") for index in range(4)] == [False, False, False, True]
    assert describe(batch, f"{job_id}:0")["container"]["exitCode"] == 4


def stopped(batch: Any, job_id: str) -> bool:
    found = describe(batch, job_id)
    return bool(found["isCancelled"] or found["isTerminated"])


def test_every_child_of_a_sequential_array_that_is_stopped_has_the_reason_given(batch: Any) -> None:
    more: dict[str, Any] = {"arrayProperties": {"size": 3}, "dependsOn": [{"type": "SEQUENTIAL"}]}
    job_id = submit(batch, jobQueue="idle", **more)
    batch.cancel_job(jobId=job_id, reason="not needed")
    children = batch.describe_jobs(jobs=[f"{job_id}:{index}" for index in range(3)])["jobs"]
    found = [(one["status"], one["statusReason"], one["isCancelled"]) for one in children]
    assert found == [("FAILED", "not needed", True)] * 3


# ---- who gets a host ----


def test_environments_are_tried_in_their_order(region: RunningRegion, batch: Any) -> None:
    first, second = unique("first"), unique("second")
    for name, state in ((first, "DISABLED"), (second, "ENABLED")):
        batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", state=state, computeResources=ONE_HOST
        )
    of_both = queue(batch, unique("both"), first, second)
    script = "test $AWS_BATCH_CE_NAME = "
    assert ended(batch, submit(batch, script + second, jobQueue=of_both))["status"] == "SUCCEEDED"
    batch.update_compute_environment(computeEnvironment=first, state="ENABLED")
    until(lambda: not [host for host in region.admin.hosts() if host.environment == second and not host.ended_at])
    assert ended(batch, submit(batch, script + first, jobQueue=of_both))["status"] == "SUCCEEDED"


def test_the_queue_with_the_higher_priority_is_served_first(batch: Any) -> None:
    environment = unique("ce")
    batch.create_compute_environment(
        computeEnvironmentName=environment, type="MANAGED", state="DISABLED", computeResources=ONE_HOST
    )
    low = queue(batch, unique("low"), environment, priority=1)
    high = queue(batch, unique("high"), environment, priority=9)
    whole: dict[str, Any] = {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}}
    later = submit(batch, jobQueue=low, **whole)
    sooner = submit(batch, jobQueue=high, **whole)
    batch.update_compute_environment(computeEnvironment=environment, state="ENABLED")
    assert ended(batch, sooner)["stoppedAt"] <= ended(batch, later)["startedAt"]


def test_shares_take_turns_by_their_weights_and_priorities_count_within_a_share(batch: Any) -> None:
    policy = batch.create_scheduling_policy(
        name=unique("p"),
        fairsharePolicy={"shareDistribution": [{"shareIdentifier": "a"}, {"shareIdentifier": "b"}]},
    )["arn"]
    fair = queue(batch, unique("fair"), "off", schedulingPolicyArn=policy)
    asked: dict[str, Any] = {"jobQueue": fair, "shareIdentifier": "a"}
    low = submit(batch, schedulingPriorityOverride=1, **asked)
    high = submit(batch, schedulingPriorityOverride=7, **asked)
    other = submit(batch, jobQueue=fair, shareIdentifier="b*", schedulingPriorityOverride=0)
    snapshot = batch.get_job_queue_snapshot(jobQueue=fair)
    front = [one["jobArn"].rpartition("/")[2] for one in snapshot["frontOfQueue"]["jobs"]]
    assert [one for one in front if one != other] == [high, low]
    assert snapshot["queueUtilization"]["fairshareUtilization"]["activeShareCount"] == 0
    filters = [{"name": "SHARE_IDENTIFIER", "values": ["a"]}]
    listed = batch.list_jobs(jobQueue=fair, jobStatus="RUNNABLE", filters=filters)["jobSummaryList"]
    assert {one["jobId"] for one in listed} == {low, high}
    assert describe(batch, high)["schedulingPriority"] == 7
    said = refusal(batch.submit_job, jobName="j", jobQueue=fair, jobDefinition="shell")
    assert "shareIdentifier must be given" in said
    assert "is used by" in refusal(batch.delete_scheduling_policy, arn=policy)


def test_a_snapshot_tells_the_vcpus_that_a_queue_uses(batch: Any) -> None:
    job_id = submit(batch, "sleep 60")
    reaches(batch, job_id, "RUNNING")
    (usage,) = batch.get_job_queue_snapshot(jobQueue="q")["queueUtilization"]["totalCapacityUsage"]
    assert usage == {"capacityUnit": "VCPU", "quantity": 1.0}
    batch.terminate_job(jobId=job_id, reason="seen")
    ended(batch, job_id)


@pytest.mark.parametrize(
    ("resources", "asked_vcpus", "reason"),
    [
        (ONE_HOST, "4", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
        ({**ONE_HOST, "instanceTypes": ["c5.xlarge"]}, "4", "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"),
    ],
)
def test_a_job_at_the_head_that_can_never_run_says_why(
    batch: Any, resources: dict[str, Any], asked_vcpus: str, reason: str
) -> None:
    environment = unique("ce")
    batch.create_compute_environment(
        computeEnvironmentName=environment, type="MANAGED", computeResources={**resources, "maxvCpus": 2}
    )
    limits = [{"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}]
    name = queue(batch, unique("stuck"), environment, jobStateTimeLimitActions=limits)
    more: dict[str, Any] = {"resourceRequirements": [{"type": "VCPU", "value": asked_vcpus}]}
    job = describe(batch, submit(batch, jobQueue=name, containerOverrides=more))
    assert job["status"] == "RUNNABLE"
    assert job["statusReason"].startswith(f"{reason} - ")
    assert "attached to the job queue" in job["statusReason"] or "associated with the job queue" in job["statusReason"]
    (described,) = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    assert described["jobStateTimeLimitActions"] == limits


# ---- how a run is taken down ----


def test_everything_goes_in_awss_order_and_in_no_other(batch: Any) -> None:
    environment, policy_name = unique("ce"), unique("p")
    batch.create_compute_environment(computeEnvironmentName=environment, type="MANAGED", computeResources=ONE_HOST)
    policy = batch.create_scheduling_policy(name=policy_name, fairsharePolicy={})["arn"]
    name = queue(batch, unique("q"), environment, schedulingPolicyArn=policy)
    running_job = submit(batch, "sleep 60", jobQueue=name, shareIdentifier="a", schedulingPriorityOverride=0)
    reaches(batch, running_job, "RUNNING")
    assert "DISABLED" in refusal(batch.delete_job_queue, jobQueue=name)
    assert "DISABLED" in refusal(batch.delete_compute_environment, computeEnvironment=environment)
    batch.update_compute_environment(computeEnvironment=environment, state="DISABLED")
    assert "JobQueue relationship" in refusal(batch.delete_compute_environment, computeEnvironment=environment)
    assert "is used by" in refusal(batch.delete_scheduling_policy, arn=policy)
    batch.update_job_queue(jobQueue=name, state="DISABLED")
    batch.delete_job_queue(jobQueue=name)
    found = ended(batch, running_job)
    assert (found["status"], found["isTerminated"]) == ("FAILED", True)
    until(lambda: not batch.describe_job_queues(jobQueues=[name])["jobQueues"])
    batch.delete_compute_environment(computeEnvironment=environment)
    batch.delete_scheduling_policy(arn=policy)
    assert not batch.describe_compute_environments(computeEnvironments=[environment])["computeEnvironments"]
    assert not batch.describe_scheduling_policies(arns=[policy])["schedulingPolicies"]
