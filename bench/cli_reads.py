"""Each reading command beside the AWS CLI's call that asks AWS for the same: alternating, against one local region.

The target is a ratio of medians of at most 1.0, in CPU time and in wall time; what a machine is loaded with meanwhile
meets both. The AWS CLI makes one call for each; `show`, `doctor` and `cost` make several and combine the answers.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from spotbatch.batch.job import ResourceRequirements
from spotbatch.rehearsal.private_region import started_region
from spotbatch.testing.region import Region

ROUNDS = 11
TARGET = 1.0
OURS = str(Path(sys.executable).parent / "spotbatch")
SCRIPT = 'echo "line $AWS_BATCH_JOB_ARRAY_INDEX"; [ "$AWS_BATCH_JOB_ARRAY_INDEX" != 3 ]'


def main() -> None:
    """Print each pair's medians, and whether ours is within its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=(), help="of these commands")
    options = parser.parse_args()
    aws = shutil.which("aws")
    if aws is None:
        print("aws is not installed here (`make bench` installs it: bench/peers.txt)")
        return
    needs = ResourceRequirements(vcpus=1, memory_mib=128)
    with (
        tempfile.TemporaryDirectory() as folder,
        started_region(Path(folder), needs=needs, max_vcpus=8, notice_seconds=2.0) as info,
    ):
        region = Region(info=info)
        pairs = _pairs(region, aws)
        chosen = {name: pair for name, pair in pairs.items() if not options.only or name in options.only}
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
        _measure(chosen, {**environ, **region.environment()}, options.rounds)


def _pairs(region: Region, aws: str) -> dict[str, tuple[list[str], list[str]]]:
    """Each of our commands and the AWS CLI's call, about an array of 6 with one failure that has ended."""
    batch = region.client("batch")
    job = batch.submit_job(
        jobName="reads",
        jobQueue=region.queue,
        jobDefinition=region.definition,
        arrayProperties={"size": 6},
        containerOverrides={"command": ["sh", "-c", SCRIPT]},
    )["jobId"]
    region.wait(job)
    described = [aws, "batch", "describe-jobs", "--jobs", job]
    child = batch.describe_jobs(jobs=[f"{job}:1"])["jobs"][0]
    stream = child["container"]["logStreamName"]
    queue = ["--queue", region.queue]
    events = ["--log-group-name", "/aws/batch/job", "--log-stream-name", stream, "--start-from-head"]
    return {
        "list": (
            [OURS, "list", *queue],
            [aws, "batch", "list-jobs", "--job-queue", region.queue, "--job-status", "SUCCEEDED"],
        ),
        "show": ([OURS, "show", job], described),
        "show child": ([OURS, "show", f"{job}:1"], described),
        "logs": ([OURS, "logs", f"{job}:1"], [aws, "logs", "get-log-events", *events]),
        "doctor": ([OURS, "doctor", job], described),
        "cost": ([OURS, "cost", job], described),
    }


def _measure(pairs: Mapping[str, tuple[list[str], list[str]]], environ: Mapping[str, str], rounds: int) -> None:
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    taken: dict[str, tuple[list[tuple[float, float]], list[tuple[float, float]]]] = {name: ([], []) for name in pairs}
    for number in range(rounds + 1):
        for name, pair in pairs.items():
            both = [_time(command, environ) for command in pair]
            if number:  # the first round warms the disk's cache, and ours
                for kept, one in zip(taken[name], both, strict=True):
                    kept.append(one)
    for name, (ours, theirs) in taken.items():
        wall, cpu = _ratio(ours, theirs, 0), _ratio(ours, theirs, 1)
        verdict = "met" if max(wall, cpu) <= TARGET else "MISSED"
        print(
            f"{name:<12} ours {_median(ours, 0):5.0f} ms, {_median(ours, 1):4.0f} of CPU; "
            f"aws {pairs[name][1][2]:<16} {_median(theirs, 0):5.0f} ms, {_median(theirs, 1):4.0f} of CPU; "
            f"{wall:.2f} x wall, {cpu:.2f} x CPU: {verdict}"
        )


def _median(taken: Sequence[tuple[float, float]], which: int) -> float:
    return statistics.median(each[which] for each in taken)


def _ratio(ours: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]], which: int) -> float:
    return _median(ours, which) / _median(theirs, which)


def _time(command: list[str], environ: Mapping[str, str]) -> tuple[float, float]:
    """Milliseconds of wall time and of CPU. Raises RuntimeError if the command fails (1 means failed jobs)."""
    used, began = _children_seconds(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, env=dict(environ), check=False)
    wall, cpu = time.perf_counter() - began, _children_seconds() - used
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{command} exited with {done.returncode}: {done.stderr.decode()[-500:]}")
    return wall * 1000, cpu * 1000


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
