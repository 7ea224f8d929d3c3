"""`spotbatch image`: build a container image, push it to the stack's repository, and let jobs use it by its digest."""

import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.aws import images, stack_outputs
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.cli.deploy_options import ProfileOption, RegionOption, interruptible, point_at
from spotbatch.cli.options import StackOption
from spotbatch.cli.output import text
from spotbatch.deployment import docker

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_BUILD_LIMIT_SECONDS: Final = 3600
_LOCAL_NAME: Final = "spotbatch-image"
_TAG_LENGTH: Final = 16  # hexadecimal digits of the image's id: what is the same has the same tag
_PLATFORM: Final = "linux/amd64"

FolderArgument = Annotated[Path, typer.Argument(help="The build's context, a folder.")]
FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="The Dockerfile (default: FOLDER/Dockerfile).")]


@app.command(epilog="Example: spotbatch image build . -f examples/flights/Dockerfile")
def build(
    folder: FolderArgument,
    file: FileOption = None,
    platform: Annotated[str, typer.Option("--platform", help="What the stack's instances are.")] = _PLATFORM,
) -> None:
    """Build an image with Docker, and say its name, which follows from its content."""
    docker.need()
    text.say(_build(folder, file, platform))


@app.command(epilog="Example: spotbatch image push . -f examples/flights/Dockerfile")
def push(
    folder: Annotated[Path | None, typer.Argument(help="Build this folder first.")] = None,
    file: FileOption = None,
    platform: Annotated[
        str | None, typer.Option("--platform", help="What to build for (default: what the stack's instances are).")
    ] = None,
    image: Annotated[str | None, typer.Option("--image", help="An image that Docker has already, instead.")] = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
) -> None:
    """Push an image under a tag of its own, and register a job definition revision that names it by its digest.

    The tag follows from the content, so it works with immutable tags too, and what was pushed is not pushed again.
    """
    if (folder is None) == (image is None):
        raise InvalidInput("give either a FOLDER to build, or --image NAME of an image that Docker has")
    point_at(profile, region)
    docker.need()
    with interruptible("the same command"):
        outputs = stack_outputs.read(stack)
        name = image or ""
        if folder is not None:
            name = _build(folder, file, platform or _platform_of(outputs))
        _publish(name, outputs)


def _platform_of(outputs: stack_outputs.StackOutputs) -> str:
    return images.platform_of(outputs.compute_environment) if outputs.compute_environment else _PLATFORM


def _publish(name: str, outputs: stack_outputs.StackOutputs) -> None:
    tag = _content_tag(name)
    digest = images.digest_of(outputs.repository_uri, tag)
    if digest is None:
        digest = _push(name, outputs.repository_uri, tag)
    else:
        text.say(f"{outputs.repository_uri}:{tag} was pushed before")
    revision = images.register_with_image(outputs.job_definition, f"{outputs.repository_uri}@{digest}")
    text.say(f"{revision} runs {outputs.repository_uri}@{digest}; `spotbatch submit` uses it from now on")


def _build(folder: Path, file: Path | None, platform: str) -> str:
    """Build, and tag with the content's own tag; the image's local name."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder} to build in")
    dockerfile = file or folder / "Dockerfile"
    if not dockerfile.is_file():
        raise NotFound(f"there is no Dockerfile {dockerfile}: name it with --file")
    with tempfile.TemporaryDirectory(prefix="spotbatch-image-") as scratch:
        written = Path(scratch, "id")  # not a tag, which another build could move meanwhile
        command = ["build", "--platform", platform, "--file", str(dockerfile), "--iidfile", str(written), str(folder)]
        docker.run(command, limit_seconds=_BUILD_LIMIT_SECONDS, say=text.hint)
        image = written.read_text(encoding="utf-8").strip()
    name = f"{_LOCAL_NAME}:{_content_tag(image)}"
    docker.run(["tag", image, name], say=text.hint)
    return name


def _content_tag(image: str) -> str:
    """A tag that follows from what is in the image. Raises NotFound for an image that Docker does not have."""
    asked = docker.ask(["image", "inspect", "--format", "{{.Id}}", image])
    if asked.returncode:
        raise NotFound(f"Docker has no image {image!r}: `docker image ls` lists those that it has")
    return asked.stdout.strip().removeprefix("sha256:")[:_TAG_LENGTH]


def _push(name: str, repository_uri: str, tag: str) -> str:
    """Log in, push, log out; the pushed image's digest."""
    target = f"{repository_uri}:{tag}"
    login = images.login(repository_uri)
    docker.run(["tag", name, target], say=text.hint)
    docker.run(
        ["login", "--username", login.user, "--password-stdin", login.registry], typed=login.password, say=text.hint
    )
    try:
        docker.run(["push", target], limit_seconds=_BUILD_LIMIT_SECONDS, say=text.hint)
    finally:
        docker.run(["logout", login.registry], say=text.hint)
    digest = images.digest_of(repository_uri, tag)
    if digest is None:
        raise Unavailable(f"{target} was pushed, but the registry does not know it: try again")
    return digest
