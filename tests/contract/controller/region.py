"""A local region with runs under control: its function is called as its schedule does each minute, without the wait."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.contract.cli_world import CliWorld
from tests.contract.local_api_region import until


def add_on_demand_queue(world: CliWorld) -> None:
    """A second environment and its queue, as the stack's setting on_demand_queue makes them."""
    batch = world.region.client("batch")
    spot = batch.describe_compute_environments()["computeEnvironments"][0]["computeResources"]
    own = {key: spot[key] for key in ("maxvCpus", "instanceTypes", "subnets", "securityGroupIds", "instanceRole")}
    resources = {**own, "type": "EC2", "allocationStrategy": "BEST_FIT_PROGRESSIVE"}
    batch.create_compute_environment(computeEnvironmentName="paid", type="MANAGED", computeResources=resources)
    order = [{"order": 1, "computeEnvironment": "paid"}]
    batch.create_job_queue(jobQueueName="paid", priority=1, computeEnvironmentOrder=order)


def tick(world: CliWorld) -> None:
    """What the schedule does each minute."""
    client = world.region.client("lambda")
    [function] = client.list_functions()["Functions"]
    answer = client.invoke(FunctionName=function["FunctionName"], Payload=b'{"source": "aws.events"}')
    assert "FunctionError" not in answer, answer["Payload"].read()


@contextlib.contextmanager
def ticking(world: CliWorld) -> Iterator[None]:
    """The schedule, every half second instead of every minute."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(0.5):
            tick(world)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def story(world: CliWorld, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.home / "artifacts" / "runs" / run_id / "controller.json").read_text())
    return found


def ended(world: CliWorld, run_id: str) -> dict[str, Any]:
    """The story of a run that is over."""

    def over() -> dict[str, Any] | None:
        tick(world)
        time.sleep(0.5)  # between two looks, as a schedule has it
        found = story(world, run_id)
        return found if found["outcome"] != "running" else None

    return until(over, seconds=120)


def places(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(part["place"], part["memory_mib"]) for part in found["parts"]]
