"""The CDK as `spotbatch deploy` uses it: the checkout with app.py, its command line, one synthesis, its runs."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from spotbatch.aws.preflight import Caller
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable

CONTEXT_KEY: Final = "spotbatch"  # the key of the stack's settings, in cdk.json and in the template's metadata
_SYNTH_LIMIT_SECONDS: Final = 300
_RUN_LIMIT_SECONDS: Final = 3600
_ASK_LIMIT_SECONDS: Final = 60
_MAJOR: Final = "2"  # the latest on npm is 3, which cannot read what this library writes


def project() -> Path:
    """The folder with app.py: the checkout that this code runs from. Raises NotFound."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (folder / "app.py").is_file() and (folder / "cdk.json").is_file():
            return folder
    raise NotFound("there is no app.py and cdk.json here: run this in a checkout of spotbatch")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While held, no other deployment from this checkout can change cdk.out. Raises Unavailable if one is running."""
    with (folder / "cdk.json").open("rb") as file:  # a lock is released when its holder ends, however that happens
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another deployment runs from {folder}: wait for its end, or use a checkout of its own"
            ) from None
        yield


def settings(given: Sequence[str]) -> Mapping[str, Any]:
    """The settings given with --set KEY=VALUE. Raises InvalidInput."""
    found: dict[str, Any] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not (key and equals):
            raise InvalidInput(f"--set takes KEY=VALUE, such as --set max_vcpus=64, not {each!r}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value  # a plain word needs no quotes
    return found


def program(folder: Path) -> str:
    """The CDK's command line: the project's own, or that on PATH. Raises NotFound or InvalidInput with the fix."""
    own = folder / "node_modules" / ".bin" / "cdk"
    found = str(own) if own.exists() else shutil.which("cdk")
    if found is None:
        raise NotFound("the CDK's command line is missing: `npm install` here installs it (./deploy.sh does)")
    try:
        asked = subprocess.run(
            [found, "--version"], capture_output=True, text=True, check=False, timeout=_ASK_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{found} does not say its version within {_ASK_LIMIT_SECONDS} s: try again") from error
    version = asked.stdout.strip()
    if not version.startswith(f"{_MAJOR}."):
        raise InvalidInput(f"{found} is version {version or 'unknown'}; version {_MAJOR} is needed: `npm install` here")
    return found


def zones_of(template: Mapping[str, Any]) -> Sequence[str]:
    """The zones of a template's subnets, in order; empty if it does not name them."""
    found = (
        resource.get("Properties", {}).get("AvailabilityZone")
        for resource in template.get("Resources", {}).values()
        if resource.get("Type") == "AWS::EC2::Subnet"
    )
    return tuple(dict.fromkeys(zone for zone in found if isinstance(zone, str)))


def synthesize(
    folder: Path,
    stack: str,
    who: Caller,
    given: Mapping[str, Any],
    *,
    zones: Sequence[str],
    say: Callable[[str], object],
) -> Mapping[str, Any]:
    """Run app.py once; everything after works on cdk.out. Passes the account's zones: by default it sees only two."""
    context: dict[str, Any] = {
        "stack_name": stack,
        f"availability-zones:account={who.account}:region={who.region}": list(zones),
    }
    if given:
        context[CONTEXT_KEY] = {**_settings_of(folder), **given}
    environment = {
        **os.environ,
        "CDK_DEFAULT_ACCOUNT": who.account,
        "CDK_DEFAULT_REGION": who.region,
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(folder / "cdk.out"),
    }
    say(f"synthesizing for {len(zones)} zones ({', '.join(zones)}) ...")
    shutil.rmtree(folder / "cdk.out", ignore_errors=True)
    command = [sys.executable, "app.py"]
    try:
        # In its own process group it is ended by us on Ctrl-C, without the stack trace that Python would print.
        done = subprocess.run(
            command, cwd=folder, env=environment, check=False, timeout=_SYNTH_LIMIT_SECONDS, process_group=0
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"app.py had not synthesized after {_SYNTH_LIMIT_SECONDS} s: try again") from error
    if done.returncode:
        raise InvalidInput("app.py could not be synthesized: what it printed above says why")
    found: Mapping[str, Any] = json.loads((folder / "cdk.out" / f"{stack}.template.json").read_text(encoding="utf-8"))
    return found


def _settings_of(folder: Path) -> Mapping[str, Any]:
    context = json.loads((folder / "cdk.json").read_text(encoding="utf-8")).get("context", {})
    found: Mapping[str, Any] = context.get(CONTEXT_KEY, {})
    return found


def run(cdk: str, folder: Path, arguments: Sequence[str], *, again: str, say: Callable[[str], object]) -> None:
    """Run the CDK with its output visible to the user. Raises Unavailable if it fails."""
    say(f"$ cdk {' '.join(arguments)}")
    try:
        done = subprocess.run([cdk, *arguments], cwd=folder, check=False, timeout=_RUN_LIMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"`cdk {arguments[0]}` had not ended after {_RUN_LIMIT_SECONDS} s; CloudFormation may go on with it: "
            f"run {again} again, which waits for that"
        ) from error
    if done.returncode:
        raise Unavailable(
            f"`cdk {arguments[0]}` ended with exit code {done.returncode}: what it printed above says why. "
            f"Mend that, then run {again} again"
        )
