"""The stack under cdk-nag's AwsSolutions pack: clean, with a reason for each finding that stays."""

from pathlib import Path
from typing import Any

import pytest

from app import CostOptimizedBatchProcessingStack, _context_of_the_project
from spotbatch.infra import StackSettings
from spotbatch.infra.nag_suppressions import suppressions

from aws_cdk import App, Validations  # isort: skip  # after infra, which chooses its Node
from cdk_nag import AwsSolutionsChecks  # isort: skip

ALL_ON: dict[str, Any] = {
    "flow_logs": True,
    "access_logs": True,
    "kms_key": True,
    "service_role": "dedicated",
    "on_demand_queue": True,
    "fault_injection": True,
    "monthly_budget_usd": 100,
    "controller": True,
}


@pytest.mark.parametrize("settings", [{}, {"egress": "public", "monitoring": False}, ALL_ON])
def test_cdk_nag_finds_nothing_that_is_not_judged(settings: dict[str, Any], tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path), context=_context_of_the_project())
    CostOptimizedBatchProcessingStack(app, "TestStack", settings=StackSettings.read(settings))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()  # raises with the findings


def test_an_unsafe_stack_is_found_out(tmp_path: Path) -> None:
    """The check above can fail: without the suppressions it does."""
    from aws_cdk import Stack
    from aws_cdk import aws_s3 as s3

    app = App(outdir=str(tmp_path), context=_context_of_the_project())
    s3.Bucket(Stack(app, "Unsafe"), "Bucket")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(Exception, match=r"AwsSolutions"):
        app.synth()


def test_every_judgement_has_a_reason_in_a_sentence() -> None:
    for settings in ({}, ALL_ON):
        for each in suppressions(StackSettings.read(settings)):
            assert len(each.reason.split()) >= 8, each
            assert each.reason.endswith(".")
