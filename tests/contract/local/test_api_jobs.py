"""Jobs over HTTP: SubmitJob, DescribeJobs, ListJobs, CancelJob, TerminateJob, snapshots, and what is refused."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, refusal, running, until

JOB_ENDS_SECONDS = 30.0
ANY_TIME = [{"name": "AFTER_CREATED_AT", "values": ["0"]}]


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    quick = ("--boot-seconds", "0.05", "--notice-seconds", "0.2", "--stop-grace-seconds", "1")
    with running(tmp_path_factory.mktemp("region") / "home", *quick) as started:
        batch = started.client("batch")
        asked = {"type": "MANAGED", "computeResources": ENVIRONMENT_RESOURCES}
        batch.create_compute_environment(computeEnvironmentName="ce", **asked)
        # `idle` has an environment that never launches a host: its jobs stay RUNNABLE.
        batch.create_compute_environment(computeEnvironmentName="off", state="DISABLED", **asked)
        for name, of in (("q", "ce"), ("idle", "off")):
            order = [{"order": 1, "computeEnvironment": of}]
            batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order)
        shell = {**CONTAINER, "command": ["sh", "-c", "Ref::script"]}
        batch.register_job_definition(
            jobDefinitionName="shell",
            type="container",
            containerProperties=shell,
            parameters={"script": "exit 0"},
            tags={"of": "the definition"},
        )
        yield started


@pytest.fixture(scope="module")
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def submit(batch: Any, script: str = "exit 0", **more: Any) -> str:
    asked = {"jobName": "job", "jobQueue": "q", "jobDefinition": "shell", "parameters": {"script": script}}
    job_id: str = batch.submit_job(**{**asked, **more})["jobId"]
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
    stream = job["container"]["logStreamName"]
    answer = region.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
    )
    return [event["message"] for event in answer["events"]]


# ---- what a job is ----


def test_a_job_that_succeeds_says_when_where_and_with_which_exit_code(batch: Any) -> None:
    before = time.time() * 1000
    found = ended(batch, submit(batch))
    assert found["status"] == "SUCCEEDED"
    assert found["container"]["exitCode"] == 0
    assert before - 1000 <= found["createdAt"] <= found["startedAt"] <= found["stoppedAt"] <= time.time() * 1000 + 1000
    (attempt,) = found["attempts"]
    assert attempt["container"]["logStreamName"] == found["container"]["logStreamName"]
    assert attempt["container"]["exitCode"] == 0
    assert found["container"]["logStreamName"].startswith("shell/default/")
    assert found["statusReason"] == "Essential container in task exited"
    assert found["isCancelled"] is found["isTerminated"] is False
    assert found["jobDefinition"].endswith(":job-definition/shell:1")


def test_a_job_that_fails_keeps_its_exit_code(batch: Any) -> None:
    found = ended(batch, submit(batch, "exit 3"))
    assert (found["status"], found["container"]["exitCode"]) == ("FAILED", 3)


def test_parameters_and_overrides_reach_the_command_and_its_environment(region: RunningRegion, batch: Any) -> None:
    overrides = {"environment": [{"name": "GREETING", "value": "hällo"}]}
    job = ended(
        batch, submit(batch, 'echo "$GREETING $AWS_BATCH_JOB_ATTEMPT $AWS_BATCH_JQ_NAME"', containerOverrides=overrides)
    )
    assert logged(region, job) == ["hällo 1 q"]
    command = {"command": ["echo", "Ref::script", "Ref::unknown"]}
    job = ended(batch, submit(batch, "filled", containerOverrides=command))
    assert logged(region, job) == ["filled Ref::unknown"]


def test_a_job_can_call_the_region_that_runs_it(region: RunningRegion, batch: Any) -> None:
    script = (
        "python -c \"import boto3; print(boto3.client('sts').get_caller_identity()['Account'],"
        " len(boto3.client('batch').describe_jobs(jobs=['$AWS_BATCH_JOB_ID'])['jobs']))\""
    )
    assert logged(region, ended(batch, submit(batch, script))) == [f"{region.info.account_id} 1"]


def test_retries_follow_the_strategy_and_each_attempt_has_its_own_log(region: RunningRegion, batch: Any) -> None:
    strategy = {"attempts": 3, "evaluateOnExit": [{"action": "RETRY", "onExitCode": "7"}, {"action": "EXIT"}]}
    found = ended(batch, submit(batch, "echo $AWS_BATCH_JOB_ATTEMPT; exit 7", retryStrategy=strategy))
    assert [attempt["container"]["exitCode"] for attempt in found["attempts"]] == [7, 7, 7]
    assert len({attempt["container"]["logStreamName"] for attempt in found["attempts"]}) == 3
    found = ended(batch, submit(batch, "exit 8", retryStrategy=strategy))
    assert len(found["attempts"]) == 1


def test_a_reclaimed_host_ends_its_attempt_with_awss_reason_and_the_retry_succeeds(
    region: RunningRegion, batch: Any
) -> None:
    strategy = {
        "attempts": 2,
        "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}, {"action": "EXIT"}],
    }
    job_id = submit(batch, 'if [ "$AWS_BATCH_JOB_ATTEMPT" = 1 ]; then sleep 100; fi', retryStrategy=strategy)
    until(lambda: describe(batch, job_id)["status"] == "RUNNING", seconds=JOB_ENDS_SECONDS)
    arn = describe(batch, job_id)["container"]["containerInstanceArn"]
    ecs = region.client("ecs")
    (environment,) = batch.describe_compute_environments(computeEnvironments=["ce"])["computeEnvironments"]
    for cluster in (arn.split("/")[1], environment["ecsClusterArn"]):
        described = ecs.describe_container_instances(cluster=cluster, containerInstances=[arn])
        (host,) = described["containerInstances"]
    region.admin.interrupt(instance_ids=[host["ec2InstanceId"]])
    found = ended(batch, job_id)
    assert found["status"] == "SUCCEEDED"
    lost, done = found["attempts"]
    assert lost["statusReason"] == f"Host EC2 (instance {host['ec2InstanceId']}) terminated."
    assert "exitCode" not in lost["container"]
    assert done["container"]["exitCode"] == 0
    assert host["ec2InstanceId"] in {one.instance_id for one in region.admin.hosts()}
    (reservation,) = region.client("ec2").describe_instances(InstanceIds=[host["ec2InstanceId"]])["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance["State"]["Name"] == "terminated"
    assert instance["InstanceLifecycle"] == "spot"
    assert instance["InstanceType"] in ENVIRONMENT_RESOURCES["instanceTypes"]
    assert instance["Placement"]["AvailabilityZone"].startswith("us-east-1")
    assert instance["LaunchTime"].timestamp() * 1000 <= found["startedAt"] + 1


# ---- arrays and dependencies ----


def test_an_array_counts_its_children_and_each_knows_its_index(region: RunningRegion, batch: Any) -> None:
    job_id = submit(
        batch, "echo $AWS_BATCH_JOB_ARRAY_INDEX; exit $((AWS_BATCH_JOB_ARRAY_INDEX == 2))", arrayProperties={"size": 3}
    )
    found = ended(batch, job_id)
    assert found["status"] == "FAILED"
    assert found["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 2
    assert found["arrayProperties"]["statusSummary"]["FAILED"] == 1
    children = batch.describe_jobs(jobs=[f"{job_id}:{index}" for index in range(4)])["jobs"]
    assert [(one["arrayProperties"]["index"], one["status"]) for one in children] == [
        (0, "SUCCEEDED"),
        (1, "SUCCEEDED"),
        (2, "FAILED"),
    ]
    assert logged(region, children[1]) == ["1"]
    listed = batch.list_jobs(arrayJobId=job_id, jobStatus="SUCCEEDED")["jobSummaryList"]
    assert [one["jobId"] for one in listed] == [f"{job_id}:0", f"{job_id}:1"]
    assert "size" in found["arrayProperties"]  # by which clients tell a parent from its children
    assert not any("size" in one["arrayProperties"] for one in (*children, *listed))


def test_a_job_waits_for_what_it_depends_on(batch: Any) -> None:
    first = submit(batch, "sleep 0.3", arrayProperties={"size": 2})
    second = submit(batch, arrayProperties={"size": 2}, dependsOn=[{"jobId": first, "type": "N_TO_N"}])
    third = submit(batch, dependsOn=[{"jobId": second}, {"jobId": f"{first}:1"}])
    found = ended(batch, third)
    assert found["status"] == "SUCCEEDED"
    assert found["startedAt"] >= ended(batch, second)["stoppedAt"]
    assert [entry["jobId"] for entry in found["dependsOn"]] == [second, f"{first}:1"]


def test_the_job_of_a_failed_dependency_fails(batch: Any) -> None:
    found = ended(batch, submit(batch, dependsOn=[{"jobId": submit(batch, "exit 1")}]))
    assert found["status"] == "FAILED"
    assert found["attempts"] == []


# ---- cancel and terminate ----


def test_a_runnable_job_is_cancelled_with_its_reason(batch: Any) -> None:
    job_id = submit(batch, jobQueue="idle")
    batch.cancel_job(jobId=job_id, reason="not needed")
    found = ended(batch, job_id)
    assert (found["status"], found["statusReason"], found["isCancelled"]) == ("FAILED", "not needed", True)


def test_a_running_job_is_terminated_but_not_cancelled(batch: Any) -> None:
    job_id = submit(batch, "sleep 100")
    until(lambda: describe(batch, job_id)["status"] == "RUNNING", seconds=JOB_ENDS_SECONDS)
    batch.cancel_job(jobId=job_id, reason="too late")
    assert describe(batch, job_id)["status"] == "RUNNING"
    batch.terminate_job(jobId=job_id, reason="stop it")
    found = ended(batch, job_id)
    assert (found["status"], found["statusReason"], found["isTerminated"]) == ("FAILED", "stop it", True)


def test_an_array_and_its_children_are_terminated_together(batch: Any) -> None:
    job_id = submit(batch, jobQueue="idle", arrayProperties={"size": 3})
    batch.terminate_job(jobId=job_id, reason="all of it")
    assert ended(batch, job_id)["arrayProperties"]["statusSummary"]["FAILED"] == 3
    assert describe(batch, f"{job_id}:1")["statusReason"] == "all of it"


def test_many_jobs_are_stopped_in_one_call(batch: Any) -> None:
    ids = [submit(batch, jobQueue="idle") for _ in range(3)]
    answer = batch.terminate_jobs(jobs=ids, reason="enough")
    assert (answer["successful"], answer["errors"]) == (ids, [])
    assert {ended(batch, job_id)["status"] for job_id in ids} == {"FAILED"}
    assert "1 to 50" in refusal(batch.cancel_jobs, jobs=ids * 17, reason="x")


def test_stopping_what_is_not_there_is_no_error_but_a_reason_is_needed(batch: Any) -> None:
    batch.cancel_job(jobId=str(uuid.uuid4()), reason="x")
    batch.terminate_job(jobId="nonsense", reason="x")
    assert "reason cannot be empty" in refusal(batch.terminate_job, jobId=str(uuid.uuid4()), reason="")
    assert "1 to 1024" in refusal(batch.cancel_job, jobId=str(uuid.uuid4()), reason="x" * 1025)


@pytest.mark.parametrize("index", ["", "00", "01", "-1", "+1", "1 ", "1:1", "x", "\u0661", "3"])
def test_only_the_one_spelling_of_a_childs_id_means_it(batch: Any, index: str) -> None:
    job_id = submit(batch, jobQueue="idle", arrayProperties={"size": 3})
    wrong = f"{job_id}:{index}"
    assert batch.describe_jobs(jobs=[wrong])["jobs"] == []
    batch.terminate_job(jobId=wrong, reason="must hit nothing")
    assert describe(batch, job_id)["arrayProperties"]["statusSummary"]["FAILED"] == 0
    asked = {"jobName": "job", "jobQueue": "q", "jobDefinition": "shell", "dependsOn": [{"jobId": wrong}]}
    assert "dependsOn" in refusal(batch.submit_job, **asked)
    assert "does not exist" in refusal(batch.list_jobs, arrayJobId=wrong)


# ---- refusals ----


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"jobName": "a b"}, "128 letters"),
        ({"jobQueue": "nowhere"}, "job-queue 'nowhere' does not exist"),
        ({"jobDefinition": "nowhere"}, "does not exist"),
        ({"jobDefinition": "shell:99"}, "does not exist"),
        ({"jobQueue": "arn:aws:batch:eu-west-1:123456789012:job-queue/q"}, "no job-queue of this account"),
        ({"arrayProperties": {"size": 1}}, "between 2 and 10000"),
        ({"arrayProperties": {"size": 10_001}}, "between 2 and 10000"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "for array jobs"),
        ({"dependsOn": [{"jobId": "x"}]}, "not a job id"),
        ({"dependsOn": [{}]}, "not a job id"),
        ({"dependsOn": [{"jobId": "00000000-0000-0000-0000-000000000000"}]}, "does not exist"),
        ({"dependsOn": [{"jobId": "00000000-0000-0000-0000-000000000000"}] * 21}, "at most 20"),
        ({"arrayProperties": {"size": 2}, "dependsOn": [{"jobId": "x", "type": "SEQUENTIAL"}]}, "leave jobId out"),
        ({"retryStrategy": {"attempts": 11}}, "1 to 10"),
        ({"timeout": {"attemptDurationSeconds": 1}}, "at least 60"),
        ({"schedulingPriorityOverride": -1}, "0 to 9999"),
        ({"containerOverrides": {"environment": [{"name": "AWS_BATCH_JOB_ID", "value": "x"}]}}, "AWS Batch's own"),
        (
            {"containerOverrides": {"resourceRequirements": [{"type": "MEMORY", "value": "2"}]}},
            "at least 1 vCPU and 4 MiB",
        ),
        ({"containerOverrides": {"command": ["echo", ""]}}, "Command cannot be empty"),
        ({"retryStrategy": {"evaluateOnExit": [{"action": "EXIT"}]}}, "attempts must be given"),
        ({"propagateTags": True, "tags": {f"k{number}": "" for number in range(50)}}, "more than 50 together"),
        ({"nodeOverrides": {}}, "multi-node"),
        ({"tags": {"k": "v" * 257}}, "256 characters"),
    ],
)
def test_a_wrong_submission_is_refused(batch: Any, more: dict[str, Any], said: str) -> None:
    asked = {"jobName": "job", "jobQueue": "q", "jobDefinition": "shell", **more}
    said_by_region = refusal(batch.submit_job, **asked)
    assert said_by_region.startswith("ClientException: ")
    assert said in said_by_region


def test_n_to_n_wants_an_array_of_the_same_size(batch: Any) -> None:
    other = submit(batch, jobQueue="idle", arrayProperties={"size": 3})
    said = refusal(
        batch.submit_job,
        jobName="job",
        jobQueue="q",
        jobDefinition="shell",
        arrayProperties={"size": 2},
        dependsOn=[{"jobId": other, "type": "N_TO_N"}],
    )
    assert "an array of 3" in said


# ---- describe and list ----


def test_ids_that_are_not_there_are_left_out(batch: Any) -> None:
    job_id = submit(batch, jobQueue="idle")
    asked = [str(uuid.uuid4()), job_id, f"{job_id}:0", "nonsense", job_id]
    assert [one["jobId"] for one in batch.describe_jobs(jobs=asked)["jobs"]] == [job_id]
    assert "100 job ids" in refusal(batch.describe_jobs, jobs=["x"] * 101)


def test_a_queues_jobs_come_newest_first_in_pages_without_repeats(batch: Any) -> None:
    before = {one["jobId"] for one in _pages(batch, jobQueue="idle", jobStatus="RUNNABLE")}
    ids = [submit(batch, jobQueue="idle") for _ in range(5)]
    found = [one["jobId"] for one in _pages(batch, jobQueue="idle", jobStatus="RUNNABLE")]
    assert [job_id for job_id in found if job_id not in before] == ids[::-1]
    assert len(found) == len(set(found))


def test_a_job_that_leaves_the_list_between_two_pages_costs_no_other_its_place(batch: Any) -> None:
    ids = [submit(batch, jobQueue="idle") for _ in range(4)]
    until(lambda: set(ids) <= {one["jobId"] for one in _pages(batch, jobQueue="idle", jobStatus="RUNNABLE")})
    asked = {"jobQueue": "idle", "jobStatus": "RUNNABLE", "maxResults": 2}
    first = batch.list_jobs(**asked)
    assert [one["jobId"] for one in first["jobSummaryList"]] == [ids[3], ids[2]]
    batch.terminate_job(jobId=ids[2], reason="leaves")
    ended(batch, ids[2])
    second = batch.list_jobs(**asked, nextToken=first["nextToken"])
    assert [one["jobId"] for one in second["jobSummaryList"]] == [ids[1], ids[0]]
    array = submit(batch, jobQueue="idle", arrayProperties={"size": 4})
    until(lambda: describe(batch, array)["arrayProperties"]["statusSummary"]["RUNNABLE"] == 4)
    asked = {"arrayJobId": array, "jobStatus": "RUNNABLE", "maxResults": 2}
    first = batch.list_jobs(**asked)
    batch.terminate_job(jobId=f"{array}:1", reason="leaves")
    ended(batch, f"{array}:1")
    second = batch.list_jobs(**asked, nextToken=first["nextToken"])
    assert [one["jobId"] for one in second["jobSummaryList"]] == [f"{array}:2", f"{array}:3"]


@pytest.mark.parametrize("token", ["x", "bm93aGVyZQ==", "MXx4", "MXwxIDI6Mw==", "MXxuYW4gYQ==", "MXwxIGE6Yg=="])
def test_a_token_that_no_page_gave_is_refused(batch: Any, token: str) -> None:
    for asked in ({"jobQueue": "idle"}, {"arrayJobId": submit(batch, jobQueue="idle", arrayProperties={"size": 2})}):
        said = refusal(batch.list_jobs, jobStatus="RUNNABLE", nextToken=token, **asked)
        assert "nextToken" in said


def _pages(batch: Any, **asked: Any) -> list[Any]:
    pages = batch.get_paginator("list_jobs").paginate(**asked, PaginationConfig={"PageSize": 2})
    return [one for page in pages for one in page["jobSummaryList"]]


def test_without_a_status_only_running_jobs_are_listed(batch: Any) -> None:
    submit(batch, jobQueue="idle")
    assert batch.list_jobs(jobQueue="idle")["jobSummaryList"] == []


@pytest.mark.parametrize(
    ("name", "value", "is_found"),
    [
        ("JOB_NAME", "FINDME-{tag}", True),
        ("JOB_NAME", "findme-*", True),
        ("JOB_NAME", "findme", False),
        ("JOB_DEFINITION", "shell", True),
        ("JOB_DEFINITION", "shell:1", True),
        ("JOB_DEFINITION", "she*", True),
        ("JOB_DEFINITION", "other", False),
        ("JOB_DEFINITION", "Shell", False),
        ("JOB_DEFINITION", "shell:2", False),
        ("JOB_DEFINITION", "arn:aws:batch:us-east-1:123456789012:job-definition/shell:1", True),
        ("JOB_DEFINITION", "arn:aws:batch:us-east-1:123456789012:job-definition/shell:*", False),
        ("JOB_DEFINITION", "arn:aws:batch:us-east-1:123456789012:job-definition/sh*", False),
        ("AFTER_CREATED_AT", "0", True),
        ("BEFORE_CREATED_AT", "0", False),
    ],
)
def test_a_filter_finds_jobs_of_any_status(batch: Any, name: str, value: str, is_found: bool) -> None:
    tag = uuid.uuid4().hex
    job_id = submit(batch, jobQueue="idle", jobName=f"findme-{tag}")
    filters = [{"name": name, "values": [value.format(tag=tag)]}]
    found = [one["jobId"] for one in batch.list_jobs(jobQueue="idle", filters=filters)["jobSummaryList"]]
    assert (job_id in found) is is_found


def test_a_list_says_of_a_job_that_it_was_stopped_only_if_it_was(batch: Any) -> None:
    kept, stopped = submit(batch, jobQueue="idle"), submit(batch, jobQueue="idle")
    batch.cancel_job(jobId=stopped, reason="not wanted")
    found = {one["jobId"]: one for one in batch.list_jobs(jobQueue="idle", filters=ANY_TIME)["jobSummaryList"]}
    assert found[stopped]["isCancelled"] is True
    assert not {"isCancelled", "isTerminated"} & found[kept].keys()


def test_wrong_listings_are_refused(batch: Any) -> None:
    assert "exactly one of" in refusal(batch.list_jobs)
    assert "exactly one of" in refusal(batch.list_jobs, jobQueue="q", arrayJobId="x")
    assert "does not exist" in refusal(batch.list_jobs, jobQueue="nowhere")
    assert "does not exist" in refusal(batch.list_jobs, arrayJobId=str(uuid.uuid4()))
    assert "not an array" in refusal(batch.list_jobs, arrayJobId=submit(batch, jobQueue="idle"))
    assert "unknown" in refusal(batch.list_jobs, jobQueue="q", filters=[{"name": "COLOR", "values": ["x"]}])
    two = [{"name": "JOB_NAME", "values": ["x"]}] * 2
    assert "one filter" in refusal(batch.list_jobs, jobQueue="q", filters=two)
    assert "maxResults" in refusal(batch.list_jobs, jobQueue="q", maxResults=1001)
    assert "milliseconds" in refusal(
        batch.list_jobs, jobQueue="q", filters=[{"name": "BEFORE_CREATED_AT", "values": ["noon"]}]
    )


def test_a_snapshot_shows_the_front_of_the_queue_in_the_order_of_dispatch(batch: Any) -> None:
    order = [{"order": 1, "computeEnvironment": "off"}]
    batch.create_job_queue(jobQueueName="front", priority=1, computeEnvironmentOrder=order)
    ids = [submit(batch, jobQueue="front") for _ in range(3)]
    until(lambda: len(_front(batch)) == 3)
    assert _front(batch) == ids


def _front(batch: Any) -> list[str]:
    jobs = batch.get_job_queue_snapshot(jobQueue="front")["frontOfQueue"]["jobs"]
    return [one["jobArn"].rpartition("/")[2] for one in jobs]


def test_deleting_a_queue_terminates_its_jobs(batch: Any) -> None:
    order = [{"order": 1, "computeEnvironment": "off"}]
    batch.create_job_queue(jobQueueName="doomed", priority=1, computeEnvironmentOrder=order)
    job_id = submit(batch, jobQueue="doomed")
    batch.update_job_queue(jobQueue="doomed", state="DISABLED")
    batch.delete_job_queue(jobQueue="doomed")
    assert ended(batch, job_id)["status"] == "FAILED"
    until(lambda: not batch.describe_job_queues(jobQueues=["doomed"])["jobQueues"])
