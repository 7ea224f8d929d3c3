"""What a stopped job costs: all of it, since EC2 waives only what EC2 interrupted; in the region and on AWS."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from moto import mock_aws

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.job import Attempt, Job, ResourceRequirements
from spotbatch.batch.status import CONTAINER_EXITED, TIMEOUT_EXCEEDED, JobStatus
from spotbatch.runs.bill import bill_of
from tests.contract.cli_world import CliWorld, cli_world
from tests.contract.local_api_region import until

ARN = "arn:aws:ecs:us-east-1:123456789012:container-instance/gone/0123456789abcdef0"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("stopped"), MaxvCpus=4) as made:
        yield made


def test_a_cancelled_job_under_spotrun_is_stopped_and_paid_for_in_the_local_region(world: CliWorld) -> None:
    job = world.submit("--name", "stopped", "--", "sh", "-c", "echo begun; sleep 60")
    until(
        lambda: "begun" in world.run("logs", job, code=None).out, seconds=60
    )  # RUNNING may be before spotrun catches signals
    world.run("cancel", job, "--yes")
    assert world.wait(job) == "FAILED"
    shown = world.run("show", job, "--json").json["attempts"][0]
    assert (shown["exit_code"], shown["outcome_kind"]) == (210, "STOPPED")
    assert shown["record"]["interruption_cause"] == "SIGTERM"
    assert "stopped: it saved and left" in world.run("show", job).out
    bill = world.run("cost", job, "--json").json
    assert bill["attempts"] == {"count": 1, "interrupted": 0, "by_end": {"STOPPED": 1}}
    assert Decimal(bill["first_hour_credit_usd"]) == 0
    assert Decimal(bill["parts_usd"]["stopped attempts"]) > 0
    assert Decimal(bill["paid_usd"]) == Decimal(bill["gross_usd"]) > 0


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as it is long after the job: ECS and EC2 have forgotten its host."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with mock_aws():
        yield


def a_job(*, status_reason: str, is_terminated: bool) -> Job:
    attempt = Attempt(started_at=1000.0, stopped_at=1600.0, exit_code=210, status_reason=status_reason, host=ARN)
    return Job(
        id="j",
        name="stopped",
        queue="q",
        definition="d:1",
        status=JobStatus.FAILED,
        status_reason=status_reason,
        created_at=900.0,
        started_at=1000.0,
        stopped_at=1600.0,
        requirements=ResourceRequirements(vcpus=1, memory_mib=512),
        attempts=(attempt,),
        exit_code=210,
        is_terminated=is_terminated,
    )


def a_record(cause: str) -> AttemptRecord:
    return AttemptRecord(
        run_id="j",
        job_id="j",
        attempt=1,
        instance_type="c5.large",
        zone="us-east-1a",
        started_at=1000.5,
        ended_at=1599.0,
        outcome="interrupted",
        exit_code=210,
        interruption_cause=cause,
        work_lost_seconds=0.5,
    )


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("status_reason", "is_terminated", "cause", "outcome", "is_paid"),
    [
        ("no longer wanted", True, "SIGTERM", AttemptOutcome.STOPPED, True),
        (CONTAINER_EXITED, True, "SIGTERM", AttemptOutcome.STOPPED, True),
        (TIMEOUT_EXCEEDED, False, "SIGTERM", AttemptOutcome.TIMED_OUT, True),
        (CONTAINER_EXITED, False, "SIGTERM", AttemptOutcome.LOST, True),
        (CONTAINER_EXITED, False, "notice", AttemptOutcome.INTERRUPTED, False),
        ("no longer wanted", True, "notice", AttemptOutcome.INTERRUPTED, False),
    ],
)
def test_on_aws_too_only_what_ec2_interrupted_is_waived(
    status_reason: str, is_terminated: bool, cause: str, outcome: AttemptOutcome, is_paid: bool
) -> None:
    job = a_job(status_reason=status_reason, is_terminated=is_terminated)
    report = bill_of([job], [a_record(cause)]).report
    assert [each.outcome for each in report.attempts] == [outcome]
    assert report.gross_usd > 0
    assert report.paid_usd == (report.gross_usd if is_paid else 0)
