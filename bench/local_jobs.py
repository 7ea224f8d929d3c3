"""Starting jobs in the local region compared with xargs, GNU parallel and HyperQueue: `true`, 4 at a time, alternating.

Ours is the whole path of an array: scheduler, journal, a process with its own session, environment and log, states.
A missing peer is skipped and named (bench/peers.txt, Debian's parallel). Ratios within one run are meaningful;
absolute figures are not.

ext4 skips inodes deleted in the last minutes one by one, so that a new file costs 500 us instead of 20 in a folder
whose neighbours were just removed, as in a busy /tmp: that halves our rate, since only we create a log per job. A
region removes no logs, and users' jobs do not start on such a disk. So a round's files stay until all rounds are
over, and the rounds run below the project's own .cache, or in a given folder.
"""

import argparse
import asyncio
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.scheduler.events import JobSubmitted
from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import ContainerSpec, EngineSettings, Submission
from spotbatch.local.engine import open_engine
from spotbatch.local.engine.engine import LocalEngine

Runner = Callable[[int, Path], float]  # jobs, an empty folder -> seconds

TOGETHER = 4
LIMIT_SECONDS = 600.0
CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench"
PEERS = CACHE / "peers"
MOST_US_A_FILE = 60
POOL = Pool(instance_type="c5.xlarge", zone="us-east-1a", vcpus=TOGETHER, memory_mib=7_600, usd_per_hour=0.17)


def submission(number: int, size: int) -> Submission:
    """`size` children that run `true`, or one job for 0."""
    needs = ResourceRequirements(vcpus=1, memory_mib=64)
    return Submission(
        job_id=f"{number:08x}-0000-4000-8000-000000000000",
        name="bench",
        queue="q",
        created_at=time.time(),
        rules=JobSubmitted(job_no=0, queue="q", size=size, requirements=needs),
        container=ContainerSpec(image="busybox", command=("true",), memory_mib=64),
        described={"jobDefinition": "bench:1"},
    )


async def opened(home: Path) -> LocalEngine:
    artifacts = home / "artifacts"
    artifacts.mkdir()
    engine = await open_engine(EngineSettings(home=home, artifacts=artifacts, boot_seconds=0.0, seed=1))
    environment = ComputeEnvironment(name="e", pools=(POOL,), max_vcpus=TOGETHER)
    await engine.put_resource("compute-environment", "e", {}, rules=environment)
    await engine.put_resource("job-queue", "q", {}, rules=JobQueue(name="q", environments=("e",)))
    return engine


async def drained(engine: LocalEngine, job_ids: list[str]) -> None:
    """Wait until these jobs have succeeded."""
    async with asyncio.timeout(LIMIT_SECONDS):
        waiting = set(job_ids)
        async for _ in engine.changes():
            waiting -= {each for each in waiting if engine.view(each).status.is_terminal}
            if not waiting:
                break
    assert all(engine.view(each).status is JobStatus.SUCCEEDED for each in job_ids)


async def ours_in(home: Path, jobs: int) -> float:
    engine = await opened(home)
    try:
        begun = time.perf_counter()
        await engine.submit(submission(1, jobs))
        await drained(engine, [submission(1, jobs).job_id])
        return time.perf_counter() - begun
    finally:
        await engine.close()


def ours(jobs: int, folder: Path) -> float:
    return asyncio.run(ours_in(folder, jobs))


def timed(command: list[str], lines: str) -> float:
    begun = time.perf_counter()
    subprocess.run(command, input=lines, text=True, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT_SECONDS)
    return time.perf_counter() - begun


def xargs(jobs: int, _folder: Path) -> float:
    return timed(["xargs", f"-P{TOGETHER}", "-n1", "true"], "x\n" * jobs)


def gnu_parallel(jobs: int, _folder: Path) -> float:
    return timed(["parallel", "--will-cite", f"-j{TOGETHER}", "true"], "x\n" * jobs)


HYPERQUEUE = """
import sys, time
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
with LocalCluster(sys.argv[1] + "/server", worker_config=WorkerConfig(cores=int(sys.argv[2]))) as cluster:
    client, job = cluster.client(), Job()
    begun = time.perf_counter()
    for number in range(int(sys.argv[3])):
        log = f"{sys.argv[1]}/{number}.log"
        job.program(["true"], stdout=log, stderr=log)
    client.wait_for_jobs([client.submit(job)])
    print(time.perf_counter() - begun)
"""


def hyperqueue(python: str) -> Runner:
    """The wheel's own server and worker in one process, run by a Python that has it; their start-up is not counted."""

    def run(jobs: int, folder: Path) -> float:
        command = [python, "-c", HYPERQUEUE, str(folder), str(TOGETHER), str(jobs)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS)
        return float(said.stdout.split()[-1])

    return run


def seconds_to_create(folder: Path, files: int = 2_000) -> float:
    """Seconds to create an empty file, as a job's log begins."""
    place = Path(tempfile.mkdtemp(dir=folder))
    begun = time.perf_counter()
    for number in range(files):
        (place / str(number)).touch()
    return (time.perf_counter() - begun) / files


def beside(jobs: int, rounds: int, folder: Path, hyperqueue_python: str | None) -> None:
    """Every runner in turn, `rounds` times; medians of the rates, and of the ratios within each round."""
    runners: dict[str, Runner] = {"ours": ours, "xargs -P4": xargs}
    if shutil.which("parallel"):
        runners["GNU parallel"] = gnu_parallel
    if hyperqueue_python:
        runners["HyperQueue"] = hyperqueue(hyperqueue_python)
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    with tempfile.TemporaryDirectory(dir=folder) as kept:
        us = 1e6 * seconds_to_create(Path(kept))
        print(f"a new file takes {us:.0f} us in {folder} (ext4 as it is at rest: 20 to 30)")
        if us > MOST_US_A_FILE:
            print("  too long: what follows measures this file system, not the runners (see --folder)")
        for _ in range(rounds):
            for name, run in runners.items():
                seconds[name].append(run(jobs, Path(tempfile.mkdtemp(dir=kept))))
    print(f"{jobs} x true, {TOGETHER} at a time, medians of {rounds}")
    for name, each in seconds.items():
        ratios = sorted(theirs / ours for theirs, ours in zip(each, seconds["ours"], strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        rate = jobs / statistics.median(each)
        print(f"  {name:13} {rate:7,.0f}/s   ours is {statistics.median(ratios):.2f} times that ({spread})")
    for name in ("GNU parallel", "HyperQueue"):
        if name not in runners:
            print(f"  {name:13} is not installed here: left out")


async def growth_in(home: Path, counts: tuple[int, ...]) -> None:
    """The region's own processor time per job as its number of jobs grows, and its memory."""
    engine, done, arrays = await opened(home), 0, 0
    costs, memory = [], []
    try:
        for count in counts:
            size = min(10_000, count - done)
            cpu, begun_with = time.process_time(), done
            while done < count:
                arrays += 1
                await engine.submit(submission(arrays, size))
                await drained(engine, [submission(arrays, size).job_id])
                done += size
            costs.append((time.process_time() - cpu) / (done - begun_with))
            memory.append(resident())
            each = f"{1e6 * costs[-1]:4.0f} us of the region's time each"
            print(f"  {done:7,} children ended: {each}, {memory[-1]:.1f} MiB", flush=True)
        print(f"  from first to last: time a child times {costs[-1] / costs[0]:.2f} (goal below 1.3), ", end="")
        print(f"memory {memory[-1] - memory[0]:+.1f} MiB (goal below 10)")
    finally:
        await engine.close()


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def growth(counts: tuple[int, ...], folder: Path) -> None:
    print("growth")
    with tempfile.TemporaryDirectory(dir=folder) as home:
        asyncio.run(growth_in(Path(home), counts))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=CACHE, help="where logs and journals go (default: %(default)s)")
    parser.add_argument("--large", action="store_true", help="let 100,000 children run: minutes")
    parser.add_argument("--growth-only", action="store_true", help="leave the peers out")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    if not given.growth_only:
        python = PEERS / "bin" / "python"
        beside(given.jobs, given.rounds, given.folder, str(python) if python.exists() else None)
    growth((1_000, 10_000, 100_000) if given.large else (1_000, 5_000), given.folder)


if __name__ == "__main__":
    main(sys.argv[1:])
