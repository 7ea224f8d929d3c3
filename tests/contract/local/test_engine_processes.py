"""Jobs as real processes: their environment, their stops, their hosts' ends, and what a killed region leaves behind."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotbatch.local.engine import leaked_processes
from spotbatch.local.engine.leaked_processes import COOKIE_VARIABLE, cookie_of, end_orphans
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running, until

FAST = ("--boot-seconds", "0.05", "--notice-seconds", "0.3", "--stop-grace-seconds", "0.5")


def prepare(region: RunningRegion) -> Any:
    """An environment, a queue `q` and a definition `d` that is retried three times."""
    batch = region.client("batch")
    batch.create_compute_environment(
        computeEnvironmentName="ce", type="MANAGED", computeResources=ENVIRONMENT_RESOURCES
    )
    order = [{"order": 1, "computeEnvironment": "ce"}]
    batch.create_job_queue(jobQueueName="q", priority=1, computeEnvironmentOrder=order)
    batch.register_job_definition(
        jobDefinitionName="d", type="container", containerProperties=CONTAINER, retryStrategy={"attempts": 3}
    )
    return batch


def submit(batch: Any, script: str, **more: Any) -> str:
    overrides = {"command": ["sh", "-c", script], **more.pop("containerOverrides", {})}
    answer = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d", containerOverrides=overrides, **more)
    return str(answer["jobId"])


def job(batch: Any, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = batch.describe_jobs(jobs=[job_id])["jobs"][0]
    return found


def ended(batch: Any, job_id: str, status: str) -> dict[str, Any]:
    until(lambda: job(batch, job_id)["status"] in ("SUCCEEDED", "FAILED"))
    found = job(batch, job_id)
    assert found["status"] == status, found
    return found


def lines(region: RunningRegion, described: dict[str, Any]) -> list[str]:
    events = region.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=described["container"]["logStreamName"], startFromHead=True
    )["events"]
    return [event["message"] for event in events]


def carriers(home: Path) -> list[int]:
    """Living processes that carry a region's cookie."""
    mark, found = f"{COOKIE_VARIABLE}={cookie_of(home)}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    os.environ["A_SECRET_OF_THE_CALLER"] = "do not tell"
    try:
        with running(tmp_path_factory.mktemp("engine") / "home", *FAST) as one:
            prepare(one)
            yield one
    finally:
        del os.environ["A_SECRET_OF_THE_CALLER"]


@pytest.fixture
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def test_a_job_gets_awss_variables_and_nothing_of_the_callers(region: RunningRegion, batch: Any) -> None:
    done = ended(batch, submit(batch, "env"), "SUCCEEDED")
    environment = dict(line.split("=", 1) for line in lines(region, done) if "=" in line)
    assert environment["AWS_BATCH_JOB_ID"] == done["jobId"]
    assert environment["AWS_BATCH_JOB_ATTEMPT"] == "1"
    assert (environment["AWS_BATCH_JQ_NAME"], environment["AWS_BATCH_CE_NAME"]) == ("q", "ce")
    assert environment["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
    assert environment["SPOTBATCH_ARTIFACTS_URL"].startswith("file://")
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in environment
    assert "A_SECRET_OF_THE_CALLER" not in environment


def test_children_are_told_their_index_and_size(region: RunningRegion, batch: Any) -> None:
    script = 'echo "$AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE"'
    parent = submit(batch, script, arrayProperties={"size": 3})
    until(lambda: job(batch, parent)["status"] == "SUCCEEDED")
    said = [lines(region, job(batch, f"{parent}:{index}")) for index in range(3)]
    assert said == [[f"{index} of 3"] for index in range(3)]


def test_a_signal_that_ends_a_command_is_128_and_its_number(batch: Any) -> None:
    assert ended(batch, submit(batch, "kill -9 $$"), "FAILED")["container"]["exitCode"] == 137


def test_a_command_that_does_not_exist_fails_its_job_and_nothing_else(batch: Any) -> None:
    answer = batch.submit_job(
        jobName="j", jobQueue="q", jobDefinition="d", containerOverrides={"command": ["no-such-program"]}
    )
    done = ended(batch, answer["jobId"], "FAILED")
    assert done["container"]["reason"].startswith("CannotStartContainerError:")
    assert "exitCode" not in done["container"]
    ended(batch, submit(batch, "true"), "SUCCEEDED")


def test_a_job_that_overruns_its_memory_is_killed_with_awss_reason(batch: Any) -> None:
    hungry = "python3 -c 'import time; x = bytearray(600 << 20); time.sleep(60)'"
    done = ended(batch, submit(batch, hungry, retryStrategy={"attempts": 1}), "FAILED")
    assert done["container"]["exitCode"] == 137
    assert done["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_memory_that_a_jobs_processes_share_counts_once(batch: Any) -> None:
    # 150 MiB in each of four processes, all of it their parent's: 600 MiB resident, and the job may have 256.
    sharing = (
        "python3 -c 'import os, time; x = bytearray(150 << 20); "
        "children = [os.fork() for _ in range(3) if os.getpid() == parent] if (parent := os.getpid()) else []; "
        "time.sleep(1.5)'"
    )
    ended(batch, submit(batch, sharing, retryStrategy={"attempts": 1}), "SUCCEEDED")


def test_what_a_command_leaves_in_its_group_goes_with_it(region: RunningRegion, batch: Any) -> None:
    done = ended(batch, submit(batch, "sleep 300 & echo $!"), "SUCCEEDED")
    (pid,) = lines(region, done)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_terminate_is_sigterm_then_sigkill_after_the_grace(batch: Any) -> None:
    stubborn = submit(batch, "trap '' TERM; while :; do sleep 0.05; done")
    until(lambda: job(batch, stubborn)["status"] == "RUNNING")
    batch.terminate_job(jobId=stubborn, reason="enough")
    done = ended(batch, stubborn, "FAILED")
    assert (done["statusReason"], done["container"]["exitCode"]) == ("enough", 137)
    assert len(done["attempts"]) == 1


def test_sigterm_reaches_the_command_alone_as_docker_stop_has_it(region: RunningRegion, batch: Any) -> None:
    child = 'trap "echo child" TERM; echo ready; while :; do sleep 0.05; done'
    stopped = submit(batch, f"sh -c '{child}' & trap 'sleep 0.3; echo leader; exit 7' TERM; wait")
    until(lambda: job(batch, stopped)["status"] == "RUNNING")
    until(lambda: "ready" in lines(region, job(batch, stopped)))
    batch.terminate_job(jobId=stopped, reason="enough")
    done = ended(batch, stopped, "FAILED")
    assert (lines(region, done), done["container"]["exitCode"]) == (["ready", "leader"], 7)


def test_a_notice_is_a_file_that_the_job_sees_before_its_host_goes(region: RunningRegion, batch: Any) -> None:
    script = (
        'if [ "$AWS_BATCH_JOB_ATTEMPT" = 1 ]; then '
        'until [ -e "$SPOTBATCH_NOTICE_FILE" ]; do sleep 0.02; done; cat "$SPOTBATCH_NOTICE_FILE"; sleep 60; fi'
    )
    waiting = submit(batch, script)
    until(lambda: job(batch, waiting)["status"] == "RUNNING")
    [instance_id] = [host.instance_id for host in region.admin.hosts() if host.running]
    region.admin.interrupt(instance_ids=[instance_id])
    done = ended(batch, waiting, "SUCCEEDED")
    first = done["attempts"][0]
    assert first["statusReason"] == f"Host EC2 (instance {instance_id}) terminated."
    assert "exitCode" not in first["container"]
    events = region.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=first["container"]["logStreamName"], startFromHead=True
    )["events"]
    assert json.loads(events[0]["message"])["action"] == "terminate"


def test_a_region_that_is_stopped_ends_its_jobs_and_takes_them_up_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as first:
        batch = prepare(first)
        script = '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 300'
        job_id = submit(batch, script)
        until(lambda: job(batch, job_id)["status"] == "RUNNING")
    assert carriers(home) == []
    with running(home, *FAST) as second:
        done = ended(second.client("batch"), job_id, "SUCCEEDED")
        assert done["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")


def test_kill_9_of_the_region_ends_its_processes_and_loses_no_job(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as first:
        batch = prepare(first)
        done = submit(batch, "true")
        ended(batch, done, "SUCCEEDED")
        lost = submit(batch, '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 300')
        until(lambda: job(batch, lost)["status"] == "RUNNING")
        waits = submit(batch, "true", dependsOn=[{"jobId": lost}])
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with running(home, *FAST) as second:
        batch = second.client("batch")
        assert len(ended(batch, done, "SUCCEEDED")["attempts"]) == 1
        assert len(ended(batch, lost, "SUCCEEDED")["attempts"]) == 2
        ended(batch, waits, "SUCCEEDED")
    assert carriers(home) == []


def test_what_was_cancelled_or_terminated_stays_so_though_the_region_is_killed_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as first:
        batch = prepare(first)
        stubborn = submit(batch, "trap '' TERM; while :; do sleep 0.05; done")
        until(lambda: job(batch, stubborn)["status"] == "RUNNING")
        waits = submit(batch, "true", dependsOn=[{"jobId": stubborn}])
        batch.cancel_job(jobId=waits, reason="not needed")
        batch.terminate_job(jobId=stubborn, reason="enough")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with running(home, *FAST) as second:
        batch = second.client("batch")
        done = ended(batch, stubborn, "FAILED")
        assert (done["statusReason"], done["isTerminated"], len(done["attempts"])) == ("enough", True, 1)
        done = ended(batch, waits, "FAILED")
        assert (done["statusReason"], done["isCancelled"]) == ("not needed", True)


def test_a_helper_that_is_killed_is_replaced_and_its_attempts_are_retried(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as one:
        batch = prepare(one)
        job_id = submit(batch, '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 300')
        until(lambda: job(batch, job_id)["status"] == "RUNNING")
        helpers = _children_named(one.process.pid, "helper.py")
        os.kill(helpers[0], signal.SIGKILL)
        assert len(ended(batch, job_id, "SUCCEEDED")["attempts"]) == 2
    assert carriers(home) == []


def _children_named(parent: int, name: str) -> list[int]:
    children = (Path(f"/proc/{parent}/task/{parent}/children")).read_text().split()
    return [int(pid) for pid in children if name in Path(f"/proc/{pid}/cmdline").read_text()]


def test_orphans_are_found_by_their_cookie_even_in_a_session_of_their_own(tmp_path: Path) -> None:
    import subprocess

    marked = {COOKIE_VARIABLE: cookie_of(tmp_path), "PATH": os.environ["PATH"]}
    orphan = subprocess.Popen(["sleep", "300"], env=marked, start_new_session=True)
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        until(lambda: carriers(tmp_path))  # its environment shows once it has been executed
        assert end_orphans(tmp_path) == 1
        assert orphan.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (orphan, other):
            process.kill()
            process.wait()


def test_an_idle_region_uses_next_to_no_time(region: RunningRegion, batch: Any) -> None:
    ended(batch, submit(batch, "true"), "SUCCEEDED")
    before, began = _cpu_seconds(region.process.pid), time.monotonic()
    until(lambda: time.monotonic() - began > 2.0)
    spent, passed = _cpu_seconds(region.process.pid) - before, time.monotonic() - began
    assert spent / passed < 0.05  # the goal of 1 % stands in the benchmark; a test on a busy machine asks for less


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def left_behind(home: Path, job_id: str) -> list[int]:
    """Living processes of a job."""
    return [one.pid for one in leaked_processes.carriers(home) if one.job_id == job_id]


def test_what_a_stopped_job_started_in_groups_and_sessions_of_its_own_goes_with_it(
    region: RunningRegion, tmp_path: Path
) -> None:
    batch = region.client("batch")
    up = tmp_path / "up"
    # `timeout` makes a process group of its own, setsid a session.
    job_id = submit(batch, f"setsid sleep 600 & timeout 600 sh -c 'touch {up}; sleep 600'; true")
    until(up.exists)

    batch.terminate_job(jobId=job_id, reason="enough")

    ended(batch, job_id, "FAILED")
    until(lambda: not left_behind(Path(region.info.home), job_id))


def test_what_a_job_left_in_a_session_of_its_own_does_not_outlive_its_region(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST) as region:
        batch = prepare(region)
        up = tmp_path / "up"
        job_id = submit(batch, f"setsid sh -c 'touch {up}; sleep 600' & until [ -e {up} ]; do sleep 0.05; done")
        ended(batch, job_id, "SUCCEEDED")
        assert left_behind(home, job_id)  # for some seconds: only stopped jobs are cleaned up after at once

    assert not carriers(home)


def test_a_job_ends_in_the_instant_in_which_its_last_attempt_ends(region: RunningRegion) -> None:
    batch = region.client("batch")
    parent = submit(batch, "exit $((AWS_BATCH_JOB_ARRAY_INDEX % 3))", arrayProperties={"size": 40})
    ended(batch, parent, "FAILED")
    children = batch.describe_jobs(jobs=[f"{parent}:{index}" for index in range(40)])["jobs"]
    assert len(children) == 40
    for child in children:
        assert child["stoppedAt"] == child["attempts"][-1]["stoppedAt"], child
        assert child["startedAt"] == child["attempts"][-1]["startedAt"], child
    assert job(batch, parent)["stoppedAt"] == max(child["stoppedAt"] for child in children)
