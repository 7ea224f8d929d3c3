"""`make demo`: the product's main job on one machine, with the commands that a user would type.

Synthesize the stack, start a local region from its template, submit twelve months of flights as an array and a job
that gathers them, reclaim hosts while they run, and show results and bill. No AWS account, no Docker.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from spotbatch.local import region_file
from spotbatch.local.client import RegionClient

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
STACK = "CostOptimizedBatchProcessing"
RECLAIMS = 2
BETWEEN_RECLAIMS_SECONDS = 4.0
WATCH_LIMIT_SECONDS = 900
# Modules imported by the steps after synthesis, and CDK modules that it imports last: in a new environment Python
# compiles each on first import, which takes seconds that another core can spend meanwhile.
COMPILED_AHEAD = """
import compileall, importlib.util, pathlib
cdk = pathlib.Path(importlib.util.find_spec("aws_cdk").origin).parent
for name in ("aws_ec2", "aws_lambda", "aws_cloudwatch", "aws_batch"):
    compileall.compile_file(cdk / name / "__init__.py", quiet=2)
import matplotlib.pyplot, obstore
import spotbatch.cli.commands.local, spotbatch.cli.commands.submit, spotbatch.cli.commands.watch
import spotbatch.local.region_process
"""


def main() -> int:
    """Run the demo; returns the exit code."""
    arguments = _arguments()
    started = time.monotonic()
    with _home(arguments.home) as home, _stopped_by_signals():
        unkind = ("--faults", arguments.faults, "--seed", str(arguments.seed)) if arguments.faults else ()
        demo = Demo(home=home, results=arguments.results, reclaims=arguments.reclaims, unkind=unkind)
        try:
            demo.run()
        except subprocess.CalledProcessError as error:
            print(error.stderr or "", end="", file=sys.stderr)  # of a command whose output is hidden
            print(f"\nthe demo stopped: `{_words(error.cmd)}` ended with exit code {error.returncode}", file=sys.stderr)
            return error.returncode or 1
        except KeyboardInterrupt:
            print("\ninterrupted; the region is stopped, nothing is left running", file=sys.stderr)
            return 130
        finally:
            demo.down()
    print(f"\nDone in {time.monotonic() - started:.0f} s. Results: {_short(arguments.results)}/")
    print("Next: README.md, 'Five minutes', for the same commands with your own container.")
    return 0


class Demo:
    """The steps, one method each, and the state that they share: the region's home and the job ids."""

    def __init__(self, *, home: Path, results: Path, reclaims: int, unkind: tuple[str, ...] = ()) -> None:
        self.home = home
        self.unkind = unkind
        self.results = results
        self.reclaims = reclaims
        assembly = Path(os.environ.get("CDK_OUTDIR", ROOT / "cdk.out")).absolute()
        self.template = assembly / f"{STACK}.template.json"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "SPOTBATCH_HOME": str(home),
            "SPOTBATCH_LOCAL": "1",
            "CDK_OUTDIR": str(assembly),
        }

    def run(self) -> None:
        self.say("1/6  Synthesize the stack (what `deploy.sh` would send to AWS)")
        self.synthesize()
        self.say(
            "2/6  Start AWS Batch on this machine, with the queue, environment and job definition of that template"
        )
        self.up()
        self.say("3/6  Submit twelve months of flights as one array, and a job that gathers them")
        array, gather = self.submit()
        self.say(f"4/6  Watch, while {self.reclaims} Spot hosts are reclaimed under the running jobs")
        self.watch(array, gather)
        self.say("5/6  Collect the results")
        self.collect(array, gather)
        self.say("6/6  The bill: what it would have cost on Spot, on demand, and what the reclaims wasted")
        self.command("cost", array)

    def synthesize(self) -> None:
        print("$ python app.py", flush=True)
        with _compiled_ahead():
            subprocess.run(
                [sys.executable, "app.py"], cwd=ROOT, env=self.environment, check=True, stdout=subprocess.DEVNULL
            )
        print(_short(self.template), flush=True)

    def up(self) -> None:
        self.command(
            "local", "up",
            "--template", str(_short(self.template)),
            "--images", "examples/flights/images.toml",
            "--vcpu-quota", "8", "--boot-seconds", "2", "--notice-seconds", "4",
            "--pass-env", "PYTHONPATH", *self.unkind,
            *(("--pass-env", "FLIGHTS_RESAMPLES") if "FLIGHTS_RESAMPLES" in os.environ else ()),
            environment={"PYTHONPATH": str(ROOT / "examples")},
        )  # fmt: skip

    def submit(self) -> tuple[str, str]:
        array = self.submitted(
            "--name", "flights", "--array", "12", "--vcpus", "2", "--memory", "1024",
            "--", "python", "-m", "flights.bootstrap",
        )  # fmt: skip
        gather = self.submitted(
            "--name", "gather", "--after", array, "--env", f"SPOTBATCH_INPUTS=outputs:{array}",
            "--", "python", "-m", "flights.gather",
        )  # fmt: skip
        return array, gather

    def watch(self, array: str, gather: str) -> None:
        """Watch the array to its end while a second thread asks for reclaims, then the gathering job."""
        over = threading.Event()
        reclaiming = threading.Thread(target=self.reclaim_while_running, args=(over,))
        reclaiming.start()
        try:
            self.command("watch", array, limit_seconds=WATCH_LIMIT_SECONDS)
        finally:
            over.set()
            reclaiming.join(timeout=60)
        self.command("watch", gather, limit_seconds=WATCH_LIMIT_SECONDS)

    def reclaim_while_running(self, over: threading.Event) -> None:
        """Interrupt one host at a time, the one that has been busy longest, once all children on hosts have saved."""
        region = RegionClient(info=region_file.read(self.home))
        busy_since: dict[str, float] = {}
        done, next_at = 0, 0.0
        while done < self.reclaims and not over.wait(0.25):
            now = time.monotonic()
            busy = [host.instance_id for host in region.hosts() if host.running and host.noticed_at is None]
            busy_since = {each: busy_since.get(each, now) for each in busy}
            if len(busy) >= 2 and now >= next_at and self.saved() >= len(busy):
                done += len(region.interrupt(instance_ids=[min(busy, key=busy_since.__getitem__)]))
                next_at = now + BETWEEN_RECLAIMS_SECONDS

    def saved(self) -> int:
        """How many children have reported a save."""
        return sum("month" in file.read_text(encoding="utf-8") for file in (self.home / "logs").rglob("*.log"))

    def collect(self, array: str, gather: str) -> None:
        shutil.rmtree(self.results, ignore_errors=True)
        self.command("results", array, str(_short(self.results / "months")))
        self.command("results", gather, str(_short(self.results)))
        with (self.results / "delays.csv").open(encoding="utf-8") as table:
            for line in list(table)[:6]:
                print(f"  {line.rstrip()}")
        print(
            f"  ... the whole table: {_short(self.results)}/delays.csv, the picture: {_short(self.results)}/delays.png"
        )

    def down(self) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            self.quiet("local", "down")

    # ---- running commands ----

    def command(self, *arguments: str, environment: dict[str, str] | None = None, limit_seconds: float = 300) -> None:
        """Run one `spotbatch` command where the user sees it. Raises CalledProcessError."""
        print(f"$ spotbatch {_words(arguments)}", flush=True)
        subprocess.run(
            [str(BIN / "spotbatch"), *arguments],
            cwd=ROOT, env={**self.environment, **(environment or {})}, check=True, timeout=limit_seconds,
        )  # fmt: skip

    def quiet(self, *arguments: str) -> str:
        """Run one command and take its output."""
        return subprocess.run(
            [str(BIN / "spotbatch"), *arguments],
            cwd=ROOT, env=self.environment, check=True, timeout=120, capture_output=True, text=True,
        ).stdout  # fmt: skip

    def submitted(self, *arguments: str) -> str:
        print(f"$ spotbatch submit {_words(arguments)}", flush=True)
        job_id: str = json.loads(self.quiet("submit", "--json", *arguments))["job_id"]
        print(job_id, flush=True)
        return job_id

    def say(self, text: str) -> None:
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "demo-results", help="default: demo-results/")
    parser.add_argument("--home", type=Path, help="keep the region in this folder (default: a temporary one)")
    parser.add_argument("--reclaims", type=int, default=RECLAIMS, help="hosts to reclaim (default: %(default)s)")
    parser.add_argument("--faults", help="as of `spotbatch local up`: hostile, or a file")
    parser.add_argument("--seed", type=int, default=0, help="of the faults (default: %(default)s)")
    given = parser.parse_args()
    given.results = given.results.absolute()
    return given


@contextlib.contextmanager
def _home(asked: Path | None) -> Iterator[Path]:
    """The region's folder: the requested one, which is kept, or one removed with the demo."""
    if asked is not None:
        yield asked.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="spotbatch-demo-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends the demo like Ctrl-C: through the `finally` that stops the region."""

    def stop(signum: int, frame: object) -> None:  # noqa: ARG001 - the face of a signal handler
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _compiled_ahead() -> Iterator[None]:
    """In parallel with the body, compile modules needed later, if this environment has never run before."""
    cdk = importlib.util.find_spec("aws_cdk")
    if cdk is None or cdk.origin is None or _is_compiled(Path(cdk.origin).parent / "aws_ec2" / "__init__.py"):
        yield
        return
    with subprocess.Popen([sys.executable, "-c", COMPILED_AHEAD], cwd=ROOT, stderr=subprocess.DEVNULL) as ahead:
        try:
            yield
        finally:
            ahead.terminate()


def _is_compiled(module: Path) -> bool:
    return Path(importlib.util.cache_from_source(str(module))).exists()


def _words(arguments: object) -> str:
    import shlex

    return shlex.join(str(each) for each in arguments) if isinstance(arguments, (list, tuple)) else str(arguments)


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
