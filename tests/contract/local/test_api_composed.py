"""Definitions of several containers or nodes: what AWS Batch would keep, what it would refuse, and what runs here."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.local.test_api_control_plane import queue, unique
from tests.contract.local_api_region import CONTAINER, RunningRegion, refusal, running

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


def test_a_multinode_definition_is_kept_but_its_jobs_are_refused(batch: Any) -> None:
    name = unique("d")
    nodes = {
        "numNodes": 2,
        "mainNode": 0,
        "nodeRangeProperties": [{"targetNodes": "0:1", "container": CONTAINER}],
    }
    batch.register_job_definition(jobDefinitionName=name, type="multinode", nodeProperties=nodes)
    assert "multi-node" in refusal(batch.submit_job, jobName="j", jobQueue=queue(batch), jobDefinition=name)
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
