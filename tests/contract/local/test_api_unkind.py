"""Where AWS refuses, drops or fails what a kinder region would take: each rule of it over HTTP, with real jobs."""

from collections.abc import Iterator
from typing import Any

import pytest

from spotbatch.batch.overrides import MAX_OVERRIDES_LENGTH, overrides_length
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, refusal, running, until

JOB_ENDS_SECONDS = 30.0
TOO_LONG = "Container Overrides length must be at most 8192"
NOT_A_NUMBER = "resourceRequirement is not valid. Please provide a numeric value."


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    quick = ("--boot-seconds", "0.05", "--stop-grace-seconds", "1")
    with running(tmp_path_factory.mktemp("region") / "home", *quick) as started:
        batch = started.client("batch")
        asked = {"type": "MANAGED", "computeResources": ENVIRONMENT_RESOURCES}
        batch.create_compute_environment(computeEnvironmentName="ce", **asked)
        order = [{"order": 1, "computeEnvironment": "ce"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        policy = batch.create_scheduling_policy(name="fair", fairsharePolicy={"shareDecaySeconds": 60})["arn"]
        batch.create_job_queue(
            jobQueueName="fair", priority=1, computeEnvironmentOrder=order, schedulingPolicyArn=policy
        )
        register(batch, "shell", command=["sh", "-c", "Ref::script"], parameters={"script": "exit 0"})
        yield started


@pytest.fixture(scope="module")
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def register(batch: Any, name: str, parameters: Any = None, **container: Any) -> Any:
    asked = {"jobDefinitionName": name, "type": "container", "containerProperties": {**CONTAINER, **container}}
    return batch.register_job_definition(**asked, parameters=parameters or {})


def submit(batch: Any, **more: Any) -> str:
    job_id: str = batch.submit_job(**{"jobName": "job", "jobQueue": "q", "jobDefinition": "shell", **more})["jobId"]
    return job_id


def describe(batch: Any, job_id: str) -> Any:
    (found,) = batch.describe_jobs(jobs=[job_id])["jobs"]
    return found


def ended(batch: Any, job_id: str) -> Any:
    def last() -> Any:
        found = describe(batch, job_id)
        return found if found["status"] in ("SUCCEEDED", "FAILED") else None

    return until(last, seconds=JOB_ENDS_SECONDS)


def logged(region: RunningRegion, job: Any) -> list[str]:
    answer = region.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"], startFromHead=True
    )
    return [event["message"] for event in answer["events"]]


# ---- overrides of more than ECS takes ----


@pytest.mark.parametrize(
    "asked",
    [
        {"containerOverrides": {"environment": [{"name": "LONG", "value": "x" * 9000}]}},
        {"containerOverrides": {"command": ["true", "x" * 9000]}},
        {"parameters": {"script": f": {'x' * 9000}"}},  # the filled command reaches ECS as an override too
    ],
    ids=["environment", "command", "parameters"],
)
def test_a_job_with_overrides_that_ecs_does_not_take_is_accepted_and_fails(batch: Any, asked: Any) -> None:
    found = ended(batch, submit(batch, **asked, retryStrategy={"attempts": 1}))
    assert (found["status"], found["statusReason"]) == ("FAILED", TOO_LONG)
    assert "exitCode" not in found["container"]


def test_every_child_of_an_array_with_such_overrides_fails(batch: Any) -> None:
    long = {"environment": [{"name": "LONG", "value": "x" * 9000}]}
    parent = submit(batch, containerOverrides=long, arrayProperties={"size": 3})
    assert ended(batch, parent)["arrayProperties"]["statusSummary"]["FAILED"] == 3
    assert describe(batch, f"{parent}:2")["statusReason"] == TOO_LONG


def test_overrides_that_fit_run_and_what_the_definition_holds_does_not_count(region: RunningRegion, batch: Any) -> None:
    register(batch, "long", command=["sh", "-c", f"echo ${{#LONG}} # {'y' * 9000}"])
    long = {"environment": [{"name": "LONG", "value": "x" * 7000}]}
    assert logged(region, ended(batch, submit(batch, jobDefinition="long", containerOverrides=long))) == ["7000"]


# ---- fair share ----


def test_a_job_of_a_fair_share_queue_needs_a_scheduling_priority_from_somewhere(batch: Any) -> None:
    fair = {"jobName": "j", "jobQueue": "fair", "shareIdentifier": "a"}
    said = refusal(batch.submit_job, **fair, jobDefinition="shell")
    assert said.startswith("ClientException: Either schedulingPriority in job definition or schedulingPriorityOverride")
    assert batch.submit_job(**fair, jobDefinition="shell", schedulingPriorityOverride=0)["jobId"]
    batch.register_job_definition(
        jobDefinitionName="prior", type="container", containerProperties=CONTAINER, schedulingPriority=0
    )
    assert batch.submit_job(**fair, jobDefinition="prior")["jobId"]


# ---- what a job needs ----


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("VCPU", "1.0"), ("VCPU", "0.25"), ("VCPU", " 1"), ("VCPU", "1e0"), ("VCPU", "+1"), ("VCPU", "one"),
        ("MEMORY", "512.0"), ("MEMORY", "512MiB"), ("MEMORY", "0x200"), ("GPU", "1.0"), ("GPU", "-1"), ("GPU", "one"),
        ("VCPU", "\u0661"),
    ],
)  # fmt: skip
def test_on_ec2_a_requirement_that_is_no_whole_number_is_refused_in_definitions_and_overrides(
    batch: Any, kind: str, value: str
) -> None:
    wanted = [one for one in CONTAINER["resourceRequirements"] if one["type"] != kind]
    wrong = [*wanted, {"type": kind, "value": value}]
    asked = {"jobDefinitionName": "n", "type": "container"}
    said = refusal(
        batch.register_job_definition, **asked, containerProperties={**CONTAINER, "resourceRequirements": wrong}
    )
    assert NOT_A_NUMBER in said
    assert kind in said
    override = {"resourceRequirements": [{"type": kind, "value": value}]}
    named = {"jobName": "j", "jobQueue": "q", "jobDefinition": "shell"}
    assert NOT_A_NUMBER in refusal(batch.submit_job, **named, containerOverrides=override)


# ---- empty values ----


def test_a_variable_with_an_empty_value_is_accepted_and_not_kept(region: RunningRegion, batch: Any) -> None:
    variables = [{"name": "FOO", "value": ""}, {"name": "BAR", "value": "b"}, {"name": "BAZ"}]
    register(batch, "empty", environment=variables, command=["sh", "-c", "env | grep -E '^(FOO|BA.|QUX)=' | sort"])
    (definition,) = batch.describe_job_definitions(jobDefinitions=["empty:1"])["jobDefinitions"]
    assert definition["containerProperties"]["environment"] == [{"name": "BAR", "value": "b"}]
    overrides = {"environment": [{"name": "BAR", "value": ""}, {"name": "QUX", "value": ""}]}
    job = ended(batch, submit(batch, jobDefinition="empty", containerOverrides=overrides))
    assert job["container"]["environment"] == [{"name": "BAR", "value": "b"}]
    assert logged(region, job) == ["BAR=b"]


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("terminate_job", {"jobId": "", "reason": "r"}),
        ("cancel_job", {"jobId": "", "reason": "r"}),
        ("terminate_job", {"jobId": "x", "reason": ""}),
        ("submit_job", {"jobName": "j", "jobQueue": "", "jobDefinition": "shell"}),
        ("submit_job", {"jobName": "j", "jobQueue": "q", "jobDefinition": ""}),
        ("submit_job", {"jobName": "", "jobQueue": "q", "jobDefinition": "shell"}),
        ("deregister_job_definition", {"jobDefinition": ""}),
        ("delete_job_queue", {"jobQueue": ""}),
        ("update_compute_environment", {"computeEnvironment": ""}),
        ("delete_scheduling_policy", {"arn": ""}),
        ("get_job_queue_snapshot", {"jobQueue": ""}),
        ("terminate_jobs", {"jobs": [""], "reason": "r"}),
    ],
)
def test_an_empty_text_stands_for_no_required_member(batch: Any, operation: str, asked: Any) -> None:
    assert refusal(getattr(batch, operation), **asked).startswith("ClientException")


def test_an_empty_token_begins_every_list_at_its_first_page(batch: Any) -> None:
    for operation in ("describe_compute_environments", "describe_job_queues", "describe_job_definitions",
                      "list_scheduling_policies"):  # fmt: skip
        call = getattr(batch, operation)
        first, empty = call(), call(nextToken="")
        for answer in (first, empty):
            answer.pop("ResponseMetadata")
        assert first == empty
    asked = {"jobQueue": "q", "jobStatus": "FAILED", "maxResults": 1}
    assert batch.list_jobs(**asked, nextToken="")["jobSummaryList"] == batch.list_jobs(**asked)["jobSummaryList"]


# ---- what common scripts send ----


def test_sequential_with_a_job_id_on_an_ordinary_job_is_a_plain_dependency(batch: Any) -> None:
    first = submit(batch, parameters={"script": "exit 1"})
    second = submit(batch, dependsOn=[{"jobId": first, "type": "SEQUENTIAL"}])
    assert (ended(batch, first)["status"], ended(batch, second)["status"]) == ("FAILED", "FAILED")
    named = {"jobName": "j", "jobQueue": "q", "jobDefinition": "shell"}
    assert "ClientException" in refusal(batch.submit_job, **named, dependsOn=[{"type": "SEQUENTIAL"}])
    assert "ClientException" in refusal(batch.submit_job, **named, dependsOn=[{"jobId": first, "type": "N_TO_N"}])


def test_deprecated_overrides_leave_one_truth(batch: Any) -> None:
    bare = {name: value for name, value in CONTAINER.items() if name != "resourceRequirements"}
    asked = {"jobDefinitionName": "old", "type": "container"}
    batch.register_job_definition(**asked, containerProperties={**bare, "vcpus": 1, "memory": 512})
    container = describe(batch, submit(batch, jobDefinition="old", containerOverrides={"vcpus": 2, "memory": 1024}))[
        "container"
    ]
    assert (container["vcpus"], container["memory"], container["resourceRequirements"]) == (2, 1024, [])
    wanted = [{"type": "VCPU", "value": "3"}]
    container = describe(
        batch, submit(batch, jobDefinition="old", containerOverrides={"resourceRequirements": wanted})
    )["container"]
    assert (container["memory"], container["resourceRequirements"]) == (512, wanted)
    assert "vcpus" not in container


@pytest.mark.parametrize("action", ["retry", "Exit", "RETRY", "eXIT"])
def test_an_action_is_taken_in_any_case_and_told_in_lower_case(batch: Any, action: str) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{"action": action, "onExitCode": "0"}]}
    register_with = {"jobDefinitionName": "cased", "type": "container", "containerProperties": CONTAINER}
    revision = batch.register_job_definition(**register_with, retryStrategy=strategy)["revision"]
    (definition,) = batch.describe_job_definitions(jobDefinitions=[f"cased:{revision}"])["jobDefinitions"]
    told = {"attempts": 2, "evaluateOnExit": [{"action": action.lower(), "onExitCode": "0"}]}
    assert definition["retryStrategy"] == told
    assert describe(batch, submit(batch, jobDefinition="cased"))["retryStrategy"] == told
    assert describe(batch, submit(batch, retryStrategy=strategy))["retryStrategy"] == told


def test_what_aws_batch_adds_to_the_overrides_counts_too(batch: Any) -> None:
    given: dict[str, Any] = {"environment": {"N": ""}, "queue": "q", "compute_environment": "ce"}
    room = MAX_OVERRIDES_LENGTH - overrides_length(**given)
    assert 7700 < room < 8000
    jobs = [
        submit(batch, containerOverrides={"environment": [{"name": "N", "value": "x" * length}]})
        for length in (room, room + 1)
    ]
    assert [ended(batch, job)["status"] for job in jobs] == ["SUCCEEDED", "FAILED"]
