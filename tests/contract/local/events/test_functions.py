"""A template's functions run as processes: by rules, by schedule, by boto3; with retries, timeouts and dead letters."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until

SOURCE = """
import json, os, boto3
calls = 0
def handler(event, context):
    global calls
    calls += 1
    print("seen", json.dumps(event)[:200])
    if event.get("fail"):
        raise ValueError("asked to fail")
    if event.get("sleep"):
        import time; time.sleep(event["sleep"])
    if event.get("exit"):
        os._exit(7)
    detail = event.get("detail", {})
    if "status" in detail:
        boto3.client("dynamodb").put_item(
            TableName=os.environ["TABLE"],
            Item={"id": {"S": detail["jobId"]}, "status": {"S": detail["status"]}},
        )
    return {"calls": calls, "left": context.get_remaining_time_in_millis() > 0, "name": context.function_name}
"""


def template() -> dict[str, Any]:
    resources: dict[str, Any] = {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        },
        "Dead": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dead"}},
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": "functions",
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": "watcher",
                "Code": {"ZipFile": SOURCE},
                "Handler": "index.handler",
                "Runtime": "python3.12",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Timeout": 5,
                "Environment": {"Variables": {"TABLE": {"Ref": "Table"}}},
                "DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}},
            },
        },
        "NoRetries": {
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {"FunctionName": {"Ref": "Function"}, "Qualifier": "$LATEST", "MaximumRetryAttempts": 0},
        },
        "Ended": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {
                    "source": ["aws.batch"],
                    "detail-type": ["Batch Job State Change"],
                    "detail": {"status": ["SUCCEEDED", "FAILED"]},
                },
                "Targets": [{"Arn": {"Fn::GetAtt": ["Function", "Arn"]}, "Id": "f"}],
            },
        },
        "Environment": {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {
                "ComputeEnvironmentName": "e",
                "Type": "MANAGED",
                "ComputeResources": {
                    "Type": "SPOT",
                    "AllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
                    "MaxvCpus": 16,
                    "InstanceTypes": ENVIRONMENT_RESOURCES["instanceTypes"],
                    "Subnets": ENVIRONMENT_RESOURCES["subnets"],
                    "SecurityGroupIds": ENVIRONMENT_RESOURCES["securityGroupIds"],
                    "InstanceRole": ENVIRONMENT_RESOURCES["instanceRole"],
                },
            },
        },
        "Queue": {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {
                "JobQueueName": "q",
                "Priority": 1,
                "ComputeEnvironmentOrder": [{"ComputeEnvironment": {"Ref": "Environment"}, "Order": 1}],
            },
        },
    }
    return {"Resources": resources}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("functions") / "home", "--boot-seconds", "0") as started:
        started.admin.load_stack("s", template())
        yield started


def invoked(region: RunningRegion, event: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = region.client("lambda").invoke(FunctionName="watcher", Payload=json.dumps(event), **more)
    return {**answer, "Payload": answer["Payload"].read().decode()}


def test_a_rule_on_ended_jobs_calls_the_function_which_writes_to_its_table(region: RunningRegion) -> None:
    batch = region.client("batch")
    batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=CONTAINER)
    job_id = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d")["jobId"]
    table = region.client("dynamodb").list_tables()["TableNames"][0]

    def written() -> Any:
        return region.client("dynamodb").get_item(TableName=table, Key={"id": {"S": job_id}}).get("Item")

    assert until(written, seconds=40)["status"] == {"S": "SUCCEEDED"}


def test_a_function_is_called_by_boto3_and_stays_warm(region: RunningRegion) -> None:
    first, second = (json.loads(invoked(region, {})["Payload"]) for _ in range(2))
    assert first["name"] == "watcher"
    assert first["left"]
    assert second["calls"] == first["calls"] + 1


def test_an_error_a_timeout_and_an_exit_are_told_as_lambda_tells_them(region: RunningRegion) -> None:
    failed = invoked(region, {"fail": True}, LogType="Tail")
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"])["errorType"] == "ValueError"
    assert "LogResult" in failed
    slow = invoked(region, {"sleep": 30})
    assert "Task timed out after 5.00 seconds" in json.loads(slow["Payload"])["errorMessage"]
    gone = invoked(region, {"exit": True})
    assert json.loads(gone["Payload"])["errorType"] == "Runtime.ExitError"
    assert json.loads(invoked(region, {})["Payload"])["calls"] == 1  # a new process


def test_an_asynchronous_call_that_fails_is_a_dead_letter(region: RunningRegion) -> None:
    assert invoked(region, {"fail": True, "mark": 1}, InvocationType="Event")["StatusCode"] == 202
    sqs = region.client("sqs")
    url = sqs.get_queue_url(QueueName="dead")["QueueUrl"]
    body = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))[0]["Body"]
    assert json.loads(body) == {"fail": True, "mark": 1}


def test_what_a_function_prints_is_in_its_log_group(region: RunningRegion) -> None:
    invoked(region, {"word": "findable"})
    logs = region.client("logs")

    def lines() -> Any:
        found = logs.filter_log_events(logGroupName="/aws/lambda/watcher", filterPattern="findable")
        return found["events"]

    assert "findable" in until(lines)[0]["message"]


def test_a_function_that_is_not_there_is_refused(region: RunningRegion) -> None:
    client = region.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="nobody")


def test_a_function_that_was_made_by_an_api_call_runs_too(region: RunningRegion) -> None:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("pkg/main.py", "def run(event, context):\n    return event['x'] * 2\n")
    client = region.client("lambda")
    client.create_function(
        FunctionName="double",
        Runtime="python3.12",
        Role="arn:aws:iam::123456789012:role/functions",
        Handler="pkg.main.run",
        Code={"ZipFile": out.getvalue()},
    )
    assert json.loads(client.invoke(FunctionName="double", Payload=b'{"x": 21}')["Payload"].read()) == 42
