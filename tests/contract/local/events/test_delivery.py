"""Rules of an API's caller deliver to queues, topics, AWS Batch and log groups; a stack's rules go with the stack."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local.events.test_functions import template
from tests.contract.local_api_region import CONTAINER, RunningRegion, running, until

ENDED: dict[str, Any] = {
    "source": ["aws.batch"],
    "detail-type": ["Batch Job State Change"],
    "detail": {"status": ["SUCCEEDED"]},
}
ASSET = "0123456789abcdef.zip"


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("delivery") / "home", "--boot-seconds", "0") as started:
        resources = {name: one for name, one in template()["Resources"].items() if "Batch" in one["Type"]}
        started.admin.load_stack("batch", {"Resources": resources})
        started.client("batch").register_job_definition(
            jobDefinitionName="d", type="container", containerProperties=CONTAINER, parameters={"word": "none"}
        )
        yield started


def submitted(region: RunningRegion, name: str) -> str:
    job: dict[str, str] = region.client("batch").submit_job(jobName=name, jobQueue="q", jobDefinition="d")
    return job["jobId"]


def queue(region: RunningRegion, name: str) -> tuple[str, str]:
    """The URL and the ARN of a new queue."""
    sqs = region.client("sqs")
    url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def bodies(region: RunningRegion, url: str) -> list[str]:
    found = region.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [str(one["Body"]) for one in found]


def test_an_ended_job_reaches_a_queue_and_a_topic_and_starts_another_job(region: RunningRegion) -> None:
    events, sns = region.client("events"), region.client("sns")
    direct, people = queue(region, "direct"), queue(region, "people")
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=people[1])
    batch_queue = region.client("batch").describe_job_queues()["jobQueues"][0]["jobQueueArn"]
    pattern = {**ENDED, "detail": {**ENDED["detail"], "jobName": ["first"]}}
    events.put_rule(Name="ended", EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {"name": "$.detail.jobName", "id": "$.detail.jobId"},
        "InputTemplate": '"job <name> is done"',
    }
    parameters = {"InputPathsMap": {"id": "$.detail.jobId"}, "InputTemplate": '{"Parameters": {"word": <id>}}'}
    events.put_targets(
        Rule="ended",
        Targets=[
            {"Id": "queue", "Arn": direct[1]},
            {"Id": "topic", "Arn": topic, "InputTransformer": transformer},
            {
                "Id": "job",
                "Arn": batch_queue,
                "RoleArn": "arn:aws:iam::123456789012:role/r",
                "BatchParameters": {"JobDefinition": "d", "JobName": "second"},
                "InputTransformer": parameters,
            },
        ],
    )
    job_id = submitted(region, "first")
    (event,) = until(lambda: bodies(region, direct[0]), seconds=40)
    detail = json.loads(event)["detail"]
    described = region.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]
    assert {name: detail[name] for name in described if name != "ResponseMetadata"} == described
    (told,) = until(lambda: bodies(region, people[0]))
    assert json.loads(told)["Message"] == '"job first is done"'
    batch = region.client("batch")

    def second() -> Any:
        by_name = [{"name": "JOB_NAME", "values": ["second"]}]
        return batch.list_jobs(jobQueue="q", filters=by_name)["jobSummaryList"]

    (started,) = until(second)
    assert batch.describe_jobs(jobs=[started["jobId"]])["jobs"][0]["parameters"]["word"] == job_id


def test_what_callers_put_is_matched_too_and_a_disabled_rule_is_not(region: RunningRegion) -> None:
    events = region.client("events")
    url, arn = queue(region, "own")
    pattern = json.dumps({"source": ["mine"], "detail": {"size": [{"numeric": [">", 3]}]}})
    for name, state in (("on", "ENABLED"), ("off", "DISABLED")):
        events.put_rule(Name=name, EventPattern=pattern, State=state)
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    entries = [{"Source": "mine", "DetailType": "x", "Detail": json.dumps({"size": size})} for size in (1, 5)]
    assert events.put_events(Entries=entries)["FailedEntryCount"] == 0
    (body,) = until(lambda: bodies(region, url))
    assert json.loads(body)["detail"] == {"size": 5}
    assert json.loads(body)["time"].endswith("Z")
    assert not bodies(region, url)


def test_a_function_from_an_asset_of_the_cdk_goes_with_its_stack(region: RunningRegion, tmp_path: Path) -> None:
    code = tmp_path / "asset.code"
    (code / "pkg").mkdir(parents=True)
    (code / "pkg" / "main.py").write_text("def run(event, context):\n    return 'from an asset'\n")
    bucket = {"Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"}
    properties = {
        "FunctionName": "asset",
        "Code": {"S3Bucket": bucket, "S3Key": ASSET},
        "Handler": "pkg.main.run",
        "Runtime": "python3.12",
        "Role": "arn:aws:iam::123456789012:role/of-another-stack",
    }
    body = {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    file = tmp_path / "s.template.json"
    file.write_text(json.dumps(body))
    place = {"bucketName": "b", "objectKey": ASSET}
    asset = {"source": {"path": "asset.code", "packaging": "zip"}, "destinations": {"here": place}}
    (tmp_path / "s.assets.json").write_text(json.dumps({"version": "36.0.0", "files": {"x": asset}}))
    region.admin.load_stack("assets", body, file=str(file))
    client = region.client("lambda")
    answer = client.invoke(FunctionName="asset")
    assert json.loads(answer["Payload"].read()) == "from an asset"
    region.admin.load_stack("assets", {"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="asset")


def test_a_state_machine_waits_for_the_job_that_it_submits(region: RunningRegion) -> None:
    batch_queue = region.client("batch").describe_job_queues()["jobQueues"][0]["jobQueueArn"]
    definition = {
        "StartAt": "Run",
        "States": {
            "Run": {
                "Type": "Task",
                "Resource": "arn:aws:states:::batch:submitJob.sync",
                "Parameters": {"JobName": "by-machine", "JobQueue": batch_queue, "JobDefinition": "d"},
                "ResultSelector": {"status.$": "$.Status"},
                "End": True,
            }
        },
    }
    role = "arn:aws:iam::123456789012:role/r"
    properties = {"StateMachineName": "m", "RoleArn": role, "DefinitionString": json.dumps(definition)}
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    region.admin.load_stack("machine", {"Resources": {"M": machine}})
    states = region.client("stepfunctions")
    arn = states.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn, input="{}")["executionArn"]

    def ended() -> Any:
        found = states.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    found = until(ended, seconds=60)
    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"]) == {"status": "SUCCEEDED"}


def test_hosts_and_tasks_tell_of_themselves_in_the_shapes_of_ec2_and_ecs(region: RunningRegion) -> None:
    events, batch = region.client("events"), region.client("batch")
    url, arn = queue(region, "hosts")
    events.put_rule(Name="hosts", EventPattern=json.dumps({"source": ["aws.ec2", "aws.ecs"]}))
    events.put_targets(Rule="hosts", Targets=[{"Id": "q", "Arn": arn}])
    command = {**CONTAINER, "command": ["sleep", "600"]}
    batch.register_job_definition(jobDefinitionName="long", type="container", containerProperties=command)
    job_id = batch.submit_job(jobName="long", jobQueue="q", jobDefinition="long")["jobId"]
    until(lambda: batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] == "RUNNING")
    (instance_id,) = region.admin.interrupt(count=1, rebalance=True)
    region.admin.interrupt(instance_ids=[instance_id], notice_seconds=0)
    found: list[dict[str, Any]] = []

    def all_kinds() -> bool:
        found.extend(json.loads(one) for one in bodies(region, url))
        details = [one["detail"] for one in found]
        is_gone = any(one.get("state") == "terminated" for one in details)
        is_told = any(one.get("status") == "INACTIVE" for one in details)
        return is_gone and is_told and any(one.get("lastStatus") == "STOPPED" for one in details)

    until(all_kinds, seconds=40)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        by_kind.setdefault(one["detail-type"], []).append(one)
    (warning,) = by_kind["EC2 Spot Instance Interruption Warning"]
    assert warning["detail"] == {"instance-id": instance_id, "instance-action": "terminate"}
    zone = warning["resources"][0].split(":")[3]
    assert warning["resources"] == [f"arn:aws:ec2:{zone}:instance/{instance_id}"]
    (recommended,) = by_kind["EC2 Instance Rebalance Recommendation"]  # once: the notice brings no second one
    assert recommended["detail"] == {"instance-id": instance_id}
    told = by_kind["EC2 Instance State-change Notification"]
    states = {one["detail"]["state"] for one in told if one["detail"]["instance-id"] == instance_id}
    assert states - {"pending", "running"} == {"shutting-down", "terminated"}  # the host may be older than the rule
    (arn_of_task,) = {one["detail"]["taskArn"] for one in by_kind["ECS Task State Change"]}
    assert [one["resources"] for one in by_kind["ECS Task State Change"]] == [[arn_of_task]] * 3
    (instance_arn,) = {one["detail"]["containerInstanceArn"] for one in by_kind["ECS Task State Change"]}
    instances = [one["detail"] for one in by_kind["ECS Container Instance State Change"]]
    last = max((one for one in instances if one["ec2InstanceId"] == instance_id), key=lambda one: int(one["version"]))
    assert (last["containerInstanceArn"], last["status"], last["agentConnected"]) == (instance_arn, "INACTIVE", False)


def test_a_stack_works_on_after_a_restart_of_the_region(tmp_path: Path) -> None:
    with running(tmp_path / "home") as first:
        first.admin.load_stack("s", template())
    with running(tmp_path / "home", "--boot-seconds", "0") as again:
        batch = again.client("batch")
        batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=CONTAINER)
        job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d")["jobId"]
        dynamodb = again.client("dynamodb")

        def written() -> Any:
            (table,) = dynamodb.list_tables()["TableNames"]
            return dynamodb.get_item(TableName=table, Key={"id": {"S": job_id}}).get("Item")

        assert until(written, seconds=40)["status"] == {"S": "SUCCEEDED"}
