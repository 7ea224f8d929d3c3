"""An unkind region, for real: what strikes attempts, hosts and answers, and that it is kept for the next start."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import JobRequest
from spotbatch.batch.retry import spot_safe
from spotbatch.local import settings_file
from spotbatch.local.faults import FaultPlan, in_toml, of_boot
from tests.contract.local.test_engine_processes import prepare
from tests.contract.local_api_region import RunningRegion, running, until

BOOT = ("--boot-seconds", "0.05", "--stop-grace-seconds", "0.5")


def faults(folder: Path, text: str) -> tuple[str, ...]:
    file = folder / "faults.toml"
    file.write_text(text, encoding="utf-8")
    return "--faults", str(file)


def connected(region: RunningRegion) -> session.Connection:
    info = region.info
    return session.connection_to(
        info.endpoint, region=info.region, access_key=info.access_key, secret_key=info.secret_key
    )


def request(**more: Any) -> JobRequest:
    return JobRequest(name="once", queue="q", definition="d", command=("true",), retry=spot_safe(10), **more)


def test_a_submission_whose_answer_is_lost_makes_one_job(tmp_path: Path) -> None:
    home, unkind = tmp_path / "home", faults(tmp_path, "[api]\nlost_answers = 0.3\n")
    with running(home, *BOOT) as region:
        prepare(region)
    with running(home, *BOOT, *unkind, "--seed", "2") as region, session.connected(connected(region)):
        jobs = Jobs()
        ids = [jobs.submit(request()) for _ in range(8)]
        assert len(set(ids)) == 8
    with running(home, *BOOT, "--faults", "none") as region, session.connected(connected(region)):
        found = {each.id for each in Jobs().named("q", "once")}
        assert found == set(ids)


def test_a_job_that_was_just_submitted_is_found_though_answers_lag_behind(tmp_path: Path) -> None:
    unkind = faults(tmp_path, "[api]\nlagging_answers = 1.0\nlag_seconds = 1.5\n")
    with running(tmp_path / "home", *BOOT, *unkind) as region:
        prepare(region)
        with session.connected(connected(region)):
            jobs = Jobs()
            assert jobs.get(jobs.submit(request())).name == "once"


def test_attempts_whose_images_fail_or_hang_are_tried_again_as_on_aws(tmp_path: Path) -> None:
    text = "[attempts]\npull_failures = 0.3\ndocker_timeouts = 0.3\ndocker_timeout_seconds = 0.1\n"
    text += "pull_hangs = 0.5\npull_hang_seconds = 0.2\n"
    with running(tmp_path / "home", *BOOT, *faults(tmp_path, text), "--seed", "1") as region:
        prepare(region)
        with session.connected(connected(region)):
            jobs = Jobs()
            job_id = jobs.submit(request(array_size=12))
            until(lambda: jobs.get(job_id).status.is_terminal, seconds=60)
            children = jobs.describe([f"{job_id}:{index}" for index in range(12)])
    assert {child.status.value for child in children} == {"SUCCEEDED"}
    reasons = {attempt.reason.partition(":")[0] for child in children for attempt in child.attempts}
    assert reasons >= {"CannotPullContainerError", "DockerTimeoutError"}


def unlucky_seed(plan: FaultPlan) -> int:
    """Of a region whose first host there is no capacity for, whose second never joins, and whose third comes."""
    for seed in range(10_000):
        first, second, third = (of_boot(plan, seed, number) for number in (1, 2, 3))
        if first.is_without_capacity and second.never_joins and not (third.is_without_capacity or third.never_joins):
            return seed
    raise AssertionError("no seed is so unlucky")


def test_hosts_that_never_come_or_never_join_do_not_keep_a_job_from_running(tmp_path: Path) -> None:
    text = "[hosts]\nno_capacity = 0.4\nnever_join = 0.3\njoin_timeout_seconds = 0.2\n"
    seed = unlucky_seed(in_toml(text, ""))
    unkind = faults(tmp_path, f"{text}[clock]\nclock_skew_seconds = -600\n")
    with running(tmp_path / "home", *BOOT, *unkind, "--seed", str(seed)) as region:
        prepare(region)
        with session.connected(connected(region)):
            jobs = Jobs()
            job_id = jobs.submit(request())
            until(lambda: jobs.get(job_id).status.value == "SUCCEEDED", seconds=60)
            job = jobs.get(job_id)
        hosts = region.admin.hosts()
    assert job.created_at is not None
    assert job.attempts[0].started_at is not None
    assert job.created_at <= job.attempts[0].started_at < time.time() - 500
    assert "NEVER_JOINED" in {host.end_cause for host in hosts}
    assert len(hosts) == 2


def test_an_end_that_a_disconnected_agent_has_not_reported_is_lost_with_the_host(tmp_path: Path) -> None:
    unkind = faults(tmp_path, "[hosts]\nagent_disconnects = 1.0\nagent_disconnect_seconds = 600\n")
    with running(tmp_path / "home", *BOOT, "--notice-seconds", "0", *unkind) as region:
        prepare(region)
        with session.connected(connected(region)):
            jobs = Jobs()
            job_id = jobs.submit(request())
            away = until(lambda: [host for host in region.admin.hosts() if not host.is_agent_connected], seconds=60)
            assert jobs.get(job_id).status.value == "RUNNING", "its process has ended, but nobody has said so"
            ecs = region.client("ecs")
            (cluster,) = ecs.list_clusters()["clusterArns"]
            arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
            found = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
            assert [one["agentConnected"] for one in found] == [False]
            region.admin.interrupt(instance_ids=[away[0].instance_id])
            first = until(lambda: jobs.get(job_id).attempts, seconds=60)[0]
            assert first.status_reason.startswith("Host EC2")
            jobs.terminate(job_id, "enough")


def test_a_reclaim_may_come_without_a_notice(tmp_path: Path) -> None:
    unkind = faults(tmp_path, "[notices]\nmissing_notices = 1.0\n")
    with running(tmp_path / "home", *BOOT, "--notice-seconds", "0.3", *unkind) as region:
        prepare(region)
        with session.connected(connected(region)):
            jobs = Jobs()
            job_id = jobs.submit(
                JobRequest(name="long", queue="q", definition="d", command=("sleep", "60"), retry=spot_safe(10))
            )
            until(lambda: jobs.get(job_id).status.value == "RUNNING")
            (instance,) = region.admin.interrupt(count=1)
            until(lambda: jobs.get(job_id).attempts[0].stopped_at is not None)
            jobs.terminate(job_id, "enough")
        (ended,) = (host for host in region.admin.hosts() if host.instance_id == instance)
    assert (ended.end_cause, ended.noticed_at) == ("RECLAIMED", None)


def test_the_faults_of_a_start_are_kept_for_the_next_one_though_their_file_changed(tmp_path: Path) -> None:
    home, unkind = tmp_path / "home", faults(tmp_path, "[api]\nserver_errors = 1.0\n")
    with running(home, *unkind):
        pass
    (tmp_path / "faults.toml").unlink()
    with running(home) as region, pytest.raises(ClientError, match="ServerException"):
        region.client("batch").describe_jobs(jobs=[])
    kept = settings_file.read(home)
    assert kept is not None
    assert kept.faults.server_errors == 1.0
    assert json.loads((home / "settings.json").read_text())["faults_name"] == unkind[1]
