"""A region that places as ECS does without draining: a host under notice is offered to the next attempt at once."""

import sys
from pathlib import Path
from typing import Any

from tests.contract.local.test_engine_processes import prepare
from tests.contract.local_api_region import RunningRegion, running, until

NOTICES = 3
QUICK = ("--boot-seconds", "0.05", "--notice-seconds", "1.5", "--stop-grace-seconds", "2", "--draining", "off")
RETRIED = [  # as the stack's job definition has it
    {"action": "RETRY", "onStatusReason": "Host EC2*"},
    {"action": "RETRY", "onExitCode": "21*"},
    {"action": "EXIT", "onReason": "*"},
]
WORK = """
import os, time
from spotbatch.runtime import checkpoint, interrupted
n = int(checkpoint.read("n") or 0)
print("begins at", n, flush=True)
while not os.path.exists(os.environ["LET_IT_END"]):
    n += 1
    checkpoint.write("n", b"%d" % n)
    if interrupted():
        raise SystemExit(75)
    time.sleep(0.05)
print("ends", flush=True)
"""


def interrupt_again(region: RunningRegion, logs: Any, job: Any, begun: int) -> None:
    """Once the command has begun once more, its host gets a notice, and another one a moment later."""
    until(lambda: beginnings(logs, job()) > begun, seconds=60)
    host = until(lambda: instance_of(region, job()))
    for _ in range(2):
        region.admin.interrupt(instance_ids=[host])


def instance_of(region: RunningRegion, job: dict[str, Any]) -> str | None:
    arn = job["container"].get("containerInstanceArn")
    if job["status"] != "RUNNING" or arn is None:
        return None
    answer = region.client("ecs").describe_container_instances(cluster=arn.split("/")[1], containerInstances=[arn])
    return str(answer["containerInstances"][0]["ec2InstanceId"])


def beginnings(logs: Any, job: dict[str, Any]) -> int:
    """How often the command has begun, over all attempts."""
    containers = [each["container"] for each in job["attempts"]] + [job["container"]]
    streams = {each["logStreamName"] for each in containers if "logStreamName" in each}
    return sum(
        event["message"].startswith("begins at")
        for stream in streams
        for event in logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
    )


def test_a_healthy_job_survives_notice_after_notice_where_hosts_do_not_drain(tmp_path: Path) -> None:
    with running(tmp_path / "home", *QUICK) as region:
        batch, logs = prepare(region), region.client("logs")
        variables = {
            "SPOTBATCH_ARTIFACTS_URL": (tmp_path / "store").as_uri(),
            "SPOTBATCH_RUN_ID": "work",
            "SPOTBATCH_CHECKPOINT_SECONDS": "0.2",
            "LET_IT_END": str(tmp_path / "enough"),
        }
        command = ["env", *(f"{name}={value}" for name, value in variables.items())]
        command += [sys.executable, "-m", "spotbatch.runtime", "--", sys.executable, "-c", WORK]
        job_id = batch.submit_job(
            jobName="j",
            jobQueue="q",
            jobDefinition="d",
            containerOverrides={"command": command},
            retryStrategy={"attempts": 10, "evaluateOnExit": RETRIED},
        )["jobId"]

        def job() -> dict[str, Any]:
            found: dict[str, Any] = batch.describe_jobs(jobs=[job_id])["jobs"][0]
            return found

        for number in range(NOTICES):
            interrupt_again(region, logs, job, number)
        until(lambda: beginnings(logs, job()) > NOTICES, seconds=60)
        (tmp_path / "enough").touch()
        until(lambda: job()["status"] in ("SUCCEEDED", "FAILED"), seconds=60)
        assert job()["status"] == "SUCCEEDED", job()
        # of each host one attempt that was interrupted, and at most one that waited for the host to go
        assert len(job()["attempts"]) <= 2 * NOTICES + 1
