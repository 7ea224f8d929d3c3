"""Fargate's on-demand price, and that a bill says what it leaves out."""

from decimal import Decimal

import pytest

from spotbatch.aws import session
from spotbatch.aws.job_shapes import job_of
from spotbatch.pricing.fargate import on_demand_usd
from spotbatch.runs.bill import bill_of


def test_a_task_is_charged_by_the_second_for_what_it_asked_for_and_for_a_minute_at_least() -> None:
    hour = on_demand_usd(vcpus=0.25, memory_mib=512, seconds=3600)
    assert hour == Decimal("0.25") * Decimal("0.04048") + Decimal("0.5") * Decimal("0.004445")
    assert on_demand_usd(vcpus=0.25, memory_mib=512, seconds=1) == hour / 60
    assert on_demand_usd(vcpus=0.25, memory_mib=512, seconds=7200) == 2 * hour


def test_a_bill_says_what_fargate_attempts_cost_instead_of_counting_them_as_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "is_local", lambda: False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    container = {
        "resourceRequirements": [{"type": "VCPU", "value": "0.5"}, {"type": "MEMORY", "value": "1024"}],
    }
    job = job_of(
        {
            "jobId": "a",
            "jobName": "a",
            "status": "SUCCEEDED",
            "platformCapabilities": ["FARGATE"],
            "container": container,
            "attempts": [{"container": {}, "startedAt": 1_000, "stoppedAt": 3_601_000}],
        }
    )
    assert (job.is_fargate, job.requirements.vcpus) == (True, 0.5)
    made = bill_of([job], [])
    (note,) = made.missing
    assert note.startswith("1 attempt on Fargate left out: 0.024685 USD")
    assert made.paid_usd == 0
    assert "at least" in made.completeness.words("0.00 USD")
