"""Starting jobs in the local region with the default stack's rules on, compared with the same region with them off.

Each job leaves five events: all go to the stack's log group and through its metric filters. They are delivered beside
the jobs and, most of them, after a burst: both are measured, as the region's processor time per job. The rounds
alternate; the median of the ratios within them is meaningful on a busy machine too, absolute rates are not.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spotbatch.local.region_file import RegionInfo
from spotbatch.local.start import start, stop
from spotbatch.testing.region import Region

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "bench"
STACK = "Bench"
TOGETHER = 4
STOP_SECONDS = 30.0
GOAL = 0.9
SYNTHESIS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from aws_cdk import App
from app import CostOptimizedBatchProcessingStack
from spotbatch.infra.settings import StackSettings
app = App(outdir=sys.argv[1])
CostOptimizedBatchProcessingStack(app, "{STACK}", settings=StackSettings.read({{}}))
app.synth()
"""
CONTAINER = {
    "image": "busybox",
    "command": ["true"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One array: the rate, and the region's processor time per job, until its end and until all was delivered."""

    jobs_a_second: float
    until_end_ms: float
    until_delivered_ms: float


@contextmanager
def running(folder: Path) -> Iterator[RegionInfo]:
    """A region with the default stack, synthesized now."""
    out = folder / "cdk.out"
    subprocess.run([sys.executable, "-c", SYNTHESIS, str(out)], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    template = str(out / f"{STACK}.template.json")
    info = start(folder / "home", ["--boot-seconds", "0.05", "--vcpu-quota", str(TOGETHER), "--template", template])
    try:
        yield info
    finally:
        stop(info, STOP_SECONDS)


def cpu_ms(info: RegionInfo) -> float:
    """The processor time that the region has used so far (proc(5), stat: fields 14 and 15)."""
    fields = Path(f"/proc/{info.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def wait_until_delivered(info: RegionInfo) -> None:
    """Until the region has been idle for two seconds."""
    idle = 0
    while idle < 4:
        before = cpu_ms(info)
        time.sleep(0.5)
        idle = idle + 1 if cpu_ms(info) - before <= 10 else 0


def run_array(info: RegionInfo, queue: str, jobs: int) -> Figures:
    batch = Region(info=info).client("batch")
    wait_until_delivered(info)
    cpu, begun = cpu_ms(info), time.perf_counter()
    asked = {"jobName": "bench", "jobQueue": queue, "jobDefinition": "bench", "arrayProperties": {"size": jobs}}
    job_id = batch.submit_job(**asked)["jobId"]
    while batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] != "SUCCEEDED":
        time.sleep(0.03)
    seconds, until_end = time.perf_counter() - begun, cpu_ms(info) - cpu
    wait_until_delivered(info)
    return Figures(
        jobs_a_second=jobs / seconds,
        until_end_ms=until_end / jobs,
        until_delivered_ms=(cpu_ms(info) - cpu) / jobs,
    )


def compare(info: RegionInfo, jobs: int, rounds: int) -> None:
    batch, events = Region(info=info).client("batch"), Region(info=info).client("events")
    queue = batch.describe_job_queues()["jobQueues"][0]["jobQueueName"]
    batch.register_job_definition(jobDefinitionName="bench", type="container", containerProperties=CONTAINER)
    rules = [one["Name"] for one in events.list_rules()["Rules"] if "EventPattern" in one]
    found: dict[bool, list[Figures]] = {False: [], True: []}
    for number in range(rounds):
        for is_on in (False, True) if number % 2 else (True, False):
            for rule in rules:
                (events.enable_rule if is_on else events.disable_rule)(Name=rule)
            found[is_on].append(run_array(info, queue, jobs))
    print(f"{jobs} x true, {TOGETHER} at a time, {len(rules)} rules off and on, medians of {rounds}")
    for is_on, figures in found.items():
        rate, until_end, until_delivered = (
            statistics.median(getattr(one, name) for one in figures) for name in Figures.__dataclass_fields__
        )
        print(
            f"  rules {'on ' if is_on else 'off'}  {rate:7,.0f}/s   the region's processor time per job: "
            f"{until_end:.2f} ms until the array's end, {until_delivered:.2f} ms until all was delivered"
        )
    ratios = sorted(on.jobs_a_second / off.jobs_a_second for off, on in zip(found[False], found[True], strict=True))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"  with rules: {statistics.median(ratios):.2f} times the rate without ({spread}; goal: {GOAL})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=CACHE, help="where the region lives (see bench/local_jobs.py)")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder, running(Path(folder)) as info:
        compare(info, given.jobs, given.rounds)


if __name__ == "__main__":
    main()
