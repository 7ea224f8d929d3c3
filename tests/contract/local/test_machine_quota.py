"""How much runs at once follows the machine unless it is said, and keeps no job from running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.local import region_file
from spotbatch.local.machine import Machine, this_machine
from tests.contract.cli_world import run
from tests.contract.local.test_engine_processes import job, prepare, submit
from tests.contract.local_api_region import RunningRegion, until


@pytest.mark.parametrize(
    ("cores", "memory_gib", "vcpus"), [(1, 0.5, 4), (2, 7.8, 4), (2, 3.0, 4), (16, 32.0, 32), (64, 32.0, 32)]
)
def test_the_quota_follows_cores_and_memory(cores: int, memory_gib: float, vcpus: int) -> None:
    assert Machine(cores=cores, memory_gib=memory_gib).vcpu_quota == vcpus


@pytest.fixture
def region(tmp_path: Path) -> Iterator[tuple[RunningRegion, str]]:
    """A region that nobody told a quota, and what its start said."""
    home = tmp_path / "home"
    quick = ("--boot-seconds", "0.05", "--idle-seconds", "1")  # the large job's host takes the place of idle ones
    up = run("local", "up", "--home", str(home), *quick, environ={})
    assert up.code == 0, up.err
    try:
        yield RunningRegion(info=region_file.read(home), process=None), up.err  # type: ignore[arg-type]
    finally:
        run("local", "down", "--home", str(home), environ={})


def test_what_runs_at_once_is_bounded_said_and_wide_enough_for_a_large_job(
    region: tuple[RunningRegion, str],
) -> None:
    one, said = region
    quota = this_machine().vcpu_quota
    assert f"hosts have {quota} vCPUs together" in said
    assert "--vcpu-quota" in said
    batch = prepare(one)
    batch.update_compute_environment(
        computeEnvironment="ce", computeResources={"maxvCpus": 256, "instanceTypes": ["c5.large", "c5.12xlarge"]}
    )
    array = submit(batch, "sleep 600", arrayProperties={"size": 300})

    def running_children() -> int:
        return int(job(batch, array)["arrayProperties"]["statusSummary"]["RUNNING"])

    until(lambda: running_children() >= quota)
    assert sum(host.vcpus for host in one.admin.hosts() if host.ended_at is None) == quota
    assert running_children() == quota
    batch.terminate_job(jobId=array, reason="enough")
    resources = [{"type": "VCPU", "value": "40"}, {"type": "MEMORY", "value": "1000"}]
    large = submit(batch, "true", containerOverrides={"resourceRequirements": resources})
    until(lambda: job(batch, large)["status"] == "SUCCEEDED", seconds=100)
