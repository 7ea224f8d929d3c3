"""How long the command line takes to respond at all: `spotbatch --help` and `aws --version`, alternating.

Also what the runtime adds to a container's start: spotrun's imports, minus those of Python itself.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
TARGET_MS = 150
RUNTIME_TARGET_MS = 100
RUNTIME = "import spotbatch.runtime.cli, spotbatch.runtime.api"
OURS = str(Path(sys.executable).parent / "spotbatch")


def main() -> None:
    """Print medians and the spread, and whether ours is below its target."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import the runtime": [sys.executable, "-c", RUNTIME],
        "spotbatch --version": [OURS, "--version"],
        "spotbatch --help": [OURS, "--help"],
        "spotbatch submit --help": [OURS, "submit", "--help"],
    }
    if aws := shutil.which("aws"):
        commands["aws --version"] = [aws, "--version"]
    else:
        print("aws is not installed here (`make bench` installs it: bench/peers.txt)")
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; wall time means little above 1")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(ROUNDS + 1):
        for name, command in commands.items():
            taken = _time(command)
            if number:  # the first round warms the disk's cache
                times[name].append(taken)
    for name, measured in times.items():
        wall, cpu = [one[0] for one in measured], [one[1] for one in measured]
        spread = f"{min(wall):.0f} to {max(wall):.0f}"
        print(f"{name:<26}{statistics.median(wall):7.0f} ms ({spread}), {statistics.median(cpu):.0f} ms of CPU")
    median = {name: statistics.median(wall for wall, _ in measured) for name, measured in times.items()}
    _compare("spotbatch --help", median["spotbatch --help"], TARGET_MS)
    _compare("the runtime's imports", median["import the runtime"] - median["python -c pass"], RUNTIME_TARGET_MS)


def _compare(what: str, taken_ms: float, target_ms: int) -> None:
    print(f"target for {what}: {taken_ms:.0f} of {target_ms} ms: {'met' if taken_ms < target_ms else 'MISSED'}")


def _time(command: list[str]) -> tuple[float, float]:
    """Milliseconds of wall time and of CPU."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    used = _children_seconds()
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    return (time.perf_counter() - began) * 1000, (_children_seconds() - used) * 1000


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
