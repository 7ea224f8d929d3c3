"""Unmodified third-party clients from PyPI do their work in a local region, also while a host is reclaimed."""

import json
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from tests.acceptance.local_clients import (
    CLIENT_SECONDS,
    client_environ,
    environment,
    lost_attempts,
    reclaim_a_running_host,
    region_for,
)
from tests.contract.local_api_region import RunningRegion

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1200)]

AWS_CLI = ("awscli==1.46.*",)
REDUN = ("redun==0.44.1",)
SNAKEMAKE = (
    "snakemake==9.27.*",
    "snakemake-executor-plugin-aws-batch==0.2.1",
    "snakemake-storage-plugin-s3==0.3.*",
)
RETRY_LOST_HOSTS = {
    "attempts": 5,
    "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}, {"action": "EXIT", "onReason": "*"}],
}


def aws(region: RunningRegion, binaries: Path, home: Path, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [str(binaries / "aws"), *arguments, "--output", "json"],
        env=client_environ(region, binaries, home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout) if done.stdout.strip() else {}
    return answer


@pytest.mark.parametrize("is_reclaimed", [False, True], ids=["calm", "reclaimed"])
def test_the_aws_cli_runs_an_array_and_reads_its_logs(tmp_path: Path, is_reclaimed: bool) -> None:
    binaries = environment(*AWS_CLI)
    with region_for(tmp_path, binaries) as region:

        def run(*arguments: str) -> dict[str, object]:
            return aws(region, binaries, tmp_path, *arguments)

        container = {
            "image": "busybox",
            "command": ["sh", "-c", "sleep 2; echo child $AWS_BATCH_JOB_ARRAY_INDEX"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        }
        run(
            *("batch", "register-job-definition", "--job-definition-name", "d", "--type", "container"),
            *("--container-properties", json.dumps(container), "--retry-strategy", json.dumps(RETRY_LOST_HOSTS)),
        )
        job = run(
            *("batch", "submit-job", "--job-name", "j", "--job-queue", "q", "--job-definition", "d"),
            *("--array-properties", "size=3"),
        )
        if is_reclaimed:
            reclaim_a_running_host(region)
        job_id = str(job["jobId"])
        deadline = time.monotonic() + CLIENT_SECONDS
        while run("batch", "describe-jobs", "--jobs", job_id)["jobs"][0]["status"] != "SUCCEEDED":  # type: ignore[index]
            assert time.monotonic() < deadline
        for index in range(3):
            child = run("batch", "describe-jobs", "--jobs", f"{job_id}:{index}")["jobs"][0]  # type: ignore[index]
            stream = child["container"]["logStreamName"]
            events = run(
                *("logs", "get-log-events", "--log-group-name", "/aws/batch/job", "--log-stream-name", stream),
                "--start-from-head",
            )["events"]
            assert [event["message"] for event in events] == [f"child {index}"]  # type: ignore[attr-defined]
        assert bool(lost_attempts(region)) is is_reclaimed


REDUN_WORKFLOW = """
    import time
    from redun import script, task

    redun_namespace = "acceptance"

    @task(executor="batch", vcpus=1, memory=0.25)
    def square(number: int) -> int:
        time.sleep(2)
        return number * number

    @task(executor="batch", vcpus=1, memory=0.25)
    def shout(number: int) -> str:
        return script(f"echo the total is {number}")

    @task()
    def total(squares: list[int]) -> int:
        return sum(squares)

    @task()
    def main() -> str:
        return shout(total([square(number) for number in range(5)]))
"""
REDUN_SETTINGS = """
    [executors.batch]
    type = aws_batch
    image = 123456789012.dkr.ecr.us-east-1.amazonaws.com/redunimg:latest
    queue = q
    s3_scratch = s3://work/redun/
    role = arn:aws:iam::123456789012:role/job
    job_monitor_interval = 1
    job_stale_time = 2
    min_array_size = 3
    retries = 3
"""


@pytest.mark.parametrize("is_reclaimed", [False, True], ids=["calm", "reclaimed"])
def test_redun_runs_an_array_of_five_and_a_script(tmp_path: Path, is_reclaimed: bool) -> None:
    binaries = environment(*REDUN)
    (tmp_path / ".redun").mkdir()
    (tmp_path / ".redun/redun.ini").write_text(textwrap.dedent(REDUN_SETTINGS))
    (tmp_path / "workflow.py").write_text(textwrap.dedent(REDUN_WORKFLOW))
    with region_for(tmp_path, binaries) as region:
        answer = _run_client(region, binaries, tmp_path, ["redun", "run", "workflow.py", "main"], is_reclaimed)
        assert "the total is 30" in answer
        sizes = {host.instance_type for host in region.admin.hosts()}
        assert sizes
        assert bool(lost_attempts(region)) is is_reclaimed


SNAKEFILE = """
    rule all:
        input: "sum.txt"

    rule number:
        output: "number-{n}.txt"
        resources: mem_mb=512
        shell: "sleep 2; echo $(({wildcards.n} * {wildcards.n})) > {output}"

    rule sum:
        input: "number-3.txt", "number-4.txt"
        output: "sum.txt"
        resources: mem_mb=512
        shell: "awk '{{s += $1}} END {{print s}}' {input} > {output}"
"""


@pytest.mark.parametrize("is_reclaimed", [False, True], ids=["calm", "reclaimed"])
def test_snakemake_runs_a_graph_of_three_jobs(tmp_path: Path, is_reclaimed: bool) -> None:
    binaries = environment(*SNAKEMAKE)
    (tmp_path / "Snakefile").write_text(textwrap.dedent(SNAKEFILE))
    with region_for(tmp_path, binaries) as region:
        (queue,) = region.client("batch").describe_job_queues(jobQueues=["q"])["jobQueues"]
        command = [
            *(
                "snakemake",
                "--executor",
                "aws-batch",
                "--jobs",
                "3",
                "--retries",
                "3",
                "--seconds-between-status-checks",
                "1",
            ),
            *("--aws-batch-region", "us-east-1", "--aws-batch-job-queue", queue["jobQueueArn"]),
            *("--aws-batch-job-role", "arn:aws:iam::123456789012:role/job"),
            *("--default-storage-provider", "s3", "--default-storage-prefix", "s3://work/smk"),
            *("--storage-s3-endpoint-url", region.info.endpoint),
        ]
        _run_client(region, binaries, tmp_path, command, is_reclaimed)
        body = region.client("s3").get_object(Bucket="work", Key="smk/sum.txt")["Body"].read()
        assert body.strip() == b"25"
        assert bool(lost_attempts(region)) is is_reclaimed


def _run_client(region: RunningRegion, binaries: Path, folder: Path, command: list[str], is_reclaimed: bool) -> str:
    """Run a client to its end, reclaiming a host on the way. Returns what it printed."""
    log = folder / "client.log"
    with log.open("wb") as out:
        client = subprocess.Popen(
            [str(binaries / command[0]), *command[1:]],
            cwd=folder,
            env=client_environ(region, binaries, folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        if is_reclaimed:
            reclaim_a_running_host(region)
        code = client.wait(CLIENT_SECONDS)
    finally:
        client.kill()
        client.wait()
    text = log.read_text(errors="replace")
    assert code == 0, text[-4000:]
    return text
