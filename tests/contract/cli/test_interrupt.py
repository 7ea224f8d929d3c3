"""`spotbatch interrupt`: the stack's own experiment takes one of its hosts, in the local region as on AWS."""

from pathlib import Path

from app import CostOptimizedBatchProcessingStack
from spotbatch.infra import Egress, StackSettings
from tests.contract.cli_world import CliWorld, cli_world
from tests.contract.local_api_region import until

from aws_cdk import App  # isort: skip  # after infra, which chooses its Node
from aws_cdk.assertions import Template  # isort: skip

REAL = "Real"


def load_the_real_stack(world: CliWorld) -> None:
    settings = StackSettings(fault_injection=True, monitoring=False, egress=Egress.PUBLIC)
    stack = CostOptimizedBatchProcessingStack(App(), REAL, settings=settings)
    world.admin.load_stack(REAL, Template.from_stack(stack).to_json())


def test_a_host_of_the_stack_gets_its_notice_and_the_job_goes_on(tmp_path: Path) -> None:
    with cli_world(tmp_path, "--notice-seconds", "20") as world:
        said = world.run("interrupt", code=3)
        assert "--set fault_injection=true" in said.err
        load_the_real_stack(world)
        said = world.run("interrupt", "--stack", REAL, code=4)
        assert "empty set" in said.err
        world.submit("--stack", REAL, "--name", "idle", "--", "sleep", "120")
        until(lambda: any(one.running and one.started_at for one in world.admin.hosts()))
        said = world.run("interrupt", "--stack", REAL)
        assert f"one Spot host of {REAL} has its notice" in said.out
        assert len([one for one in world.admin.hosts() if one.noticed_at is not None]) == 1
        world.run("cancel", "idle", "--yes", "--stack", REAL)
