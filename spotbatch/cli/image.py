"""`spotbatch image`: build a container image, push it to the stack's repository, and let jobs use it by its digest."""

import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.aws import images, stack_outputs
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.cli.deploy import ProfileOption, RegionOption, point_at
from spotbatch.cli.options import StackOption
from spotbatch.cli.output import text

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_BUILD_LIMIT_SECONDS: Final = 3600
_ASK_LIMIT_SECONDS: Final = 30
_LOCAL_NAME: Final = "spotbatch-image"
_TAG_LENGTH: Final = 16  # hexadecimal digits of the image's id: what is the same has the same tag

FolderArgument = Annotated[Path, typer.Argument(help="The build's context, a folder.")]
FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="The Dockerfile (default: FOLDER/Dockerfile).")]
PlatformOption = Annotated[str, typer.Option("--platform", help="What the stack's instances are.")]


@app.command(epilog="Example: spotbatch image build . -f examples/flights/Dockerfile")
def build(folder: FolderArgument, file: FileOption = None, platform: PlatformOption = "linux/amd64") -> None:
    """Build an image with Docker, and say its tag, which follows from its content."""
    _need_docker()
    text.say(_build(folder, file, platform))


@app.command(epilog="Example: spotbatch image push . -f examples/flights/Dockerfile")
def push(
    folder: Annotated[Path | None, typer.Argument(help="Build this folder first.")] = None,
    file: FileOption = None,
    platform: PlatformOption = "linux/amd64",
    image: Annotated[str | None, typer.Option("--image", help="An image that Docker has already, instead.")] = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
) -> None:
    """Push an image under a tag of its own, and register a job definition revision that names it by its digest."""
    if (folder is None) == (image is None):
        raise InvalidInput("give either a FOLDER to build, or --image NAME of an image that Docker has")
    point_at(profile, region)
    _need_docker()
    outputs = stack_outputs.read(stack)
    name = image if folder is None or image is not None else _build(folder, file, platform)
    tag = _content_tag(str(name))
    digest = images.digest_of(outputs.repository_uri, tag)
    if digest is None:
        digest = _push(str(name), outputs.repository_uri, tag)
    else:
        text.say(f"{outputs.repository_uri}:{tag} was pushed before")
    revision = images.register_with_image(outputs.job_definition, f"{outputs.repository_uri}@{digest}")
    text.say(f"{revision} runs {outputs.repository_uri}@{digest}; `spotbatch submit` uses it from now on")


def _need_docker() -> None:
    """Raises NotFound without Docker's program, Unavailable without its engine."""
    if shutil.which("docker") is None:
        raise NotFound("docker is not installed: see https://docs.docker.com/engine/install/")
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True, text=True, check=False, timeout=_ASK_LIMIT_SECONDS,
    )  # fmt: skip
    if asked.returncode:
        said = (asked.stderr.strip() or "it gave no reason").splitlines()[-1]
        raise Unavailable(f"no Docker engine answers ({said}): start it, or set DOCKER_HOST")


def _build(folder: Path, file: Path | None, platform: str) -> str:
    """Build, and tag with the content's own tag; the image's local name."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder} to build in")
    dockerfile = file or folder / "Dockerfile"
    if not dockerfile.is_file():
        raise NotFound(f"there is no Dockerfile {dockerfile}: name it with --file")
    command = ["docker", "build", "--platform", platform, "--file", str(dockerfile), "--tag", _LOCAL_NAME, str(folder)]
    _docker(command, limit_seconds=_BUILD_LIMIT_SECONDS)
    name = f"{_LOCAL_NAME}:{_content_tag(_LOCAL_NAME)}"
    _docker(["docker", "tag", _LOCAL_NAME, name], limit_seconds=_ASK_LIMIT_SECONDS)
    return name


def _content_tag(image: str) -> str:
    """A tag that follows from what is in the image. Raises NotFound for an image that Docker does not have."""
    asked = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", image],
        capture_output=True, text=True, check=False, timeout=_ASK_LIMIT_SECONDS,
    )  # fmt: skip
    if asked.returncode:
        raise NotFound(f"Docker has no image {image!r}: `docker image ls` lists those that it has")
    return asked.stdout.strip().removeprefix("sha256:")[:_TAG_LENGTH]


def _push(name: str, repository_uri: str, tag: str) -> str:
    """Log in, push, log out; the pushed image's digest."""
    target = f"{repository_uri}:{tag}"
    login = images.login(repository_uri)
    _docker(["docker", "tag", name, target], limit_seconds=_ASK_LIMIT_SECONDS)
    _docker(
        ["docker", "login", "--username", login.user, "--password-stdin", login.registry],
        limit_seconds=_ASK_LIMIT_SECONDS,
        typed=login.password,
    )
    try:
        _docker(["docker", "push", target], limit_seconds=_BUILD_LIMIT_SECONDS)
    finally:
        _docker(["docker", "logout", login.registry], limit_seconds=_ASK_LIMIT_SECONDS)
    digest = images.digest_of(repository_uri, tag)
    if digest is None:
        raise Unavailable(f"{target} was pushed, but the registry does not know it: try again")
    return digest


def _docker(command: list[str], *, limit_seconds: float, typed: str | None = None) -> None:
    """Run Docker where the user sees it; a password goes in by standard input and is not shown."""
    text.hint(f"$ {' '.join(command)}")
    run = subprocess.run(command, input=typed, text=True, check=False, timeout=limit_seconds)
    if run.returncode:
        raise Unavailable(
            f"`docker {command[1]}` ended with exit code {run.returncode}: what it printed above says why"
        )
