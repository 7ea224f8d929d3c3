"""Docker's command line, run with its output visible to the user, and a clear message if it is missing."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable

ASK_LIMIT_SECONDS: Final = 30


def need() -> None:
    """Raises NotFound if Docker's program is missing, Unavailable if its engine does not answer."""
    problem = missing()
    if problem:
        raise problem


def missing() -> SpotbatchError | None:
    """What is wrong with Docker here, as an error that says how to fix it; None if an engine answers."""
    if shutil.which("docker") is None:
        return NotFound("docker is not installed: see https://docs.docker.com/engine/install/")
    try:
        asked = ask(["version", "--format", "{{.Server.Version}}"])
    except subprocess.TimeoutExpired:
        return Unavailable(f"the Docker engine gives no answer within {ASK_LIMIT_SECONDS} s: restart it")
    if asked.returncode:
        said = (asked.stderr.strip() or "it gave no reason").splitlines()[-1]
        return Unavailable(f"no Docker engine answers ({said}): start it, or set DOCKER_HOST")
    return None


def ask(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a query quietly; returns its result, whether or not it succeeded."""
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=ASK_LIMIT_SECONDS
    )


def run(
    arguments: Sequence[str],
    *,
    say: Callable[[str], object],
    limit_seconds: float = ASK_LIMIT_SECONDS,
    typed: str | None = None,
) -> None:
    """Run Docker with its output visible to the user, and `say` the command first. Raises Unavailable.

    `typed` is written to standard input and not shown: a password.
    """
    say(f"$ docker {' '.join(arguments)}")
    try:
        done = subprocess.run(["docker", *arguments], input=typed, text=True, check=False, timeout=limit_seconds)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`docker {arguments[0]}` had not ended after {limit_seconds:.0f} s: try again") from error
    if done.returncode:
        raise Unavailable(
            f"`docker {arguments[0]}` ended with exit code {done.returncode}: what it printed above says why"
        )
