"""What `spotrun -- true` costs with a folder as the store: processor and wall time, alternating in one run.

Compared with Python itself (`python -c pass`) and with spotrun at an older commit, taken from git. All are started with
`-I -S`, so that installed packages do not matter; the installed command, as a user starts it, has its own line.
A run of 25,000 small inputs is mostly this.

Run: python bench/spotrun_start.py [--rounds 15] [--commit b314985].
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_MS, WALL_MS = 50, 80  # on a quiet machine
PASS, OURS = "python -c pass", "spotrun -- true"
START = "import sys; sys.path.insert(0, {!r}); from spotbatch.runtime.__main__ import main; main(['--', 'true'])"


def main() -> None:
    """Print minimum and median of each, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--commit", default="b314985")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        commands = {PASS: [sys.executable, "-I", "-S", "-c", "pass"], OURS: start_of(ROOT)}
        then = f"the same at {chosen.commit}"
        if take(chosen.commit, Path(top, "then")):
            commands[then] = start_of(Path(top, "then"))
        installed = Path(sys.executable).with_name("spotrun")
        if installed.exists():
            commands["as it is installed here"] = [str(installed), "--", "true"]
        taken = measured(commands, chosen.rounds, Path(top))
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; only ratios mean much above 1")
    least = {name: (min(wall for wall, _ in each), min(cpu for _, cpu in each)) for name, each in taken.items()}
    for name, each in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{name:24} CPU {least[name][1]:6.1f} ms ({cpu:6.1f})   wall {least[name][0]:6.1f} ms ({wall:6.1f})")
    print("minimum, and the median in brackets")
    for other in (PASS, then):
        if other in least:
            ratios = [least[OURS][at] / least[other][at] for at in (1, 0)]
            print(f"{OURS} beside {other}: {ratios[0]:.2f} times the CPU, {ratios[1]:.2f} times the wall")
    is_met = least[OURS][1] <= CPU_MS and least[OURS][0] <= WALL_MS
    print(f"target on a quiet machine: {CPU_MS} ms of CPU, {WALL_MS} ms of wall: {'met' if is_met else 'MISSED'} here")


def start_of(tree: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", START.format(str(tree))]


def take(commit: str, folder: Path) -> bool:
    """Check out the old package and compile it; False if git or the commit is missing."""
    folder.mkdir()
    archive = folder / "then.tar"
    done = subprocess.run(["git", "-C", ROOT, "archive", "-o", archive, commit, "spotbatch"], stderr=subprocess.PIPE)
    if done.returncode:
        print(f"not beside {commit}: {done.stderr.decode(errors='replace').strip()}")
        return False
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    return True


def measured(commands: dict[str, list[str]], rounds: int, top: Path) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of wall and CPU; the first round, which compiles and warms up, does not count."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for at, (name, line) in enumerate(commands.items()):
            variables = {
                **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "SPOTBATCH_"))},
                "SPOTBATCH_ARTIFACTS_URL": (top / "store").as_uri(),
                "SPOTBATCH_RUN_ID": f"run-{number}-{at}",
            }
            used, began = children_seconds(), time.perf_counter()
            subprocess.run(line, check=True, env=variables, stderr=subprocess.DEVNULL)
            wall, cpu = time.perf_counter() - began, children_seconds() - used
            if number:
                taken[name].append((wall * 1000, cpu * 1000))
    return taken


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
