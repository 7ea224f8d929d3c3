"""The metadata service of the region's hosts, rebalance recommendations, and experiments that interrupt Spot hosts."""

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.utils import InstanceMetadataRegionFetcher

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
MOCK = os.environ.get("SPOTBATCH_METADATA_MOCK") or shutil.which("ec2-metadata-mock")


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    home = tmp_path_factory.mktemp("region") / "home"
    with running(home, "--boot-seconds", "0.05", "--notice-seconds", "30") as started:
        batch = started.client("batch")
        resources = {**ENVIRONMENT_RESOURCES, "instanceTypes": ["c5.large"], "tags": {"Name": "interruptMe"}}
        batch.create_compute_environment(computeEnvironmentName="ce", type="MANAGED", computeResources=resources)
        order = [{"order": 1, "computeEnvironment": "ce"}]
        batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
        container = {**CONTAINER, "command": ["sleep", "300"]}
        batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=container)
        batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d", arrayProperties={"size": 6})
        until(lambda: sum(host.running for host in started.admin.hosts()) == 6)
        yield started


def ask(base: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """The status, body and content type of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{base}{path}", method=method, headers=named)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", ""


def token_of(base: str) -> str:
    status, token, _ = ask(base, "/latest/api/token", "PUT", **{TTL: "60"})
    assert status == 200
    return token


def base_of(region: RunningRegion, instance_id: str) -> str:
    return f"{region.info.endpoint}/spotbatch/metadata/{instance_id}"


@pytest.fixture
def host(region: RunningRegion) -> str:
    """A host without a notice."""
    return next(one.instance_id for one in region.admin.hosts() if one.ended_at is None and one.noticed_at is None)


def test_only_a_session_is_answered(region: RunningRegion, host: str) -> None:
    base = base_of(region, host)
    path = "/latest/meta-data/instance-id"
    assert ask(base, path)[0] == 401
    assert ask(base, path, **{TOKEN: "made up"})[0] == 401
    assert ask(base, "/latest/api/token", "PUT")[0] == 400
    assert ask(base, "/latest/api/token", "PUT", **{TTL: "60", "X-Forwarded-For": "10.0.0.1"})[0] == 403
    assert ask(base, path, **{TOKEN: token_of(base)}) == (200, host, "text/plain")
    assert ask(base, path, "POST", **{TOKEN: token_of(base)})[0] == 405
    assert ask(base_of(region, "i-00000000000000001"), "/latest/api/token", "PUT", **{TTL: "60"})[0] == 404


def test_botocores_own_fetcher_reads_it(region: RunningRegion, host: str) -> None:
    fetcher = InstanceMetadataRegionFetcher(base_url=base_of(region, host) + "/", num_attempts=1)
    assert fetcher.retrieve_region() == "us-east-1"


def test_a_job_finds_its_own_hosts_service_by_the_variable_of_awss_sdks(region: RunningRegion) -> None:
    batch, logs = region.client("batch"), region.client("logs")
    script = 'echo "$AWS_EC2_METADATA_SERVICE_ENDPOINT $AWS_EC2_METADATA_DISABLED."'
    overrides = {"command": ["sh", "-c", script]}
    job = batch.submit_job(jobName="look", jobQueue="q", jobDefinition="d", containerOverrides=overrides)["jobId"]

    def ended() -> Any:
        (found,) = batch.describe_jobs(jobs=[job])["jobs"]
        return found if found["status"] == "SUCCEEDED" else None

    stream = until(ended)["container"]["logStreamName"]
    (line,) = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
    base, disabled = line["message"].split(" ")
    assert disabled == "."
    instance_id = base.rpartition("/")[2]
    assert ask(base, "/latest/meta-data/instance-id", **{TOKEN: token_of(base)})[:2] == (200, instance_id)


def test_a_rebalance_is_recommended_and_the_host_stays(region: RunningRegion, host: str) -> None:
    base, path = base_of(region, host), "/latest/meta-data/events/recommendations/rebalance"
    assert ask(base, path, **{TOKEN: token_of(base)})[0] == 404
    assert region.admin.interrupt(instance_ids=[host], rebalance=True) == [host]
    assert re.fullmatch(r'\{"noticeTime": "[-0-9]+T[:0-9]+Z"\}', ask(base, path, **{TOKEN: token_of(base)})[1])
    (seen,) = [one for one in region.admin.hosts() if one.instance_id == host]
    assert seen.noticed_at is None


def test_an_experiment_gives_the_notice_and_says_where_it_cannot(region: RunningRegion) -> None:
    """The template is made as AWS's tutorial "Test Spot Instance interruptions" makes it."""
    fis = region.client("fis")

    def experiment(tag: str) -> Any:
        template = fis.create_experiment_template(
            clientToken=tag,
            description="interrupt one",
            roleArn="arn:aws:iam::123456789012:role/fis",
            stopConditions=[{"source": "none"}],
            targets={
                "oneSpotInstance": {
                    "resourceType": "aws:ec2:spot-instance",
                    "resourceTags": {"Name": tag},
                    "filters": [{"path": "State.Name", "values": ["running"]}],
                    "selectionMode": "COUNT(1)",
                }
            },
            actions={
                "interruptSpotInstance": {
                    "actionId": "aws:ec2:send-spot-instance-interruptions",
                    "parameters": {"durationBeforeInterruption": "PT2M"},
                    "targets": {"SpotInstances": "oneSpotInstance"},
                }
            },
        )["experimentTemplate"]
        started = fis.start_experiment(clientToken=f"{tag}-1", experimentTemplateId=template["id"])["experiment"]
        return fis.get_experiment(id=started["id"])["experiment"]

    assert experiment("interruptMe")["state"]["status"] != "failed"
    (noticed,) = [one for one in region.admin.hosts() if one.noticed_at is not None]
    base = base_of(region, noticed.instance_id)
    status, body, kind = ask(base, "/latest/meta-data/spot/instance-action", **{TOKEN: token_of(base)})
    assert (status, kind, json.loads(body)["action"]) == (200, "application/json", "terminate")
    failed = experiment("nobody")["state"]
    assert failed["status"] == "failed"
    assert "empty set" in failed["reason"]


def test_an_experiment_of_a_loaded_template_runs(region: RunningRegion) -> None:
    """A template in the style of AWS's workshops: parameters joined into the selection, members as CloudFormation's."""
    target = {
        "ResourceType": "aws:ec2:spot-instance",
        "ResourceTags": {"Name": "interruptMe"},
        "Filters": [{"Path": "State.Name", "Values": ["running"]}],
        "SelectionMode": {"Fn::Join": ["", ["COUNT(", {"Ref": "Count"}, ")"]]},
    }
    action = {
        "ActionId": "aws:ec2:send-spot-instance-interruptions",
        "Parameters": {"durationBeforeInterruption": {"Fn::Join": ["", ["PT", {"Ref": "Minutes"}, "M"]]}},
        "Targets": {"SpotInstances": "Spots"},
    }
    body = {
        "Parameters": {"Count": {"Type": "Number", "Default": 1}, "Minutes": {"Type": "Number", "Default": 2}},
        "Resources": {
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Statement": []}}},
            "Experiment": {
                "Type": "AWS::FIS::ExperimentTemplate",
                "Properties": {
                    "Description": "Interrupt",
                    "Targets": {"Spots": target},
                    "Actions": {"interrupt": action},
                    "StopConditions": [{"Source": "none"}],
                    "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                    "Tags": {"Name": "x"},
                },
            },
        },
        "Outputs": {"Id": {"Value": {"Fn::GetAtt": ["Experiment", "Id"]}}},
    }
    experiment = region.admin.load_stack("fis", body)["outputs"]["Id"]
    assert experiment.startswith("EXT")
    before = {one.instance_id for one in region.admin.hosts() if one.noticed_at is not None}
    fis = region.client("fis")
    started = fis.start_experiment(clientToken="c", experimentTemplateId=experiment)["experiment"]
    assert started["state"]["status"] != "failed", started["state"]
    assert len({one.instance_id for one in region.admin.hosts() if one.noticed_at is not None} - before) == 1


@pytest.mark.skipif(
    MOCK is None,
    reason="amazon-ec2-metadata-mock is not here: go install .../cmd/ec2-metadata-mock, as in test_notice.py",
)
def test_every_path_is_one_that_awss_own_mock_has(region: RunningRegion, tmp_path: Path) -> None:
    assert MOCK is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [MOCK, "--imdsv2", "--hostname", "127.0.0.1", "--port", str(port)]
    theirs = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as mock:
        try:
            until(lambda: _answers(theirs))
            host = region.admin.interrupt(count=1)[0]
            ours = base_of(region, host)
            paths = sorted(_leaves(ours, "/latest/meta-data/", token_of(ours)))
            paths.append("/latest/dynamic/instance-identity/document")
            known = token_of(theirs)
            # It knows the categories of 2020: what came later is only in the user guide.
            later = {
                "/latest/meta-data/profile",
                "/latest/meta-data/system",
                "/latest/meta-data/events/maintenance/history",
            }
            assert len(paths) > 20
            for path in paths:
                status, body, kind = ask(theirs, path, **{TOKEN: known})
                own = ask(ours, path, **{TOKEN: token_of(ours)})
                assert own[0] == 200
                if path not in later:
                    assert (status, kind) == (200, own[2]), path
                    if kind == "application/json" and body.lstrip().startswith("{"):
                        assert json.loads(own[1]).keys() == json.loads(body).keys(), path
        finally:
            mock.kill()


def _answers(base: str) -> bool:
    try:
        return ask(base, "/latest/api/token", "PUT", **{TTL: "60"})[0] == 200
    except OSError:
        return False


def _leaves(base: str, path: str, token: str) -> set[str]:
    found = set()
    for name in ask(base, path, **{TOKEN: token})[1].splitlines():
        found |= _leaves(base, f"{path}{name}", token) if name.endswith("/") else {f"{path}{name}"}
    return found
