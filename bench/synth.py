"""How long `python app.py` takes, warm, beside an empty CDK stack and a plain one with the library's defaults.

The plain stack has the same kinds of resources as ours without monitoring, written as the CDK's examples write them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HEAD: Final = "import spotbatch.infra.families\n"  # chooses the same Node; then aws_cdk
EMPTY: Final = """
from aws_cdk import App, Stack
app = App(outdir=OUT)
Stack(app, "Empty")
app.synth()
"""
PLAIN: Final = """
from aws_cdk import App, Size, Stack, aws_batch as batch, aws_ec2 as ec2, aws_ecr as ecr, aws_ecs as ecs
from aws_cdk import aws_logs as logs, aws_s3 as s3
app = App(outdir=OUT)
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


def seconds(command: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=300)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="after one round that warms up (default 3)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        code = {name: HEAD + f"OUT = {folder!r} + '/{name}'\n" + body for name, body in BODIES.items()}
        commands = {name: [sys.executable, "-c", body] for name, body in code.items()}
        commands["ours"] = [sys.executable, "app.py"]
        env = os.environ | {"CDK_OUTDIR": f"{folder}/ours", "PYTHONPATH": str(ROOT)}
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                took = seconds(command, env)
                if number:
                    taken[name].append(took)
    print(f"synthesis, seconds, median of {rounds} (min, max); load average {os.getloadavg()[0]:.1f}")
    for name, each in taken.items():
        print(f"  {name:28} {statistics.median(each):6.2f}  ({min(each):.2f}, {max(each):.2f})")


BODIES: Final = {"imports of spotbatch.infra": "", "empty stack": EMPTY, "plain stack": PLAIN}

if __name__ == "__main__":
    main()
