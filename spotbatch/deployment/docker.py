"""Docker's command line, run where the user sees it, with its absence told in words."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable

ASK_LIMIT_SECONDS: Final = 30


def need() -> None:
    """Raises NotFound without Docker's program, Unavailable without its engine."""
    problem = missing()
    if problem:
        raise problem


def missing() -> SpotbatchError | None:
    """What is wrong with Docker here, as an error that says how to mend it; None where an engine answers."""
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
    """Run a question quietly; its answer, whatever that is."""
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
    """Run Docker where the user sees it, and `say` the command before. Raises Unavailable.

    `typed` goes to standard input and is not shown: a password.
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
