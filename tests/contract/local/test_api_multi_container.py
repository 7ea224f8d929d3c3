"""Definitions of several containers or nodes: what AWS Batch would keep, what it would refuse, and what runs here."""

from collections.abc import Iterator
from typing import Any

import pytest

from spotbatch.aws.job_shapes import job_of
from tests.contract.local.test_api_control_plane import queue, unique
from tests.contract.local_api_region import CONTAINER, RunningRegion, refusal, running, until

ONE: dict[str, Any] = {**CONTAINER, "name": "one"}
TWO: dict[str, Any] = {**CONTAINER, "name": "two", "essential": False}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home") as started:
        yield started


@pytest.fixture(scope="module")
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def test_an_ecs_definition_with_one_container_runs_and_one_with_two_does_not(batch: Any) -> None:
    of_queue = queue(batch)
    for count in (1, 2):
        containers = [{**CONTAINER, "name": f"c{number}", "essential": True} for number in range(count)]
        name = unique("d")
        properties = {"taskProperties": [{"containers": containers}]}
        batch.register_job_definition(jobDefinitionName=name, type="container", ecsProperties=properties)
        asked = {"jobName": "j", "jobQueue": of_queue, "jobDefinition": name}
        if count == 1:
            assert batch.submit_job(**asked)["jobId"]
        else:
            assert "one container a job, not 2" in refusal(batch.submit_job, **asked)


def ended(batch: Any, job_id: str) -> Any:
    def last() -> Any:
        (found,) = batch.describe_jobs(jobs=[job_id])["jobs"]
        return found if found["status"] in ("SUCCEEDED", "FAILED") else None

    return until(last)


def test_the_results_of_an_ecs_properties_job_stand_in_its_tasks_containers(region: RunningRegion, batch: Any) -> None:
    name = unique("d")
    container = {**CONTAINER, "name": "main", "command": ["sh", "-c", "echo out; exit 7"]}
    properties = {"taskProperties": [{"containers": [container]}]}
    batch.register_job_definition(jobDefinitionName=name, type="container", ecsProperties=properties)
    job = ended(batch, batch.submit_job(jobName="j", jobQueue=queue(batch), jobDefinition=name)["jobId"])
    assert "container" not in job
    (attempt,) = job["attempts"]
    assert "container" not in attempt
    (task,) = attempt["taskProperties"]
    (told,) = task["containers"]
    assert (told["name"], told["exitCode"]) == ("main", 7)
    assert task["taskArn"].rpartition("/")[2] == told["logStreamName"].rpartition("/")[2]
    (shown,) = job["ecsProperties"]["taskProperties"][0]["containers"]
    assert (shown["name"], shown["exitCode"], shown["command"]) == ("main", 7, container["command"])
    events = region.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=told["logStreamName"])
    assert [event["message"] for event in events["events"]] == ["out"]
    own = job_of(job)
    assert (own.exit_code, own.log_stream, own.attempts[0].exit_code) == (7, told["logStreamName"], 7)


def test_a_multi_node_job_of_one_node_is_run_and_one_of_two_is_refused(region: RunningRegion, batch: Any) -> None:
    name = unique("d")
    container = {**CONTAINER, "command": ["sh", "-c", "echo $AWS_BATCH_JOB_NODE_INDEX $AWS_BATCH_JOB_NUM_NODES $MORE"]}
    nodes = {"numNodes": 1, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:", "container": container}]}
    batch.register_job_definition(jobDefinitionName=name, type="multinode", nodeProperties=nodes)
    asked = {"jobName": "j", "jobQueue": queue(batch), "jobDefinition": name}
    override = {"targetNodes": "0", "containerOverrides": {"environment": [{"name": "MORE", "value": "more"}]}}
    job_id = batch.submit_job(**asked, nodeOverrides={"nodePropertyOverrides": [override]})["jobId"]
    job = ended(batch, job_id)
    assert (job["status"], job["nodeProperties"]["numNodes"]) == ("SUCCEEDED", 1)
    (node,) = batch.describe_jobs(jobs=[f"{job_id}#0", f"{job_id}#1"])["jobs"]
    assert node["nodeDetails"] == {"nodeIndex": 0, "isMainNode": True}
    stream = node["container"]["logStreamName"]
    events = region.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
    assert [event["message"] for event in events] == ["0 1 more"]
    (summary,) = batch.list_jobs(multiNodeJobId=job_id, jobStatus="SUCCEEDED")["jobSummaryList"]
    assert (summary["jobId"], summary["nodeProperties"]["isMainNode"]) == (f"{job_id}#0", True)
    assert "of one node, not 2" in refusal(batch.submit_job, **asked, nodeOverrides={"numNodes": 2})
    assert "nodePropertyOverrides" in refusal(batch.submit_job, **asked, containerOverrides={"command": ["x"]})
    wrong = {**nodes, "mainNode": 2}
    assert "mainNode" in refusal(
        batch.register_job_definition, jobDefinitionName=name, type="multinode", nodeProperties=wrong
    )


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        ([ONE, {**TWO, "name": "one"}], "names of their own"),
        ([TWO], "essential"),
        ([{**ONE, "dependsOn": [{"containerName": "three", "condition": "START"}]}, TWO], "three"),
        ([{**ONE, "dependsOn": [{"containerName": "one", "condition": "START"}]}], "no other container"),
        ([{**ONE, "dependsOn": [{"containerName": "two", "condition": "SOON"}]}, TWO], "SOON"),
        ([ONE, {**TWO, "dependsOn": [{"containerName": "one", "condition": "SUCCESS"}]}], "not essential"),
    ],
)
def test_containers_of_a_task_that_do_not_fit_each_other_are_refused(
    batch: Any, containers: list[dict[str, Any]], said: str
) -> None:
    asked = {"jobDefinitionName": unique("d"), "type": "container"}
    properties = {"taskProperties": [{"containers": containers}]}
    assert said in refusal(batch.register_job_definition, ecsProperties=properties, **asked)


def test_containers_of_a_task_that_wait_for_each_other_are_kept(batch: Any) -> None:
    waits = {**ONE, "dependsOn": [{"containerName": "two", "condition": "COMPLETE"}]}
    properties = {"taskProperties": [{"containers": [waits, TWO]}]}
    name = unique("d")
    batch.register_job_definition(jobDefinitionName=name, type="container", ecsProperties=properties)
    (found,) = batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
    assert found["ecsProperties"] == properties


@pytest.mark.parametrize("overrides", [[{"name": "other"}], [{"name": "one"}, {"name": "two"}]])
def test_an_override_of_a_container_that_the_task_does_not_have_is_refused(
    batch: Any, overrides: list[dict[str, Any]]
) -> None:
    name = unique("d")
    properties = {"taskProperties": [{"containers": [ONE]}]}
    batch.register_job_definition(jobDefinitionName=name, type="container", ecsProperties=properties)
    override = {"taskProperties": [{"containers": overrides}]}
    asked = {"jobName": "j", "jobQueue": queue(batch), "jobDefinition": name}
    assert "ecsPropertiesOverride" in refusal(batch.submit_job, ecsPropertiesOverride=override, **asked)
    assert batch.submit_job(ecsPropertiesOverride={"taskProperties": [{"containers": [{"name": "one"}]}]}, **asked)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([], "node 0"),
        (["0:0"], "node 1"),
        (["1:2"], "node 0"),
        (["0:0", "2:2"], "node 1"),
        (["0:3"], "does not fit 3 nodes"),
        (["2:1"], "does not fit"),
        ([":"], "such as"),
        (["all"], "such as"),
    ],
)
def test_node_ranges_that_are_wrong_or_leave_a_node_out_are_refused(batch: Any, targets: list[str], said: str) -> None:
    ranges = [{"targetNodes": one, "container": CONTAINER} for one in targets]
    nodes = {"numNodes": 3, "mainNode": 0, "nodeRangeProperties": ranges}
    asked = {"jobDefinitionName": unique("d"), "type": "multinode"}
    assert said in refusal(batch.register_job_definition, nodeProperties=nodes, **asked)


@pytest.mark.parametrize("targets", [["0:2"], ["0:"], [":2"], [":0", "1:"], ["0:2", "1:1"]])
def test_node_ranges_that_hold_every_node_are_kept(batch: Any, targets: list[str]) -> None:
    ranges = [{"targetNodes": one, "container": CONTAINER} for one in targets]
    nodes = {"numNodes": 3, "mainNode": 0, "nodeRangeProperties": ranges}
    batch.register_job_definition(jobDefinitionName=unique("d"), type="multinode", nodeProperties=nodes)


def test_a_node_range_without_a_container_is_refused(batch: Any) -> None:
    nodes = {"numNodes": 1, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:0"}]}
    asked = {"jobDefinitionName": unique("d"), "type": "multinode"}
    assert "has a container or ecsProperties" in refusal(batch.register_job_definition, nodeProperties=nodes, **asked)
